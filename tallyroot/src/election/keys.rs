//! The keys of a new election: made in files, made in KMS, or named there.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use aws::Aws;
use protocol::ids::LogId;
use protocol::manifest::{Election, KeyPair};
use registrar::rsa::BlindSigner;
use signer::kms::{self, Tag, WrappingKey};
use signer::{KeyFile, KeyRef, Kms, Signer as _};

use super::description::{Description, InKms, Keys};
use crate::folder::Folder;

/// Bits of a registrar's RSA key. A credential has one signature of each registrar, so their length is a vote's length.
const RSA_BITS: u32 = 2048;
/// The longest value of a tag that AWS takes, in characters.
const TAG_LEN_MAX: usize = 256;

/// The roles whose keys can be in KMS; a spare's role is `spares`, whatever it is the spare of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Cells,
    Issuance,
    Heads,
    Authority,
    Spares,
}

impl Role {
    const fn of(log: LogId) -> Self {
        match log {
            LogId::Cell(_) => Self::Cells,
            LogId::Issuance { .. } => Self::Issuance,
            LogId::Heads => Self::Heads,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Cells => "cells",
            Self::Issuance => "issuance",
            Self::Heads => "heads",
            Self::Authority => "authority",
            Self::Spares => "spares",
        }
    }
}

/// Makes them one after the other, in the manifest's order.
pub(super) struct KeyMaker<'a> {
    folder: &'a Folder,
    aws: Aws,
    base: &'a str,
    title: &'a str,
    places: [(Role, Place); 5],
    wrapping: VecDeque<KeyRef>,
    /// In KMS, to be told the election's id once it is known.
    made: Vec<KeyRef>,
    /// The registrars' keys, and what shall wrap each.
    rsa: Vec<(BlindSigner, Option<KeyRef>)>,
}

/// Where the keys of a role are.
enum Place {
    Files,
    Made,
    Named(VecDeque<KeyRef>),
}

impl Place {
    fn of(given: Option<&InKms>) -> Self {
        match given {
            None | Some(InKms::Make(false)) => Self::Files,
            Some(InKms::Make(true)) => Self::Made,
            Some(InKms::Named(keys)) => Self::Named(keys.iter().cloned().collect()),
        }
    }
}

impl<'a> KeyMaker<'a> {
    pub(super) fn new(description: &'a Description, folder: &'a Folder) -> Self {
        let Keys {
            cells,
            issuance,
            heads,
            authority,
            spares,
            rsa,
        } = &description.keys;
        let places = [
            (Role::Cells, Place::of(cells.as_ref())),
            (Role::Issuance, Place::of(issuance.as_ref())),
            (Role::Heads, Place::of(heads.as_ref())),
            (Role::Authority, Place::of(authority.as_ref())),
            (Role::Spares, Place::of(spares.as_ref())),
        ];
        Self {
            folder,
            aws: Aws::new(description.aws.settings()),
            base: &description.base,
            title: &description.title,
            places,
            wrapping: rsa.iter().cloned().collect(),
            made: Vec::new(),
            rsa: Vec::new(),
        }
    }

    /// As many keys are named as there are logs and registrars: asked before any key is made.
    pub(super) fn check_counts(&self, description: &Description) -> Result<()> {
        let cells = description.cells as usize;
        let issuance = description.registrars.len() * description.shards as usize;
        for (role, place) in &self.places {
            let Place::Named(named) = place else { continue };
            let wanted = match role {
                Role::Cells => cells,
                Role::Issuance => issuance,
                Role::Heads | Role::Authority => 1,
                Role::Spares => cells + issuance + 2,
            };
            if named.len() != wanted {
                bail!(
                    "`keys.{}` in the description names {} keys, and this election needs {wanted}: give one for each",
                    role.name(),
                    named.len()
                );
            }
        }
        let (wrapping, registrars) = (&description.keys.rsa, description.registrars.len());
        if !wrapping.is_empty() && wrapping.len() != registrars {
            bail!(
                "`keys.rsa` in the description names {} keys, and there are {registrars} registrars: give one for each, or none",
                wrapping.len()
            );
        }
        Ok(())
    }

    /// A log's keys; its folder is made.
    pub(super) async fn log(&mut self, log: LogId) -> Result<KeyPair> {
        let (folder, prefix) = (self.folder, log.prefix());
        folder.make_private(&prefix)?;
        let (main, spare) = (folder.log_key(log, false), folder.log_key(log, true));
        Ok(KeyPair {
            main: self.key(Role::of(log), &prefix, &main).await?,
            spare: self.key(Role::Spares, &prefix, &spare).await?,
        })
    }

