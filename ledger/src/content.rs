//! What a log holds. The sequencer makes batches final; a [`Content`] says what they are made of.

/// Something to be appended once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// What may stand in the log only once: a credential key, a roll index. `None`: nothing is unique, and the caller must not try again blindly.
    pub key: Option<[u8; 32]>,
    /// Two submissions under one key are *the same* exactly when this digest is (of key and ballot: signatures may differ).
    pub same: [u8; 32],
    /// What [`Content::arrange`] makes the entry of: for most contents, the entry itself.
    pub entry: Vec<u8>,
}

/// Where a batch stands in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The batch number; 0 is the genesis.
    pub n: u64,
    /// The index of the batch's first entry.
    pub first_index: u64,
}

/// A batch, arranged but not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arranged {
    /// The batch's entries, in order. None: everything was refused, and there is no batch.
    pub entries: Vec<Vec<u8>>,
    /// For each submission, in the order given, what became of it.
    pub places: Vec<Place>,
}

/// What became of one submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Its entry's position in the batch, from 0.
    At(u32),
    /// It is not in the batch, for this reason.
    Refused(String),
}

/// What a batch turned out to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The entries that hold something unique.
    pub keyed: Vec<Keyed>,
    /// The batch ends the log: a close or a final head.
    pub closed: bool,
}

/// An entry that holds something unique; see [`Submission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// The entry's position in the batch, from 0.
    pub offset: u32,
    /// As [`Submission::key`].
    pub key: [u8; 32],
    /// As [`Submission::same`].
    pub same: [u8; 32],
}

/// What a log puts into its entries, and the state that follows from them (totals, the last time).
///
/// The state changes in [`Content::replay`] only, which every batch passes once, in order: at takeover from what is published, and before every append from what
/// [`Content::arrange`] or [`Content::close`] made. So the same code that would find fault with somebody else's batch sees our own before it is committed, and a takeover
/// ends in the very state that the writer before had. When anything goes wrong in between, the sequencer starts over with a fresh content.
pub trait Content: Send + Sync + 'static {
    /// The log's entry 0.
    fn genesis(&self) -> Vec<u8>;

    /// Makes a batch of what gathered. `items` holds no key twice, and none that stands in the log already. Must not change what `replay` depends on.
    ///
    /// # Errors
    ///
    /// When no batch can be made, which halts the log: what is wrong with a single submission is a [`Place::Refused`].
    fn arrange(
        &mut self,
        at: Position,
        now_ms: u64,
        items: &[Submission],
    ) -> Result<Arranged, ContentError>;

    /// The entry that ends the log: `given` by who asked to close, or made here.
    ///
    /// # Errors
    ///
    /// When the log cannot be ended by this entry; it stays open.
    fn close(
        &mut self,
        at: Position,
        now_ms: u64,
        given: Option<&[u8]>,
    ) -> Result<Vec<u8>, ContentError>;

    /// Checks one batch against the log's grammar (specs/protocol.md, section 8) and takes it into the state. Batch 0 is the genesis.
    ///
    /// Signatures need not be checked again: they were before submission, and auditors do.
    ///
    /// # Errors
    ///
    /// When the batch breaks the grammar: the log halts rather than to go on from, or publish, what every auditor refuses.
    fn replay(&mut self, at: Position, entries: &[&[u8]]) -> Result<Replayed, ContentError>;
}

/// Why a batch cannot be made, or must not stand in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContentError(pub String);

impl ContentError {
    /// With this explanation: what happened, and what it means.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
