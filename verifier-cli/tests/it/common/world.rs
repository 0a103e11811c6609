//! What happens in an election, in order, and the files that it makes.

use std::collections::BTreeMap;
use std::path::Path;

use protocol::anchor::AnchorObject;
use protocol::ballot::{Ballot, ballot_message};
use protocol::cosignature;
use protocol::count::Rankings;
use protocol::credential::credential_message;
use protocol::ed25519::SigningKey;
use protocol::entry::{
    AuthorityKey, Close, Count, Entry, Genesis, Head, HeadLog, Issuance, LogState, Notice,
    NoticeAction, NoticeBody, Refused, Tally, TallyTotals, Vote,
};
use protocol::ids::LogId;
use protocol::manifest::Method;
use protocol::merkle::leaf_hash;
use protocol::note::{NoteSignature, SignedNote};
use protocol::results::{CellPart, Results};

use super::keys::{CLOSING, GRAIN, Keys, OPENING, ROLL};
use super::tree::{Step, Tree};

/// Something that happens.
#[derive(Clone)]
pub enum Event {
    /// A batch of a cell or an issuance log, or of the heads log as it is.
    Batch(LogId, Vec<Vec<u8>>),
    /// A head over all logs as they are then, and its anchors.
    Head {
        time: u64,
        is_final: bool,
        tweak: Option<fn(&mut Head)>,
    },
    /// results.json over the cells as they are then.
    Results,
}

pub struct World {
    pub keys: Keys,
    pub events: Vec<Event>,
    /// Whether heads are anchored.
    pub anchored: bool,
    /// Alters the final results.json before it is written.
    pub tweak_results: Option<fn(&mut Results)>,
    /// Who cosigns a checkpoint of the heads log, and when (s since 1970), by its size and its newest head's time (ms). Nobody: there is no file.
    pub cosign: fn(u64, u64) -> Vec<(usize, u64)>,
}

/// All three witnesses, a few seconds later.
pub fn cosigned_at_once(_: u64, time: u64) -> Vec<(usize, u64)> {
    (0..3).map(|n| (n, time / 1_000 + 1 + n as u64)).collect()
}

/// How an election goes.
#[derive(Clone, Copy)]
pub struct Plan {
    pub issued: usize,
    pub votes: usize,
    pub batch: usize,
    pub finished: bool,
}

impl Plan {
    pub const SMALL: Self = Self {
        issued: 640,
        votes: 600,
        batch: 100,
        finished: true,
    };
}

impl World {
    /// Everybody is issued a credential; votes are cast in batches with heads between; then everything closes, if it is to.
    pub fn new(seed: &'static str, plan: Plan) -> Self {
        Self::with(Keys::with_roll(seed, ROLL.max(plan.issued as u64)), plan)
    }

    /// Three witnesses, and a quorum of two.
    pub fn witnessed(seed: &'static str, plan: Plan) -> Self {
        Self::with(Keys::with(seed, ROLL, 3, 2), plan)
    }

    /// With keys, and so with a manifest, of one's own.
    pub fn with(keys: Keys, plan: Plan) -> Self {
        let mut world = Self {
            keys,
            events: Vec::new(),
            anchored: true,
            tweak_results: None,
            cosign: cosigned_at_once,
        };
        let election = world.keys.election.clone();
        for log in election.logs() {
            world.batch(*log, vec![Genesis::of(&election, *log).encode()]);
        }
        world.batch(
            LogId::Heads,
            vec![Genesis::of(&election, LogId::Heads).encode()],
        );
        world.head(OPENING - 50_000);
        world.events.push(Event::Results);
        world.issue(plan.issued);
        world.head(OPENING + 1_000);

        let votes = world.many_votes(plan.votes);
        for (n, votes) in votes.chunks(plan.batch).enumerate() {
            let time = OPENING + 60_000 + 10_000 * n as u64;
            for cell in 0..election.cells() {
                let of_cell = |vote: &&Vote| election.cell_of(&vote.credential) == cell;
                let votes: Vec<Vote> = votes.iter().filter(of_cell).cloned().collect();
                if !votes.is_empty() {
                    world.votes(cell, &votes, time);
                }
            }
            world.events.push(Event::Results);
            world.head(time + 5_000);
        }
        if plan.finished {
            world.finish();
        }
        world
    }

    pub fn batch(&mut self, log: LogId, entries: Vec<Vec<u8>>) {
        self.events.push(Event::Batch(log, entries));
    }

    pub fn head(&mut self, time: u64) {
        self.events.push(Event::Head {
            time,
            is_final: false,
            tweak: None,
        });
    }