    /// The authority's keys; its folder is made.
    pub(super) async fn authority(&mut self) -> Result<KeyPair> {
        let (folder, of) = (self.folder, "authority");
        folder.make_private(of)?;
        let (main, spare) = (folder.authority_key(false), folder.authority_key(true));
        Ok(KeyPair {
            main: self.key(Role::Authority, of, &main).await?,
            spare: self.key(Role::Spares, of, &spare).await?,
        })
    }

    /// The next registrar's RSA key. It is kept once the election's id is known, to which what KMS wraps is bound.
    pub(super) fn rsa(&mut self) -> Result<Vec<u8>> {
        let signer = BlindSigner::generate(RSA_BITS).context("cannot make an RSA key")?;
        let spki = signer.public().spki().to_vec();
        self.rsa.push((signer, self.wrapping.pop_front()));
        Ok(spki)
    }

    async fn key(&mut self, role: Role, of: &str, path: &Path) -> Result<[u8; 32]> {
        let place = self.places.iter_mut().find(|(known, _)| *known == role);
        let (_, place) = place.context("every role has a place")?;
        let key = match place {
            Place::Files => {
                let made = KeyFile::generate(path).context("cannot make a key file")?;
                return Ok(made.public_key());
            }
            Place::Made => None,
            Place::Named(keys) => {
                let next = keys.pop_front();
                Some(next.with_context(|| format!("no key is left for {of}"))?)
            }
        };
        let named = || format!("`keys.{}` for {of}", role.name());
        let opened = match &key {
            Some(key) => Kms::open(&self.aws, key).await,
            None => {
                let what = if role == Role::Spares {
                    "spare"
                } else {
                    "main"
                };
                let description = format!("Tallyroot, {}: {what} key of {of}", self.title);
                let tags = [
                    tag("tallyroot-base", self.base),
                    tag("tallyroot-role", role.name()),
                    tag("tallyroot-log", of),
                ];
                let made = kms::create(&self.aws, &shortened(&description), &tags)
                    .await
                    .with_context(named)?;
                // Should this be killed or fail before it ends, nobody else knows of the key.
                tracing::info!(key = %made, %of, "a key was made in KMS");
                self.made.push(made.clone());
                kms::open_new(&self.aws, &made).await
            }
        };
        let opened = opened.with_context(named)?;
        self.folder.name_key(path, opened.key())?;
        Ok(opened.public_key())
    }

    /// Keeps what is bound to the election's id, and tells the keys that were made whose they are.
    pub(super) async fn seal(&mut self, election: &Election) -> Result<()> {
        let id = election.id();
        for (registrar, (signer, wrapping)) in (0u16..).zip(&self.rsa) {
            let files = self.folder.registrar(registrar);
            let context = || format!("cannot keep the RSA key of registrar {registrar}");
            let Some(key) = wrapping else {
                signer.create_file(&files.rsa_key).with_context(context)?;
                continue;
            };
            let wrapping = WrappingKey::new(&self.aws, key)
                .await
                .with_context(context)?;
            signer
                .create_wrapped(&files.rsa_wrapped, &wrapping, &id, registrar)
                .await
                .with_context(context)?;
            self.folder.name_key(&files.rsa_key, key)?;
        }
        let of = [tag("tallyroot-election", &id.to_string())];
        for key in &self.made {
            kms::tag(&self.aws, key, &of)
                .await
                .context("cannot tell a new key in KMS whose it is")?;
        }
        Ok(())
    }

    /// What went wrong, and which keys are left over in KMS: nobody else knows of them, and each costs money.
    pub(super) fn left_over(&self, error: anyhow::Error) -> anyhow::Error {
        if self.made.is_empty() {
            return error;
        }
        let made: Vec<&str> = self.made.iter().map(KeyRef::as_str).collect();
        error.context(anyhow!(
            "no election was made, but these keys were, in KMS: schedule their deletion (aws kms schedule-key-deletion): {}",
            made.join(" ")
        ))
    }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag {
        key: key.to_owned(),
        value: shortened(value),
    }
}

/// AWS takes letters of any script in tags, but few signs.
fn shortened(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || " +-=._:/@".contains(c);
    text.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .take(TAG_LEN_MAX)
        .collect()
}
