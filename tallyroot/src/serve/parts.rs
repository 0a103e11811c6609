//! What a service works with, opened from where its configuration says: databases, keys, published files, anchors.
//!
//! `tallyroot serve` opens one service's, `tallyroot demo` those of all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anchoring::{Anchor, Anchoring, AnchoringConfig, DirectoryAnchor, Witness};
use anyhow::{Context, Result, anyhow, bail};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Redirect;
use axum::routing::get;
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
use registrar::rsa::{BlindSigner, RsaKeySource};
use registrar::{Registrar, RegistrarConfig, ShardParts};
use signer::{Checked, KeySource, Signer};
use tokio::sync::watch;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;
use zeroize::Zeroizing;

use super::config::{self, AnchorPlace, Database, LogPlace, Published, Roll};

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
            publisher: Arc::new(
                directory(published, election, &prefix.replace('/', "-"))
                    .with_context(|| format!("the published files of {prefix}"))?,
            ),
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
    Ok(postgres.location.as_ref().clone().with_password(&password))
}

/// Publishes in the election's folder as this owner.
///
/// # Errors
/// The folder cannot be made or written.
pub fn directory(published: &Published, election: &Election, owner: &str) -> Result<Directory> {
    let Published::Directory(public) = published;
    Directory::open(public, &election.id(), owner)
        .with_context(|| format!("the published directory {}", public.display()))
}

/// Reads what is published, like any outsider.
#[must_use]
pub fn reader(published: &Published, election: &Election) -> Arc<dyn Reader> {
    let Published::Directory(public) = published;
    Arc::new(DirectoryReader::new(public, &election.id()))
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
            RegistrarConfig::new(election, registrar),
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

/// Opens the anchors.
///
/// # Errors
/// A folder cannot be made.
pub fn open_anchors(places: &[AnchorPlace]) -> Result<Vec<Arc<dyn Anchor>>> {
    places
        .iter()
        .map(|place| {
            let opened = DirectoryAnchor::open(&place.name, &place.directory, &place.unfinished)
                .with_context(|| {
                    format!(
                        "cannot open the anchor {} in {}",
                        place.name,
                        place.directory.display()
                    )
                })?;
            Ok(Arc::new(opened) as Arc<dyn Anchor>)
        })
        .collect()
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

/// Everything that is not a service's own route is a published file, or nothing.
pub fn published_files(app: Router, published: &Published, election: &Election) -> Router {
    let Published::Directory(public) = published;
    let elections: PathBuf = public.join("elections");
    let page = format!("/elections/{}/", election.id());
    let header = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    app.route("/", get(move || async move { Redirect::temporary(&page) }))
        .nest_service(
            "/elections",
            ServeDir::new(elections).append_index_html_on_directories(false),
        )
        // Anybody may read and verify from anywhere; what can change must be asked for again.
        .layer(header(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"))
        .layer(header(header::CACHE_CONTROL, "no-cache"))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
}
