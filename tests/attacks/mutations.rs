//! Mutated trees: half of them harmed as bytes, half in what they say, signed anew by the operator's keys. Audited together with what was kept from before, not one may pass.
//!
//! `TALLYROOT_MUTATIONS` says how many (`make mutations`); `TALLYROOT_TEST_SEED` replays a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocol::ballot::Ballot;
use protocol::entry::{Close, Entry, Issuance, LogState, Tally, Vote};
use protocol::ids::LogId;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use tests::forge::{Files, History, Said};
use tests::{arg, files, folder, seed};
use verifier_cli::audit::{self, Options};
use verifier_cli::progress::Progress;
use verifier_cli::verdict::{AuditVerdict, Outcome};

use crate::rules;
use crate::stage::{CELLS, REGISTRARS, Stage, elsewhere, stage};

/// So many in every run of the tests.
const FEW: usize = 80;
/// Between two audits of the tree as it was.
const UNTOUCHED_EVERY: usize = 20;

/// A place on disk for one tree after the other: only what differs is written.
struct Place {
    folder: TempDir,
    files: Files,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: folder(),
            files: Files::new(),
        }
    }

    fn hold(&mut self, wanted: &Files) {
        for path in self.files.keys().filter(|path| !wanted.contains_key(*path)) {
            fs::remove_file(self.folder.path().join(path)).unwrap();
        }
        let changed: Files = wanted
            .iter()
            .filter(|(path, bytes)| self.files.get(*path) != Some(bytes))
            .map(|(path, bytes)| (path.clone(), bytes.clone()))
            .collect();
        files::write(self.folder.path(), &changed);
        self.files.clone_from(wanted);
    }

    fn audit(&self, stage: &Stage, evidence: &[PathBuf]) -> AuditVerdict {
        let options = Options {
            threads: NonZeroUsize::MIN,
            settle: Duration::ZERO,
            evidence: evidence.to_vec(),
            witnesses: Vec::new(),
            state: None,
        };
        audit::run(
            arg(self.folder.path()),
            &stage.election().id(),
            &options,
            &Progress::hidden(),
        )
    }
}

