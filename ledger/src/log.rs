//! Which log this is, and who may sign it.

use protocol::checkpoint::{Checkpoint, CheckpointError};
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::Election;

/// A log's place in an election: everything its published files and its database are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogName {
    election: ElectionId,
    id: LogId,
    origin: String,
}

impl LogName {
    /// The log `id` of the election with this base (specs/protocol.md, section 4).
    #[must_use]
    pub fn new(base: &str, election: ElectionId, id: LogId) -> Self {
        Self {
            election,
            id,
            origin: id.origin(base, &election),
        }
    }

    /// The name of one of an election's logs, and its main key; `None` if the election has no such log.
    #[must_use]
    pub fn of(election: &Election, id: LogId) -> Option<(Self, Keys)> {
        let keys = election.log_keys(id)?;
        let name = Self {
            election: election.id(),
            id,
            origin: election.origin(id),
        };
        Some((name, Keys::main(*keys.main.as_bytes())))
    }

    /// The election.
    #[must_use]
    pub const fn election(&self) -> &ElectionId {
        &self.election
    }

    /// Which of the election's logs.
    #[must_use]
    pub const fn id(&self) -> LogId {
        self.id
    }

    /// The checkpoint origin.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The path of one of the log's files below the election's folder: `path("checkpoint")` is `cells/0/checkpoint`.
    #[must_use]
    pub fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.id)
    }
}

/// The keys that may sign a log's checkpoints, each at its sizes.
///
/// SPEC: "the log's main key, or its spare above the size that a switch notice names".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    main: [u8; 32],
    /// The spare key, and the size above which it signs.
    spare: Option<([u8; 32], u64)>,
}

impl Keys {
    /// The main key only: no switch notice is known.
    #[must_use]
    pub const fn main(main: [u8; 32]) -> Self {
        Self { main, spare: None }
    }

    /// The spare key signs above `size`, as a switch notice of the authority says.
    #[must_use]
    pub const fn switched(self, spare: [u8; 32], size: u64) -> Self {
        Self {
            main: self.main,
            spare: Some((spare, size)),
        }
    }

    /// The key that must sign a checkpoint of this size.
    #[must_use]
    pub const fn at(&self, size: u64) -> [u8; 32] {
        match self.spare {
            Some((spare, above)) if size > above => spare,
            _ => self.main,
        }
    }

    /// Checks a published checkpoint of the log: one signature line, by the key that signs at its size.
    ///
    /// An existing `checkpoints/<size>` "stays" where a notice switched the key later, so its size decides, not when it is read.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::verify`].
    pub fn verify(&self, log: &LogName, bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        let (checkpoint, _) = match self.spare {
            None => Checkpoint::verify(bytes, log.origin(), &[self.main])?,
            Some((spare, _)) => Checkpoint::verify(bytes, log.origin(), &[self.main, spare])?,
        };
        // The signature is valid; now it must be the key of this size.
        let (checkpoint, _) =
            Checkpoint::verify(bytes, log.origin(), &[self.at(checkpoint.size())])?;
        Ok(checkpoint)
    }
}
