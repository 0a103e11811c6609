//! The durability policies: what must be true of the server for a commit to count (design, section 6, step 4).
//!
//! A policy is judged by what the server says about itself in a [`State`], read at start and, in the committing session, after every COMMIT. Whatever is not as the policy
//! needs it is named with its value and with what to do.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::names::{self, ANYBODY};

/// The server's error for a function that is not there.
const NO_SUCH_FUNCTION: &str = "42883";

/// Which copies of a commit there must be before it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The server's own disk. Refused unless the manifest says that the election is a demo: one disk is one accident.
    SingleNode,
    /// The server's own disk and those of standbys.
    Standbys(Standbys),
    /// Storage that keeps copies in several zones by itself: Amazon Aurora, which is recognized by what the server says. Any other server is refused.
    StorageReplicated,
}

/// The standbys that must have a commit on disk, and what failover does with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standbys {
    names: Vec<String>,
    count: usize,
    failover: Failover,
}

/// From which standbys failover promotes one. Whatever it does, it must not be able to promote one without a commit that counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// It compares at least so many of the named standbys and promotes the one that is furthest. 1 is the careful assumption: it promotes any one of them.
    ///
    /// Any such set must meet the standbys that confirmed: `count >= names - compares + 1`.
    Compares(usize),
    /// It promotes only a standby that `synchronous_standby_names` lists at the time, as Patroni does in `synchronous_mode`.
    ///
    /// So every standby that is listed must confirm, and at every gate all of them have.
    OnlySynchronous,
}

impl Standbys {
    /// `count` of the standbys with these names (their `application_name`, in whichever case) must have flushed a commit before it counts.
    ///
    /// # Errors
    ///
    /// When `count` is 0, more than there are names, or so few that failover may promote a standby without a commit that counted.
    pub fn new(
        names: impl IntoIterator<Item = impl AsRef<str>>,
        count: usize,
        failover: Failover,
    ) -> Result<Self, PolicyError> {
        // As the server compares them.
        let mut names: Vec<String> = names
            .into_iter()
            .map(|name| name.as_ref().to_ascii_lowercase())
            .collect();
        let given = names.len();
        names.sort();
        names.dedup();
        if names.len() != given || names.iter().any(|name| name.is_empty() || name == ANYBODY) {
            return Err(PolicyError::Names);
        }
        if count == 0 || count > given {
            return Err(PolicyError::Count {
                names: given,
                count,
            });
        }
        if let Failover::Compares(compares) = failover
            && (compares == 0 || compares > given || count < given - compares + 1)
        {
            return Err(PolicyError::Meets {
                names: given,
                count,
                compares,
            });
        }
        Ok(Self {
            names,
            count,
            failover,
        })
    }

    /// The names, in lower case.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

/// Why a policy would not keep what it promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The names.
    #[error("the names of the standbys must be there, differ (not only in case), and not be \"*\"")]
    Names,
    /// The count.
    #[error("{count} of {names} standbys cannot be asked for: give 1 to {names}")]
    Count {
        /// How many there are.
        names: usize,
        /// How many were asked for.
        count: usize,
    },
    /// Failover might lose a commit.
    #[error(
        "if {count} of {names} standbys confirm a commit and failover compares {compares} of them, it may promote one without it: let count be at least names - compares + 1"
    )]
    Meets {
        /// How many there are.
        names: usize,
        /// How many confirm.
        count: usize,
        /// How many failover compares.
        compares: usize,
    },
}

/// Whether the server is a standby.
const RECOVERY: &str = "pg_is_in_recovery()";
/// Which standbys a commit waits for.
const STANDBY_NAMES: &str = "synchronous_standby_names";

