//! Anchors in buckets, asked themselves: every version of every object, its lock, when it was stored, and whether it is of the heads log that is published.
//!
//! The published tree holds copies (`anchors/<name>/<n>`), which its operator wrote. What binds the operator stands in the bucket: COMPLIANCE mode keeps each version until its date.
//! A newer version or a delete marker hides a version and takes nothing away: the earliest version counts, and each of the others is a finding.

mod bucket;
mod judge;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use protocol::ids::ElectionId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::finding::Finding;
use crate::opened::{Ended, Opened};
use crate::progress::Progress;
use crate::source::Bucket;
use crate::verdict::Outcome;

/// Between two looks at what is written a moment after something else.
const LOOK: Duration = Duration::from_secs(1);

/// What asking the anchors came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AnchorsVerdict {
    /// Verified: every anchor that the manifest names was asked, and holds the heads log, locked. Findings: something is wrong. Unchecked: one was not asked, or could not be read.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// Where the heads log was read.
    pub source: String,
    /// Entries of the heads log.
    pub heads_size: u64,
    /// Whether there is a final head.
    pub is_final: bool,
    /// Each anchor that was asked.
    pub anchors: Vec<AnchorAsked>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many findings there were of each code.
    pub findings_by_code: BTreeMap<&'static str, u64>,
    /// What could not be checked, and what this cannot see.
    pub not_covered: Vec<String>,
}

/// An anchor that was asked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AnchorAsked {
    /// Its name in the manifest.
    pub name: String,
    /// Its bucket.
    pub bucket: String,
    /// Objects.
    pub objects: u64,
    /// Versions of them, delete markers not counted: as many as objects, where nobody wrote over one.
    pub versions: u64,
    /// Delete markers.
    pub delete_markers: u64,
    /// Up to which size they hold the heads log without a gap.
    pub size: u64,
    /// The shortest lock among them (seconds since 1970); null where one shows none.
    pub locked_until: Option<i64>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an anchor to take what was published a moment ago.
    pub settle: Duration,
    /// From the newest head in an object to the time at which it was stored.
    pub late: Duration,
}

/// Asks each of these anchors of the election at `given`: name and bucket.
#[must_use]
pub fn run(
    given: &str,
    id: &ElectionId,
    anchors: &[(String, String)],
    patience: Patience,
    progress: &Progress,
) -> AnchorsVerdict {
    let mut verdict = AnchorsVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        source: given.to_owned(),
        heads_size: 0,
        is_final: false,
        anchors: Vec::new(),
        findings: Vec::new(),
        findings_by_code: BTreeMap::new(),
        not_covered: Vec::new(),
    };
    let begun = Instant::now();
    loop {
        let opened = match Opened::at(given, id, progress) {
            Ok(opened) => opened,
            Err(ended) => {
                verdict.end(ended);
                return verdict;
            }
        };
        verdict.source.clone_from(&opened.located.place);
        let (asked, heads) = ask(&opened, anchors, patience.late);
        let waits = heads.as_ref().is_some_and(|heads| heads.waits);
        if waits && begun.elapsed() < patience.settle {
            std::thread::sleep(LOOK);
            continue;
        }
        verdict.anchors = asked;
        if let Some(heads) = heads {
            (verdict.heads_size, verdict.is_final) = (heads.size, heads.is_final);
        }
        verdict.end(opened.end());
        return verdict;
    }
}

/// What the heads log came to.
struct Heads {
    size: u64,
    is_final: bool,
    /// An anchor and the heads log do not agree in length, and may in a moment.
    waits: bool,
}

fn ask(
    opened: &Opened,
    anchors: &[(String, String)],
    late: Duration,
) -> (Vec<AnchorAsked>, Option<Heads>) {
    let context = opened.context();
    let named = &opened.election.manifest().anchors;
    for (name, _) in anchors {
        if !named.iter().any(|anchor| anchor.name == *name) {
            context
                .unread
                .note(format!("the manifest names no anchor {name:?}"));
        }
    }
    // The anchors before the heads log: what they hold was published before.
    let mut held = Vec::new();
    for anchor in named {
        let name = &anchor.name;
        let Some((_, place)) = anchors.iter().find(|(given, _)| given == name) else {
            context.unread.note(format!(
                "the anchor {name} was not asked: give its bucket, --anchor {name}=s3://…"
            ));
            continue;
        };
        opened.progress.stage("anchors");
        let below = format!("elections/{}", opened.election.id());
        let asked = Bucket::new(place)
            .and_then(|bucket| bucket::read(&context, name, &bucket.below(&below)));
        match asked {
            Ok(asked) => held.push(asked),
            Err(error) => context.unread.note(format!("the anchor {name}: {error}")),
        }
    }
    let heads = judge::judge(opened, &mut held, late);
    (held.into_iter().map(|held| held.asked).collect(), heads)
}

impl AnchorsVerdict {
    fn end(&mut self, ended: Ended) {
        self.verdict = ended.verdict;
        self.findings = ended.findings;
        self.findings_by_code = ended.findings_by_code;
        self.not_covered = ended.unread;
        self.not_covered.extend(
            [
                "votes, tallies, issuances and results: `audit` recounts them",
                "whether each bucket is in somebody else's account, and who that is; times are the store's own",
            ]
            .map(str::to_owned),
        );
    }
}
