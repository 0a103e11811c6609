//! A dishonest operator: every key of a real election in one hand, and everything signed anew.
//!
//! [`History`] is what an election's logs say, taken from its published files. A test changes what it says, and [`Operator::publish`] makes every file that an
//! honest operator would have published, had it happened so: batches, tiles, checkpoints, heads, anchors, results. What is left to tell the two apart is what
//! the rules of the ledger forbid, and what others kept of the first.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "what a test cannot go on without"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use protocol::anchor::AnchorObject;
use protocol::batch::BatchFile;
use protocol::checkpoint::Checkpoint;
use protocol::count::Rankings;
use protocol::ed25519::SigningKey;
use protocol::entry::{Close, Count, Entry, Head, HeadLog, LogState, Tally, TallyTotals};
use protocol::ids::LogId;
use protocol::manifest::{Election, Method};
use protocol::merkle::tile::{Edge, Tiles, bundles, encode_bundle, inclusion_tiles, tiles};
use protocol::merkle::{CompactRange, Hash, leaf_hash};
use protocol::results::{CellPart, Results};
use protocol::tlog_proof::TlogProof;

use crate::published::Published;

/// Files below the election's folder.
pub type Files = BTreeMap<String, Vec<u8>>;

/// An entry's bytes.
pub type Bytes = Vec<u8>;

/// Who holds the keys of every log.
pub struct Operator {
    /// Behind the manifest.
    pub election: Election,
    keys: BTreeMap<LogId, SigningKey>,
}

/// An entry of the heads log, by what it says and not by sizes and roots, which follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Genesis, and notices: as they are.
    Entry(Bytes),
    /// A head.
    Head {
        /// Its time.
        time: u64,
        /// Whether it is the final head.
        is_final: bool,
        /// For each log in head order: its state, and how many of its batches it covers.
        logs: Vec<(LogState, usize)>,
    },
}

/// What an election's logs say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// For each log but that of the heads, its batches of entries.
    pub logs: BTreeMap<LogId, Vec<Vec<Bytes>>>,
    /// The heads log's batches.
    pub heads: Vec<Vec<Said>>,
    /// For each anchor, by name: up to how many batches of the heads log each object reaches.
    pub anchors: BTreeMap<String, Vec<usize>>,
}

impl History {
    /// What a finished or running election published.
    #[must_use]
    pub fn of(published: &Published) -> Self {
        let election = &published.election;
        let mut ends = BTreeMap::new();
        let mut logs = BTreeMap::new();
        for log in election.logs() {
            let (batches, sizes) = read(published, *log);
            logs.insert(*log, batches);
            ends.insert(*log, sizes);
        }
        let (heads, head_sizes) = read(published, LogId::Heads);
        let said = |bytes: Bytes| {
            let (head, is_final) = match Entry::decode(&bytes, election).expect("an entry") {
                Entry::Head(head) => (head, false),
                Entry::FinalHead(head) => (head, true),
                _ => return Said::Entry(bytes),
            };
            let logs = election.logs().iter().zip(&head.logs).map(|(log, said)| {
                let covered = ends[log].iter().position(|size| *size == said.size);
                (said.state, covered.expect("a batch end") + 1)
            });
            Said::Head {
                time: head.time,
                is_final,
                logs: logs.collect(),
            }
        };
        let heads = heads
            .into_iter()
            .map(|batch| batch.into_iter().map(said).collect())
            .collect();
        let anchors = election.manifest().anchors.iter().map(|anchor| {
            let folder = published.folder.join("anchors").join(&anchor.name);
            let reached = (0..)
                .map_while(|n| fs::read(folder.join(n.to_string())).ok())
                .map(|bytes| {
                    let object = AnchorObject::decode(&bytes, &election.id()).expect("an anchor");
                    let at = head_sizes.iter().position(|size| *size == object.new_size);
                    at.expect("a batch end") + 1
                });
            (anchor.name.clone(), reached.collect())
        });
        Self {
            logs,
            heads,
            anchors: anchors.collect(),
        }
    }

