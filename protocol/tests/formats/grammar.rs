//! The grammars of all logs: each rule broken once, by the one batch that breaks it.

mod cell;
mod heads;
mod issuance;

use protocol::entry::{Entry, Genesis};
use protocol::grammar::{BatchSummary, CellLog, GrammarCode, GrammarError, HeadsLog, IssuanceLog};
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde_json::{Value, json};

use crate::fixture::ELECTION;
use crate::vectors::vector_cases;

/// A log's batches, each of encoded entries.
type Batches = Vec<Vec<Vec<u8>>>;

/// The batches of a log, and what a verifier must say of them: nothing, or which rule the entry at this index breaks.
pub(crate) struct Case {
    why: &'static str,
    log: LogId,
    batches: Batches,
    broken: Option<(GrammarCode, u64)>,
    /// Rules that others break, which the log reports.
    remarks: Vec<(GrammarCode, u64)>,
}

impl Case {
    fn new(
        why: &'static str,
        log: LogId,
        batches: Batches,
        broken: Option<(GrammarCode, u64)>,
    ) -> Self {
        Self {
            why,
            log,
            batches,
            broken,
            remarks: Vec::new(),
        }
    }
}

fn genesis(log: LogId) -> Vec<Vec<u8>> {
    vec![Genesis::of(&ELECTION, log).encode()]
}

/// Any log's state machine.
#[derive(Clone)]
enum Machine {
    Cell(CellLog),
    Issuance(IssuanceLog),
    Heads(Box<HeadsLog>),
}

impl Machine {
    fn new(election: &Election, log: LogId) -> Self {
        match log {
            LogId::Cell(k) => Self::Cell(CellLog::new(election, k)),
            LogId::Issuance { registrar, shard } => {
                Self::Issuance(IssuanceLog::new(election, registrar, shard))
            }
            LogId::Heads => Self::Heads(Box::new(HeadsLog::new(election))),
        }
    }

    fn batch(&mut self, n: u64, entries: &[Vec<u8>]) -> Result<BatchSummary, GrammarError> {
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        match self {
            Self::Cell(log) => log.batch(n, &entries),
            Self::Issuance(log) => log.batch(n, &entries),
            Self::Heads(log) => log.batch(n, &entries),
        }
    }

    /// All that can be seen of the state.
    fn state(&self) -> String {
        format!("{:?}", (self.size(), self.next_batch(), self.ended()))
            + &match self {
                Self::Cell(log) => format!("{:?}", (log.tally(), log.last_time(), log.closed())),
                Self::Issuance(log) => format!("{:?}", (log.issued(), log.refused())),
                Self::Heads(log) => {
                    let windows: Vec<_> =
                        ELECTION.logs().iter().map(|id| log.window(*id)).collect();
                    format!(
                        "{:?}",
                        (log.root(), log.last_head(), log.schedule(), windows)
                    )
                }
            }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Cell(log) => log.size(),
            Self::Issuance(log) => log.size(),
            Self::Heads(log) => log.size(),
        }
    }

    fn next_batch(&self) -> u64 {
        match self {
            Self::Cell(log) => log.next_batch(),
            Self::Issuance(log) => log.next_batch(),
            Self::Heads(log) => log.next_batch(),
        }
    }

    fn ended(&self) -> bool {
        match self {
            Self::Cell(log) => log.closed().is_some(),
            Self::Issuance(log) => log.closed().is_some(),
            Self::Heads(log) => log.final_head().is_some(),
        }
    }
}

type Verdict = (Option<(GrammarCode, u64)>, Vec<(GrammarCode, u64)>);

/// Feeds all batches. Checks on the way that a refused batch changes nothing, and that summaries repeat what went in.
fn run(log: LogId, batches: &Batches) -> Verdict {
    let mut machine = Machine::new(&ELECTION, log);
    let mut remarks = Vec::new();
    for (n, entries) in (0..).zip(batches) {
        let (before, size) = (machine.state(), machine.size());
        match machine.batch(n, entries) {
            Ok(summary) => {
                let encoded: Vec<_> = summary.entries.iter().map(Entry::encode).collect();
                assert_eq!(&encoded, entries);
                assert_eq!((summary.n, summary.first_index), (n, size));
                assert_eq!(summary.new_size(), size + entries.len() as u64);
                assert_eq!(
                    (machine.size(), machine.next_batch()),
                    (summary.new_size(), n + 1)
                );
                let hashes: Vec<_> = entries
                    .iter()
                    .map(|entry| protocol::merkle::leaf_hash(entry))
                    .collect();
                assert_eq!(summary.leaf_hashes, hashes);
                let last = matches!(
                    summary.entries.last(),
                    Some(Entry::Close(_) | Entry::FinalHead(_))
                );
                assert_eq!(machine.ended(), last, "a log ends with its last entry");
                check_kinds(&summary);
                remarks.extend(summary.remarks.iter().map(|r| (r.code, r.index)));
            }
            Err(error) => {
                assert_eq!(machine.state(), before, "a refused batch left a trace");
                assert_eq!(n + 1, batches.len() as u64, "refused too early: {error}");
                return (Some((error.code, error.index)), remarks);
            }
        }
    }
    (None, remarks)
}