#[test]
fn no_mutated_tree_passes_with_what_was_kept() {
    let (stage, other) = (stage(), elsewhere());
    let wanted: usize = std::env::var("TALLYROOT_MUTATIONS").map_or(FEW, |n| n.parse().unwrap());
    let base: u64 = seed::generator("mutations").random();
    let honest = stage.forged(|_| ());
    let evidence = stage.kept_of_all();
    assert_eq!(
        rules::broken(stage.election(), &stage.history),
        BTreeSet::new()
    );

    let next = AtomicUsize::new(0);
    let tally: Mutex<BTreeMap<&'static str, usize>> = Mutex::default();
    // Of each kind, how many break a rule, and which rules.
    let shown: Mutex<BTreeMap<&'static str, (usize, BTreeSet<&'static str>)>> = Mutex::default();
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut place = Place::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= wanted {
                        break;
                    }
                    let mut rng = StdRng::seed_from_u64(base.wrapping_add(n as u64));
                    let Mutant { kind, tree, broken } = mutate(stage, other, &honest, n, &mut rng);
                    place.hold(&tree);
                    // One thing that one person kept, and that covers the whole ledger, is enough.
                    let kept = evidence.choose(&mut rng).unwrap().clone();
                    let verdict = catch_unwind(AssertUnwindSafe(|| place.audit(stage, &[kept])));
                    let alone = broken.map(|codes| (place.audit(stage, &[]), codes));
                    let wrong = match &verdict {
                        Err(_) => Some("panicked".to_owned()),
                        // What breaks a rule shows without anybody's evidence.
                        _ if let Some((verdict, codes)) = &alone
                            && !shows(verdict, codes) =>
                        {
                            Some(format!(
                                "{codes:?} not shown by the files alone, but {:?}",
                                codes_of(verdict)
                            ))
                        }
                        Ok(verdict) if verdict.verdict != Outcome::Findings => {
                            Some("missed".to_owned())
                        }
                        Ok(_) => None,
                    };
                    if let Some((_, codes)) = &alone {
                        let mut shown = shown.lock().unwrap();
                        let of_kind = shown.entry(kind).or_insert((0, BTreeSet::new()));
                        of_kind.0 += 1;
                        of_kind.1.extend(codes);
                    }
                    if let Some(wrong) = wrong {
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("{n} (seed {base}): {kind}: {wrong}"));
                    }
                    *tally.lock().unwrap().entry(kind).or_default() += 1;
                    if n.is_multiple_of(UNTOUCHED_EVERY) {
                        place.hold(&honest);
                        let verdict = place.audit(stage, &evidence);
                        if verdict.verdict != Outcome::Verified {
                            failures
                                .lock()
                                .unwrap()
                                .push(format!("{n}: false alarm: {:?}", verdict.findings));
                        }
                        *tally.lock().unwrap().entry("untouched").or_default() += 1;
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    eprintln!("{wanted} mutated trees: {:#?}", tally.into_inner().unwrap());
    eprintln!(
        "of these, shown by the files alone, and the rules that they break: {:#?}",
        shown.into_inner().unwrap()
    );
    assert!(
        failures.is_empty(),
        "{}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn codes_of(verdict: &AuditVerdict) -> BTreeSet<&'static str> {
    let findings = verdict.findings.iter();
    findings.map(|finding| finding.code.name()).collect()
}

/// Of broken rules each is named; of broken bytes, anything.
fn shows(verdict: &AuditVerdict, broken: &BTreeSet<&'static str>) -> bool {
    let codes = codes_of(verdict);
    !codes.is_empty() && broken.is_subset(&codes)
}

/// A tree that differs from the honest one.
struct Mutant {
    /// What was done to it.
    kind: &'static str,
    tree: Files,
    /// What the files alone must show: any finding where bytes were changed, else these. `None`: a ledger so changed is well formed.
    broken: Option<BTreeSet<&'static str>>,
}

fn mutate(stage: &Stage, other: &Stage, honest: &Files, n: usize, rng: &mut StdRng) -> Mutant {
    loop {
        let (kind, tree, broken) = if n.is_multiple_of(2) {
            let (kind, tree) = raw(honest, &other.files, rng);
            (kind, tree, Some(BTreeSet::new()))
        } else {
            let mut history = stage.history.clone();
            let kind = meaning(stage, &mut history, rng);
            let broken = rules::broken(stage.election(), &history);
            let tree = stage.operator.publish(&history);
            (kind, tree, Some(broken).filter(|codes| !codes.is_empty()))
        };
        if tree != *honest {
            return Mutant { kind, tree, broken };
        }
    }
}

/// Whether the audit needs the file: checkpoints that nothing names may be missing.
fn is_needed(path: &str) -> bool {
    !path.contains("/checkpoints/")
}

fn raw(honest: &Files, other: &Files, rng: &mut StdRng) -> (&'static str, Files) {
    let mut tree = honest.clone();
    let path = tree.keys().choose(rng).unwrap().clone();
    let len = tree[&path].len();
    let kind = ["bit", "cut", "drop", "swap", "foreign"]
        .choose(rng)
        .unwrap();
    match *kind {
        "bit" => {
            tree.get_mut(&path).unwrap()[rng.random_range(0..len)] ^= 1 << rng.random_range(0..8)
        }
        "cut" => tree
            .get_mut(&path)
            .unwrap()
            .truncate(rng.random_range(0..len)),
        "drop" if is_needed(&path) => {
            tree.remove(&path);
        }
        "swap" => {
            let with = tree.keys().choose(rng).unwrap().clone();
            let (one, two) = (tree[&path].clone(), tree[&with].clone());
            tree.insert(path, two);
            tree.insert(with, one);
        }
        // A file of another election, at its own place or at this one.
        "foreign" => {
            let bytes = match other.get(&path) {
                Some(bytes) if rng.random_bool(0.5) => bytes,
                _ => other.values().choose(rng).unwrap(),
            };
            tree.insert(path, bytes.clone());
        }
        _ => {}
    }
    (kind, tree)
}

fn batch(history: &History, rng: &mut StdRng) -> (u32, usize) {
    let cell = rng.random_range(0..CELLS);
    (cell, *history.vote_batches(cell).choose(rng).unwrap())
}

fn vote(stage: &Stage, bytes: &[u8]) -> Vote {
    match Entry::decode(bytes, stage.election()) {
        Ok(Entry::Vote(vote)) => vote,
        other => panic!("{other:?}"),
    }
}

/// Changes what the logs say. Every sum and signature that the operator can make right is made right afterwards.
fn meaning(stage: &Stage, history: &mut History, rng: &mut StdRng) -> &'static str {
    let election = stage.election();
    let at = batch(history, rng);
    let kind = [
        "vote changed",
        "vote changed and signed",
        "vote dropped",
        "vote moved",
        "vote copied",
        "vote added",
        "votes exchanged",
        "tally changed",
        "close changed",
        "close dropped",
        "head's time",
        "head's state",
        "head's reach",
        "head dropped",
        "issuance changed",
        "issuance dropped",
        "issuance added",
        "batches joined",
        "batches exchanged",
        "notice dropped",
    ]
    .choose(rng)
    .unwrap();
    let registrar = rng.random_range(0..REGISTRARS);
    let issuances = LogId::Issuance {
        registrar,
        shard: 0,
    };
    let pick = rng.random_range(0..usize::MAX);
    let changed_ballot = |vote: &mut Vote| {
        let contests = election.contests();
        let mut choices: Vec<Vec<u16>> = vote.ballot.choices().map(<[u16]>::to_vec).collect();
        choices[0] = if choices[0].is_empty() {
            vec![0]
        } else {
            Vec::new()
        };
        vote.ballot = Ballot::new(&choices, contests).unwrap();
    };
    match *kind {
        "vote changed" => history.change_votes(election, at, |votes| {
            let place = pick % votes.len();
            let mut changed = vote(stage, &votes[place]);
            changed_ballot(&mut changed);
            votes[place] = changed.encode();
        }),
        // By a credential that the operator made, with every registrar's help.
        "vote changed and signed" => history.change_votes(election, at, |votes| {
            let place = pick % votes.len();
            votes[place] = stage.invented(&stage.credential_in(at.0)).encode();
        }),
        "vote dropped" => history.change_votes(election, at, |votes| {
            if votes.len() > 1 {
                votes.remove(pick % votes.len());
            }
        }),
        "vote moved" | "vote copied" => {
            let to = batch(history, rng);
            let moved = history.change_votes(election, at, |votes| {
                let place = pick % votes.len();
                if *kind == "vote copied" || votes.len() == 1 {
                    votes[place].clone()
                } else {
                    votes.remove(place)
                }
            });
            history.change_votes(election, to, |votes| votes.push(moved));
        }
        "vote added" => history.change_votes(election, at, |votes| {
            votes.push(stage.invented(&stage.credential_in(at.0)).encode());
        }),
        // Each keeps her credential, and gets the other's ballot and its signature.
        "votes exchanged" => history.change_votes(election, at, |votes| {
            let (one, two) = (pick % votes.len(), (pick / 7) % votes.len());
            let (a, b) = (vote(stage, &votes[one]), vote(stage, &votes[two]));
            let exchanged = |own: &Vote, from: &Vote| Vote {
                ballot: from.ballot.clone(),
                signature: from.signature,
                ..own.clone()
            };
            votes[one] = exchanged(&a, &b).encode();
            votes[two] = exchanged(&b, &a).encode();
        }),
        "tally changed" => {
            let bytes = history.logs.get_mut(&LogId::Cell(at.0)).unwrap()[at.1]
                .last_mut()
                .unwrap();
            let Ok(Entry::Tally(mut tally)) = Entry::decode(bytes, election) else {
                panic!("no tally");
            };
            match pick % 3 {
                0 => tally.time += election.manifest().batch_wait_ms,
                1 => tally.totals.contests[0].blanks += 1,
                _ => tally.totals.votes += 1,
            }
            *bytes = Tally { ..tally }.encode();
        }
        "close changed" => {
            let batch = history
                .logs
                .get_mut(&LogId::Cell(at.0))
                .unwrap()
                .last_mut()
                .unwrap();
            let Ok(Entry::Close(close)) = Entry::decode(&batch[0], election) else {
                panic!("no close");
            };
            batch[0] = Close {
                count: close.count + 1,
                ..close
            }
            .encode();
        }
        "close dropped" => {
            history.logs.get_mut(&LogId::Cell(at.0)).unwrap().pop();
        }
        "head's time" | "head's state" | "head's reach" => {
            let heads = history.every_head().count();
            let said = history.every_head().nth(pick % heads).unwrap();
            let Said::Head { time, logs, .. } = said else {
                panic!("no head");
            };
            let log = (pick / 7) % logs.len();
            match *kind {
                "head's time" => {
                    *time = time.saturating_add_signed(rng.random_range(-100_000..100_000))
                }
                "head's state" => {
                    let states = [LogState::Open, LogState::Stale, LogState::Closed];
                    logs[log].0 = *states.choose(rng).unwrap();
                }
                _ => {
                    logs[log].1 = (logs[log].1 + rng.random_range(0..4))
                        .saturating_sub(2)
                        .max(1)
                }
            }
        }
        "head dropped" => {
            let last = history.heads.len() - 1;
            let n = 1 + pick % (last - 1);
            drop_heads(history, n);
        }
        "notice dropped" => history.drop_notices(election),
        "issuance changed" | "issuance dropped" | "issuance added" => {
            let batches = history.logs.get_mut(&issuances).unwrap();
            let (n, place) = batches
                .iter()
                .enumerate()
                .flat_map(|(n, batch)| (0..batch.len()).map(move |place| (n, place)))
                .filter(|(n, place)| {
                    matches!(
                        Entry::decode(&batches[*n][*place], election),
                        Ok(Entry::Issuance(_))
                    )
                })
                .choose(rng)
                .unwrap();
            let fresh = Issuance {
                roll_index: rng.random_range(0..election.manifest().roll.size),
                blinded_digest: rng.random(),
            }
            .encode();
            match *kind {
                "issuance changed" => batches[n][place] = fresh,
                "issuance added" => batches[n].insert(place, fresh),
                _ if batches[n].len() > 1 => {
                    batches[n].remove(place);
                }
                _ => {}
            }
            history.add_up(election);
        }
        "batches joined" | "batches exchanged" => {
            let own = history.vote_batches(at.0);
            let batches = history.logs.get_mut(&LogId::Cell(at.0)).unwrap();
            if let [one, two, ..] = own[..] {
                if *kind == "batches exchanged" {
                    batches.swap(one, two);
                } else {
                    let end = batches[one].len() - 1;
                    let votes: Vec<_> = batches[one].drain(..end).collect();
                    batches[two].splice(0..0, votes);
                    batches.remove(one);
                    let end = batches[two - 1].len() - 1;
                    batches[two - 1][..end].sort_by_key(|entry| protocol::merkle::leaf_hash(entry));
                }
                history.add_up(election);
            }
        }
        other => panic!("{other}"),
    }
    kind
}

/// Takes a batch out of the heads log.
fn drop_heads(history: &mut History, n: usize) {
    history.heads.remove(n);
    for reached in history.anchors.values_mut().flatten() {
        *reached -= usize::from(*reached > n);
    }
}

#[test]
fn a_place_holds_one_tree_at_a_time() {
    let mut place = Place::new();
    let tree = |paths: &[&str]| -> Files {
        paths
            .iter()
            .map(|path| ((*path).to_owned(), path.as_bytes().to_vec()))
            .collect()
    };
    for wanted in [tree(&["a", "b/c"]), tree(&["b/c"]), tree(&["a", "d"])] {
        place.hold(&wanted);
        assert_eq!(files::contents(Path::new(place.folder.path())), wanted);
    }
}