    /// The batches of votes of a cell: their numbers.
    #[must_use]
    pub fn vote_batches(&self, cell: u32) -> Vec<usize> {
        let batches = self.logs[&LogId::Cell(cell)].iter().enumerate();
        batches
            .filter(|(_, batch)| batch.len() > 1)
            .map(|(n, _)| n)
            .collect()
    }

    /// The votes of a batch, without its tally.
    #[must_use]
    pub fn votes(&self, cell: u32, n: usize) -> &[Bytes] {
        let batch = &self.logs[&LogId::Cell(cell)][n];
        &batch[..batch.len() - 1]
    }

    /// Changes the votes of a batch; they are sorted again, and every sum after them is made right, as an operator would who wants to get away with it.
    pub fn change_votes<T>(
        &mut self,
        election: &Election,
        (cell, n): (u32, usize),
        change: impl FnOnce(&mut Vec<Bytes>) -> T,
    ) -> T {
        let batch = &mut self.logs.get_mut(&LogId::Cell(cell)).expect("a cell")[n];
        let tally = batch.pop().expect("a tally");
        let result = change(batch);
        batch.sort_by_key(|entry| leaf_hash(entry));
        batch.push(tally);
        self.add_up(election);
        result
    }

    /// Makes every sum right: tallies, closes, counts.
    pub fn add_up(&mut self, election: &Election) {
        for (log, batches) in &mut self.logs {
            let (mut totals, mut issued) = (TallyTotals::zero(election.contests()), 0);
            for (n, batch) in (0..).zip(batches) {
                for bytes in batch {
                    let right = match Entry::decode(bytes, election) {
                        Ok(Entry::Vote(vote)) => {
                            totals.add(&vote.ballot, election.contests());
                            continue;
                        }
                        Ok(Entry::Issuance(_)) => {
                            issued += 1;
                            continue;
                        }
                        Ok(Entry::Tally(tally)) => Tally {
                            batch: n,
                            totals: totals.clone(),
                            ..tally
                        }
                        .encode(),
                        Ok(Entry::Count(count)) => Count { issued, ..count }.encode(),
                        Ok(Entry::Close(close)) => Close {
                            count: match log {
                                LogId::Cell(_) => totals.votes,
                                _ => issued,
                            },
                            ..close
                        }
                        .encode(),
                        _ => continue,
                    };
                    *bytes = right;
                }
            }
        }
    }

    /// Where the last entry of the heads log stands that is a head; the final head, in a finished election.
    pub fn last_head(&mut self) -> &mut Said {
        self.heads
            .iter_mut()
            .flatten()
            .rfind(|said| matches!(said, Said::Head { .. }))
            .expect("a head")
    }

    /// Takes the authority's notices out of the heads log: what an operator has who lacks the authority's key.
    pub fn drop_notices(&mut self, election: &Election) {
        let is_notice = |said: &Said| matches!(said, Said::Entry(bytes) if matches!(Entry::decode(bytes, election), Ok(Entry::Notice(_))));
        for n in (0..self.heads.len()).rev() {
            self.heads[n].retain(|said| !is_notice(said));
            if self.heads[n].is_empty() {
                self.heads.remove(n);
                for reached in self.anchors.values_mut().flatten() {
                    *reached -= usize::from(*reached > n);
                }
            }
        }
    }

    /// Every head, in order.
    pub fn every_head(&mut self) -> impl DoubleEndedIterator<Item = &mut Said> {
        self.heads
            .iter_mut()
            .flatten()
            .filter(|said| matches!(said, Said::Head { .. }))
    }
}

/// A log's batches as bytes, and the size after each.
fn read(published: &Published, log: LogId) -> (Vec<Vec<Bytes>>, Vec<u64>) {
    let (mut batches, mut sizes) = (Vec::new(), Vec::new());
    let folder = published.folder.join(log.prefix()).join("batches");
    while let Ok(bytes) = fs::read(folder.join(batches.len().to_string())) {
        let file = BatchFile::decode(&bytes, &published.election).expect("a batch file");
        sizes.push(file.new_size);
        batches.push(file.entries.iter().map(|entry| entry.to_vec()).collect());
    }
    (batches, sizes)
}

