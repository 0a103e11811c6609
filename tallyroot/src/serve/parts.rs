//! What a service works with, opened from where its configuration says: databases, keys, published files, anchors.
//!
//! `tallyroot serve` opens one service's, `tallyroot demo` those of all.

use std::path::Path;
use std::sync::Arc;

use anchoring::{
    Anchor, Anchoring, AnchoringConfig, BucketAnchor, DirectoryAnchor, ShownAnchor, Witness,
};
use anyhow::{Context, Result, anyhow, bail};
use ledger::S3;
use ledger::bucket::Place;
use ledger::clock::Clock;
use ledger::heads::name_of;
use ledger::postgres::Location;
use ledger::publisher::directory::{Directory, DirectoryReader};
use ledger::publisher::{Publisher, Reader};
use ledger::schedule::Schedule;
use ledger::store::Store;
use ledger::store::postgres::Postgres;
use ledger::store::sqlite::Sqlite;
use protocol::grammar;
use protocol::ids::LogId;
use protocol::manifest::Election;
use registrar::code::CodeKey;
use registrar::oidc::Oidc;
use registrar::rsa::{BlindSigner, RsaKeySource};
use registrar::{Registrar, RegistrarConfig, ShardParts};
use signer::{Checked, KeySource, Signer};
use tally::ResultsFile;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::config::{self, AnchorPlace, Database, LogPlace, Objects, Published, Roll};

/// What one log's sequencer works with.
pub struct LogParts {
    /// The database.
    pub store: Arc<dyn Store>,
    /// The published files.
    pub publisher: Arc<dyn Publisher>,
    /// The key that signs now.
    pub signer: Checked,
}

impl LogParts {
    /// Opens them; `in_force` says which of the keys signs.
    ///
    /// # Errors
    /// A database, a folder or a key that is not right: each says which.
    pub async fn open(
        election: &Election,
        place: &LogPlace,
        published: &Published,
        in_force: &grammar::Schedule,
    ) -> Result<Self> {
        let prefix = place.log.prefix();
        // The key first: a process that cannot sign must not touch the log.
        let signer = key_in_force(election, place, in_force).await?;
        Ok(Self {
            store: open_store(election, place).await?,
            publisher: publisher(published, election, &prefix.replace('/', "-"))
                .await
                .with_context(|| format!("the published files of {prefix}"))?,
            signer,
        })
    }
}

/// A log's database.
///
/// # Errors
/// It cannot be opened, is another log's, or does not promise what the election needs.
pub async fn open_store(election: &Election, place: &LogPlace) -> Result<Arc<dyn Store>> {
    let name = name_of(election, place.log);
    let context = || format!("the database of {}", place.log.prefix());
    match &place.database {
        Database::Sqlite(path) => {
            let store = Sqlite::open(path, &name, election.manifest().demo)
                .await
                .with_context(context)?;
            Ok(Arc::new(store))
        }
        Database::Postgres(postgres, durability) => {
            let location = located(postgres)?;
            let demo = election.manifest().demo;
            let store = Postgres::open(location, &name, durability.clone(), demo)
                .await
                .with_context(context)?;
            Ok(Arc::new(store))
        }
    }
}

/// Where a Postgres is, with the password from its file.
///
/// # Errors
/// The file cannot be read, others can read it, or it holds no text.
pub fn located(postgres: &config::Postgres) -> Result<Location> {
    let Some(path) = &postgres.password_file else {
        return Ok(postgres.location.as_ref().clone());
    };
    let bytes = registrar::secret_file::read(path).context("`password_file`")?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| anyhow!("`password_file`: {} is not UTF-8 text", path.display()))?;
    let password = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    if password.is_empty() {
        bail!(
            "`password_file`: {} is empty: put the role's password in it, or take `password_file` out where the server asks for none",
            path.display()
        );
    }
    Ok(postgres.location.as_ref().clone().with_password(&password))
}

/// Publishes in the election's folder or bucket. In a folder, this owner's unfinished files are told apart from others'.
///
/// # Errors
/// The folder cannot be made or written, or it is not known how to reach the bucket.
pub async fn publisher(
    published: &Published,
    election: &Election,
    owner: &str,
) -> Result<Arc<dyn Publisher>> {
    Ok(match published {
        Published::Directory(public) => Arc::new(directory(public, election, owner)?),
        Published::Bucket(place) => Arc::new(s3(place, election).await?),
    })
}

/// Where `results.json` stands.
///
/// # Errors
/// As [`publisher`].
pub async fn results_file(
    published: &Published,
    election: &Election,
) -> Result<Arc<dyn ResultsFile>> {
    Ok(match published {
        Published::Directory(public) => Arc::new(directory(public, election, "tally")?),
        Published::Bucket(place) => Arc::new(s3(place, election).await?),
    })
}

