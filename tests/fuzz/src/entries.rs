//! Binary formats: entries, ballots, batch files, anchor objects, bundles, the logs' grammars, keys.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use protocol::anchor::AnchorObject;
use protocol::ballot::Ballot;
use protocol::batch::BatchFile;
use protocol::credential::check_blinded_message;
use protocol::ed25519::{self, PublicKey};
use protocol::entry::{Entry, Vote};
use protocol::grammar::{BatchSummary, CellLog, GrammarError, HeadsLog, IssuanceLog};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::CompactRange;
use protocol::merkle::tile::{decode_bundle, encode_bundle};
use protocol::rsa::RegistrarKey;

use crate::chosen;
use crate::fixture::{ELECTIONS, OTHER, base, bytes, cases};

pub(crate) const ENTRY: u8 = 0;
pub(crate) const BALLOT: u8 = 1;
pub(crate) const BATCH: u8 = 2;
pub(crate) const ANCHOR: u8 = 3;
pub(crate) const BUNDLE: u8 = 4;
pub(crate) const GRAMMAR: u8 = 5;
pub(crate) const SPKI: u8 = 6;
pub(crate) const RSA: u8 = 7;
pub(crate) const ED25519: u8 = 8;
const ALL: u8 = 9;

/// Entries of the vectors, without those whose signatures are wrong.
static SIGNED: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let all = cases("entry", "cases");
    let signed = all.iter().filter(|case| case["signatures"] != false);
    signed.map(|case| bytes(case, "entry")).collect()
});

/// Public key, message and signature of every Ed25519 vector that is right.
static SIGNED_ED25519: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let right = cases("ed25519", "cases");
    let right = right.iter().filter(|case| case["valid"] == true);
    right
        .map(|case| {
            let parts = ["public_key", "signature", "message"];
            parts.map(|member| bytes(case, member)).concat()
        })
        .collect()
});

/// A registrar's key, and its signatures in the vectors, each before its message.
static SIGNED_RSA: LazyLock<(RegistrarKey, BTreeSet<Vec<u8>>)> = LazyLock::new(|| {
    let all = cases("rsa", "signatures");
    let spki = &all[0]["spki"];
    let signed = all
        .iter()
        .filter(|case| case["valid"] == true && case["spki"] == *spki);
    let signed = signed.map(|case| [bytes(case, "signature"), bytes(case, "message")].concat());
    let key = RegistrarKey::from_spki(&bytes(&all[0], "spki")).unwrap();
    (key, signed.collect())
});

/// Decodes a binary format.
pub fn entries(data: &[u8]) {
    let Some((what, rest)) = chosen(data, ALL) else {
        return;
    };
    match what {
        ENTRY => entry(rest),
        BALLOT => ballot(rest),
        BATCH => batch(rest),
        ANCHOR => anchor(rest),
        BUNDLE => bundle(rest),
        GRAMMAR => grammar(rest),
        SPKI => spki(rest),
        RSA => rsa(rest),
        _ => ed25519(rest),
    }
}

/// The election that the first byte names.
fn election(data: &[u8]) -> Option<(&'static Election, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((&ELECTIONS[usize::from(*first) % ELECTIONS.len()], rest))
}

fn entry(data: &[u8]) {
    let Some((election, bytes)) = election(data) else {
        return;
    };
    let Ok(entry) = Entry::decode(bytes, election) else {
        assert!(Vote::decode(bytes, election).is_err());
        return;
    };
    assert_eq!(entry.encode(), bytes);
    match &entry {
        Entry::Vote(vote) => {
            assert_eq!(Vote::decode(bytes, election).as_ref(), Ok(vote));
            assert!(bytes.len() <= election.max_vote_len());
            if vote.verify(election).is_ok() {
                assert!(SIGNED.contains(bytes), "a vote that nobody signed");
            }
        }
        Entry::Notice(notice) => {
            if notice.verify(election).is_ok() {
                assert!(SIGNED.contains(bytes), "a notice that nobody signed");
            }
        }
        Entry::Genesis(genesis) => {
            assert!(election.contains(genesis.log));
            assert_eq!(LogId::decode(&genesis.log.encode()), Ok(genesis.log));
        }
        Entry::Head(head) | Entry::FinalHead(head) => {
            for log in election.logs() {
                assert!(head.log(election, *log).is_some());
            }
        }
        Entry::Tally(_) | Entry::Close(_) | Entry::Issuance(_) | Entry::Count(_) => {}
    }
}

fn ballot(data: &[u8]) {
    let Some((election, bytes)) = election(data) else {
        return;
    };
    let contests = election.contests();
    let Ok(ballot) = Ballot::decode(bytes, contests) else {
        return;
    };
    assert_eq!(ballot.encode(), bytes);
    assert!(bytes.len() <= Ballot::len_max(contests));
    let choices: Vec<Vec<u16>> = ballot.choices().map(<[u16]>::to_vec).collect();
    assert_eq!(choices.len(), contests.len());
    assert_eq!(
        ballot.is_abstention(),
        choices.iter().all(|choice| choice.is_empty())
    );
    assert_eq!(Ballot::new(&choices, contests), Ok(ballot));
}