impl Operator {
    /// With the keys in an election's data folder.
    #[must_use]
    pub fn of(data: &Path) -> Self {
        let election = Published::of(data).election;
        let key = |log: LogId| {
            let path = data.join(log.prefix()).join("main.key");
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut seed = [0; 32];
            hex::decode_to_slice(text.trim(), &mut seed).expect("a seed");
            (log, SigningKey::from_seed(&seed))
        };
        let keys = election
            .logs()
            .iter()
            .copied()
            .chain([LogId::Heads])
            .map(key)
            .collect();
        Self { election, keys }
    }

    /// Signs a checkpoint of a log.
    #[must_use]
    pub fn sign(&self, log: LogId, size: u64, root: Hash) -> Vec<u8> {
        let origin = self.election.origin(log);
        let checkpoint = Checkpoint::new(&origin, size, root).expect("a checkpoint");
        let key = &self.keys[&log];
        checkpoint.signed(&key.public(), &key.sign(checkpoint.body().as_bytes()))
    }

    /// Every file of an election that went so.
    #[must_use]
    pub fn publish(&self, history: &History) -> Files {
        let mut files = Files::new();
        files.insert(
            "manifest.json".to_owned(),
            self.election.manifest_bytes().to_vec(),
        );
        let mut logs = BTreeMap::new();
        for (log, batches) in &history.logs {
            logs.insert(*log, self.log(*log, batches, &mut files));
        }
        let heads: Vec<Vec<Bytes>> = history
            .heads
            .iter()
            .map(|batch| batch.iter().map(|said| self.head(said, &logs)).collect())
            .collect();
        let heads = self.log(LogId::Heads, &heads, &mut files);
        for (name, reached) in &history.anchors {
            self.anchor(name, reached, &heads, &mut files);
        }
        let results = self.results(history, &logs);
        files.insert(
            "results.json".to_owned(),
            results.to_bytes().expect("results"),
        );
        files
    }