/// Reads what is published, like any outsider.
///
/// # Errors
/// It is not known how to reach the bucket.
pub async fn reader(published: &Published, election: &Election) -> Result<Arc<dyn Reader>> {
    Ok(match published {
        Published::Directory(public) => Arc::new(DirectoryReader::new(public, &election.id())),
        Published::Bucket(place) => Arc::new(s3(place, election).await?),
    })
}

/// The election's folder in the published directory.
///
/// # Errors
/// It cannot be made or written.
pub fn directory(public: &Path, election: &Election, owner: &str) -> Result<Directory> {
    Directory::open(public, &election.id(), owner)
        .with_context(|| format!("the published directory {}", public.display()))
}

/// The election's part of a bucket.
///
/// # Errors
/// It is not known how to reach it.
pub async fn s3(place: &Place, election: &Election) -> Result<S3> {
    let opened = S3::open(place, &election.id()).await;
    opened.with_context(|| format!("the bucket {place}"))
}

/// The key that may sign the log now: its main key, or its spare where a switch notice is in force.
///
/// # Errors
/// The configuration does not name that key, it cannot be used, or it is another than the manifest's.
pub async fn key_in_force(
    election: &Election,
    place: &LogPlace,
    in_force: &grammar::Schedule,
) -> Result<Checked> {
    let log = place.log;
    let keys = election
        .log_keys(log)
        .with_context(|| format!("the manifest has no log {log}"))?;
    let (source, expected, name) = match (in_force.switch(log), &place.key.main, &place.key.spare) {
        (Some(_), _, Some(spare)) => (spare, keys.spare, "spare"),
        (Some(switch), _, None) => bail!(
            "a notice switched {log} to its spare key at size {}: give the spare key as `spare` in [key], and take the main key away",
            switch.size
        ),
        (None, Some(main), _) => (main, keys.main, "main"),
        // The heads log's own switch is signed by the spare from the notice on, so that one alone starts with it before.
        (None, None, Some(spare)) if log == LogId::Heads => (spare, keys.spare, "spare"),
        (None, None, _) => bail!(
            "no notice has switched {log} to its spare key, so its main key signs: give that key as `main` in [key]"
        ),
    };
    check_key(election, source, *expected.as_bytes())
        .await
        .with_context(|| format!("the {name} key of {log}"))
}

/// A key that must be this one of the election's.
///
/// # Errors
/// It cannot be used, or is another one; if it is another one of this election's, the error says whose.
pub async fn check_key(
    election: &Election,
    source: &KeySource,
    expected: [u8; 32],
) -> Result<Checked> {
    let opened = source.open().await?;
    let held = opened.public_key();
    let checked = signer::checked(opened, expected);
    checked.with_context(|| match whose(election, &held) {
        Some(whose) if held != expected => format!("{source} holds {whose}"),
        _ => source.to_string(),
    })
}

/// Whose key this is.
fn whose(election: &Election, key: &[u8; 32]) -> Option<String> {
    let logs = election.logs().iter().chain(&[LogId::Heads]);
    let of_logs = logs.filter_map(|log| Some((log.prefix(), election.log_keys(*log)?)));
    let of_authority = ("the authority".to_owned(), election.authority_keys());
    of_logs.chain([of_authority]).find_map(|(of, keys)| {
        let which = match key {
            key if key == keys.main.as_bytes() => "main",
            key if key == keys.spare.as_bytes() => "spare",
            _ => return None,
        };
        Some(format!("the {which} key of {of}"))
    })
}

/// What a registrar has besides its logs.
pub struct RegistrarParts {
    /// The roll's database.
    pub roll: registrar::database::Database,
    /// The key that signs credentials.
    pub rsa: BlindSigner,
    /// The key of the codes.
    pub codes: CodeKey,
    /// Where voters may sign in beside their codes.
    pub oidc: Option<Oidc>,
}

impl RegistrarParts {
    /// Opens them. The roll's root is computed anew: about a second for a million voters.
    ///
    /// # Errors
    /// A file that cannot be used, or that is not this registrar's.
    pub async fn open(
        election: &Election,
        registrar: u16,
        rsa_key: &RsaKeySource,
        code_key: &Path,
        roll: &Roll,
        oidc: Option<Oidc>,
    ) -> Result<Self> {
        let rsa = BlindSigner::open(rsa_key, &election.id(), registrar)
            .await
            .context("`rsa_key`")?;
        let of_manifest = election
            .registrar_keys()
            .get(usize::from(registrar))
            .with_context(|| format!("the manifest has no registrar {registrar}"))?;
        rsa.check_is(of_manifest)
            .with_context(|| format!("`rsa_key`: {rsa_key}"))?;
        let codes = CodeKey::from_file(code_key).context("`code_key`")?;
        Ok(Self {
            roll: open_roll(election, registrar, roll).await?,
            rsa,
            codes,
            oidc,
        })
    }

