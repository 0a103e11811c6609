//! A dishonest operator who holds every key of the election but the voters': everything is signed again after each change.

use protocol::ballot::Ballot;
use protocol::batch::BatchFile;
use protocol::checkpoint::Checkpoint;
use protocol::entry::{
    Close, Count, Entry, Genesis, HeadLog, Issuance, LogState, NoticeAction, Tally, Vote,
};
use protocol::ids::LogId;
use protocol::merkle::leaf_hash;
use protocol::note::{ED25519, NoteSignature, SignedNote, key_id};
use verifier_cli::verdict::{AuditVerdict, Outcome};

use crate::common::keys::{CLOSING, GRACE, OPENING};
use crate::common::world::{Event, Plan, World, cosigned_at_once};
use crate::common::{audit, found};

const PLAN: Plan = Plan {
    votes: 60,
    issued: 80,
    batch: 20,
    finished: true,
};

fn folder_of(world: &World) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    folder
}

fn judge(world: &World) -> AuditVerdict {
    audit(folder_of(world).path(), &world.keys.election.id())
}

/// The change must be found by exactly this code (and by others only where the test names them).
fn finds(world: &World, code: &str, also: &[&str]) -> AuditVerdict {
    let verdict = judge(world);
    let codes: Vec<&str> = verdict.findings_by_code.keys().copied().collect();
    assert!(
        codes.contains(&code),
        "{code} is not among {:#?}",
        verdict.findings
    );
    for found in codes {
        assert!(
            found == code || also.contains(&found),
            "{found} besides {code}: {:#?}",
            verdict.findings
        );
    }
    assert_eq!(verdict.verdict, Outcome::Findings);
    verdict
}

fn world() -> World {
    World::new("dishonest", PLAN)
}

fn decode(world: &World, bytes: &[u8]) -> Entry {
    Entry::decode(bytes, &world.keys.election).unwrap()
}

/// The first vote of the n-th batch of votes of a cell.
fn first_vote(world: &mut World, cell: u32, n: usize) -> Vote {
    let bytes = world.batch_of_votes(cell, n)[0].clone();
    Vote::decode(&bytes, &world.keys.election).unwrap()
}

/// Swaps two choices of the first vote of a batch, keeping the ballot valid.
fn other_ballot(world: &World, vote: &Vote) -> Ballot {
    let mut choices: Vec<Vec<u16>> = vote.ballot.choices().map(<[u16]>::to_vec).collect();
    choices[0] = if choices[0] == [1] { vec![2] } else { vec![1] };
    Ballot::new(&choices, world.keys.election.contests()).unwrap()
}

#[test]
fn a_changed_ballot() {
    let mut world = world();
    let mut vote = first_vote(&mut world, 0, 0);
    vote.ballot = other_ballot(&world, &vote);
    world.change_votes(0, 0, |votes| votes[0] = vote.encode());
    let verdict = finds(&world, "vote-ballot-signature", &[]);
    assert_eq!(verdict.findings.len(), 1);
    let finding = &verdict.findings[0];
    assert_eq!(
        (finding.place.file.as_str(), finding.votes_at_most),
        ("cells/0/batches/1", 1)
    );
    assert!(finding.evidence.contains(&hex::encode(vote.credential)));
}

#[test]
fn an_invented_vote() {
    let mut world = world();
    let mut vote = first_vote(&mut world, 1, 1);
    // A stranger's key under the signatures of somebody else's.
    let stranger = (0..)
        .map(|i| world.keys.voter(5_000 + i))
        .find(|key| world.keys.election.cell_of(&key.public()) == 1)
        .unwrap();
    let signatures = vote.signatures.clone();
    vote = world.vote_with(&stranger, vote.ballot);
    vote.signatures[1] = signatures[1].clone();
    world.change_votes(1, 1, |votes| votes[0] = vote.encode());
    finds(&world, "vote-registrar-signature", &[]);
}