    /// A log's files.
    fn log(&self, log: LogId, batches: &[Vec<Bytes>], files: &mut Files) -> Written {
        let (mut range, mut edge) = (CompactRange::new(), Edge::new());
        let mut written = Written::default();
        for (n, batch) in (0..).zip(batches) {
            let entries = batch.iter().map(Vec::as_slice).collect();
            let file =
                BatchFile::build(&self.election, log, n, &mut range, entries).expect("a batch");
            files.insert(format!("{log}/batches/{n}"), file.encode());
            for entry in batch {
                edge.push(leaf_hash(entry));
            }
            for (id, bytes) in edge.take_completed() {
                files.insert(format!("{log}/{}", id.path()), bytes);
            }
            written.entries.extend(batch.iter().cloned());
            written.ends.push((range.size(), range.root()));
            let note = self.sign(log, range.size(), range.root());
            files.insert(format!("{log}/checkpoints/{}", range.size()), note.clone());
            written.notes.push(note);
        }
        let size = edge.size();
        for id in tiles(size).filter(|id| !id.is_full()) {
            files.insert(
                format!("{log}/{}", id.path()),
                edge.tile(&id).expect("the edge's tile"),
            );
        }
        for id in bundles(size) {
            let first = usize::try_from(id.first_leaf()).expect("a small log");
            let entries = &written.entries[first..first + usize::from(id.width())];
            let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).expect("a bundle");
            files.insert(format!("{log}/{}", id.path()), bytes);
        }
        if let Some(note) = written.notes.last() {
            files.insert(format!("{log}/checkpoint"), note.clone());
        }
        written.tiles = tiles(size)
            .map(|id| (id, files[&format!("{log}/{}", id.path())].clone()))
            .collect();
        written
    }

    fn head(&self, said: &Said, logs: &BTreeMap<LogId, Written>) -> Bytes {
        let (time, is_final, states) = match said {
            Said::Entry(bytes) => return bytes.clone(),
            Said::Head {
                time,
                is_final,
                logs,
            } => (*time, *is_final, logs),
        };
        let logs = self
            .election
            .logs()
            .iter()
            .zip(states)
            .map(|(log, (state, batches))| {
                let ends = &logs[log].ends;
                let (size, root) = ends[(*batches).min(ends.len()) - 1];
                HeadLog {
                    state: *state,
                    size,
                    root,
                }
            });
        let head = Head {
            time,
            logs: logs.collect(),
        };
        if is_final {
            Entry::FinalHead(head).encode()
        } else {
            Entry::Head(head).encode()
        }
    }

    fn anchor(&self, name: &str, reached: &[usize], heads: &Written, files: &mut Files) {
        let (mut n, mut old) = (0, 0);
        for batches in reached {
            let at = (*batches).min(heads.ends.len()) - 1;
            let (new, _) = heads.ends[at];
            if new == old {
                continue;
            }
            let at_old = usize::try_from(old).expect("a small log");
            let at_new = usize::try_from(new).expect("a small log");
            let object = AnchorObject {
                election: self.election.id(),
                n,
                old_size: old,
                new_size: new,
                entries: heads.entries[at_old..at_new]
                    .iter()
                    .map(Vec::as_slice)
                    .collect(),
                note: &heads.notes[at],
            };
            files.insert(
                format!("anchors/{name}/{n}"),
                object.encode().expect("an anchor"),
            );
            (n, old) = (n + 1, new);
        }
    }

    /// Over the final head's sizes, or everything.
    fn results(&self, history: &History, logs: &BTreeMap<LogId, Written>) -> Results {
        let last = history.heads.iter().flatten().next_back();
        let counted = match last {
            Some(Said::Head {
                is_final: true,
                logs,
                ..
            }) => Some(logs),
            _ => None,
        };
        let contests = self.election.contests();
        let mut rankings = vec![Rankings::new(); contests.len()];
        let mut parts = Vec::new();
        for (position, log) in self.election.logs().iter().enumerate() {
            if !matches!(log, LogId::Cell(_)) {
                continue;
            }
            let written = &logs[log];
            let batches = counted.map_or(written.ends.len(), |logs| logs[position].1);
            let at = batches.min(written.ends.len()) - 1;
            let (size, _) = written.ends[at];
            let mut newest = None;
            for (index, bytes) in (0..size).zip(&written.entries) {
                match Entry::decode(bytes, &self.election) {
                    Ok(Entry::Tally(tally)) => newest = Some((index, tally.totals)),
                    Ok(Entry::Vote(vote)) => {
                        for (c, rankings) in rankings.iter_mut().enumerate() {
                            if contests[c].method == Method::Ranked {
                                *rankings.entry(vote.ballot.choice(c).to_vec()).or_default() += 1;
                            }
                        }
                    }
                    _ => {}
                }
            }
            parts.push(CellPart {
                size,
                tally: newest.map(|(index, totals)| (totals, written.proof(index, at))),
            });
        }
        if counted.is_some() {
            // Sums that do not add up have no winner that could be computed: whoever wants one has to write it by hand.
            Results::finalize(&self.election, &parts, &rankings)
                .or_else(|_| Results::open(&self.election, &parts))
        } else {
            Results::open(&self.election, &parts)
        }
        .expect("results")
    }
}

/// A log as it was written.
#[derive(Default)]
struct Written {
    entries: Vec<Bytes>,
    /// Size and root after each batch.
    ends: Vec<(u64, Hash)>,
    notes: Vec<Vec<u8>>,
    tiles: Vec<(protocol::merkle::tile::TileId, Vec<u8>)>,
}

impl Written {
    /// The `.tlog-proof` of an entry, with the entry as `extra`, under the checkpoint of a batch's end.
    fn proof(&self, index: u64, batch: usize) -> String {
        let (size, root) = self.ends[batch];
        let needed = inclusion_tiles(index, size).into_iter().map(|id| {
            let (_, bytes) = self
                .tiles
                .iter()
                .find(|(tile, _)| (tile.level(), tile.index()) == (id.level(), id.index()))
                .expect("a tile");
            (id, bytes[..id.byte_len()].to_vec())
        });
        let proven =
            Tiles::authenticate(size, &root, needed.collect::<Vec<_>>()).expect("right tiles");
        let entry = self.entries[usize::try_from(index).expect("a small log")].clone();
        let path = proven.inclusion_proof(index).expect("a proof");
        let proof = TlogProof::new(Some(entry), index, path, self.notes[batch].clone());
        String::from_utf8(proof.expect("a proof").encode()).expect("text")
    }
}