    /// Issuance logs close, then the cells, then the final head.
    pub fn finish(&mut self) {
        let logs = self.keys.election.logs().to_vec();
        let (cells, issuance): (Vec<LogId>, Vec<LogId>) = logs
            .into_iter()
            .partition(|log| matches!(log, LogId::Cell(_)));
        for log in issuance {
            self.close(log, CLOSING);
        }
        self.head(CLOSING + 1_000);
        for log in cells {
            self.close(log, CLOSING + 2_000);
        }
        self.events.push(Event::Results);
        self.events.push(Event::Head {
            time: CLOSING + 5_000,
            is_final: true,
            tweak: None,
        });
        self.events.push(Event::Results);
    }

    pub fn close(&mut self, log: LogId, time: u64) {
        let count = self
            .entries_of(log)
            .filter(|entry| matches!(entry, Entry::Vote(_) | Entry::Issuance(_)))
            .count() as u64;
        self.batch(log, vec![Close { time, count }.encode()]);
    }

    fn entries_of(&self, log: LogId) -> impl Iterator<Item = Entry> {
        self.events
            .iter()
            .filter_map(move |event| match event {
                Event::Batch(of, entries) if *of == log => Some(entries),
                _ => None,
            })
            .flatten()
            .filter_map(|bytes| Entry::decode(bytes, &self.keys.election).ok())
    }

    /// Each registrar issues to the first voters of the roll, in two batches, and counts.
    fn issue(&mut self, voters: usize) {
        for log in self.keys.election.logs().to_vec() {
            let LogId::Issuance { registrar, shard } = log else {
                continue;
            };
            // Spread over the whole roll, so that every shard has some.
            let size = self.keys.election.manifest().roll.size;
            let entries: Vec<Vec<u8>> = (0..voters as u64)
                .map(|voter| voter * size / voters as u64)
                .filter(|index| self.keys.election.shard_of(registrar, *index) == Some(shard))
                .map(|roll_index| {
                    Issuance {
                        roll_index,
                        blinded_digest: leaf_hash(&roll_index.to_be_bytes()).0,
                    }
                    .encode()
                })
                .collect();
            let count = Count {
                time: OPENING,
                issued: entries.len() as u64,
                refused: Refused {
                    unknown_code: 3,
                    ..Refused::default()
                },
            };
            for batch in entries.chunks(300) {
                self.batch(log, batch.to_vec());
            }
            self.batch(log, vec![count.encode()]);
        }
    }

    /// The first voters' votes; signing is shared between two threads.
    fn many_votes(&self, count: usize) -> Vec<Vote> {
        let part = |range: std::ops::Range<usize>| range.map(|voter| self.vote(voter)).collect();
        std::thread::scope(|scope| {
            let first = scope.spawn(move || -> Vec<Vote> { part(0..count / 2) });
            let second: Vec<Vote> = part(count / 2..count);
            [first.join().unwrap(), second].concat()
        })
    }

    /// A voter's vote, in all its parts.
    pub fn vote(&self, voter: usize) -> Vote {
        let key = self.keys.voter(voter);
        let v = u16::try_from(voter % 60_000).unwrap();
        let choices: Vec<Vec<u16>> = if v % 20 == 19 {
            vec![vec![], vec![], vec![]]
        } else {
            let ranked = match v % 6 {
                0 => vec![0, 1],
                1 => vec![1, 0, 2],
                2 => vec![2],
                3 => vec![3, 2, 1, 0],
                4 => vec![2, 0],
                _ => vec![],
            };
            let approved = (0..4).filter(|option| v >> option & 1 == 1).collect();
            vec![vec![v % 7 % 3], approved, ranked]
        };
        let ballot = Ballot::new(&choices, self.keys.election.contests()).unwrap();
        self.vote_with(&key, ballot)
    }

    /// A vote with this key and ballot, properly signed by everybody.
    pub fn vote_with(&self, key: &SigningKey, ballot: Ballot) -> Vote {
        let election = &self.keys.election;
        let message = credential_message(&election.id(), &key.public());
        Vote {
            credential: key.public(),
            signatures: (0..2)
                .map(|registrar| self.keys.registrar_signature(registrar, &message))
                .collect(),
            signature: key.sign(&ballot_message(&election.id(), &ballot.encode())),
            ballot,
        }
    }

    /// A batch of votes: sorted, with its tally.
    pub fn votes(&mut self, cell: u32, votes: &[Vote], time: u64) {
        let mut entries: Vec<Vec<u8>> = votes.iter().map(Vote::encode).collect();
        entries.sort_by_key(|entry| leaf_hash(entry));
        let tally = Tally {
            batch: 0,
            time: time.next_multiple_of(GRAIN),
            totals: TallyTotals::zero(self.keys.election.contests()),
        };
        entries.push(tally.encode());
        self.batch(LogId::Cell(cell), entries);
        self.retally();
    }

