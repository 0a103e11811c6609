//! What a cell's log holds: votes in batches, each batch's tally, and a close. Every vote is decoded, placed, counted, and its signatures checked.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};

use protocol::count::Rankings;
use protocol::entry::{Close, Entry, Tally, TallyTotals, Vote};
use protocol::grammar::CellLog;
use protocol::ids::LogId;
use protocol::manifest::{Election, Method};
use protocol::merkle::leaf_hash;

use super::checked::{Checked, Job, Pending};
use super::context::Context;
use super::judge::{Judge, Opinion, code_of_vote};
use super::walk::{Applied, Content};
use crate::finding::{Code, Place, Votes};
use crate::work::Pool;

/// Votes whose signatures one job checks: about 10 ms of work.
const VOTES_A_JOB: usize = 128;

/// A cell's votes so far.
pub(super) struct Cell<'a> {
    election: &'a Election,
    /// Batches whose signatures need no second check.
    checked: &'a Checked,
    cell: u32,
    grammar: Option<CellLog>,
    totals: TallyTotals,
    /// Each credential that voted, with its leaf index. Whole keys: a shortened one could be made to collide.
    voted: HashMap<[u8; 32], u64>,
    time: u64,
    closed: bool,
    last_tally: Option<(u64, Vec<u8>)>,
    small: SmallBatches,
    /// Sizes at which the totals are wanted.
    wanted: BTreeSet<u64>,
    snapshots: BTreeMap<u64, Snapshot>,
    /// Below this size, where it is known what counts, ranked ballots are kept for the run-off.
    counted_below: Option<u64>,
    rankings: Vec<Rankings>,
}

/// The totals at one size.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) totals: TallyTotals,
    /// The newest tally entry below the size, with its index.
    pub(super) tally: Option<(u64, Vec<u8>)>,
}

/// Batches with fewer votes than the manifest's minimum: no finding (a slow hour makes them), but worth knowing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SmallBatches {
    pub(super) count: u64,
    pub(super) votes: u64,
    pub(super) smallest: Option<u64>,
}

impl SmallBatches {
    fn note(&mut self, votes: u64, batch_min: u32) {
        if votes == 0 || votes >= u64::from(batch_min) {
            return;
        }
        self.count += 1;
        self.votes += votes;
        self.smallest = Some(self.smallest.map_or(votes, |least| least.min(votes)));
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.votes += other.votes;
        self.smallest = [self.smallest, other.smallest].into_iter().flatten().min();
    }
}

impl<'a> Cell<'a> {
    pub(super) fn new(
        election: &'a Election,
        cell: u32,
        wanted: BTreeSet<u64>,
        counted_below: Option<u64>,
        checked: &'a Checked,
    ) -> Self {
        Self {
            election,
            checked,
            cell,
            grammar: Some(CellLog::without_credentials(election, cell)),
            totals: TallyTotals::zero(election.contests()),
            voted: HashMap::new(),
            time: 0,
            closed: false,
            last_tally: None,
            small: SmallBatches::default(),
            wanted,
            snapshots: BTreeMap::new(),
            counted_below,
            rankings: vec![Rankings::new(); election.contests().len()],
        }
    }

    pub(super) const fn small(&self) -> SmallBatches {
        self.small
    }

    pub(super) fn snapshot(&self, size: u64) -> Option<&Snapshot> {
        self.snapshots.get(&size)
    }

    /// Keeps the totals at the size that the log was followed to, should it be followed further later. A closed log takes no more votes (whatever follows is a
    /// finding), so that its credentials can be forgotten: of a finished election the audit holds one cell's at a time.
    pub(super) fn keep_end(&mut self, size: u64) {
        let now = self.now();
        self.snapshots.entry(size).or_insert(now);
        if self.closed {
            self.voted = HashMap::new();
        }
    }

    /// The totals and the newest tally as they are now.
    fn now(&self) -> Snapshot {
        Snapshot {
            totals: self.totals.clone(),
            tally: self.last_tally.clone(),
        }
    }

    /// For each contest, the rankings below `counted_below` and how often each was cast; empty for contests that are not ranked.
    pub(super) fn rankings(&self) -> &[Rankings] {
        &self.rankings
    }

