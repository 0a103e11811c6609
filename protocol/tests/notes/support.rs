//! Logs and witnesses with keys that everybody knows.

use ed25519_dalek::{Signer, SigningKey};
use protocol::checkpoint::Checkpoint;
use protocol::cosignature::{self, WitnessKey};
use protocol::merkle::{CompactRange, Hash, leaf_hash};
use protocol::note::{ED25519, NoteSignature, key_id};

pub(crate) const ORIGIN: &str = "vote.example/elections/e/cells/0";

/// The key with 32 times this byte as its seed.
pub(crate) struct Key(SigningKey);

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        Self(SigningKey::from_bytes(&[seed; 32]))
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// A signature line of type 0x01 over this text.
    pub(crate) fn line(&self, name: &str, text: &str) -> NoteSignature {
        let id = key_id(name, ED25519, &self.public());
        NoteSignature::new(name, id, &self.sign(text.as_bytes())).unwrap()
    }

    /// The witness of this name and key.
    pub(crate) fn witness(&self, name: &str) -> WitnessKey {
        WitnessKey::new(name, self.public()).unwrap()
    }

    /// A cosignature line.
    pub(crate) fn cosign(&self, name: &str, time: u64, body: &str) -> NoteSignature {
        let signature = self.sign(&cosignature::message(time, body));
        cosignature::line(&self.witness(name), time, &signature).unwrap()
    }
}

pub(crate) fn main_key() -> Key {
    Key::new(1)
}

pub(crate) fn spare_key() -> Key {
    Key::new(2)
}

/// The entries of a small log.
pub(crate) fn entry(i: u64) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

/// The head of the log of `size` such entries.
pub(crate) fn head(size: u64) -> Checkpoint {
    let mut range = CompactRange::new();
    (0..size).for_each(|i| range.push(leaf(i)));
    Checkpoint::new(ORIGIN, size, range.root()).unwrap()
}

pub(crate) fn leaf(i: u64) -> Hash {
    leaf_hash(&entry(i))
}

/// A checkpoint that the log signed with this key.
pub(crate) fn signed(checkpoint: &Checkpoint, key: &Key) -> Vec<u8> {
    let signature = key.sign(checkpoint.body().as_bytes());
    checkpoint.signed(&key.public(), &signature)
}