    /// Makes every tally the sum of the votes before it, and numbers it.
    pub fn retally(&mut self) {
        let election = self.keys.election.clone();
        for cell in 0..election.cells() {
            let mut totals = TallyTotals::zero(election.contests());
            let mut n = 0;
            for event in &mut self.events {
                let Event::Batch(log, entries) = event else {
                    continue;
                };
                if *log != LogId::Cell(cell) {
                    continue;
                }
                for bytes in entries {
                    match Entry::decode(bytes, &election) {
                        Ok(Entry::Vote(vote)) => totals.add(&vote.ballot, election.contests()),
                        Ok(Entry::Tally(tally)) => {
                            *bytes = Tally {
                                batch: n,
                                totals: totals.clone(),
                                ..tally
                            }
                            .encode();
                        }
                        Ok(Entry::Close(close)) => {
                            *bytes = Close {
                                count: totals.votes,
                                ..close
                            }
                            .encode();
                        }
                        _ => {}
                    }
                }
                n += 1;
            }
        }
    }

    /// The votes of the n-th batch of votes of a cell, sorted again after the change.
    pub fn change_votes(&mut self, cell: u32, n: usize, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let entries = self.batch_of_votes(cell, n);
        let tally = entries.pop().unwrap();
        change(entries);
        entries.sort_by_key(|entry| leaf_hash(entry));
        entries.push(tally);
        self.retally();
    }

    /// The entries of the n-th batch of votes of a cell.
    pub fn batch_of_votes(&mut self, cell: u32, n: usize) -> &mut Vec<Vec<u8>> {
        self.events
            .iter_mut()
            .filter_map(|event| match event {
                Event::Batch(log, entries) if *log == LogId::Cell(cell) && entries.len() > 1 => {
                    Some(entries)
                }
                _ => None,
            })
            .nth(n)
            .unwrap()
    }

    /// The place among the events of the n-th head.
    pub fn nth_head(&self, n: usize) -> usize {
        let heads = self.events.iter().enumerate();
        heads
            .filter(|(_, event)| matches!(event, Event::Head { .. }))
            .nth(n)
            .unwrap()
            .0
    }

    pub fn notice(&self, sequence: u32, action: NoticeAction) -> Vec<u8> {
        let body = NoticeBody { sequence, action };
        let key = AuthorityKey::Main;
        Notice {
            key,
            signature: self
                .keys
                .authority()
                .sign(&body.message(&self.keys.election.id(), key)),
            body,
        }
        .encode()
    }

    /// The files, in the order in which they are written.
    pub fn steps(&self) -> Vec<Step> {
        Writer::new(self).run()
    }

    /// Writes everything below `root`, the election's folder.
    pub fn publish(&self, root: &Path) {
        for (path, bytes) in self.steps() {
            super::write(root, &path, &bytes);
        }
    }
}

/// The state of the writing.
pub struct Writer<'w> {
    world: &'w World,
    pub trees: BTreeMap<LogId, Tree>,
    anchored: Vec<(u64, u64)>,
    /// The newest head's time.
    time: u64,
    is_final: bool,
    cancelled: bool,
}

impl<'w> Writer<'w> {
    pub fn new(world: &'w World) -> Self {
        let election = &world.keys.election;
        let logs = election.logs().iter().chain(&[LogId::Heads]);
        Self {
            world,
            trees: logs.map(|log| (*log, Tree::new(*log))).collect(),
            anchored: vec![(0, 0); election.manifest().anchors.len()],
            time: 0,
            is_final: false,
            cancelled: false,
        }
    }

    pub fn run(&mut self) -> Vec<Step> {
        let keys = &self.world.keys;
        let mut steps = vec![(
            "manifest.json".to_owned(),
            keys.election.manifest_bytes().to_vec(),
        )];
        for event in &self.world.events {
            match event {
                Event::Batch(log, entries) => {
                    if *log == LogId::Heads {
                        self.note_notices(entries);
                    }
                    steps.extend(self.tree(*log).append(keys, entries));
                    if *log == LogId::Heads {
                        steps.extend(self.cosigned());
                        steps.extend(self.anchor());
                    }
                }
                Event::Head {
                    time,
                    is_final,
                    tweak,
                } => {
                    let mut head = self.head(*time);
                    if let Some(tweak) = tweak {
                        tweak(&mut head);
                    }
                    self.is_final |= is_final;
                    self.time = head.time;
                    let entry = if *is_final {
                        Entry::FinalHead(head)
                    } else {
                        Entry::Head(head)
                    };
                    steps.extend(self.tree(LogId::Heads).append(keys, &[entry.encode()]));
                    steps.extend(self.cosigned());
                    steps.extend(self.anchor());
                }
                Event::Results => {
                    let mut results = self.results();
                    if let Some(tweak) = self.world.tweak_results.filter(|_| self.is_final) {
                        tweak(&mut results);
                    }
                    steps.push(("results.json".to_owned(), results.to_bytes().unwrap()));
                }
            }
        }
        steps
    }