fn batch(bytes: &[u8]) {
    let election = base();
    let Ok(batch) = BatchFile::decode(bytes, election) else {
        return;
    };
    assert_eq!(batch.encode(), bytes);
    assert!(election.contains(batch.log));
    assert_eq!(
        BatchFile::decode_of(bytes, &election.id(), batch.log).as_ref(),
        Ok(&batch)
    );
    assert!(BatchFile::decode_of(bytes, &OTHER, batch.log).is_err());
    let mut tree = CompactRange::new();
    let before = tree.clone();
    if batch.apply(&mut tree).is_err() {
        assert_eq!(tree, before, "a refused batch leaves the tree as it was");
        return;
    }
    // What chains is what a builder makes of the same entries.
    let mut again = CompactRange::new();
    let built = BatchFile::build(
        election,
        batch.log,
        batch.n,
        &mut again,
        batch.entries.clone(),
    );
    assert_eq!(built.as_ref(), Ok(&batch));
    assert_eq!(again, tree);
}

fn anchor(bytes: &[u8]) {
    let Ok(object) = AnchorObject::decode(bytes, &base().id()) else {
        return;
    };
    assert_eq!(object.encode().as_deref(), Ok(bytes));
    assert!(AnchorObject::decode(bytes, &OTHER).is_err());
}

fn bundle(data: &[u8]) {
    let Some((width, bytes)) = data.split_first_chunk() else {
        return;
    };
    let width = u16::from_be_bytes(*width);
    let Ok(entries) = decode_bundle(bytes, width) else {
        return;
    };
    assert_eq!(entries.len(), usize::from(width));
    assert_eq!(
        encode_bundle(entries.into_iter()).as_deref(),
        Ok(bytes),
        "one bundle has one encoding"
    );
}

/// Any log's state machine.
#[derive(Clone)]
enum Log {
    Cell(CellLog),
    Issuance(IssuanceLog),
    Heads(Box<HeadsLog>),
}

impl Log {
    fn new(election: &Election, log: LogId) -> Self {
        match log {
            LogId::Cell(cell) => Self::Cell(CellLog::new(election, cell)),
            LogId::Issuance { registrar, shard } => {
                Self::Issuance(IssuanceLog::new(election, registrar, shard))
            }
            LogId::Heads => Self::Heads(Box::new(HeadsLog::new(election))),
        }
    }

    fn batch(&mut self, n: u64, entries: &[&[u8]]) -> Result<BatchSummary, GrammarError> {
        match self {
            Self::Cell(log) => log.batch(n, entries),
            Self::Issuance(log) => log.batch(n, entries),
            Self::Heads(log) => log.batch(n, entries),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Cell(log) => log.size(),
            Self::Issuance(log) => log.size(),
            Self::Heads(log) => log.size(),
        }
    }
}

/// The log's index in head order (then the heads log), then batches: a count of entries, and each entry with its length.
fn grammar(data: &[u8]) {
    let election = base();
    let Some((log, mut rest)) = data.split_first() else {
        return;
    };
    let log = *election
        .logs()
        .get(usize::from(*log))
        .unwrap_or(&LogId::Heads);
    let mut machine = Log::new(election, log);
    let mut n = 0;
    while let Some((count, after)) = rest.split_first() {
        rest = after;
        let mut entries = Vec::new();
        for _ in 0..*count {
            let Some((entry, after)) = rest.split_first_chunk().and_then(|(len, after)| {
                after.split_at_checked(usize::from(u16::from_be_bytes(*len)))
            }) else {
                return;
            };
            entries.push(entry);
            rest = after;
        }
        let size = machine.size();
        match machine.batch(n, &entries) {
            Ok(summary) => {
                assert_eq!(summary.n, n);
                assert_eq!(summary.first_index, size);
                assert_eq!(machine.size(), size + entries.len() as u64);
                assert_eq!(summary.new_size(), machine.size());
                for (read, bytes) in summary.entries.iter().zip(&entries) {
                    assert_eq!(read.encode(), *bytes);
                }
                n += 1;
            }
            // "The log is then as before": whoever goes on may hand in another batch.
            Err(_) => assert_eq!(machine.size(), size),
        }
    }
}

fn spki(bytes: &[u8]) {
    let Ok(key) = RegistrarKey::from_spki(bytes) else {
        return;
    };
    assert_eq!(key.spki(), bytes);
    assert!(check_blinded_message(&key, key.modulus()).is_err());
    assert!(check_blinded_message(&key, &vec![0; key.signature_len()]).is_err());
}

/// A signature, then a message.
fn rsa(data: &[u8]) {
    let (key, signed) = &*SIGNED_RSA;
    let _ = check_blinded_message(key, data);
    let Some((signature, message)) = data.split_at_checked(key.signature_len()) else {
        assert!(key.verify(data, data).is_err());
        return;
    };
    assert_eq!(
        key.verify(message, signature).is_ok(),
        signed.contains(data),
        "what this key signed verifies, and nothing else"
    );
}

/// A public key, a signature, then a message.
fn ed25519(data: &[u8]) {
    let Some((key, rest)) = data.split_first_chunk::<32>() else {
        return;
    };
    let parsed = PublicKey::parse(key);
    assert_eq!(ed25519::check_key(key).is_ok(), parsed.is_ok());
    let Some((signature, message)) = rest.split_first_chunk::<64>() else {
        return;
    };
    let verified = ed25519::verify(key, message, signature);
    assert_eq!(
        verified.is_ok(),
        SIGNED_ED25519.contains(data),
        "{verified:?}"
    );
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.as_bytes(), key);
        assert_eq!(parsed.verify(message, signature), verified);
    }
}
