//! Harming files that the audit knows.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use tests::seed;

use crate::closed::{Closed, Copy, Kind, elections, named};

/// Ways to harm a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    /// One bit, in the first, a middle or the last byte.
    FlipFirst,
    FlipMiddle,
    FlipLast,
    CutOne,
    CutHalf,
    Empty,
    Extend,
    ExtendLine,
    Delete,
    /// With another file of its kind.
    Swap,
    /// By a file of its kind of another election.
    OtherElection,
    Folder,
    /// To the right content, elsewhere.
    Link,
    /// Reading it would wait for ever.
    Fifo,
}

const HARMS: [Harm; 14] = [
    Harm::FlipFirst,
    Harm::FlipMiddle,
    Harm::FlipLast,
    Harm::CutOne,
    Harm::CutHalf,
    Harm::Empty,
    Harm::Extend,
    Harm::ExtendLine,
    Harm::Delete,
    Harm::Swap,
    Harm::OtherElection,
    Harm::Folder,
    Harm::Link,
    Harm::Fifo,
];

/// One file, or two that are swapped, and what happens to it.
#[derive(Clone, Debug)]
struct Case {
    kind: Kind,
    harm: Harm,
    path: String,
    /// The sibling that it is swapped with, or the other election's file.
    with: Option<String>,
    bit: u8,
    /// Where in the middle, in thousandths.
    at: usize,
}

fn draw(victim: &Closed, other: &Closed, rng: &mut StdRng) -> Vec<Case> {
    let mut cases = Vec::new();
    let others = other.by_kind();
    for (kind, paths) in victim.by_kind() {
        for harm in HARMS {
            // Cells get everything; the others are files of the same make, and get a sample.
            let is_sampled = kind.name.starts_with("registrars") || kind.name.starts_with("heads");
            if is_sampled && rng.random_bool(0.5) {
                continue;
            }
            if !kind.required && matches!(harm, Harm::Delete | Harm::Folder) {
                continue;
            }
            let path = (*paths.choose(rng).unwrap()).to_owned();
            let bytes = &victim.files[&path];
            let with = match harm {
                Harm::Swap => {
                    let siblings: Vec<_> = paths
                        .iter()
                        .filter(|sibling| victim.files[**sibling] != *bytes)
                        .collect();
                    let Some(sibling) = siblings.choose(rng) else {
                        continue;
                    };
                    Some((**sibling).to_owned())
                }
                Harm::OtherElection => {
                    // At the same place if there is one.
                    let there = others.get(kind).into_iter().flatten();
                    let same = there.clone().find(|there| **there == path);
                    let Some(found) = same.or(there.clone().next()) else {
                        continue;
                    };
                    if other.files[*found] == *bytes {
                        continue;
                    }
                    Some((*found).to_owned())
                }
                _ => None,
            };
            cases.push(Case {
                kind: kind.clone(),
                harm,
                path,
                with,
                bit: 1 << rng.random_range(0..8),
                at: rng.random_range(0..1_000),
            });
        }
    }
    cases
}

impl Copy {
    /// Does the harm, and gives back the files that are no longer what they were.
    fn harm(&self, case: &Case, other: &Closed) -> Vec<String> {
        let place = self.path(&case.path);
        let original = &self.of.files[&case.path];
        let mut bytes = original.clone();
        let len = bytes.len();
        let mut flip = |at: usize| bytes[at] ^= case.bit;
        match case.harm {
            Harm::FlipFirst => flip(0),
            Harm::FlipMiddle => flip(len * case.at / 1_000),
            Harm::FlipLast => flip(len - 1),
            Harm::CutOne => bytes.truncate(len - 1),
            Harm::CutHalf => bytes.truncate(len / 2),
            Harm::Empty => bytes.clear(),
            Harm::Extend => bytes.push(0),
            Harm::ExtendLine => bytes.push(b'\n'),
            Harm::OtherElection => bytes.clone_from(&other.files[case.with.as_ref().unwrap()]),
            Harm::Swap => {
                let with = case.with.clone().unwrap();
                bytes.clone_from(&self.of.files[&with]);
                fs::write(self.path(&with), original).unwrap();
                fs::write(place, bytes).unwrap();
                return vec![case.path.clone(), with];
            }
            Harm::Delete | Harm::Folder | Harm::Link | Harm::Fifo => {
                fs::remove_file(&place).unwrap();
                match case.harm {
                    Harm::Folder => fs::create_dir(&place).unwrap(),
                    Harm::Link => {
                        let elsewhere = self.folder.path().join("elsewhere");
                        fs::write(&elsewhere, original).unwrap();
                        std::os::unix::fs::symlink(elsewhere, &place).unwrap();
                    }
                    Harm::Fifo => {
                        let made = Command::new("mkfifo").arg(&place).status().unwrap();
                        assert!(made.success());
                    }
                    _ => {}
                }
                return vec![case.path.clone()];
            }
        }
        fs::write(place, bytes).unwrap();
        vec![case.path.clone()]
    }
}

#[test]
fn every_harm_to_every_kind_of_file_is_found_and_named() {
    let [victim, other] = elections();
    let mut rng = seed::generator("tamper");
    let mut cases = draw(victim, other, &mut rng);
    let kinds: BTreeSet<&str> = cases.iter().map(|case| case.kind.name.as_str()).collect();
    for kind in [
        "manifest.json",
        "results.json",
        "anchor",
        "cells: checkpoint",
        "cells: checkpoint that is named",
        "cells: further checkpoint",
        "cells: batch",
        "cells: full tile of level 0",
        "cells: partial tile of level 0",
        "cells: superseded tile of level 0",
        "cells: partial tile of level 1",
        "cells: full bundle",
        "cells: partial bundle",
        "cells: superseded bundle",
        "registrars: batch",
        "registrars: full tile of level 0",
        "registrars: superseded tile of level 0",
        "heads: batch",
        "heads: partial tile of level 0",
        "heads: superseded bundle",
    ] {
        assert!(kinds.contains(kind), "{kind} is not among {kinds:?}");
    }
    cases.shuffle(&mut rng);

    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let copy = Copy::of(victim);
                copy.must_verify("before");
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let harmed = copy.harm(case, other);
                    let said = copy.audit();
                    for path in &harmed {
                        copy.put_back(path);
                    }
                    let found = if said.code == 1 {
                        named(&said, &format!("{case:?}"))
                    } else {
                        BTreeSet::new()
                    };
                    // A chain of files is followed up to the first that is wrong.
                    let is_chain = ["batch", "anchor"]
                        .iter()
                        .any(|c| case.kind.name.ends_with(c));
                    let named = match harmed.as_slice() {
                        [_, _] if is_chain => harmed.iter().any(|path| found.contains(path)),
                        _ => harmed.iter().all(|path| found.contains(path)),
                    };
                    if said.code != 1 || !named {
                        failures.lock().unwrap().push(format!(
                            "{case:?}: code {}, named {found:?} {}",
                            said.code, said.stderr
                        ));
                    }
                }
                // Nothing of what was found was left over from an earlier harm.
                copy.must_verify("afterwards");
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} harms:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

#[test]
fn what_is_optional_may_be_missing() {
    let [victim, _] = elections();
    let copy = Copy::of(victim);
    let optional: Vec<_> = victim
        .kinds
        .iter()
        .filter(|(_, kind)| !kind.required)
        .collect();
    assert!(optional.len() > 100);
    for (path, _) in optional {
        fs::remove_file(copy.path(path)).unwrap();
    }
    copy.must_verify("without superseded tiles, bundles and checkpoints");
}
