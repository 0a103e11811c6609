//! The small TOML file that an election is made from.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aws::{Endpoint, Settings, Timeouts};
use protocol::manifest::{Method, TieRule};
use serde::Deserialize;
use signer::KeyRef;
use signer::kms::KeyRefError;

/// A description larger than this is not one.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;
const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;

/// An election as its authors describe it. Everything is checked again, and more strictly, by the manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Shown to voters.
    pub title: String,
    /// Schema-less URL that names the logs.
    pub base: String,
    /// CSV with the voters' identities; a relative path is taken from the description's folder.
    pub roll: PathBuf,
    /// When credentials can be had.
    pub registration: Moment,
    /// When votes are taken.
    pub opening: Moment,
    /// When casting ends.
    pub closing: Moment,
    /// Seconds after closing in which what was on its way is finished.
    #[serde(default = "default_grace_s")]
    pub grace_s: u64,
    /// Until when anchors are locked; a year after closing by default.
    #[serde(default)]
    pub retention: Option<Moment>,
    /// A rehearsal: single-node durability is allowed.
    #[serde(default)]
    pub demo: bool,
    /// How many cells share the votes.
    #[serde(default = "default_one")]
    pub cells: u32,
    /// The registrars' names.
    #[serde(default = "default_registrars")]
    pub registrars: Vec<String>,
    /// Issuance logs of each registrar.
    #[serde(default = "default_one")]
    pub shards: u32,
    /// Votes that a batch waits for.
    #[serde(default = "default_batch_min")]
    pub batch_min: u32,
    /// The longest such wait.
    #[serde(default = "default_batch_wait_ms")]
    pub batch_wait_ms: u64,
    /// Upper bound of the random delay between credential and cast.
    #[serde(default = "default_cast_delay_s")]
    pub cast_delay_s: u64,
    /// Time between heads.
    #[serde(default = "default_head_interval_ms")]
    pub head_interval_ms: u64,
    /// Names of the anchors, each a folder.
    #[serde(default = "default_anchors")]
    pub anchors: Vec<String>,
    /// Who must cosign the heads log.
    #[serde(default, rename = "witness")]
    pub witnesses: Vec<WitnessDescription>,
    /// How many of them must have cosigned a head before a receipt is sealed under it; more than half of them by default.
    #[serde(default)]
    pub quorum: Option<u32>,
    /// Which keys are in KMS; all others are made in files.
    #[serde(default)]
    pub keys: Keys,
    /// How KMS is reached.
    #[serde(default)]
    pub aws: AwsDescription,
    /// What is voted on.
    pub contests: Vec<ContestDescription>,
}

/// `[keys]`: where the keys of each role are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The cells' main keys, in order.
    #[serde(default, deserialize_with = "in_kms")]
    pub cells: Option<InKms>,
    /// The issuance logs' main keys: each registrar's shards in order.
    #[serde(default, deserialize_with = "in_kms")]
    pub issuance: Option<InKms>,
    /// The heads log's main key.
    #[serde(default, deserialize_with = "in_kms")]
    pub heads: Option<InKms>,
    /// The authority's main key.
    #[serde(default, deserialize_with = "in_kms")]
    pub authority: Option<InKms>,
    /// All spare keys: the cells', the issuance logs', the heads log's, the authority's.
    #[serde(default, deserialize_with = "in_kms")]
    pub spares: Option<InKms>,
    /// Symmetric keys, one a registrar: each wraps that registrar's RSA key.
    #[serde(default, deserialize_with = "named_in_kms")]
    pub rsa: Vec<KeyRef>,
}

/// Keys in KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InKms {
    /// Made there now, or not.
    Make(bool),
    /// There already.
    Named(Vec<KeyRef>),
}

/// `{ kms = … }`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KmsTable {
    kms: KmsValue,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KmsValue {
    Make(bool),
    One(String),
    Named(Vec<String>),
}