/// What a summary hands out by kind is what lies in it, each entry with its index.
fn check_kinds(summary: &BatchSummary) {
    let mut entries = Vec::new();
    entries.extend(summary.votes().map(|(i, vote)| (i, vote.encode())));
    for (index, head) in summary.heads() {
        let encoded = [
            Entry::Head(head.clone()).encode(),
            Entry::FinalHead(head.clone()).encode(),
        ];
        let at = (index - summary.first_index) as usize;
        let here = summary.entries[at].encode();
        assert!(encoded.contains(&here));
        entries.push((index, here));
    }
    entries.extend(
        summary
            .notices()
            .map(|(i, n)| (i, Entry::Notice(n.clone()).encode())),
    );
    let last = summary.new_size() - 1;
    entries.extend(summary.tally().map(|tally| (last, tally.encode())));
    entries.extend(summary.close().map(|close| (last, close.encode())));
    entries.sort();
    let expected: Vec<_> = summary
        .indexed()
        .filter(|(_, entry)| {
            !matches!(
                entry,
                Entry::Genesis(_) | Entry::Issuance(_) | Entry::Count(_)
            )
        })
        .map(|(index, entry)| (index, entry.encode()))
        .collect();
    assert_eq!(entries, expected);
}

fn all() -> Vec<Case> {
    let mut cases = cell::cases();
    cases.extend(issuance::cases());
    cases.extend(heads::cases());
    cases
}

#[test]
fn every_rule_is_enforced() {
    for case in all() {
        let verdict = run(case.log, &case.batches);
        if let Some((code, _)) = case.broken {
            assert_eq!(code.to_string(), code.as_str());
        }
        assert_eq!(verdict, (case.broken, case.remarks), "{}", case.why);
    }
}

#[test]
fn vectors() {
    let finding =
        |(code, index): &(GrammarCode, u64)| json!({"code": code.as_str(), "index": index});
    let cases: Vec<Value> = all()
        .iter()
        .map(|case| {
            let batches: Vec<Vec<String>> = case
                .batches
                .iter()
                .map(|batch| batch.iter().map(hex::encode).collect())
                .collect();
            json!({
                "why": case.why, "log": case.log.prefix(), "batches": batches,
                "valid": case.broken.is_none(), "broken": case.broken.as_ref().map(finding),
                "remarks": case.remarks.iter().map(finding).collect::<Vec<_>>(),
            })
        })
        .collect();
    let about = "Logs of the election `base` of manifest.json, as batches of entries, specs/protocol.md section 8. Votes carry no valid signatures: they are not judged here. \
        `valid` is binding; `broken` is the rule that the last batch breaks and the index of the entry, by the Rust implementation's names; `remarks` are findings that the log itself reports.";
    for case in vector_cases("grammar.json", about, &cases) {
        let log = ELECTION
            .logs()
            .iter()
            .chain([&LogId::Heads])
            .find(|log| log.prefix() == case["log"].as_str().unwrap())
            .unwrap();
        let batches: Vec<Vec<String>> = serde_json::from_value(case["batches"].clone()).unwrap();
        let batches: Batches = batches
            .iter()
            .map(|batch| {
                batch
                    .iter()
                    .map(|entry| hex::decode(entry).unwrap())
                    .collect()
            })
            .collect();
        let (broken, remarks) = run(*log, &batches);
        assert_eq!(broken.is_none(), case["valid"], "{}", case["why"]);
        assert_eq!(json!(broken.as_ref().map(finding)), case["broken"]);
        assert_eq!(
            json!(remarks.iter().map(finding).collect::<Vec<_>>()),
            case["remarks"]
        );
    }
}

#[test]
fn batches_come_in_order() {
    for log in [LogId::Cell(0), crate::fixture::ISSUANCE, LogId::Heads] {
        let mut machine = Machine::new(&ELECTION, log);
        for n in [1, 7, u64::MAX] {
            let error = machine.batch(n, &genesis(log)).unwrap_err();
            assert_eq!((error.code, error.index), (GrammarCode::BatchNumber, 0));
        }
        machine.batch(0, &genesis(log)).unwrap();
        let error = machine.batch(0, &genesis(log)).unwrap_err();
        assert_eq!((error.code, error.index), (GrammarCode::BatchNumber, 1));
    }
}