    fn take_vote(&mut self, index: u64, vote: &Vote, judge: &Judge<'_, 'a>) {
        // "Every vote belongs to this cell; no credential key occurs twice in the log"
        let right = self.election.cell_of(&vote.credential);
        if right != self.cell {
            judge.add(
                Code::VoteWrongCell,
                index,
                Votes::AtMost(1),
                format!(
                    "credential {} belongs to cell {right}, and this is cell {}",
                    hex::encode(vote.credential),
                    self.cell
                ),
            );
        }
        match self.voted.entry(vote.credential) {
            hash_map::Entry::Vacant(free) => {
                free.insert(index);
            }
            hash_map::Entry::Occupied(first) => judge.add(
                Code::VoteDuplicate,
                index,
                Votes::AtMost(1),
                format!(
                    "credential {} voted at index {} already",
                    hex::encode(vote.credential),
                    first.get()
                ),
            ),
        }
        let contests = self.election.contests();
        self.totals.add(&vote.ballot, contests);
        if self.counted_below.is_some_and(|size| index < size) {
            for (i, (contest, rankings)) in contests.iter().zip(&mut self.rankings).enumerate() {
                let ranking = vote.ballot.choice(i);
                if contest.method == Method::Ranked && !ranking.is_empty() {
                    match rankings.get_mut(ranking) {
                        Some(count) => *count += 1,
                        None => {
                            rankings.insert(ranking.to_vec(), 1);
                        }
                    }
                }
            }
        }
    }

    fn take_tally(&mut self, index: u64, tally: &Tally, judge: &Judge<'_, 'a>) {
        judge.time(index, &mut self.time, tally.time);
        let mut faults = Vec::new();
        if tally.batch != judge.batch.n {
            faults.push(format!(
                "it names batch {}, and stands in batch {}",
                tally.batch, judge.batch.n
            ));
        }
        // "Each tally is the exact sum."
        faults.extend(differences(self.election, &tally.totals, &self.totals));
        if !faults.is_empty() {
            judge.add(
                Code::TallyWrong,
                index,
                Votes::AtMost(self.totals.votes.max(tally.totals.votes)),
                faults.join("; "),
            );
        }
        self.last_tally = Some((index, tally.encode()));
    }

    fn take_close(&mut self, index: u64, close: Close, judge: &Judge<'_, 'a>) {
        judge.time(index, &mut self.time, close.time);
        if close.count != self.totals.votes {
            judge.add(
                Code::CloseWrong,
                index,
                Votes::AtMost(close.count.abs_diff(self.totals.votes)),
                format!(
                    "it says {} votes; the log holds {}",
                    close.count, self.totals.votes
                ),
            );
        }
        self.closed = true;
    }
}

/// "Within a batch, votes are strictly ascending by leaf hash (compared as bytes)".
fn check_order(votes: &[u64], judge: &Judge<'_, '_>) {
    let leaf = |index: u64| {
        usize::try_from(index - judge.batch.first)
            .ok()
            .and_then(|position| judge.batch.leaves.get(position))
    };
    let unordered = votes
        .iter()
        .zip(votes.iter().skip(1))
        .find(|(a, b)| leaf(**a) >= leaf(**b));
    if let Some((_, index)) = unordered {
        judge.add(
            Code::BatchOrder,
            *index,
            Votes::AtMost(votes.len() as u64),
            "its leaf hash does not follow the one before it in ascending order",
        );
    }
}

/// "cell = genesis (vote+ tally)* close?", where genesis is alone in batch 0 and close in its own.
fn check_shape(entries: &[(u64, Entry)], was_closed: bool, judge: &Judge<'_, '_>) {
    let votes = entries
        .iter()
        .take_while(|(_, entry)| matches!(entry, Entry::Vote(_)))
        .count();
    let rest: Vec<&Entry> = entries.iter().skip(votes).map(|(_, entry)| entry).collect();
    let fits = match (judge.batch.n, votes, rest.as_slice()) {
        (0, 0, [Entry::Genesis(_)])
        | (1.., 0, [Entry::Close(_)])
        | (1.., 1.., [Entry::Tally(_)]) => !was_closed,
        _ => false,
    };
    if !fits {
        judge.add(
            Code::GrammarBroken,
            judge.batch.first + votes as u64,
            Votes::AtMost(entries.len() as u64),
            if was_closed {
                "the batch follows the log's close"
            } else {
                "a cell's batch is its genesis (batch 0), or votes and then one tally, or a close alone"
            },
        );
    }
}

