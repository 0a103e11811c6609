//! What a voter fills in: codes and choices, as arguments or as a form.

use std::collections::BTreeMap;
use std::io::Read as _;

use anyhow::{Context, Result, bail};
use protocol::manifest::{Contest, Method};
use serde::Deserialize;

use crate::cli::VoteArgs;

/// A form with more bytes is none.
const FORM_BYTES_MAX: u64 = 1 << 20;

/// What a voter fills in.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// The registrars' codes, in the manifest's order.
    #[serde(default)]
    codes: Vec<String>,
    /// The choices of each contest, by its name.
    #[serde(default)]
    choices: BTreeMap<String, Vec<String>>,
}

/// The codes, and the choices as `CONTEST=OPTION`.
pub(super) fn filled_in(args: &VoteArgs) -> Result<(Vec<String>, Vec<String>)> {
    let Some(path) = &args.form else {
        return Ok((args.code.clone(), args.choose.clone()));
    };
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin()
            .take(FORM_BYTES_MAX + 1)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(FORM_BYTES_MAX + 1).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read the form {}", path.display()))?;
    if text.len() as u64 > FORM_BYTES_MAX {
        bail!(
            "the form {} has more than {FORM_BYTES_MAX} bytes",
            path.display()
        );
    }
    // Without the parser's own words: those quote the line, and a line holds a code or a choice.
    let form: Form = toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        anyhow::anyhow!(
            "the form {} cannot be read at line {line}: see `tallyroot vote --help` for what it holds",
            path.display()
        )
    })?;
    let chosen = form
        .choices
        .iter()
        .flat_map(|(contest, options)| {
            options
                .iter()
                .map(move |option| format!("{contest}={option}"))
        })
        .collect();
    Ok((form.codes, chosen))
}

/// The ballot as the voter reads it, a line for each contest.
pub(super) fn in_words(choices: &[Vec<u16>], contests: &[Contest]) -> String {
    contests
        .iter()
        .zip(choices)
        .map(|(contest, chosen)| {
            let labels: Vec<&str> = chosen
                .iter()
                .filter_map(|option| contest.options.get(usize::from(*option)))
                .map(String::as_str)
                .collect();
            let labels = if labels.is_empty() {
                "(blank)".to_owned()
            } else {
                labels.join(", ")
            };
            format!("  {}: {labels}", contest.name)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// For each contest, the option indices that `--choose CONTEST=OPTION` names, as a ballot wants them.
pub(super) fn choices(
    chosen: &[String],
    blank: bool,
    contests: &[Contest],
) -> Result<Vec<Vec<u16>>> {
    if blank && !chosen.is_empty() {
        bail!("--blank leaves everything blank, and the form holds choices: remove one of them");
    }
    let mut choices: Vec<Vec<u16>> = vec![Vec::new(); contests.len()];
    for choice in chosen {
        // Contest names may hold `=`, and so may options: the pair that exists is meant.
        let found = choice.match_indices('=').find_map(|(at, _)| {
            let (name, option) = (choice.get(..at)?, choice.get(at + 1..)?);
            let place = contests.iter().position(|contest| contest.name == name)?;
            let index = contests
                .get(place)?
                .options
                .iter()
                .position(|label| label == option)?;
            Some((place, u16::try_from(index).ok()?))
        });
        let Some((place, index)) = found else {
            bail!(
                "`{choice}` names no option of this election. The options:\n{}",
                contests
                    .iter()
                    .flat_map(|contest| {
                        contest
                            .options
                            .iter()
                            .map(move |option| format!("  {}={option}", contest.name))
                    })
                    .collect::<Vec<_>>()
                    .join("\n")
            );
        };
        let (Some(of_contest), Some(contest)) = (choices.get_mut(place), contests.get(place))
        else {
            continue;
        };
        if of_contest.contains(&index) {
            bail!("`{choice}` stands there twice");
        }
        if contest.method == Method::Plurality && !of_contest.is_empty() {
            bail!("`{}` takes one choice only", contest.name);
        }
        of_contest.push(index);
    }
    if choices.iter().all(Vec::is_empty) && !blank {
        bail!(
            "no choice is given, and a vote cannot be changed later: give --choose CONTEST=OPTION, or --blank to leave everything blank"
        );
    }
    for (contest, of_contest) in contests.iter().zip(&mut choices) {
        if contest.method == Method::Approval {
            of_contest.sort_unstable();
        }
    }
    Ok(choices)
}