impl Durability {
    /// The standbys to look at, for the query.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Self::Standbys(standbys) => &standbys.names,
            Self::SingleNode | Self::StorageReplicated => &[],
        }
    }

    /// Whether the server is as this policy needs it.
    pub(super) fn judge(&self, state: &State) -> Result<(), Unmet> {
        if state.recovering {
            return Err(Unmet::new(
                RECOVERY,
                "true",
                "a primary",
                "this server is a standby: give the address of the primary, or promote it",
            ));
        }
        if state.fsync != "on" {
            return Err(Unmet::new(
                "fsync",
                &state.fsync,
                "on",
                "without it a power failure destroys the database; set fsync = on, make a new database, and let the log be rebuilt in it from its published files",
            ));
        }
        // Aurora's instances write no pages at all, so none can be torn.
        let pages = matches!(self, Self::StorageReplicated) && state.aurora;
        if state.full_page_writes != "on" && !pages {
            return Err(Unmet::new(
                "full_page_writes",
                &state.full_page_writes,
                "on",
                "without it a power failure can tear pages; set full_page_writes = on",
            ));
        }
        let enough: &[&str] = match self {
            Self::SingleNode => &["on", "remote_apply", "remote_write", "local"],
            // The others do not wait until the standby has it on disk.
            Self::Standbys(_) => &["on", "remote_apply"],
            Self::StorageReplicated => &["on", "remote_apply", "remote_write", "local"],
        };
        if !enough.contains(&state.synchronous_commit.as_str()) {
            return Err(Unmet::new(
                "synchronous_commit",
                &state.synchronous_commit,
                &enough.join(" or "),
                "a commit would return before it is safe; set synchronous_commit = on, and see that no ALTER ROLE or ALTER DATABASE sets it otherwise",
            ));
        }
        match self {
            Self::SingleNode => Ok(()),
            Self::StorageReplicated if state.aurora => Ok(()),
            Self::StorageReplicated => Err(Unmet::new(
                "aurora_version()",
                "not there",
                "an Amazon Aurora server",
                "this is another Postgres, whose storage proves nothing: use the policy of standbys",
            )),
            Self::Standbys(standbys) => standbys.judge(state),
        }
    }
}

impl Standbys {
    fn judge(&self, state: &State) -> Result<(), Unmet> {
        let wanted = || format!("at least {} of {}", self.count, self.names.join(", "));
        let setting = |needed: &str, todo: &str| {
            Err(Unmet::new(
                STANDBY_NAMES,
                &format!("'{}'", state.standby_names),
                needed,
                todo,
            ))
        };
        if !state.sees_standbys {
            return Err(Unmet::new(
                "pg_read_all_stats",
                "not granted",
                "to see what standbys have flushed",
                &format!(
                    "run as a superuser: GRANT pg_monitor TO \"{}\"",
                    state.role.replace('"', "\"\"")
                ),
            ));
        }
        let example = format!("ANY {} ({})", self.count, quoted(&self.names));
        let Some(demand) = names::parse(&state.standby_names) else {
            return setting(
                &wanted(),
                &format!(
                    "a commit waits for no standby; set synchronous_standby_names = '{example}'"
                ),
            );
        };
        let foreign = demand
            .names
            .iter()
            .filter(|name| !self.names.contains(name))
            .count();
        // Any standby may answer to "*", and the foreign ones may be the ones that confirm.
        let anybody = demand.names.iter().any(|name| name == ANYBODY);
        if anybody || demand.count.saturating_sub(foreign) < self.count {
            return setting(
                &wanted(),
                &format!(
                    "a commit may return without them; set synchronous_standby_names = '{example}'"
                ),
            );
        }
        // Distinct, so that two servers under one name count once.
        let flushed = |name: &&String| state.flushed.contains(*name);
        let have = self.names.iter().filter(flushed).count();
        let all = match self.failover {
            Failover::Compares(_) => true,
            Failover::OnlySynchronous => {
                if foreign > 0 || demand.count < demand.names.len() {
                    return setting(
                        "that every listed standby confirms",
                        &format!(
                            "failover may promote a listed one that has not; set synchronous_standby_names = '{} ({})', or let the failover's own manager set it",
                            demand.names.len(),
                            quoted(&demand.names),
                        ),
                    );
                }
                demand.names.iter().filter(flushed).count() == demand.names.len()
            }
        };
        if have < self.count || !all {
            return Err(Unmet {
                passing: true,
                ..Unmet::new(
                    "pg_stat_replication",
                    &format!("[{}]", state.flushed.join(", ")),
                    &format!("{} that stream and have flushed the last commit", wanted()),
                    "see whether the standbys run, and stream under these names (application_name in their primary_conninfo)",
                )
            });
        }
        Ok(())
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
        .collect();
    names.join(", ")
}

/// What the server says about itself.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) recovering: bool,
    fsync: String,
    full_page_writes: String,
    pub(super) synchronous_commit: String,
    standby_names: String,
    role: String,
    sees_standbys: bool,
    /// As [`is_aurora`] found it when the session began.
    pub(super) aurora: bool,
    /// Up to where this server has flushed: at least the last commit of the session that asks. Empty in recovery, and where no standbys are named.
    pub(super) flush_lsn: String,
    /// Which of the standbys that were asked for stream and have flushed up to there, in lower case.
    flushed: Vec<String>,
}

