//! Where a Postgres is, and sessions on it that notice when something is wrong within seconds.
//!
//! Everything that Tallyroot keeps in Postgres is reached through a [`Location`]: a database, and one schema in it that is the sessions' whole search path, so that one database may hold many logs.
//! [`Location::migrate`] brings a schema up to date, and [`Location::wait_for_turn`] lets a standby process wait until the active one is gone.

mod migrate;
mod turn;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use zeroize::Zeroizing;

pub use migrate::MigrateError;
pub use turn::{Turn, TurnError};

/// A server that does not accept a connection for so long is taken for dead.
const CONNECT: Duration = Duration::from_secs(10);

/// What every session is started with. A server that has lost its client, or a client whose statement is stuck, is rid of it within these bounds, and of the locks with it.
const SESSION: [(&str, &str); 11] = [
    ("statement_timeout", "15s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "10s"),
    // A quiet hour must not end the sequencer's session: the next vote would find it gone, and the log would be taken over from its beginning.
    ("idle_session_timeout", "0"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "2"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "10s"),
    ("client_connection_check_interval", "2s"),
    ("default_transaction_read_only", "off"),
    ("jit", "off"),
];

/// What a URL may say after its `?`. Others are refused: a misspelt `sslmode` must not be a silent loss of protection, and settings of the session are this module's.
const PARAMETERS: [&str; 9] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "port",
    "dbname",
    "user",
    "password",
];

/// A database and a schema in it. Printing it, in any way, shows no password.
#[derive(Clone)]
pub struct Location {
    options: PgConnectOptions,
    schema: String,
}

impl Location {
    /// Reads a URL, `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/path/ca.pem`, and the name of a schema: lower-case letters, digits and `_`.
    ///
    /// A server on another machine must be reached with `sslmode=verify-full` and a named root certificate. Of one on this machine (a loopback address or a socket) that is not asked.
    ///
    /// # Errors
    ///
    /// When the URL or the name is not of this form, or the connection would not be protected.
    pub fn parse(url: &str, schema: &str) -> Result<Self, LocationError> {
        check_schema(schema)?;
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(LocationError::Url(
                "it does not begin with postgres://".to_owned(),
            ));
        }
        let parameters: Vec<&str> = match url.split_once('?') {
            Some((_, query)) => query.split('&').filter(|part| !part.is_empty()).collect(),
            None => Vec::new(),
        };
        let names = parameters
            .iter()
            .map(|part| part.split_once('=').map_or(*part, |(name, _)| name));
        let mut rooted = false;
        for name in names {
            if !PARAMETERS.contains(&name) {
                return Err(LocationError::Url(format!(
                    "it may not set {name:?}; it may set {}",
                    PARAMETERS.join(", ")
                )));
            }
            rooted |= name == "sslrootcert";
        }
        // The errors of sqlx quote parameters, one of which may be the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| LocationError::Url("a part of it cannot be read".to_owned()))?;
        let local = options.get_socket().is_some()
            || options.get_host().starts_with('/')
            || is_loopback(options.get_host());
        let verified = rooted && matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
        if !local && !verified {
            return Err(LocationError::Unprotected(options.get_host().to_owned()));
        }
        if options.get_database().is_none() {
            return Err(LocationError::Url("it names no database".to_owned()));
        }
        Ok(Self {
            options: options.disable_statement_logging(),
            schema: schema.to_owned(),
        })
    }

    /// The same, with the password from somewhere else than the URL: a file.
    #[must_use]
    pub fn with_password(self, password: &Zeroizing<String>) -> Self {
        Self {
            options: self.options.password(password),
            ..self
        }
    }

    /// The same database, with another schema.
    ///
    /// # Errors
    ///
    /// When the name is not one.
    pub fn with_schema(&self, schema: &str) -> Result<Self, LocationError> {
        check_schema(schema)?;
        Ok(Self {
            options: self.options.clone(),
            schema: schema.to_owned(),
        })
    }

    /// The schema.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How to open sessions, for a pool. `purpose` is what operators see in `pg_stat_activity`. Do not print it: sqlx's `Debug` shows the password.
    #[must_use]
    pub fn options(&self, purpose: &str) -> PgConnectOptions {
        // The server cuts longer names, with a notice each time.
        let name: String = format!("tallyroot {purpose}").chars().take(60).collect();
        self.options
            .clone()
            .application_name(&name)
            .options(SESSION)
            .options([("search_path", self.schema.as_str())])
    }

    /// Opens a session of its own.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, refuses, or did not take the session's settings: then it is a proxy that hands out other people's sessions.
    pub async fn connect(&self, purpose: &str) -> Result<PgConnection, ConnectError> {
        let options = self.options(purpose);
        let connecting = async {
            let mut connection = options.connect().await?;
            // Safe settings are worth nothing if a proxy swallowed them.
            let taken: bool = sqlx::query_scalar(
                "SELECT current_setting('search_path') = $1 AND current_setting('lock_timeout') = '10s' AND current_setting('statement_timeout') = '15s'",
            )
            .bind(&self.schema)
            .fetch_one(&mut connection)
            .await?;
            Ok((connection, taken))
        };
        match tokio::time::timeout(CONNECT, connecting).await {
            Ok(Ok((connection, true))) => Ok(connection),
            Ok(Ok((connection, false))) => {
                let _ = connection.close().await;
                Err(ConnectError::NotDirect(self.to_string()))
            }
            Ok(Err(source)) => Err(ConnectError::Server {
                location: self.to_string(),
                source,
            }),
            Err(_) => Err(ConnectError::Silent(self.to_string())),
        }
    }
}

