//! Batch files: one encoding, bounds, and the chain of trees.

use proptest::prelude::*;
use protocol::batch::{BATCH_ENTRIES_MAX, BATCH_HEADER_LEN, BATCH_LEN_MAX, BatchError, BatchFile};
use protocol::ids::LogId;
use protocol::merkle::{CompactRange, Hash, empty_root, leaf_hash};
use serde_json::{Value, json};

use crate::fixture::{ELECTION, ISSUANCE};
use crate::log::root;
use crate::vectors::vector_cases;

/// The layout as the specification draws it.
struct Raw {
    label: &'static [u8],
    election: [u8; 32],
    log: LogId,
    n: u64,
    old: (u64, Hash),
    new: (u64, Hash),
    entries: Vec<Vec<u8>>,
}

impl Raw {
    /// Batch `n` of a log in which every batch but the first holds two short entries.
    fn new(n: u64) -> Self {
        let size = |batches: u64| (2 * batches).saturating_sub(1);
        let all: Vec<Vec<u8>> = (0..size(n + 1))
            .map(|i| format!("entry {i}").into_bytes())
            .collect();
        let leaves: Vec<Hash> = all.iter().map(|entry| leaf_hash(entry)).collect();
        let at = |size: u64| (size, root(&leaves[..size as usize]));
        Self {
            label: b"tallyroot/v1/batch\0",
            election: *ELECTION.id().as_bytes(),
            log: LogId::Cell(1),
            n,
            old: at(size(n)),
            new: at(size(n + 1)),
            entries: all[size(n) as usize..].to_vec(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = [self.label, &self.election, &self.log.encode()].concat();
        out.extend(self.n.to_be_bytes());
        for (size, root) in [self.old, self.new] {
            out.extend(size.to_be_bytes());
            out.extend(root.0);
        }
        for entry in &self.entries {
            out.extend((entry.len() as u16).to_be_bytes());
            out.extend(entry);
        }
        out
    }

    fn with(n: u64, edit: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut raw = Self::new(n);
        edit(&mut raw);
        raw.encode()
    }
}

#[rustfmt::skip]
fn all() -> Vec<(&'static str, Vec<u8>, bool)> {
    let good = Raw::new(2).encode();
    let mut longer = good.clone();
    longer.push(0);
    vec![
        ("batch 0: the first entry alone", Raw::new(0).encode(), true),
        ("batch 1", Raw::new(1).encode(), true),
        ("batch 2", good.clone(), true),
        ("of an issuance log", Raw::with(2, |raw| raw.log = ISSUANCE), true),
        ("of the heads log", Raw::with(2, |raw| raw.log = LogId::Heads), true),
        ("an entry of 65,535 bytes", Raw::with(2, |raw| raw.entries[0] = vec![1; 65_535]), true),
        ("a root that its entries do not lead to: decoding cannot see it", Raw::with(2, |raw| raw.new.1.0[0] ^= 1), true),
        ("nothing", vec![], false),
        ("another label", Raw::with(2, |raw| raw.label = b"tallyroot/v2/batch\0"), false),
        ("another election", Raw::with(2, |raw| raw.election[0] ^= 1), false),
        ("a log that the election lacks", Raw::with(2, |raw| raw.log = LogId::Cell(2)), false),
        ("no entry", Raw::with(2, |raw| { raw.entries.clear(); raw.new = raw.old; }), false),
        ("an entry fewer than the sizes say", Raw::with(2, |raw| { raw.entries.pop(); }), false),
        ("an entry more than the sizes say", Raw::with(2, |raw| raw.entries.push(vec![1])), false),
        ("an empty entry", Raw::with(2, |raw| raw.entries[1].clear()), false),
        ("a size that shrinks", Raw::with(2, |raw| std::mem::swap(&mut raw.old, &mut raw.new)), false),
        ("sizes that differ by 2^64 - 1", Raw::with(2, |raw| { raw.old.0 = 0; raw.new.0 = u64::MAX; }), false),
        ("batch 0 that starts later", Raw::with(2, |raw| raw.n = 0), false),
        ("batch 0 from another root", Raw::with(0, |raw| raw.old.1.0[0] ^= 1), false),
        ("batch 0 of two entries", Raw::with(0, |raw| { raw.entries.push(vec![1]); raw.new.0 = 2; }), false),
        ("batch 1 that starts at 0", Raw::with(0, |raw| raw.n = 1), false),
        ("more batches before it than entries", Raw::with(2, |raw| raw.n = 4), false),
        ("a byte follows", longer, false),
        ("a byte is missing", good[..good.len() - 1].to_vec(), false),
        ("ends inside the header", good[..100].to_vec(), false),
    ]
}

#[test]
fn vectors() {
    let cases: Vec<Value> = all()
        .into_iter()
        .filter(|(_, bytes, _)| bytes.len() < 60_000)
        .map(|(why, bytes, valid)| json!({"why": why, "batch": hex::encode(bytes), "valid": valid}))
        .collect();
    let about = "Batch files of the election `base` of manifest.json, specs/protocol.md section 9. `valid`: whether the bytes are a batch file; the entries are not judged.";
    for case in vector_cases("batch.json", about, &cases) {
        let bytes = hex::decode(case["batch"].as_str().unwrap()).unwrap();
        let batch = BatchFile::decode(&bytes, &ELECTION);
        assert_eq!(batch.is_ok(), case["valid"], "{}", case["why"]);
        if let Ok(batch) = batch {
            assert_eq!(batch.encode(), bytes, "{}", case["why"]);
        }
    }
}

#[test]
fn a_file_of_any_size_is_judged_by_the_same_rules() {
    for (why, bytes, valid) in all() {
        assert_eq!(BatchFile::decode(&bytes, &ELECTION).is_ok(), valid, "{why}");
    }
    let full = |count: usize| {
        Raw::with(1, |raw| {
            raw.entries = vec![vec![1]; count];
            raw.new.0 = raw.old.0 + count as u64;
        })
    };
    assert!(BatchFile::decode(&full(BATCH_ENTRIES_MAX), &ELECTION).is_ok());
    assert!(matches!(
        BatchFile::decode(&full(BATCH_ENTRIES_MAX + 1), &ELECTION),
        Err(BatchError::Sizes(_))
    ));
    let of_len = |len: usize| {
        Raw::with(1, |raw| {
            raw.entries = entries_of(len - BATCH_HEADER_LEN);
            raw.new.0 = raw.old.0 + raw.entries.len() as u64;
        })
    };
    let longest = of_len(BATCH_LEN_MAX);
    assert_eq!(longest.len(), BATCH_LEN_MAX);
    assert!(BatchFile::decode(&longest, &ELECTION).is_ok());
    let len = BATCH_LEN_MAX + 1;
    assert_eq!(
        BatchFile::decode(&of_len(len), &ELECTION),
        Err(BatchError::TooLong { len })
    );
}

/// Entries that take so many bytes of a batch file.
fn entries_of(len: usize) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    let mut left = len;
    while left > 0 {
        // Two bytes of length and the entry; what is left always has room for one more.
        let taken = if left > 65_537 { 65_530 } else { left };
        entries.push(vec![1; taken - 2]);
        left -= taken;
    }
    entries
}

#[test]
fn who_knows_the_log_takes_no_batch_of_another() {
    let bytes = Raw::new(2).encode();
    let id = ELECTION.id();
    assert_eq!(
        BatchFile::decode_of(&bytes, &id, LogId::Cell(1)),
        BatchFile::decode(&bytes, &ELECTION)
    );
    for other in [LogId::Cell(0), ISSUANCE, LogId::Heads] {
        assert_eq!(
            BatchFile::decode_of(&bytes, &id, other),
            Err(BatchError::Log)
        );
    }
    // A log that the election lacks is refused by whoever knows the manifest alone; the numbers, by everybody.
    let lacking = Raw::with(2, |raw| raw.log = LogId::Cell(2));
    assert!(BatchFile::decode_of(&lacking, &id, LogId::Cell(2)).is_ok());
    let numbers = Raw::with(2, |raw| raw.n = 4);
    assert!(matches!(
        BatchFile::decode_of(&numbers, &id, LogId::Cell(1)),
        Err(BatchError::Sizes(_))
    ));
}

#[test]
fn batches_chain_from_tree_to_tree() {
    let mut tree = CompactRange::new();
    for n in 0..9 {
        let bytes = Raw::new(n).encode();
        let batch = BatchFile::decode(&bytes, &ELECTION).unwrap();
        // What the builder makes of the same entries is the same file.
        let mut built = tree.clone();
        let made = BatchFile::build(
            &ELECTION,
            LogId::Cell(1),
            n,
            &mut built,
            batch.entries.clone(),
        );
        assert_eq!(made.unwrap().encode(), bytes);
        batch.apply(&mut tree).unwrap();
        assert_eq!(tree, built);
        assert_eq!((tree.size(), tree.root()), Raw::new(n).new);
    }
}

#[test]
fn a_batch_that_does_not_fit_leaves_the_tree_alone() {
    let mut tree = CompactRange::new();
    for n in 0..3 {
        let bytes = Raw::new(n).encode();
        BatchFile::decode(&bytes, &ELECTION)
            .unwrap()
            .apply(&mut tree)
            .unwrap();
    }
    let before = tree.clone();
    let chain = |n, old_size| Err(BatchError::DoesNotChain { n, old_size });
    for (bytes, expected) in [
        (Raw::new(2).encode(), chain(2, 3)),
        (Raw::new(4).encode(), chain(4, 7)),
        (Raw::with(3, |raw| raw.old.1.0[5] ^= 1), chain(3, 5)),
        (
            Raw::with(3, |raw| raw.new.1.0[5] ^= 1),
            Err(BatchError::Root { n: 3 }),
        ),
        (
            Raw::with(3, |raw| raw.entries[1][0] ^= 1),
            Err(BatchError::Root { n: 3 }),
        ),
    ] {
        let batch = BatchFile::decode(&bytes, &ELECTION).unwrap();
        assert_eq!(batch.apply(&mut tree), expected);
        assert_eq!(tree, before);
    }
}

#[test]
fn no_batch_is_built_that_no_decoder_accepts() {
    let huge = vec![1; 65_536];
    let refused = |n, entries: Vec<&[u8]>| {
        let mut tree = CompactRange::new();
        if n > 0 {
            tree.push(leaf_hash(b"genesis"));
        }
        let before = tree.clone();
        let made = BatchFile::build(&ELECTION, LogId::Cell(0), n, &mut tree, entries);
        assert_eq!(tree, before);
        made.unwrap_err()
    };
    assert!(matches!(refused(1, vec![]), BatchError::Sizes(_)));
    assert!(matches!(refused(1, vec![b""]), BatchError::Sizes(_)));
    assert!(matches!(refused(1, vec![&huge]), BatchError::Sizes(_)));
    assert!(matches!(refused(0, vec![b"a", b"b"]), BatchError::Sizes(_)));
    assert!(matches!(
        refused(1, vec![b"a"; BATCH_ENTRIES_MAX + 1]),
        BatchError::Sizes(_)
    ));
    // As long as a file may be; a byte more is refused.
    let longest = entries_of(BATCH_LEN_MAX - BATCH_HEADER_LEN);
    let longer = entries_of(BATCH_LEN_MAX - BATCH_HEADER_LEN + 1);
    assert_eq!(
        refused(1, longer.iter().map(Vec::as_slice).collect()),
        BatchError::TooLong {
            len: BATCH_LEN_MAX + 1
        }
    );
    let mut tree = CompactRange::new();
    tree.push(leaf_hash(b"genesis"));
    let entries = longest.iter().map(Vec::as_slice).collect();
    let made = BatchFile::build(&ELECTION, LogId::Cell(0), 1, &mut tree, entries).unwrap();
    assert_eq!(made.encode().len(), BATCH_LEN_MAX);
    let mut tree = CompactRange::new();
    let made = BatchFile::build(&ELECTION, LogId::Cell(7), 0, &mut tree, vec![b"a"]);
    assert_eq!(made, Err(BatchError::Log));
    assert_eq!(tree.root(), empty_root());
}

proptest! {
    #[test]
    fn accepted_bytes_encode_identically(
        n in 0u64..4,
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
        cut in 0usize..3,
    ) {
        let mut bytes = Raw::new(n).encode();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut);
        if let Ok(batch) = BatchFile::decode(&bytes, &ELECTION) {
            prop_assert_eq!(batch.encode(), bytes);
        }
    }
}