    fn tree(&mut self, log: LogId) -> &mut Tree {
        self.trees.get_mut(&log).unwrap()
    }

    fn note_notices(&mut self, entries: &[Vec<u8>]) {
        for bytes in entries {
            let Ok(Entry::Notice(notice)) = Entry::decode(bytes, &self.world.keys.election) else {
                continue;
            };
            match notice.body.action {
                NoticeAction::Switch { log, size, .. } => self.tree(log).switched = Some(size),
                NoticeAction::Cancel => self.cancelled = true,
                _ => {}
            }
        }
    }

    fn head(&self, time: u64) -> Head {
        let election = &self.world.keys.election;
        let logs = election.logs().iter().map(|log| {
            let tree = &self.trees[log];
            let closed = tree
                .entries
                .last()
                .is_some_and(|bytes| matches!(Entry::decode(bytes, election), Ok(Entry::Close(_))));
            if tree.size() == 0 {
                // It never published.
                return HeadLog {
                    state: LogState::Stale,
                    size: 1,
                    root: leaf_hash(&Genesis::of(election, *log).encode()),
                };
            }
            HeadLog {
                state: if closed {
                    LogState::Closed
                } else {
                    LogState::Open
                },
                size: tree.size(),
                root: tree.root_at(tree.size()),
            }
        });
        Head {
            time,
            logs: logs.collect(),
        }
    }

    /// The heads log's newest checkpoint with the witnesses' lines.
    fn cosigned(&self) -> Option<Step> {
        let heads = &self.trees[&LogId::Heads];
        let named = self.world.keys.election.manifest().witnesses.keys.len();
        let note = SignedNote::parse(&heads.checkpoint).unwrap();
        let lines: Vec<NoteSignature> = (self.world.cosign)(heads.size(), self.time)
            .into_iter()
            .filter(|(n, _)| *n < named && self.time > 0)
            .map(|(n, seconds)| {
                let (witness, key) = Keys::witness(self.world.keys.seed, n);
                let signature = key.sign(&cosignature::message(seconds, note.text()));
                cosignature::line(&witness, seconds, &signature).unwrap()
            })
            .collect();
        if lines.is_empty() || self.time == 0 {
            return None;
        }
        let bytes = note.with_signatures(lines).unwrap().encode();
        Some((format!("heads/cosigned/{}", heads.size()), bytes))
    }

    fn anchor(&mut self) -> Vec<Step> {
        if !self.world.anchored {
            return Vec::new();
        }
        let election = &self.world.keys.election;
        let heads = &self.trees[&LogId::Heads];
        let anchors = election.manifest().anchors.iter();
        anchors
            .zip(&mut self.anchored)
            .map(|(anchor, (n, old_size))| {
                let first = usize::try_from(*old_size).unwrap();
                let object = AnchorObject {
                    election: election.id(),
                    n: *n,
                    old_size: *old_size,
                    new_size: heads.size(),
                    entries: heads.entries[first..].iter().map(Vec::as_slice).collect(),
                    note: &heads.checkpoint,
                };
                let path = format!("anchors/{}/{n}", anchor.name);
                (*n, *old_size) = (*n + 1, heads.size());
                (path, object.encode().unwrap())
            })
            .collect()
    }

    fn results(&self) -> Results {
        let election = &self.world.keys.election;
        let mut rankings = vec![Rankings::new(); election.contests().len()];
        let mut parts = Vec::new();
        for cell in 0..election.cells() {
            let tree = &self.trees[&LogId::Cell(cell)];
            let mut newest = None;
            for (index, bytes) in (0..).zip(&tree.entries) {
                match Entry::decode(bytes, election) {
                    Ok(Entry::Tally(tally)) => newest = Some((index, tally.totals)),
                    Ok(Entry::Vote(vote)) => {
                        for (i, contest) in election.contests().iter().enumerate() {
                            if contest.method == Method::Ranked {
                                *rankings[i]
                                    .entry(vote.ballot.choice(i).to_vec())
                                    .or_default() += 1;
                            }
                        }
                    }
                    _ => {}
                }
            }
            parts.push(CellPart {
                size: tree.size().max(u64::from(self.is_final)),
                tally: newest.map(|(index, totals)| (totals, tree.proof(index))),
            });
        }
        if self.cancelled {
            Results::cancelled(election, &parts).unwrap()
        } else if self.is_final {
            Results::finalize(election, &parts, &rankings).unwrap()
        } else {
            Results::open(election, &parts).unwrap()
        }
    }
}
