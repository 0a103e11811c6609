//! Notices: the only way to change anything about a running election.
//!
//! ```text
//! notice entry = 0x08 ‖ key u8 (0 main, 1 spare) ‖ signature (64) ‖ notice body
//! notice body  = kind u8 ‖ sequence u32 ‖ fields
//!     1 extend   closing u64
//!     2 cancel   -
//!     3 freeze   log id (9)
//!     4 switch   log id (9) ‖ size u64 ‖ root (32)
//! signed       = "tallyroot/v1/notice" ‖ 0x00 ‖ election id ‖ key byte ‖ notice body
//! ```

use crate::ed25519::Ed25519Error;
use crate::ids::{ElectionId, LogId};
use crate::manifest::Election;
use crate::merkle::Hash;
use crate::wire::{Reader, WireError};

use super::{EntryError, type_byte};

/// What the authority signs, before `0x00 ‖ election id ‖ key byte ‖ notice body`.
pub const NOTICE_LABEL: &str = "tallyroot/v1/notice";

/// A signed notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which of the authority's keys signed.
    pub key: AuthorityKey,
    /// The signature of [`NoticeBody::message`].
    pub signature: [u8; 64],
    /// What it says.
    pub body: NoticeBody,
}

/// Which of the authority's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AuthorityKey {
    /// The main key.
    Main = 0,
    /// The spare.
    Spare = 1,
}

/// A numbered act of the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeBody {
    /// 0, 1, 2, … over the heads log.
    pub sequence: u32,
    /// The act.
    pub action: NoticeAction,
}

/// What a notice does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeAction {
    /// Moves the closing time to later.
    Extend {
        /// The new closing time, in ms since 1970.
        closing: u64,
    },
    /// The election is void: nothing is counted.
    Cancel,
    /// The log takes nothing new: it drains and closes.
    Freeze {
        /// A cell or an issuance log.
        log: LogId,
    },
    /// Above `size`, the log's checkpoints are signed by its spare key.
    Switch {
        /// Any log.
        log: LogId,
        /// The last size under the main key.
        size: u64,
        /// The root at that size.
        root: Hash,
    },
}

/// The kinds of notice, without their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NoticeKind {
    /// See [`NoticeAction::Extend`].
    Extend = 1,
    /// See [`NoticeAction::Cancel`].
    Cancel = 2,
    /// See [`NoticeAction::Freeze`].
    Freeze = 3,
    /// See [`NoticeAction::Switch`].
    Switch = 4,
}

/// The authority did not sign this notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the authority's signature of notice {sequence} does not verify: {error}")]
pub struct NoticeError {
    /// The notice's number.
    pub sequence: u32,
    /// Why.
    pub error: Ed25519Error,
}

impl NoticeAction {
    /// The kind, without the fields.
    #[must_use]
    pub const fn kind(&self) -> NoticeKind {
        match self {
            Self::Extend { .. } => NoticeKind::Extend,
            Self::Cancel => NoticeKind::Cancel,
            Self::Freeze { .. } => NoticeKind::Freeze,
            Self::Switch { .. } => NoticeKind::Switch,
        }
    }
}

impl NoticeBody {
    /// `kind u8 ‖ sequence u32 ‖ fields`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.action.kind() as u8];
        out.extend_from_slice(&self.sequence.to_be_bytes());
        match &self.action {
            NoticeAction::Extend { closing } => out.extend_from_slice(&closing.to_be_bytes()),
            NoticeAction::Cancel => {}
            NoticeAction::Freeze { log } => out.extend_from_slice(&log.encode()),
            NoticeAction::Switch { log, size, root } => {
                out.extend_from_slice(&log.encode());
                out.extend_from_slice(&size.to_be_bytes());
                out.extend_from_slice(root.as_bytes());
            }
        }
        out
    }

    /// What the authority's key signs: `"tallyroot/v1/notice" ‖ 0x00 ‖ election id ‖ key byte ‖ notice body`.
    #[must_use]
    pub fn message(&self, election: &ElectionId, key: AuthorityKey) -> Vec<u8> {
        [
            NOTICE_LABEL.as_bytes(),
            &[0],
            election.as_bytes(),
            &[key as u8],
            &self.encode(),
        ]
        .concat()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Option<Self>, WireError> {
        let kind = reader.u8()?;
        let sequence = reader.u32()?;
        let action = match kind {
            1 => NoticeAction::Extend {
                closing: reader.time()?,
            },
            2 => NoticeAction::Cancel,
            3 => NoticeAction::Freeze {
                log: reader.log_id()?,
            },
            4 => NoticeAction::Switch {
                log: reader.log_id()?,
                size: reader.u64()?,
                root: Hash(reader.array()?),
            },
            _ => return Ok(None),
        };
        Ok(Some(Self { sequence, action }))
    }
}

impl Notice {
    /// `0x08 ‖ key ‖ signature ‖ notice body`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &[type_byte::NOTICE, self.key as u8],
            self.signature.as_slice(),
            &self.body.encode(),
        ]
        .concat()
    }

    pub(super) fn decode_fields(fields: &[u8], election: &Election) -> Result<Self, EntryError> {
        const NAME: &str = "notice";
        let wire = EntryError::wire(NAME);
        let range = |field| EntryError::Range { entry: NAME, field };
        let mut reader = Reader::new(fields);
        let key = match reader.u8().map_err(&wire)? {
            0 => AuthorityKey::Main,
            1 => AuthorityKey::Spare,
            _ => return Err(range("the key byte")),
        };
        let signature = reader.array().map_err(&wire)?;
        let body = NoticeBody::read(&mut reader)
            .map_err(&wire)?
            .ok_or(range("the kind"))?;
        reader.finish().map_err(&wire)?;
        let log_fits = match body.action {
            // "log id (9), a cell or an issuance log"
            NoticeAction::Freeze { log } => election.head_position(log).is_some(),
            NoticeAction::Switch { log, .. } => election.contains(log),
            NoticeAction::Extend { .. } | NoticeAction::Cancel => true,
        };
        if !log_fits {
            return Err(range("the log id"));
        }
        Ok(Self {
            key,
            signature,
            body,
        })
    }

    /// Checks the authority's signature. Whether the act is allowed at this point is the grammar's to say.
    ///
    /// # Errors
    /// The signature does not verify under the key that the notice names.
    pub fn verify(&self, election: &Election) -> Result<(), NoticeError> {
        let keys = election.authority_keys();
        let key = match self.key {
            AuthorityKey::Main => keys.main,
            AuthorityKey::Spare => keys.spare,
        };
        key.verify(
            &self.body.message(&election.id(), self.key),
            &self.signature,
        )
        .map_err(|error| NoticeError {
            sequence: self.body.sequence,
            error,
        })
    }
}