fn in_kms<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<InKms>, D::Error> {
    let named = match KmsTable::deserialize(deserializer)?.kms {
        KmsValue::Make(make) => return Ok(Some(InKms::Make(make))),
        KmsValue::One(key) => vec![key],
        KmsValue::Named(keys) => keys,
    };
    let keys: Result<_, KeyRefError> = named.iter().map(|key| key.parse()).collect();
    keys.map(|keys| Some(InKms::Named(keys)))
        .map_err(serde::de::Error::custom)
}

fn named_in_kms<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<KeyRef>, D::Error> {
    match in_kms(deserializer)? {
        Some(InKms::Named(keys)) => Ok(keys),
        _ => Err(serde::de::Error::custom(
            "an RSA key is wrapped by a symmetric key that is there already: give kms = [\"arn:…\"], one for each registrar",
        )),
    }
}

/// `[aws]`: what is not given comes from the environment, as for any AWS command.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsDescription {
    /// The region in which keys are made.
    #[serde(default)]
    pub region: Option<String>,
    /// Where AWS is reached, if not at its own addresses.
    #[serde(default, deserialize_with = "endpoint")]
    pub endpoint: Option<Endpoint>,
}

impl AwsDescription {
    /// As clients take it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            // A key that was made without our hearing of it is left over.
            timeouts: Timeouts::patient(),
        }
    }
}

fn endpoint<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Endpoint>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A witness as described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessDescription {
    /// Its verifier key, as its operator has published it.
    pub vkey: String,
}

/// A contest as described.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContestDescription {
    /// Its name.
    pub name: String,
    /// How it is counted.
    pub method: Method,
    /// Labels.
    pub options: Vec<String>,
    /// How ties end; the order of the list by default.
    #[serde(default = "default_tie_rule")]
    pub tie_rule: TieRule,
}

/// A TOML date and time with an offset, as milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = toml::value::Datetime::deserialize(deserializer)?;
        let instant: jiff::Timestamp = written.to_string().parse().map_err(|_| {
            serde::de::Error::custom(format!(
                "`{written}` is not a date and time with an offset, such as 2027-03-01T08:00:00Z"
            ))
        })?;
        u64::try_from(instant.as_millisecond())
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("`{written}` lies before 1970")))
    }
}

impl Description {
    /// Reads and checks the shape of a description.
    ///
    /// # Errors
    /// An unreadable or oversized file, or TOML that does not fit: with the line, and what is allowed.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path)
            .with_context(|| {
                format!(
                    "cannot read the description {}: check the path",
                    path.display()
                )
            })?
            .len();
        if bytes > DESCRIPTION_BYTES_MAX {
            bail!(
                "{} has {bytes} bytes; a description has at most {DESCRIPTION_BYTES_MAX}",
                path.display()
            );
        }
        let text = std::fs::read_to_string(path).with_context(|| {
            format!(
                "cannot read the description {}: is it UTF-8 text?",
                path.display()
            )
        })?;
        let mut description: Self = toml::from_str(&text).with_context(|| {
            format!(
                "{} is not a description of an election: see `tallyroot election new --help`",
                path.display()
            )
        })?;
        if let Some(folder) = path.parent() {
            description.roll = folder.join(&description.roll);
        }
        Ok(description)
    }

    /// How many witnesses must cosign.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.quorum.unwrap_or_else(|| match self.witnesses.len() {
            0 => 0,
            // Two quorums then share a witness: a fork needs one that lies.
            named => u32::try_from(named / 2 + 1).unwrap_or(u32::MAX),
        })
    }

    /// Until when anchors are locked.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        self.retention
            .map_or_else(|| self.closing.0.saturating_add(YEAR_MS), |moment| moment.0)
    }
}

fn default_one() -> u32 {
    1
}
fn default_grace_s() -> u64 {
    600
}
fn default_registrars() -> Vec<String> {
    vec!["registrar".to_owned()]
}
fn default_batch_min() -> u32 {
    16
}
fn default_batch_wait_ms() -> u64 {
    10_000
}
fn default_cast_delay_s() -> u64 {
    3_600
}
fn default_head_interval_ms() -> u64 {
    10_000
}
fn default_anchors() -> Vec<String> {
    vec!["local".to_owned()]
}
fn default_tie_rule() -> TieRule {
    TieRule::ListedOrder
}
