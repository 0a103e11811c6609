//! The ballots that a demo casts: rows of a cast-vote-record file, or generated ones.
//!
//! A file is CSV, gzipped if its name ends in `.gz`, with a header line. Each row is one voter. The named columns hold her
//! choices, best first; the words to skip (and empty cells) mean that no valid choice stands there, so that the next one
//! moves up; an option named twice counts once.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail};
use flate2::read::MultiGzDecoder;
use protocol::manifest::LABEL_LEN_MAX;
use protocol::text::check_label;

/// A file larger than this is not a cast-vote-record file that one machine can replay.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// The most voters that one machine is asked to play.
pub const VOTERS_MAX: usize = 2_000_000;
/// The manifest allows this many options in all.
const OPTIONS_MAX: usize = 4_096;

/// What the voters of a demo choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BallotBox {
    /// The options of each contest, in the manifest's order.
    pub contests: Vec<ContestPlan>,
    /// One ballot a voter: for each contest the chosen option indices, in the voter's order.
    pub ballots: Vec<Vec<Vec<u16>>>,
}

/// A contest of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContestPlan {
    /// Its name in the manifest.
    pub name: String,
    /// `plurality`, `approval` or `ranked`.
    pub method: protocol::manifest::Method,
    /// Labels.
    pub options: Vec<String>,
}

/// Reads a cast-vote-record file into one ranked contest named `contest`.
///
/// # Errors
/// An unreadable file, bad CSV, a column that is not there, too many voters or options: each names the place and says what to do.
pub fn read(path: &Path, columns: &[String], skip: &[String]) -> Result<BallotBox> {
    let file = File::open(path).with_context(|| {
        format!(
            "cannot open the ballots file {}: check the path",
            path.display()
        )
    })?;
    let plain: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    // A gzip bomb ends here, as an error below, and not in the machine's memory.
    let mut limited = plain.take(FILE_BYTES_MAX + 1);
    let mut bytes = Vec::new();
    limited.read_to_end(&mut bytes).with_context(|| {
        format!(
            "cannot read {}: is it complete, and gzip if it is named .gz?",
            path.display()
        )
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!(
            "{} holds more than {FILE_BYTES_MAX} bytes: split it",
            path.display()
        );
    }
    parse(&bytes, columns, skip).with_context(|| format!("in {}", path.display()))
}

fn parse(bytes: &[u8], columns: &[String], skip: &[String]) -> Result<BallotBox> {
    if columns.is_empty() {
        bail!("name the columns that hold the choices, best first: --choices COL,COL,…");
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
    let headers = reader
        .headers()
        .context("the first line is not a CSV header in UTF-8")?
        .clone();
    let mut positions = Vec::new();
    for column in columns {
        let mut found = headers
            .iter()
            .enumerate()
            .filter(|(_, header)| header == column);
        let Some((position, _)) = found.next() else {
            bail!(
                "there is no column `{column}`: the columns are {}",
                headers.iter().collect::<Vec<_>>().join(", ")
            );
        };
        if found.next().is_some() {
            bail!("the column `{column}` occurs twice: rename one");
        }
        if positions.contains(&position) {
            bail!("--choices names the column `{column}` twice");
        }
        positions.push(position);
    }
    let skip: BTreeSet<&str> = skip.iter().map(String::as_str).collect();

    let mut rows: Vec<Vec<String>> = Vec::new();
    for record in reader.records() {
        let record =
            record.context("a row is not valid CSV in UTF-8 with as many cells as the header")?;
        if rows.len() == VOTERS_MAX {
            bail!("more than {VOTERS_MAX} rows: one machine does not play more voters");
        }
        let mut choices: Vec<String> = Vec::new();
        for position in &positions {
            let cell = record.get(*position).unwrap_or_default().trim();
            if !cell.is_empty() && !skip.contains(cell) && !choices.iter().any(|c| c == cell) {
                choices.push(cell.to_owned());
            }
        }
        rows.push(choices);
    }
    if rows.is_empty() {
        bail!("there is no row below the header");
    }

    let options: Vec<String> = rows
        .iter()
        .flatten()
        .cloned()
        .collect::<BTreeSet<String>>()
        .into_iter()
        .collect();
    if options.is_empty() {
        bail!("no row holds a valid choice: are --choices and --skip right?");
    }
    if options.len() > OPTIONS_MAX {
        bail!(
            "{} distinct choices, more than the {OPTIONS_MAX} that a manifest allows: is --choices right?",
            options.len()
        );
    }
    for option in &options {
        // Here, and not when the manifest is made: the user knows her file, and not its members.
        check_label(option, LABEL_LEN_MAX).with_context(|| {
            format!(
                "the choice {option:?} cannot be an option; correct it in the file, or name it with --skip"
            )
        })?;
    }
    let index: HashMap<&str, u16> = options.iter().map(String::as_str).zip(0u16..).collect();
    let ballots = rows
        .iter()
        .map(|row| {
            vec![
                row.iter()
                    .filter_map(|choice| index.get(choice.as_str()).copied())
                    .collect(),
            ]
        })
        .collect();
    Ok(BallotBox {
        contests: vec![ContestPlan {
            name: "contest".to_owned(),
            method: protocol::manifest::Method::Ranked,
            options,
        }],
        ballots,
    })
}
