//! Where one machine keeps an election: which file is where.
//!
//! ```text
//! DIR/election                        the election id in hex: this folder is complete
//! DIR/public/elections/<id>/          everything published, and nothing else
//! DIR/cells/<k>/                      a cell's key files and database
//! DIR/registrars/<r>/                 a registrar's keys, roll and sheet of one-time codes
//! DIR/registrars/<r>/<j>/             the key files and database of its issuance log
//! DIR/heads/                          the heads log's key files and database
//! DIR/authority/                      the authority's key files
//! DIR/…/main.kms                      in place of main.key: the name of a key in KMS
//! DIR/voters/, DIR/receipts/           demo only: what the played voters' devices remember
//! ```
//!
//! One folder a service: moved to machines of their own, nobody needs anything of anybody else.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use aws::Aws;
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::{Election, MANIFEST_LEN_MAX};
use registrar::create::RegistrarFiles;
use registrar::rsa::RsaKeySource;
use signer::{KeyRef, KeySource};

use crate::serve::config::{AnchorPlace, Database, KeyPlace, LogPlace, Objects, Published};

/// The ending of files that hold the name of a key in KMS.
const KMS: &str = "kms";

/// An election's folder.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, whatever is there.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// Its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is served.
    #[must_use]
    pub fn public(&self) -> PathBuf {
        self.root.join("public")
    }

    /// The election's part of what is served.
    #[must_use]
    pub fn published(&self, election: &ElectionId) -> PathBuf {
        self.public().join("elections").join(election.to_string())
    }

    /// What played voters remember.
    #[must_use]
    pub fn voters(&self) -> PathBuf {
        self.root.join("voters")
    }

    /// The receipt that a played voter keeps.
    #[must_use]
    pub fn receipt(&self, voter: u32) -> PathBuf {
        self.root
            .join("receipts")
            .join(format!("voter-{voter}.json"))
    }

    /// A registrar's files.
    #[must_use]
    pub fn registrar(&self, registrar: u16) -> RegistrarFiles {
        RegistrarFiles::in_folder(&self.root.join("registrars").join(registrar.to_string()))
    }

    /// A log's database.
    #[must_use]
    pub fn log_database(&self, log: LogId) -> PathBuf {
        self.root.join(log.prefix()).join("log.sqlite")
    }

    /// A log's key file.
    #[must_use]
    pub fn log_key(&self, log: LogId, spare: bool) -> PathBuf {
        self.root.join(log.prefix()).join(key_name(spare))
    }

    /// What a log's writer works with.
    ///
    /// # Errors
    /// As [`Folder::key_source`].
    pub fn log_place(&self, log: LogId, database: Database, aws: &Aws) -> Result<LogPlace> {
        Ok(LogPlace {
            log,
            key: KeyPlace {
                main: Some(self.key_source(&self.log_key(log, false), aws)?),
                spare: Some(self.key_source(&self.log_key(log, true), aws)?),
            },
            database,
        })
    }

    /// The key whose file would be `path`: it may be in KMS, and then its name stands beside.
    ///
    /// # Errors
    /// What stands there is no name of a key.
    pub fn key_source(&self, path: &Path, aws: &Aws) -> Result<KeySource> {
        Ok(match kms_name(path)? {
            Some(key) => KeySource::Kms {
                aws: aws.clone(),
                key,
            },
            None => KeySource::File(path.to_owned()),
        })
    }

    /// A registrar's RSA key.
    ///
    /// # Errors
    /// As [`Folder::key_source`].
    pub fn rsa_key(&self, registrar: u16, aws: &Aws) -> Result<RsaKeySource> {
        let files = self.registrar(registrar);
        Ok(match kms_name(&files.rsa_key)? {
            Some(key) => RsaKeySource::Wrapped {
                aws: aws.clone(),
                key,
                file: files.rsa_wrapped,
            },
            None => RsaKeySource::File(files.rsa_key),
        })
    }

    /// Keeps the name of a key in KMS in place of the key file `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn name_key(&self, path: &Path, key: &KeyRef) -> Result<()> {
        write_synced(&path.with_extension(KMS), format!("{key}\n").as_bytes())
    }

    /// Where files are published.
    #[must_use]
    pub fn publishing(&self) -> Published {
        Published::Directory(self.public())
    }

    /// The election's anchors, each a folder of what is published.
    #[must_use]
    pub fn anchors(&self, election: &Election) -> Vec<AnchorPlace> {
        let places = election.manifest().anchors.iter();
        places
            .map(|anchor| AnchorPlace {
                name: anchor.name.clone(),
                objects: Objects::Directory {
                    folder: self
                        .published(&election.id())
                        .join("anchors")
                        .join(&anchor.name),
                    unfinished: self.public().join("tmp").join("anchors"),
                },
            })
            .collect()
    }

    /// The folder of a witness that is run on this machine, from 1 on, as the manifest has them.
    #[must_use]
    pub fn witness(&self, number: usize) -> PathBuf {
        self.root.join("witnesses").join(number.to_string())
    }

    /// The authority's key file.
    #[must_use]
    pub fn authority_key(&self, spare: bool) -> PathBuf {
        self.root.join("authority").join(key_name(spare))
    }

    /// Makes a folder for one service, for its owner only.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_private(&self, path: &str) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        let folder = self.root.join(path);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))
    }

    /// The election of this folder, or `None` where there is no folder, or an empty one.
    ///
    /// # Errors
    /// The folder holds something else, or its manifest is not the one of its election id.
    pub fn election(&self) -> Result<Option<Election>> {
        let marker = self.root.join("election");
        let id = match fs::read_to_string(&marker) {
            Ok(text) => text
                .trim_end()
                .parse::<ElectionId>()
                .with_context(|| format!("{} does not hold an election id", marker.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let holds_something =
                    fs::read_dir(&self.root).is_ok_and(|mut entries| entries.next().is_some());
                if holds_something {
                    bail!(
                        "{} is not empty and holds no election: name an empty or a new folder",
                        self.root.display()
                    );
                }
                return Ok(None);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", marker.display()));
            }
        };
        let manifest = self.published(&id).join("manifest.json");
        let len = fs::metadata(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?
            .len();
        if len > MANIFEST_LEN_MAX as u64 {
            bail!(
                "{} has {len} bytes, more than a manifest may have",
                manifest.display()
            );
        }
        let bytes =
            fs::read(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let election = Election::check_id(&bytes, &id)
            .with_context(|| format!("{} is not this election's manifest", manifest.display()))?;
        Ok(Some(election))
    }

    /// Takes this folder for one process, until the lock is dropped or the process ends, however it ends.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<fs::File> {
        let marker = self.root.join("election");
        let file =
            fs::File::open(&marker).with_context(|| format!("cannot open {}", marker.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => bail!(
                "another process runs the election in {}: stop it first, or name another folder",
                self.root.display()
            ),
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", marker.display()))
            }
        }
    }

    /// Makes a folder of its own beside the final place, lets `fill` fill it, and moves it there in one step: a folder is
    /// there whole, or not at all, whenever this is killed.
    ///
    /// # Errors
    /// The place is taken, cannot be written, or `fill` failed: nothing is left there then.
    pub async fn create<F>(&self, fill: impl FnOnce(Self) -> F) -> Result<Election>
    where
        F: Future<Output = Result<Election>>,
    {
        let mut partial = self.root.clone().into_os_string();
        partial.push(".partial");
        let partial = Self::at(Path::new(&partial));
        if partial.root.exists() {
            // Only this function makes such a folder, and it died in the middle.
            fs::remove_dir_all(&partial.root).with_context(|| {
                format!("cannot remove the unfinished {}", partial.root.display())
            })?;
        }
        let filled = async {
            fs::create_dir_all(partial.public().join("elections"))
                .with_context(|| format!("cannot make the folder {}", partial.root.display()))?;
            let election = fill(partial.clone()).await?;
            let published = partial.published(&election.id());
            fs::create_dir_all(&published)?;
            write_synced(&published.join("manifest.json"), election.manifest_bytes())?;
            write_synced(
                &partial.root.join("election"),
                format!("{}\n", election.id()).as_bytes(),
            )?;
            fs::rename(&partial.root, &self.root).with_context(|| {
                format!(
                    "cannot move the finished folder to {}: is that place empty?",
                    self.root.display()
                )
            })?;
            Ok(election)
        }
        .await;
        if filled.is_err() {
            // Best effort: the error to report is the first one, and the next try removes it too.
            let _ = fs::remove_dir_all(&partial.root);
        }
        filled
    }
}

/// The name of the key in KMS that stands in place of a key file.
fn kms_name(path: &Path) -> Result<Option<KeyRef>> {
    let path = path.with_extension(KMS);
    let context = || format!("{} names no key", path.display());
    match fs::read_to_string(&path) {
        Ok(text) => text.trim_end().parse().map(Some).with_context(context),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(context),
    }
}

const fn key_name(spare: bool) -> &'static str {
    if spare { "spare.key" } else { "main.key" }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file =
        fs::File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_that_could_not_be_filled_is_not_there() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::at(&outer.path().join("election"));
        let failed = folder.create(|_| async { bail!("no roll") }).await;
        assert_eq!(failed.unwrap_err().to_string(), "no roll");
        assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 0);
        assert!(folder.election().unwrap().is_none());
    }

    #[test]
    fn a_foreign_folder_is_refused() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("letter.txt"), "dear").unwrap();
        let error = Folder::at(outer.path()).election().unwrap_err();
        assert!(
            error.to_string().contains("name an empty or a new folder"),
            "{error}"
        );
    }
}
