//! One log as it is written: batches, tiles, bundles, checkpoints. Roots and proofs are computed the naive way, as RFC 6962 defines them.

use protocol::batch::BatchFile;
use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::merkle::tile::{bundles, encode_bundle, tiles};
use protocol::merkle::{CompactRange, Hash, empty_root, leaf_hash, node_hash};
use protocol::tlog_proof::TlogProof;

use super::keys::Keys;

/// A file as it is written, in order.
pub type Step = (String, Vec<u8>);

pub struct Tree {
    pub log: LogId,
    pub entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    range: CompactRange,
    batches: u64,
    /// Above this size the spare key signs.
    pub switched: Option<u64>,
    pub checkpoint: Vec<u8>,
}

/// `MTH(D)`.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// `PATH(m, D)`.
pub fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut below, beside) = if m < k {
        (path(m, left), root(right))
    } else {
        (path(m - k, right), root(left))
    };
    below.push(beside);
    below
}

fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

impl Tree {
    pub fn new(log: LogId) -> Self {
        Self {
            log,
            entries: Vec::new(),
            leaves: Vec::new(),
            range: CompactRange::new(),
            batches: 0,
            switched: None,
            checkpoint: Vec::new(),
        }
    }

    pub fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    pub fn batches(&self) -> u64 {
        self.batches
    }

    pub fn root_at(&self, size: u64) -> Hash {
        root(&self.leaves[..usize::try_from(size).unwrap()])
    }

    /// The root with these entries appended.
    pub fn root_with(&self, entries: &[Vec<u8>]) -> Hash {
        let more = entries.iter().map(|entry| leaf_hash(entry));
        root(&self.leaves.iter().copied().chain(more).collect::<Vec<_>>())
    }

    /// Appends a batch: its files in the order in which a sequencer writes them.
    pub fn append(&mut self, keys: &Keys, entries: &[Vec<u8>]) -> Vec<Step> {
        let log = self.log;
        let old = self.size();
        let borrowed = entries.iter().map(Vec::as_slice).collect();
        let file = BatchFile::build(&keys.election, log, self.batches, &mut self.range, borrowed)
            .unwrap()
            .encode();
        let mut steps = vec![(format!("{log}/batches/{}", self.batches), file)];
        self.batches += 1;
        self.leaves
            .extend(entries.iter().map(|entry| leaf_hash(entry)));
        self.entries.extend(entries.iter().cloned());
        assert_eq!(self.range.root(), root(&self.leaves));

        // What is above the old size, partial ones included. Those of the size before stay: superseded.
        for id in tiles(self.size()) {
            let span = 256usize.pow(u32::from(id.level()));
            let first = usize::try_from(id.index()).unwrap() * 256;
            let hashes: Vec<u8> = (first..first + usize::from(id.width()))
                .flat_map(|i| root(&self.leaves[i * span..(i + 1) * span]).0)
                .collect();
            if (first + usize::from(id.width())) * span > usize::try_from(old).unwrap() {
                steps.push((format!("{log}/{}", id.path()), hashes));
            }
        }
        for id in bundles(self.size()) {
            let first = usize::try_from(id.first_leaf()).unwrap();
            let end = first + usize::from(id.width());
            if end as u64 > old {
                let bytes =
                    encode_bundle(self.entries[first..end].iter().map(Vec::as_slice)).unwrap();
                steps.push((format!("{log}/{}", id.path()), bytes));
            }
        }
        self.checkpoint = self.sign(keys);
        steps.push((
            format!("{log}/checkpoints/{}", self.size()),
            self.checkpoint.clone(),
        ));
        steps.push((format!("{log}/checkpoint"), self.checkpoint.clone()));
        steps
    }

    fn sign(&self, keys: &Keys) -> Vec<u8> {
        let spare = self.switched.is_some_and(|above| self.size() > above);
        let origin = keys.election.origin(self.log);
        let checkpoint = Checkpoint::new(&origin, self.size(), self.root_at(self.size())).unwrap();
        let key = keys.log(self.log, spare);
        let signature = key.sign(checkpoint.body().as_bytes());
        checkpoint.signed(&key.public(), &signature)
    }

    /// The `.tlog-proof` of an entry under the newest checkpoint, with the entry as `extra`.
    pub fn proof(&self, index: u64) -> String {
        let at = usize::try_from(index).unwrap();
        let proof = TlogProof::new(
            Some(self.entries[at].clone()),
            index,
            path(at, &self.leaves),
            self.checkpoint.clone(),
        );
        String::from_utf8(proof.unwrap().encode()).unwrap()
    }
}
