//! A manifest that keeps every rule, with its keys parsed once.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Contest, Manifest, ManifestError, check};
use crate::canonical_json;
use crate::cosignature::WitnessKey;
use crate::ed25519::PublicKey;
use crate::ids::{ElectionId, LogId, cell_of, shard_of, voters_of_shard};
use crate::rsa::RegistrarKey;

/// A checked manifest. Cheap to clone: it is shared, and never changes.
#[derive(Clone)]
pub struct Election(Arc<Inner>);

struct Inner {
    id: ElectionId,
    bytes: Vec<u8>,
    manifest: Manifest,
    keys: ParsedKeys,
    /// In head order: the cells, then each registrar's shards.
    logs: Vec<LogId>,
    vote_len_max: usize,
}

/// The manifest's keys, each checked and parsed.
pub(super) struct ParsedKeys {
    /// In the order of `logs`.
    pub(super) logs: Vec<LogKeys>,
    pub(super) heads: LogKeys,
    pub(super) authority: LogKeys,
    pub(super) registrars: Vec<RegistrarKey>,
    pub(super) witnesses: Vec<WitnessKey>,
}

/// A log's (or the authority's) two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogKeys {
    /// The key in use.
    pub main: PublicKey,
    /// The key that a switch notice puts in use.
    pub spare: PublicKey,
}

impl LogKeys {
    /// Both keys' bytes, main first: the form in which checkpoints are verified.
    #[must_use]
    pub fn to_bytes(&self) -> [[u8; 32]; 2] {
        [*self.main.as_bytes(), *self.spare.as_bytes()]
    }
}

impl Election {
    /// Checks the bytes of a `manifest.json` against the election id that the caller knows from elsewhere, and only then parses them.
    ///
    /// This is how everybody but the manifest's author opens an election.
    ///
    /// # Errors
    /// The bytes have another hash; else as [`Election::from_manifest_bytes`].
    pub fn check_id(bytes: &[u8], expected: &ElectionId) -> Result<Self, ManifestError> {
        // An oversized file is not even hashed.
        check::check_len(bytes)?;
        let actual = id_of(bytes);
        if actual != *expected {
            return Err(ManifestError::OtherElection {
                expected: *expected,
                actual,
            });
        }
        Self::from_manifest_bytes(bytes)
    }

