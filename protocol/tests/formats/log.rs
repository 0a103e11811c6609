//! Logs under test: their entries, roots, checkpoints and proofs. Proofs come from RFC 6962's recursion, not from the code under test.

use protocol::checkpoint::Checkpoint;
use protocol::cosignature::{self, WitnessKey};
use protocol::entry::{Genesis, Vote};
use protocol::grammar::CellLog;
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{Hash, leaf_hash, node_hash};
use protocol::note::SignedNote;
use protocol::tlog_proof::TlogProof;

use crate::fixture::{ELECTION, OPENING, key};

#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) election: Election,
    pub(crate) id: LogId,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Log {
    pub(crate) fn new(election: &Election, id: LogId) -> Self {
        Self {
            election: election.clone(),
            id,
            entries: Vec::new(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        root(&self.leaves(size))
    }

    fn leaves(&self, size: u64) -> Vec<Hash> {
        self.entries[..size as usize]
            .iter()
            .map(|entry| leaf_hash(entry))
            .collect()
    }

    /// `slot` is `main` or `spare`.
    pub(crate) fn checkpoint(&self, size: u64, slot: &str) -> Vec<u8> {
        let origin = self.election.origin(self.id);
        let checkpoint = Checkpoint::new(&origin, size, self.root(size)).unwrap();
        let key = key(&format!("{} {slot}", self.id));
        checkpoint.signed(&key.public(), &key.sign(checkpoint.body().as_bytes()))
    }

    /// The same with the cosignatures of these witnesses, all at this time in seconds.
    pub(crate) fn cosigned(&self, size: u64, slot: &str, witnesses: &[&str], time: u64) -> Vec<u8> {
        let note = SignedNote::parse(&self.checkpoint(size, slot)).unwrap();
        let lines = witnesses.iter().map(|name| {
            let key = key(&format!("witness {name}"));
            let signature = key.sign(&cosignature::message(time, note.text()));
            let witness = WitnessKey::new(name, key.public()).unwrap();
            cosignature::line(&witness, time, &signature).unwrap()
        });
        note.with_signatures(lines).unwrap().encode()
    }

    /// The `.tlog-proof` of the entry at `index`, with the entry as `extra`, under this note of this size.
    pub(crate) fn proof(&self, index: u64, size: u64, note: Vec<u8>) -> String {
        let path = path(index as usize, &self.leaves(size));
        let extra = Some(self.entries[index as usize].clone());
        let proof = TlogProof::new(extra, index, path, note).unwrap();
        String::from_utf8(proof.encode()).unwrap()
    }
}

/// RFC 6962 section 2.1: MTH.
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => protocol::merkle::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// RFC 6962 section 2.1.1: PATH.
fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut below, sibling) = if index < k {
        (path(index, left), root(right))
    } else {
        (path(index - k, right), root(left))
    };
    below.push(sibling);
    below
}

fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// A cell's log with these batches of votes, all at opening, and its state.
pub(crate) fn cell_log(cell: u32, batches: &[&[Vote]]) -> (Log, CellLog) {
    let id = LogId::Cell(cell);
    let mut log = Log::new(&ELECTION, id);
    let mut state = CellLog::new(&ELECTION, cell);
    let genesis = Genesis::of(&ELECTION, id).encode();
    state.batch(0, &[&genesis]).unwrap();
    log.entries.push(genesis);
    for (n, votes) in (1..).zip(batches) {
        let mut votes: Vec<&Vote> = votes.iter().collect();
        votes.sort_by_key(|vote| vote.leaf_hash());
        let tally = state.next_tally(votes.iter().copied(), OPENING);
        let batch: Vec<Vec<u8>> = votes
            .into_iter()
            .map(Vote::encode)
            .chain([tally.encode()])
            .collect();
        let entries: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        state.batch(n, &entries).unwrap();
        log.entries.extend(batch);
    }
    (log, state)
}