impl State {
    /// The columns, and what they are read from. `$1`: the names of the standbys; `$2`: the position that they must have flushed, or null for that of `flush_lsn`.
    pub(super) const COLUMNS: &'static str = r#"
        pg_is_in_recovery() AS recovering,
        current_setting('fsync') AS fsync,
        current_setting('full_page_writes') AS full_page_writes,
        current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('synchronous_standby_names') AS standby_names,
        current_user::text AS role,
        pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_standbys,
        coalesce(at.lsn::text, '') AS flush_lsn,
        ARRAY(SELECT DISTINCT lower(application_name COLLATE "C") FROM pg_stat_replication
              WHERE cardinality($1::text[]) > 0 AND state = 'streaming' AND lower(application_name COLLATE "C") = ANY ($1::text[])
                AND flush_lsn >= coalesce($2::text::pg_lsn, at.lsn)) AS flushed"#;
    /// Computed once: the function is volatile. It is called only for standbys: Aurora answers that WAL control functions cannot be executed, unless `wal_level` is `logical`.
    pub(super) const AT: &'static str = "(SELECT CASE WHEN pg_is_in_recovery() OR cardinality($1::text[]) = 0 THEN NULL ELSE pg_current_wal_flush_lsn() END AS lsn OFFSET 0) AS at";

    /// Reads the columns; whether the server is Aurora was asked before, see [`is_aurora`].
    pub(super) fn of(row: &PgRow, aurora: bool) -> Result<Self, sqlx::Error> {
        Ok(Self {
            recovering: row.try_get("recovering")?,
            fsync: row.try_get("fsync")?,
            full_page_writes: row.try_get("full_page_writes")?,
            synchronous_commit: row.try_get("synchronous_commit")?,
            standby_names: row.try_get("standby_names")?,
            role: row.try_get("role")?,
            sees_standbys: row.try_get("sees_standbys")?,
            aurora,
            flush_lsn: row.try_get("flush_lsn")?,
            flushed: row.try_get("flushed")?,
        })
    }
}

/// Whether the server calls itself Aurora, by calling the function that Aurora alone has: its catalog need not show it.
///
/// With nothing in the search path only the server's own functions are found, so one of this name in the log's schema is no proof.
pub(super) async fn is_aurora(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::raw_sql("BEGIN READ ONLY; SET LOCAL search_path = ''")
        .execute(&mut *connection)
        .await?;
    let called: Result<String, _> = sqlx::query_scalar("SELECT aurora_version()::text")
        .fetch_one(&mut *connection)
        .await;
    sqlx::raw_sql("ROLLBACK").execute(connection).await?;
    match called {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(NO_SUCH_FUNCTION) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// What of a policy is not met: which setting, its value, what it should be, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}, and must be {needed}: {todo}")]
pub struct Unmet {
    /// The server's setting, or what stands for it.
    pub setting: String,
    /// Its value.
    pub value: String,
    /// What the policy needs.
    pub needed: String,
    /// What to do about it.
    pub todo: String,
    /// Whether it may be met a moment later, without anybody doing anything.
    pub(super) passing: bool,
}

impl Unmet {
    fn new(setting: &str, value: &str, needed: &str, todo: &str) -> Self {
        Self {
            setting: setting.to_owned(),
            value: value.to_owned(),
            needed: needed.to_owned(),
            todo: todo.to_owned(),
            passing: false,
        }
    }
}

impl Unmet {
    /// Whether failover, or the servers themselves, may meet it in a while: a standby that is promoted, replicas that reattach, the list of them that failover's own manager sets.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.passing || [RECOVERY, STANDBY_NAMES].contains(&self.setting.as_str())
    }
}