#[test]
fn a_dropped_vote_after_a_head_covered_it() {
    // The log is rewritten without the vote; the heads log keeps what it said before.
    let honest = world();
    let folder = tempfile::tempdir().unwrap();
    honest.publish(folder.path());
    let mut world = world();
    world.change_votes(0, 1, |votes| {
        votes.pop();
    });
    for (path, bytes) in world.steps() {
        if path.starts_with("cells/0/") {
            crate::common::write(folder.path(), &path, &bytes);
        }
    }
    let verdict = audit(folder.path(), &world.keys.election.id());
    let found = found(&verdict);
    assert!(
        found
            .iter()
            .any(|(code, at)| *code == "head-root"
                || (*code == "head-size" && at.starts_with("heads/"))),
        "{found:#?}"
    );
    assert!(
        found.iter().any(|(code, _)| *code == "results-wrong"),
        "{found:#?}"
    );
}

#[test]
fn a_vote_in_the_wrong_cell() {
    let mut world = world();
    let moved = world.batch_of_votes(0, 0)[0].clone();
    world.change_votes(0, 0, |votes| {
        votes.remove(0);
    });
    world.change_votes(1, 0, |votes| votes.push(moved));
    finds(&world, "vote-wrong-cell", &[]);
}

#[test]
fn a_duplicated_vote() {
    let mut world = world();
    // Signed anew over another ballot, as a voter with two devices might; and in a later batch.
    let first = first_vote(&mut world, 0, 0);
    let voter = (0..60)
        .find(|v| world.keys.voter(*v).public() == first.credential)
        .unwrap();
    let second = world.vote_with(&world.keys.voter(voter), other_ballot(&world, &first));
    world.change_votes(0, 2, |votes| votes.push(second.encode()));
    let verdict = finds(&world, "vote-duplicate", &[]);
    assert_eq!(verdict.findings[0].place.file, "cells/0/batches/3");
}

#[test]
fn votes_out_of_order() {
    let mut world = world();
    world.batch_of_votes(0, 0).swap(0, 1);
    finds(&world, "batch-order", &[]);
}

#[test]
fn a_wrong_tally() {
    let mut world = world();
    let election = world.keys.election.clone();
    let entries = world.batch_of_votes(0, 1);
    let last = entries.last_mut().unwrap();
    let Entry::Tally(mut tally) = Entry::decode(last, &election).unwrap() else {
        panic!("a batch ends in a tally");
    };
    tally.totals.contests[0].counts[1] += 1;
    tally.totals.contests[0].counts[0] -= 1;
    *last = tally.encode();
    let verdict = finds(&world, "tally-wrong", &[]);
    assert!(
        verdict.findings[0].evidence.contains("Mayor"),
        "{:?}",
        verdict.findings[0].evidence
    );
}

#[test]
fn a_wrong_last_tally_shows_in_the_results() {
    let mut world = world();
    let election = world.keys.election.clone();
    let entries = world.batch_of_votes(0, 2);
    let last = entries.last_mut().unwrap();
    let Entry::Tally(mut tally) = Entry::decode(last, &election).unwrap() else {
        panic!("a batch ends in a tally");
    };
    tally.totals.contests[1].counts[1] += 1;
    *last = tally.encode();
    // results.json follows the tally; the recount does not.
    let verdict = finds(&world, "tally-wrong", &["results-wrong"]);
    assert!(verdict.findings_by_code.contains_key("results-wrong"));
}

#[test]
fn a_clock_turned_back() {
    let mut world = world();
    let election = world.keys.election.clone();
    let entries = world.batch_of_votes(0, 1);
    let last = entries.last_mut().unwrap();
    let Entry::Tally(tally) = Entry::decode(last, &election).unwrap() else {
        panic!("a batch ends in a tally");
    };
    *last = Tally {
        time: OPENING,
        ..tally.clone()
    }
    .encode();
    finds(&world, "time-backwards", &[]);
    *world.batch_of_votes(0, 1).last_mut().unwrap() = Tally {
        time: tally.time + 1,
        ..tally
    }
    .encode();
    finds(&world, "time-backwards", &[]);
}

