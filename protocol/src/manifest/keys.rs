//! The manifest's keys: each well formed, and no two the same.

use std::collections::HashMap;

use crate::cosignature::WitnessKey;
use crate::ed25519::PublicKey;
use crate::rsa::RegistrarKey;

use super::check::{check_len_of, check_range, check_text, wrong};
use super::election::{LogKeys, ParsedKeys};
use super::{KeyPair, Manifest, ManifestError};

/// "Cells plus shards together are at most 1,024": a head lists them all, and must fit in an entry.
const LOGS_MAX: u64 = 1_024;
pub(super) fn check(manifest: &Manifest) -> Result<ParsedKeys, ManifestError> {
    let mut seen = Distinct::default();
    check_len_of(&manifest.cells, 1..=1_024, "cells")?;
    let mut logs = Vec::new();
    for (k, pair) in manifest.cells.iter().enumerate() {
        logs.push(seen.pair(pair, &format!("cells[{k}]"))?);
    }
    check_len_of(&manifest.registrars, 1..=16, "registrars")?;
    let mut registrars = Vec::new();
    let mut moduli = HashMap::new();
    for (r, registrar) in manifest.registrars.iter().enumerate() {
        let member = format!("registrars[{r}]");
        check_text(&registrar.name, &format!("{member}.name"))?;
        let key = RegistrarKey::from_spki(&registrar.rsa)
            .or_else(|error| wrong(format!("{member}.rsa"), error.to_string()))?;
        // "RSA moduli must be distinct."
        if let Some(other) = moduli.insert(key.modulus().to_vec(), r) {
            return wrong(
                format!("{member}.rsa"),
                format!("has the modulus of registrars[{other}]; each registrar needs its own key"),
            );
        }
        registrars.push(key);
        check_len_of(&registrar.shards, 1..=64, &format!("{member}.shards"))?;
        for (j, pair) in registrar.shards.iter().enumerate() {
            logs.push(seen.pair(pair, &format!("{member}.shards[{j}]"))?);
        }
    }
    check_range(
        logs.len() as u64,
        2..=LOGS_MAX,
        "cells and shards (together)",
    )?;
    Ok(ParsedKeys {
        logs,
        heads: seen.pair(&manifest.heads, "heads")?,
        authority: seen.pair(&manifest.authority, "authority")?,
        registrars,
        witnesses: check_witnesses(manifest, &mut seen)?,
    })
}

/// "`keys`: array, 0 to 64, of vkeys with the cosignature type 0x04; `quorum`: 0 to the number of keys"
fn check_witnesses(
    manifest: &Manifest,
    seen: &mut Distinct,
) -> Result<Vec<WitnessKey>, ManifestError> {
    let witnesses = &manifest.witnesses;
    check_len_of(&witnesses.keys, 0..=64, "witnesses.keys")?;
    let mut keys: Vec<WitnessKey> = Vec::new();
    for (w, vkey) in witnesses.keys.iter().enumerate() {
        let member = format!("witnesses.keys[{w}]");
        let key =
            WitnessKey::parse_vkey(vkey).or_else(|error| wrong(&*member, error.to_string()))?;
        // "each a label without white space and `+`": a key name has neither.
        check_text(key.name(), &member)?;
        // Names are what a note's lines are told apart by: key ids are too short to be.
        if keys.iter().any(|other| other.name() == key.name()) {
            return wrong(&*member, format!("repeats the name {:?}", key.name()));
        }
        seen.key(key.public_key(), &member)?;
        keys.push(key);
    }
    check_range(
        u64::from(witnesses.quorum),
        0..=keys.len() as u64,
        "witnesses.quorum",
    )?;
    Ok(keys)
}

/// "All Ed25519 keys of a manifest must be distinct and pass the key rule of section 3."
#[derive(Default)]
struct Distinct(HashMap<[u8; 32], String>);

impl Distinct {
    fn pair(&mut self, pair: &KeyPair, member: &str) -> Result<LogKeys, ManifestError> {
        Ok(LogKeys {
            main: self.key(&pair.main, &format!("{member}.main"))?,
            spare: self.key(&pair.spare, &format!("{member}.spare"))?,
        })
    }

    fn key(&mut self, key: &[u8; 32], member: &str) -> Result<PublicKey, ManifestError> {
        let parsed = PublicKey::parse(key).or_else(|error| wrong(member, error.to_string()))?;
        if let Some(other) = self.0.insert(*key, member.to_owned()) {
            return wrong(
                member,
                format!("is the same key as `{other}`; all keys must be distinct"),
            );
        }
        Ok(parsed)
    }
}
