//! The members of `manifest.json`, as they stand in the file. Nothing here is checked beyond its JSON type: see [`Election`](super::Election).

use serde::{Deserialize, Serialize};

use super::encoding::{base64_bytes, hex32};

/// The raw content of `manifest.json`. Seal it with [`Election::new`](super::Election::new).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`](super::FORMAT).
    pub format: String,
    /// Shown to voters; a label of at most 200 bytes.
    pub title: String,
    /// Schema-less URL below which everything is published, such as `votes.example.org`; no trailing `/`.
    pub base: String,
    /// True only for rehearsals: single-node durability is then allowed.
    pub demo: bool,
    /// 1 to 200 questions, with at most 4,096 options in all.
    pub contests: Vec<Contest>,
    /// When voters may register and vote.
    pub times: Times,
    /// Time (ms since 1970) until which anchors are locked; at least `times.closing`.
    pub retention: u64,
    /// The keys of cell 0, 1, …: 1 to 1,024.
    pub cells: Vec<KeyPair>,
    /// 1 to 16 bodies that each confirm a voter's right to vote.
    pub registrars: Vec<Registrar>,
    /// The heads log's keys.
    pub heads: KeyPair,
    /// The keys that sign notices.
    pub authority: KeyPair,
    /// What the list of voters is committed to.
    pub roll: Roll,
    /// Votes that a cell's batch waits for: 1 to 32,767.
    pub batch_min: u32,
    /// The longest such wait, and the grain of a cell's times, in ms: 100 to 30,000.
    pub batch_wait_ms: u64,
    /// Clients wait a random time up to this from issuance to cast, in seconds: 0 to 86,400.
    pub cast_delay_s: u64,
    /// The time between heads, in ms: 100 to 3,600,000.
    pub head_interval_ms: u64,
    /// 1 to 16 places that hold the heads log's checkpoints unalterably.
    pub anchors: Vec<Anchor>,
    /// Who cosigns the heads log.
    pub witnesses: Witnesses,
}

/// One question and the ways to answer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contest {
    /// How ballots are cast and counted.
    pub method: Method,
    /// A label of at most 200 bytes, distinct among the contests.
    pub name: String,
    /// 1 to 4,096 labels, distinct within the contest. Ballots name them by position.
    pub options: Vec<String>,
    /// Which of several equal options wins, or stays in the run-off.
    pub tie_rule: TieRule,
}

/// How a contest's ballots are cast and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// One option or none; the most votes win.
    Plurality,
    /// Any number of options; the most approvals win.
    Approval,
    /// Options in order of preference; instant run-off.
    Ranked,
}

/// What decides between options with equal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieRule {
    /// The manifest's order: the first wins, the last is eliminated.
    ListedOrder,
    /// For ranked contests only: the counts of earlier rounds, newest first; then the manifest's order.
    PriorRounds,
}

/// Times in ms since 1970, without leap seconds; `registration <= opening < closing`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// From when registrars issue credentials.
    pub registration: u64,
    /// From when cells take votes.
    pub opening: u64,
    /// Until when cells take votes (a notice of the authority can move it to later).
    pub closing: u64,
    /// How long after closing logs may take to drain, close and be covered: a duration of 1,000 to 604,800,000 ms.
    pub grace: u64,
}

/// Two raw Ed25519 public keys, hexadecimal in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// The key in use.
    #[serde(with = "hex32")]
    pub main: [u8; 32],
    /// The key that a switch notice puts in use.
    #[serde(with = "hex32")]
    pub spare: [u8; 32],
}

/// A body that confirms voters' rights with blind signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registrar {
    /// A label of at most 200 bytes.
    pub name: String,
    /// The DER SubjectPublicKeyInfo of its RSA key; base64 in the file.
    #[serde(with = "base64_bytes")]
    pub rsa: Vec<u8>,
    /// The keys of its issuance log's shards: 1 to 64.
    pub shards: Vec<KeyPair>,
}

/// The commitment to the list of voters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roll {
    /// Voters: 1 to 2^40.
    pub size: u64,
    /// The RFC 6962 root over the roll's leaves; hexadecimal in the file.
    #[serde(with = "hex32")]
    pub root: [u8; 32],
}

/// A place that holds the heads log's checkpoints unalterably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// What kind of place.
    pub kind: AnchorKind,
    /// `[a-z0-9-]{1,64}`, distinct among the anchors.
    pub name: String,
}

/// The kinds of anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnchorKind {
    /// Objects below `anchors/<name>/` of the published tree.
    Directory,
}

/// The witnesses that cosign the heads log, and how many must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witnesses {
    /// 0 to 64 C2SP signed-note verifier keys with the cosignature type 0x04.
    pub keys: Vec<String>,
    /// Cosignatures that a final receipt needs: 0 to the number of keys.
    pub quorum: u32,
}