    /// Parses a `manifest.json` and checks every rule. The id is whatever these bytes hash to: compare it, or use [`Election::check_id`].
    ///
    /// # Errors
    /// The bytes are too many or not canonical, or a member breaks a rule; the error names it.
    pub fn from_manifest_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        check::check_len(bytes)?;
        let manifest: Manifest = canonical_json::from_canonical(bytes, super::MANIFEST_LEN_MAX)?;
        let keys = check::check(&manifest)?;
        let logs = logs_of(&manifest);
        let vote_len_max = check::vote_len_max(&manifest, &keys.registrars);
        Ok(Self(Arc::new(Inner {
            id: id_of(bytes),
            bytes: bytes.to_vec(),
            manifest,
            keys,
            logs,
            vote_len_max,
        })))
    }

    /// Seals a manifest: writes it down canonically and reads it back through every check.
    ///
    /// # Errors
    /// As [`Election::from_manifest_bytes`].
    pub fn new(manifest: &Manifest) -> Result<Self, ManifestError> {
        Self::from_manifest_bytes(&canonical_json::to_canonical(manifest)?)
    }

    /// `SHA-256(manifest bytes)`.
    #[must_use]
    pub fn id(&self) -> ElectionId {
        self.0.id
    }

    /// The members of the manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The very bytes that the id is the hash of.
    #[must_use]
    pub fn manifest_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// The contests, in the order of ballots.
    #[must_use]
    pub fn contests(&self) -> &[Contest] {
        &self.0.manifest.contests
    }

    /// The number of cells.
    #[must_use]
    pub fn cells(&self) -> u32 {
        u32::try_from(self.0.manifest.cells.len()).unwrap_or(u32::MAX)
    }

    /// The logs that every head lists, in its order: the cells, then each registrar's shards. The heads log is not among them.
    #[must_use]
    pub fn logs(&self) -> &[LogId] {
        &self.0.logs
    }

    /// A log's position in [`Election::logs`] and so in every head. `None` for the heads log and for logs of no such index.
    #[must_use]
    pub fn head_position(&self, log: LogId) -> Option<usize> {
        self.0.logs.binary_search(&log).ok()
    }

    /// Whether the election has this log.
    #[must_use]
    pub fn contains(&self, log: LogId) -> bool {
        log == LogId::Heads || self.head_position(log).is_some()
    }

    /// The log's checkpoint origin, `<base>/elections/<election id hex>/<prefix>`.
    #[must_use]
    pub fn origin(&self, log: LogId) -> String {
        log.origin(&self.0.manifest.base, &self.0.id)
    }

    /// The keys that may sign the log's checkpoints; `None` if the election has no such log.
    #[must_use]
    pub fn log_keys(&self, log: LogId) -> Option<LogKeys> {
        if log == LogId::Heads {
            return Some(self.0.keys.heads);
        }
        self.0.keys.logs.get(self.head_position(log)?).copied()
    }

    /// The keys that sign notices.
    #[must_use]
    pub fn authority_keys(&self) -> LogKeys {
        self.0.keys.authority
    }

    /// Each registrar's RSA key, in the manifest's order.
    #[must_use]
    pub fn registrar_keys(&self) -> &[RegistrarKey] {
        &self.0.keys.registrars
    }

    /// The witnesses that cosign the heads log, in the manifest's order.
    #[must_use]
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.0.keys.witnesses
    }

    /// The one cell that takes this credential's vote.
    #[must_use]
    pub fn cell_of(&self, credential: &[u8; 32]) -> u32 {
        cell_of(credential, self.cells())
    }

    /// The shard of the registrar's issuance log for this roll index; `None` if there is no such registrar or voter.
    #[must_use]
    pub fn shard_of(&self, registrar: u16, roll_index: u64) -> Option<u32> {
        let registrar = self.0.manifest.registrars.get(usize::from(registrar))?;
        let shards = u32::try_from(registrar.shards.len()).ok()?;
        shard_of(roll_index, shards, self.0.manifest.roll.size)
    }

    /// How many voters' issuances belong to a shard of the registrar's log; 0 if there is no such registrar or shard.
    #[must_use]
    pub fn voters_of_shard(&self, registrar: u16, shard: u32) -> u64 {
        let registrar = self.0.manifest.registrars.get(usize::from(registrar));
        let shards = registrar.and_then(|registrar| u32::try_from(registrar.shards.len()).ok());
        match shards {
            Some(shards) if shard < shards => {
                voters_of_shard(shard, shards, self.0.manifest.roll.size)
            }
            _ => 0,
        }
    }

    /// Bytes of the longest vote entry that the manifest allows: reject longer bodies unread.
    #[must_use]
    pub fn max_vote_len(&self) -> usize {
        self.0.vote_len_max
    }
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Election({})", self.0.id)
    }
}

/// Two elections are the same exactly when their ids are.
impl PartialEq for Election {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for Election {}

fn id_of(manifest_bytes: &[u8]) -> ElectionId {
    ElectionId(Sha256::digest(manifest_bytes).into())
}

fn logs_of(manifest: &Manifest) -> Vec<LogId> {
    let cells = (0u32..).zip(&manifest.cells).map(|(k, _)| LogId::Cell(k));
    let shards = (0u16..)
        .zip(&manifest.registrars)
        .flat_map(|(registrar, named)| {
            (0u32..)
                .zip(&named.shards)
                .map(move |(shard, _)| LogId::Issuance { registrar, shard })
        });
    cells.chain(shards).collect()
}