fn check_schema(name: &str) -> Result<(), LocationError> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    // Names with pg_ are the server's own.
    if first && rest && name.len() <= 63 && !name.starts_with("pg_") {
        return Ok(());
    }
    Err(LocationError::Schema(name.to_owned()))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => self.options.get_host().to_owned(),
        };
        write!(
            f,
            "{}@{host}:{}/{} schema {}",
            self.options.get_username(),
            self.options.get_port(),
            self.options.get_database().unwrap_or_default(),
            self.schema
        )
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// Why something is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// The URL.
    #[error(
        "the database's URL cannot be used: {0}; write postgres://user@host:port/database, with %-escapes for special characters"
    )]
    Url(String),
    /// The schema's name.
    #[error(
        "{0:?} cannot be the name of a schema: use up to 63 of a-z, 0-9 and _, not beginning with a digit or with pg_"
    )]
    Schema(String),
    /// The connection could be read or faked on the way.
    #[error(
        "the database is on another machine ({0}), so the connection must be protected: add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem to its URL"
    )]
    Unprotected(String),
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server, or the way to it, said no.
    #[error("cannot open a session at {location}: {}", told(source))]
    Server {
        /// Where.
        location: String,
        /// What was said.
        source: sqlx::Error,
    },
    /// No answer.
    #[error(
        "cannot open a session at {0}: no answer within 10 s; see whether the server runs and can be reached from here"
    )]
    Silent(String),
    /// A proxy is between us and the server.
    #[error(
        "{0} did not keep the settings of the session: a pooling proxy is in between; give the address of the server itself"
    )]
    NotDirect(String),
}

impl ConnectError {
    /// Whether there may be a session a while later, without anybody changing what is configured.
    #[must_use]
    pub fn passes(&self) -> bool {
        match self {
            Self::Server { source, .. } => passes(source),
            Self::Silent(_) => true,
            Self::NotDirect(_) => false,
        }
    }
}

/// Whether the same may succeed later by itself: the server restarts, fails over, or cannot be reached.
#[must_use]
pub fn passes(error: &sqlx::Error) -> bool {
    match error {
        // What rustls finds wrong with the other side stays wrong.
        sqlx::Error::Io(error) => error.kind() != std::io::ErrorKind::InvalidData,
        sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
        // Of a server that is ending: shutdown, crash, start, recovery; too many sessions; a lock, or a time-out; one that was demoted under the session.
        sqlx::Error::Database(error) => matches!(
            error.code().as_deref(),
            Some(
                "57P01"
                    | "57P02"
                    | "57P03"
                    | "57014"
                    | "53300"
                    | "08006"
                    | "08003"
                    | "08000"
                    | "55P03"
                    | "40001"
                    | "40P01"
                    | "25006"
            )
        ),
        _ => false,
    }
}

/// What the server said, and what to do about the usual cases.
fn told(error: &sqlx::Error) -> String {
    let what = match error {
        // What rustls finds wrong with the other side comes as an I/O error.
        sqlx::Error::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            "see whether the server runs and listens there"
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
            "see whether the server has TLS on, and a certificate for exactly this host name that the CA of sslrootcert issued"
        }
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => {
                "check the role and its password, and the server's pg_hba.conf"
            }
            Some("3D000") => "create the database first: CREATE DATABASE",
            Some("53300") => "the server has too few connections: raise max_connections",
            Some("57P03") => "the server is starting or stopping: try again",
            Some("08P01") => {
                "a pooling proxy may be in between: give the address of the server itself"
            }
            _ => return error.to_string(),
        },
        _ => return error.to_string(),
    };
    format!("{error}; {what}")
}