    /// Starts the registrar over these logs, in the manifest's order.
    ///
    /// # Errors
    /// Something is not what the manifest names.
    pub fn start(
        self,
        election: &Election,
        registrar: u16,
        shards: Vec<ShardParts>,
        schedule: &watch::Receiver<Schedule>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Registrar> {
        Registrar::start(
            RegistrarConfig {
                oidc: self.oidc,
                ..RegistrarConfig::new(election, registrar)
            },
            self.roll,
            shards,
            self.rsa,
            self.codes,
            schedule.clone(),
            Arc::clone(clock),
        )
        .with_context(|| format!("registrar {registrar} does not start"))
    }
}

async fn open_roll(
    election: &Election,
    registrar: u16,
    roll: &Roll,
) -> Result<registrar::database::Database> {
    use registrar::database::Database;
    let context = || format!("the roll of registrar {registrar}");
    match (&roll.database, &roll.backup) {
        (Some(database), _) => {
            let location = located(database)?;
            Database::open_postgres(&location, election, registrar)
                .await
                .with_context(context)
        }
        (None, Some(backup)) => Database::open(backup, election, registrar)
            .await
            .with_context(|| format!("{}, {}", context(), backup.display())),
        (None, None) => bail!("{}: no database is named", context()),
    }
}

/// Opens the anchors. What one keeps in a bucket is shown among the published files too.
///
/// # Errors
/// A folder cannot be made; a bucket cannot be reached, or does not keep what it is given.
pub async fn open_anchors(
    places: &[AnchorPlace],
    published: &Published,
    election: &Election,
) -> Result<Vec<Arc<dyn Anchor>>> {
    let mut anchors: Vec<Arc<dyn Anchor>> = Vec::new();
    for place in places {
        let name = &place.name;
        let opened: Arc<dyn Anchor> = match &place.objects {
            Objects::Directory { folder, unfinished } => {
                let opened = DirectoryAnchor::open(name, folder, unfinished);
                Arc::new(opened.with_context(|| {
                    format!("cannot open the anchor {name} in {}", folder.display())
                })?)
            }
            Objects::Bucket(place) => {
                let context = || format!("the anchor {name} in {place}");
                let opened = BucketAnchor::open(name, place, election).await;
                let opened = opened.with_context(context)?;
                opened.check().await.with_context(context)?;
                Arc::new(opened)
            }
        };
        let stands_published = match (&place.objects, published) {
            (Objects::Directory { folder, .. }, Published::Directory(public)) => {
                let shown = public.join("elections").join(election.id().to_string());
                is_same(folder, &shown.join("anchors").join(name))
            }
            (Objects::Directory { .. }, Published::Bucket(_)) | (Objects::Bucket(_), _) => false,
        };
        anchors.push(match stands_published {
            true => opened,
            false => {
                let publisher = publisher(published, election, &format!("anchor-{name}")).await?;
                Arc::new(ShownAnchor::new(opened, publisher))
            }
        });
    }
    Ok(anchors)
}

/// Whether two paths lead to one folder. One that is not there is no other's.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

/// Starts the anchoring service.
///
/// # Errors
/// Anchors, witnesses or a key that are not the manifest's, or an anchor or a witness that holds another heads log.
pub async fn start_anchoring(
    election: &Election,
    parts: LogParts,
    anchors: Vec<Arc<dyn Anchor>>,
    witnesses: Vec<Witness>,
    reader: &Arc<dyn Reader>,
    clock: &Arc<dyn Clock>,
) -> Result<Anchoring> {
    Anchoring::start(
        AnchoringConfig {
            witnesses,
            ..AnchoringConfig::new(election)
        },
        Arc::clone(reader),
        parts.store,
        parts.publisher,
        parts.signer,
        anchors,
        Arc::clone(clock),
    )
    .await
    .context("anchoring does not start")
}

/// A shard's parts as the registrar takes them.
#[must_use]
pub fn as_shard(parts: LogParts, floor: Option<ledger::End>) -> ShardParts {
    ShardParts {
        store: parts.store,
        publisher: parts.publisher,
        signer: Arc::new(parts.signer) as Arc<dyn Signer>,
        floor,
        warm: registrar::ShardWarm::default(),
    }
}