#[test]
fn altered_heads() {
    let honest = world();
    let alter = |n: usize, tweak: fn(&mut protocol::entry::Head)| {
        let mut world = world();
        let at = world.nth_head(n);
        if let Event::Head { tweak: slot, .. } = &mut world.events[at] {
            *slot = Some(tweak);
        }
        world
    };
    assert_eq!(judge(&honest).verdict, Outcome::Verified);
    finds(
        &alter(3, |head| head.logs[0].root.0[0] ^= 1),
        "head-root",
        &[],
    );
    finds(&alter(3, |head| head.logs[0].size -= 1), "head-size", &[]);
    finds(
        &alter(2, |head| head.logs[1].size += 100_000),
        "head-falls",
        &["checkpoint-rollback"],
    );
    finds(&alter(3, |head| head.time = OPENING), "head-falls", &[]);
    finds(
        &alter(3, |head| head.logs[0].state = LogState::Stale),
        "head-stale",
        &[],
    );
    finds(
        &alter(3, |head| head.logs[0].state = LogState::Closed),
        "log-not-closed",
        &["head-reopened", "issuance-closed-late", "closed-early"],
    );
    finds(
        &alter(5, |head| {
            for log in &mut head.logs[2..] {
                log.state = LogState::Open;
            }
        }),
        "log-not-closed",
        &[],
    );
}

#[test]
fn a_reopened_log() {
    let mut world = world();
    // After the head that shows the issuance logs closed, one of them speaks again.
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let at = world.nth_head(5) + 1;
    let more = Issuance {
        roll_index: 999,
        blinded_digest: [9; 32],
    };
    world
        .events
        .insert(at, Event::Batch(log, vec![more.encode()]));
    let verdict = finds(
        &world,
        "grammar-broken",
        &[
            "head-reopened",
            "issuance-closed-late",
            "final-head-early",
            "unclosed",
        ],
    );
    assert!(verdict.findings_by_code.contains_key("head-reopened"));
}