/// In words, where published totals are not the recomputed ones.
pub(super) fn differences(
    election: &Election,
    published: &TallyTotals,
    recounted: &TallyTotals,
) -> Vec<String> {
    let mut words = Vec::new();
    let mut number = |what: String, published: u64, recounted: u64| {
        if published != recounted {
            words.push(format!(
                "{what}: it says {published}, the ballots make {recounted}"
            ));
        }
    };
    number("votes".to_owned(), published.votes, recounted.votes);
    number(
        "abstentions".to_owned(),
        published.abstentions,
        recounted.abstentions,
    );
    let pairs = published.contests.iter().zip(&recounted.contests);
    for (contest, (published, recounted)) in election.contests().iter().zip(pairs) {
        number(
            format!("blanks in {:?}", contest.name),
            published.blanks,
            recounted.blanks,
        );
        let counts = published.counts.iter().zip(&recounted.counts);
        for (option, (published, recounted)) in contest.options.iter().zip(counts) {
            number(
                format!("{option:?} in {:?}", contest.name),
                *published,
                *recounted,
            );
        }
    }
    words.truncate(8);
    words
}

impl<'a> Content<'a> for Cell<'a> {
    fn apply(&mut self, judge: &Judge<'_, 'a>, pool: &Pool<'a>) -> Applied {
        let mut opinion = Opinion::ask(&mut self.grammar, judge.batch, CellLog::batch);
        let entries = judge.entries(&mut opinion);
        if entries.len() == judge.batch.entries.len() {
            check_shape(&entries, self.closed, judge);
        }
        let ends_log = matches!(entries.last(), Some((_, Entry::Close(_))));
        let mut votes: Vec<u64> = Vec::new();
        let mut unverified: Vec<(u64, Vote)> = Vec::new();
        let (first, root) = (judge.batch.first, &judge.batch.root);
        let is_checked = self.checked.knows(self.cell, first, root);
        let pending = Pending::new(self.checked, self.cell, first, root);
        for (index, entry) in entries {
            match entry {
                Entry::Genesis(genesis) => {
                    judge.genesis(index, genesis.log, LogId::Cell(self.cell))
                }
                Entry::Vote(vote) => {
                    votes.push(index);
                    self.take_vote(index, &vote, judge);
                    if is_checked {
                        continue;
                    }
                    unverified.push((index, vote));
                    if unverified.len() == VOTES_A_JOB {
                        let votes = std::mem::take(&mut unverified);
                        verify_later(pool, judge, votes, pending.job());
                    }
                }
                Entry::Tally(tally) => self.take_tally(index, &tally, judge),
                Entry::Close(close) => self.take_close(index, close, judge),
                // Named by `check_shape`.
                _ => {}
            }
        }
        if !unverified.is_empty() {
            verify_later(pool, judge, unverified, pending.job());
        }
        if !is_checked && !votes.is_empty() {
            pending.handed_in();
        }
        check_order(&votes, judge);
        judge.second(&opinion);

        self.small
            .note(votes.len() as u64, self.election.manifest().batch_min);
        let size = judge.batch.first + judge.batch.leaves.len() as u64;
        if self.wanted.contains(&size) {
            self.snapshots.insert(size, self.now());
        }
        Applied {
            total: self.totals.votes,
            closed: ends_log,
            tally: self
                .last_tally
                .as_ref()
                .map(|(index, entry)| (*index, leaf_hash(entry))),
        }
    }
}

/// Hands votes to a worker, which checks their signatures.
fn verify_later<'a>(pool: &Pool<'a>, judge: &Judge<'_, 'a>, votes: Vec<(u64, Vote)>, job: Job<'a>) {
    let context: Context<'a> = judge.context;
    let path = judge.batch.path.to_owned();
    pool.run(move || {
        let mut all_right = true;
        for (index, vote) in &votes {
            let Err(error) = vote.verify(context.election) else {
                continue;
            };
            all_right = false;
            let code = code_of_vote(&error);
            context.add(
                code,
                Place::at(&path, *index),
                Votes::AtMost(1),
                format!("{error} (credential {})", hex::encode(vote.credential)),
            );
        }
        if all_right {
            job.right();
        }
    });
}