#[test]
fn a_cell_that_never_closed() {
    let mut world = World::new(
        "unclosed",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    let issuance: Vec<LogId> = world.keys.election.logs()[2..].to_vec();
    for log in issuance {
        world.close(log, CLOSING);
    }
    world.head(CLOSING + 1_000);
    world.close(LogId::Cell(0), CLOSING + 2_000);
    world.events.push(Event::Head {
        time: CLOSING + GRACE + 1,
        is_final: true,
        tweak: None,
    });
    world.events.push(Event::Results);
    let verdict = finds(&world, "unclosed", &[]);
    assert_eq!(verdict.findings.len(), 1);
    // The same head a moment earlier had no right to exist.
    let last = world.events.len() - 2;
    if let Event::Head { time, .. } = &mut world.events[last] {
        *time = CLOSING + GRACE;
    }
    finds(&world, "final-head-early", &["unclosed"]);
}

#[test]
fn a_cell_that_never_published() {
    let mut world = World::new(
        "silent",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    world
        .events
        .retain(|event| !matches!(event, Event::Batch(LogId::Cell(1), _)));
    assert_eq!(judge(&world).findings, []);
    let logs = world.keys.election.logs().to_vec();
    for log in &logs[2..] {
        world.close(*log, CLOSING);
    }
    world.head(CLOSING + 1_000);
    world.close(LogId::Cell(0), CLOSING + 2_000);
    world.events.push(Event::Head {
        time: CLOSING + GRACE + 1,
        is_final: true,
        tweak: None,
    });
    world.events.push(Event::Results);
    let verdict = finds(&world, "unclosed", &[]);
    assert_eq!(verdict.findings.len(), 1);
    assert!(verdict.results.is_some());
    // It counts at its genesis, as in the final head.
    let wrong = World {
        tweak_results: Some(|results| results.cells[1].size = 0),
        ..world
    };
    finds(&wrong, "results-wrong", &["unclosed"]);
}

#[test]
fn invented_votes_behind_a_stale_issuance_log() {
    let mut world = World::new(
        "stale",
        Plan {
            issued: 50,
            finished: false,
            ..PLAN
        },
    );
    // Every head calls the log stale, so that none compares it with the votes.
    for n in 0..5 {
        let at = world.nth_head(n);
        if let Event::Head { tweak, .. } = &mut world.events[at] {
            *tweak = Some(|head| {
                let genesis = Genesis::of(&crate::common::keys::Keys::new("stale").election, SHARD);
                head.logs[2] = HeadLog {
                    state: LogState::Stale,
                    size: 1,
                    root: leaf_hash(&genesis.encode()),
                };
            });
        }
    }
    let verdict = finds(&world, "votes-exceed-issued", &[]);
    assert_eq!(verdict.findings[0].votes_at_most, 10);
}

const SHARD: LogId = LogId::Issuance {
    registrar: 0,
    shard: 0,
};

#[test]
fn voters_who_were_shut_out() {
    // Everything is closed and counted while voting should go on: by the heads' times, 1 ms too early.
    let early = |before: Option<NoticeAction>| {
        let mut world = World::new(
            "shut",
            Plan {
                finished: false,
                ..PLAN
            },
        );
        if let Some(action) = before {
            let notice = world.notice(0, action);
            world.batch(LogId::Heads, vec![notice]);
        }
        let logs = world.keys.election.logs().to_vec();
        for log in &logs[2..] {
            world.close(*log, CLOSING - 5_000);
        }
        world.head(CLOSING - 4_000);
        for log in &logs[..2] {
            world.close(*log, CLOSING - 1_000);
        }
        world.events.push(Event::Head {
            time: CLOSING,
            is_final: true,
            tweak: None,
        });
        world.events.push(Event::Results);
        world
    };
    let verdict = finds(&early(None), "closed-early", &[]);
    assert_eq!(verdict.findings_by_code["closed-early"], 5);
    // The authority's freeze of one log excuses that log alone.
    let frozen = early(Some(NoticeAction::Freeze {
        log: LogId::Cell(0),
    }));
    let verdict = finds(&frozen, "closed-early", &[]);
    assert_eq!(verdict.findings_by_code["closed-early"], 4);
    assert_eq!(
        judge(&early(Some(NoticeAction::Cancel)))
            .findings_by_code
            .get("closed-early"),
        None
    );
}

#[test]
fn late_and_early_votes_are_counted_and_told() {
    let mut world = World::new(
        "late",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    // The heads of the voting time but the first carry times after closing and grace; the votes before are in time.
    for n in 3..5 {
        let at = world.nth_head(n);
        if let Event::Head { time, .. } = &mut world.events[at] {
            *time = CLOSING + GRACE + n as u64;
        }
    }
    let verdict = finds(&world, "late", &[]);
    assert_eq!(verdict.bounds.late, 40);
    assert_eq!(verdict.votes, 60);

    let mut world = World::new(
        "early",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    for n in 0..3 {
        let at = world.nth_head(n);
        if let Event::Head { time, .. } = &mut world.events[at] {
            *time = OPENING - 10 + n as u64;
        }
    }
    let verdict = finds(&world, "early", &[]);
    assert_eq!(verdict.bounds.early, 20);
}

#[test]
fn extra_issuances() {
    let log = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    let tamper = |change: fn(&mut Vec<Vec<u8>>)| {
        let mut world = world();
        let batch = world.events.iter_mut().find_map(|event| match event {
            Event::Batch(of, entries) if *of == log && entries.len() > 1 => Some(entries),
            _ => None,
        });
        change(batch.unwrap());
        world
    };
    let counts = ["count-wrong", "close-wrong"];
    finds(
        &tamper(|entries| entries.push(entries[0].clone())),
        "issuance-duplicate",
        &counts,
    );
    let off_roll = |entries: &mut Vec<Vec<u8>>| {
        entries.push(
            Issuance {
                roll_index: 1_000,
                blinded_digest: [1; 32],
            }
            .encode(),
        );
    };
    finds(&tamper(off_roll), "issuance-out-of-roll", &counts);
    finds(
        &tamper(|entries| {
            entries.pop();
        }),
        "count-wrong",
        &["close-wrong"],
    );
}

#[test]
fn refusals_that_fall() {
    let mut world = world();
    let election = world.keys.election.clone();
    let log = LogId::Issuance {
        registrar: 1,
        shard: 1,
    };
    let at = world
        .events
        .iter()
        .rposition(|event| matches!(event, Event::Batch(of, entries) if *of == log && matches!(Entry::decode(&entries[0], &election), Ok(Entry::Count(_)))))
        .unwrap();
    let Event::Batch(_, entries) = &world.events[at] else {
        unreachable!()
    };
    let Entry::Count(count) = decode(&world, &entries[0]) else {
        unreachable!()
    };
    let fallen = Count {
        refused: protocol::entry::Refused::default(),
        ..count
    };
    world
        .events
        .insert(at + 1, Event::Batch(log, vec![fallen.encode()]));
    finds(&world, "count-wrong", &[]);
}

#[test]
fn more_votes_than_credentials() {
    let mut world = World::new("extra", Plan { issued: 50, ..PLAN });
    let verdict = finds(&world, "votes-exceed-issued", &[]);
    assert_eq!(
        verdict
            .findings
            .iter()
            .map(|finding| finding.votes_at_most)
            .max(),
        Some(10)
    );
    assert_eq!(verdict.bounds.unused_credentials, Some(0));
    world.anchored = false;
    finds(&world, "votes-exceed-issued", &["anchor-not-final"]);
}

#[test]
fn keys_that_fit_two_ballots() {
    let mut world = world();
    // The identity: R = B·s fits any message. Whatever the signature, the key alone is refused.
    for (credential, name) in [
        (
            [
                1u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0,
            ],
            "small order",
        ),
        (
            // y = p + 3: not canonical.
            {
                let mut key = [0xff; 32];
                key[0] = 0xf0;
                key[31] = 0x7f;
                key
            },
            "canonically",
        ),
    ] {
        let election = world.keys.election.clone();
        let cell = election.cell_of(&credential);
        let mut vote = first_vote(&mut world, cell, 0);
        vote.credential = credential;
        let message = protocol::credential::credential_message(&election.id(), &credential);
        vote.signatures = (0..2)
            .map(|r| world.keys.registrar_signature(r, &message))
            .collect();
        let honest = world.batch_of_votes(cell, 0).clone();
        world.change_votes(cell, 0, |votes| votes[0] = vote.encode());
        let verdict = finds(&world, "vote-bad-key", &[]);
        assert!(
            verdict.findings[0].evidence.contains(name),
            "{:?}",
            verdict.findings[0].evidence
        );
        *world.batch_of_votes(cell, 0) = honest;
        world.retally();
    }
}

#[test]
fn a_close_with_a_wrong_number() {
    let mut world = world();
    let election = world.keys.election.clone();
    for event in &mut world.events {
        if let Event::Batch(LogId::Cell(0), entries) = event
            && let Ok(Entry::Close(close)) = Entry::decode(&entries[0], &election)
        {
            entries[0] = Close {
                count: close.count + 5,
                ..close
            }
            .encode();
        }
    }
    let verdict = finds(&world, "close-wrong", &[]);
    assert_eq!(verdict.findings[0].votes_at_most, 5);
}

#[test]
fn entries_where_they_do_not_belong() {
    // A vote after the close; a tally without votes; an unknown type; a second genesis.
    let mut world = world();
    let at = world.nth_head(6);
    let vote = world.vote(70);
    let cell = world.keys.election.cell_of(&vote.credential);
    let tally = world.batch_of_votes(cell, 0).last().unwrap().clone();
    world.events.insert(
        at,
        Event::Batch(LogId::Cell(cell), vec![vote.encode(), tally]),
    );
    world.retally();
    let verdict = finds(
        &world,
        "grammar-broken",
        &[
            "time-backwards",
            "log-not-closed",
            "unclosed",
            "final-head-early",
        ],
    );
    let mut broken = verdict.findings.iter();
    let broken = broken.find(|finding| finding.code.name() == "grammar-broken");
    // The entry that should not follow: the tally, behind the vote.
    let place = &broken.unwrap().place;
    let batch = std::fs::read(folder_of(&world).path().join(&place.file)).unwrap();
    let batch = BatchFile::decode(&batch, &world.keys.election).unwrap();
    assert_eq!(place.index, Some(batch.old_size + 1));

    let mut world = self::world();
    world.batch_of_votes(1, 0).insert(0, vec![0x77, 1, 2, 3]);
    finds(&world, "entry-malformed", &[]);

    let mut world = self::world();
    let genesis = Genesis::of(&world.keys.election, LogId::Cell(0)).encode();
    for event in &mut world.events {
        if let Event::Batch(LogId::Cell(1), entries) = event
            && entries.len() == 1
            && entries[0][0] == 1
        {
            entries[0] = genesis.clone();
        }
    }
    // Heads name the root of the right genesis only.
    finds(&world, "genesis-wrong", &["head-root"]);
}

#[test]
fn wrong_results_that_look_right() {
    let tweak = |tweak: fn(&mut protocol::results::Results)| World {
        tweak_results: Some(tweak),
        ..world()
    };
    for change in [
        (|results| {
            results.contests[0].counts[0] -= 1;
            results.contests[0].counts[1] += 1;
        }) as fn(&mut protocol::results::Results),
        |results| results.abstentions += 1,
        |results| results.cells[0].size -= 1,
        |results| {
            results.cells[1].proof = results.cells[0].proof.clone();
        },
        |results| {
            if let Some(winner) = &mut results.contests[1].winner {
                *winner = (*winner + 1) % 4;
            }
        },
        |results| {
            if let Some(rounds) = &mut results.contests[2].rounds {
                rounds[0].exhausted += 1;
            }
        },
    ] {
        finds(&tweak(change), "results-wrong", &[]);
    }
    // The final results are withheld.
    let mut world = world();
    world.events.pop();
    finds(&world, "results-not-final", &[]);
}

#[test]
fn a_second_line_on_a_checkpoint() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let election = &world.keys.election;
    // The spare key signs as well: a valid signature, and none that the manifest allows here.
    for (log, file) in [
        (LogId::Cell(0), "cells/0/checkpoint"),
        (LogId::Heads, "heads/checkpoints/3"),
    ] {
        let path = folder.path().join(file);
        let before = std::fs::read(&path).unwrap();
        let note = SignedNote::parse(&before).unwrap();
        let key = world.keys.log(log, true);
        let origin = election.origin(log);
        let signature = key.sign(note.text().as_bytes());
        let line = NoteSignature::new(&origin, key_id(&origin, ED25519, &key.public()), &signature)
            .unwrap();
        std::fs::write(&path, note.with_signatures([line]).unwrap().encode()).unwrap();
        let verdict = audit(folder.path(), &election.id());
        std::fs::write(&path, &before).unwrap();
        assert!(
            found(&verdict).contains(&("checkpoint-extra-line", file.to_owned())),
            "{:#?}",
            found(&verdict)
        );
        // The rest was audited all the same.
        assert_eq!(verdict.votes, 60);
    }
}

#[test]
fn a_checkpoint_by_the_spare_key_without_a_notice() {
    let world = world();
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let election = &world.keys.election;
    let log = LogId::Cell(1);
    let before = std::fs::read(folder.path().join("cells/1/checkpoint")).unwrap();
    let checkpoint = Checkpoint::parse_body(SignedNote::parse(&before).unwrap().text()).unwrap();
    let key = world.keys.log(log, true);
    let forged = checkpoint.signed(&key.public(), &key.sign(checkpoint.body().as_bytes()));
    std::fs::write(folder.path().join("cells/1/checkpoint"), &forged).unwrap();
    let path = format!("cells/1/checkpoints/{}", checkpoint.size());
    std::fs::write(folder.path().join(&path), &forged).unwrap();
    let verdict = audit(folder.path(), &election.id());
    let found = found(&verdict);
    assert!(
        found.contains(&("checkpoint-signature", "cells/1/checkpoint".to_owned())),
        "{found:#?}"
    );
    assert!(
        found.contains(&("checkpoint-signature", path)),
        "{found:#?}"
    );
    // The proof in results.json carries the right one.
    assert_eq!(found.len(), 3);
    assert!(found.contains(&("results-wrong", "results.json".to_owned())));
}

#[test]
fn a_second_history_under_the_same_key() {
    // The log's key also signed a tree with another vote; the file of one size shows it.
    let world = world();
    let mut forked = self::world();
    let vote = first_vote(&mut forked, 0, 0);
    let voter = (0..60)
        .find(|v| world.keys.voter(*v).public() == vote.credential)
        .unwrap();
    let other = forked.vote_with(&world.keys.voter(voter), other_ballot(&world, &vote));
    forked.change_votes(0, 0, |votes| votes[0] = other.encode());
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    let (path, bytes) = forked
        .steps()
        .into_iter()
        .filter(|(path, _)| path.starts_with("cells/0/checkpoints/"))
        .nth(1)
        .unwrap();
    std::fs::write(folder.path().join(&path), bytes).unwrap();
    let verdict = audit(folder.path(), &world.keys.election.id());
    assert_eq!(found(&verdict), [("checkpoint-root", path)]);
}

#[test]
fn a_log_that_was_longer_once() {
    // A whole cell is cut back to before its last votes, heads and anchors with it; one signed checkpoint was forgotten.
    let world = World::new(
        "cut",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    let cut = World {
        events: world.events[..world.nth_head(3) + 1].to_vec(),
        keys: crate::common::keys::Keys::new("cut"),
        anchored: true,
        tweak_results: None,
        cosign: cosigned_at_once,
    };
    let folder = tempfile::tempdir().unwrap();
    cut.publish(folder.path());
    let id = world.keys.election.id();
    assert_eq!(audit(folder.path(), &id).verdict, Outcome::Verified);
    let (path, bytes) = world
        .steps()
        .into_iter()
        .rfind(|(path, _)| path.starts_with("cells/0/checkpoints/"))
        .unwrap();
    crate::common::write(folder.path(), &path, &bytes);
    assert_eq!(
        found(&audit(folder.path(), &id)),
        [("checkpoint-rollback", path.clone())]
    );
    // The newest one under that name convicts nobody: it says no more than the log holds.
    std::fs::copy(
        folder.path().join("cells/0/checkpoint"),
        folder.path().join(&path),
    )
    .unwrap();
    let verdict = audit(folder.path(), &id);
    assert_eq!(found(&verdict), [("checkpoint-place", path)]);
    assert_eq!(verdict.findings[0].votes_at_most, 0);
}

#[test]
fn anchors_of_another_history() {
    let world = world();
    let mut forked = self::world();
    let at = forked.nth_head(2);
    if let Event::Head { time, .. } = &mut forked.events[at] {
        *time += 1;
    }
    let folder = tempfile::tempdir().unwrap();
    world.publish(folder.path());
    for (path, bytes) in forked.steps() {
        if path.starts_with("anchors/far/") {
            std::fs::write(folder.path().join(&path), bytes).unwrap();
        }
    }
    let verdict = audit(folder.path(), &world.keys.election.id());
    let found = found(&verdict);
    assert!(
        found
            .iter()
            .all(|(code, at)| *code == "anchor-conflict" && at.starts_with("anchors/far/")),
        "{found:#?}"
    );
    // All from the third head on.
    assert!(found.len() >= 4, "{found:#?}");
    assert!(
        verdict.findings[0].evidence.contains("validly signed"),
        "{}",
        verdict.findings[0].evidence
    );
}

#[test]
fn an_unanchored_final_head() {
    let world = World {
        anchored: false,
        ..world()
    };
    finds(&world, "anchor-not-final", &[]);
}

#[test]
fn forged_and_senseless_notices() {
    let place = |world: &World, entries: Vec<Vec<u8>>| {
        let mut events = world.events.clone();
        events.insert(world.nth_head(3), Event::Batch(LogId::Heads, entries));
        events
    };
    let extend = NoticeAction::Extend {
        closing: CLOSING + 1,
    };
    let world = world();
    let with = |entries: Vec<Vec<u8>>| World {
        events: place(&world, entries),
        keys: crate::common::keys::Keys::new("dishonest"),
        anchored: true,
        tweak_results: None,
        cosign: cosigned_at_once,
    };
    let mut forged = world.notice(0, extend);
    forged[5] ^= 1;
    finds(&with(vec![forged]), "notice-signature", &[]);
    finds(&with(vec![world.notice(1, extend)]), "notice-invalid", &[]);
    let back = NoticeAction::Extend {
        closing: CLOSING - 1,
    };
    finds(&with(vec![world.notice(0, back)]), "notice-invalid", &[]);
    // Beyond the time until when anchors are locked: what was anchored could be deleted before the end.
    let extend = |closing| NoticeAction::Extend { closing };
    let kept = world.keys.election.manifest().retention;
    let beyond = world.notice(0, extend(kept + 1));
    finds(&with(vec![beyond]), "notice-invalid", &[]);
    let switch = NoticeAction::Switch {
        log: LogId::Cell(0),
        size: 1,
        root: leaf_hash(b"nothing"),
    };
    // A switch to a tree that never was, back in time.
    finds(
        &with(vec![world.notice(0, switch)]),
        "notice-invalid",
        &["checkpoint-signature", "grammar-broken"],
    );
}

#[test]
fn stale_logs_are_no_finding_where_they_repeat() {
    let mut world = world();
    let at = world.nth_head(3);
    if let Event::Head { tweak, .. } = &mut world.events[at] {
        *tweak = Some(|head| {
            // Nothing was heard of cell 0 since its genesis: not what the head before said.
            head.logs[0] = HeadLog {
                state: LogState::Stale,
                ..head.logs[1]
            };
        });
    }
    finds(
        &world,
        "head-stale",
        &["head-falls", "head-size", "head-root"],
    );
}
