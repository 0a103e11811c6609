//! A standby takes over when the active process is killed: nothing acknowledged is lost, nothing forks, and voters only wait.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocol::ids::LogId;
use serde_json::Value;
use tests::demo::PATIENCE;
use tests::local::Local;
use tests::published::{Published, credential_count, recorded, recorded_count};
use tests::{Said, arg, folder, run, start};

/// So many that casting goes on long after a standby has taken over.
const VOTERS: u32 = 3_000;

/// Waits until `reached`, and says how many seconds that took.
fn wait_until(what: &str, mut reached: impl FnMut() -> bool) -> f64 {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(2));
    }
    begun.elapsed().as_secs_f64()
}

/// Whichever of the two processes of a log is active.
fn active(local: &Local, name: &str) -> String {
    let standby = format!("{name}-standby");
    [name.to_owned(), standby]
        .into_iter()
        .find(|name| local.process(name)["state"] == "ready")
        .unwrap_or_else(|| panic!("neither process of {name} is active"))
}

/// Kills the active process of a log, waits for what only the next one can do, and starts the dead one again, which stands by. Until the next one is
/// active, the player does no more than `most`.
fn strike(
    local: &mut Local,
    player: &Player,
    name: &str,
    most: u64,
    acknowledged: impl Fn() -> u64 + Sync,
) {
    let victim = active(local, name);
    let heir = if victim == name {
        format!("{name}-standby")
    } else {
        name.to_owned()
    };
    // What the dead one had sent may still arrive: what comes once its heir is active is the heir's.
    let (ready, before) = player.held_at(most, &acknowledged, || {
        local.kill(&victim);
        let ready = wait_until("an heir", || local.process(&heir)["state"] == "ready");
        (ready, acknowledged())
    });
    let more = wait_until("an acknowledgement", || acknowledged() > before);
    eprintln!(
        "{name}: {:.2} s from kill -9 to the next acknowledgement at the latest (active after {ready:.2} s)",
        ready + more
    );
    local.up(&["--standbys"]);
    assert_eq!(local.process(&victim)["state"], "standby");
}

struct Player(Child);

impl Player {
    fn start(local: &Local) -> Self {
        let arguments = local.playing(&[]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Self(start(
            "tallyroot",
            &arguments,
            Stdio::piped(),
            Stdio::inherit(),
        ))
    }

    /// Does this while the player plays, and holds the player whenever it has done `most` of its work: however slow this is beside it, work remains for
    /// whoever is active afterwards.
    fn held_at<T>(&self, most: u64, done: impl Fn() -> u64 + Sync, act: impl FnOnce() -> T) -> T {
        /// Tells the watching thread to end, also where `act` panics.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut held = false;
                while !over.load(Ordering::Acquire) {
                    if !held && done() >= most {
                        self.signal("STOP");
                        held = true;
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
                if held {
                    self.signal("CONT");
                }
            });
            let _over = Over(&over);
            act()
        })
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.0.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success(), "the player has ended");
    }

    fn end(mut self) -> Value {
        let mut stdout = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let code = self.0.wait().unwrap().code().unwrap_or(-1);
        let said = Said {
            code,
            stdout,
            stderr: String::new(),
        };
        assert_eq!(said.code, 0, "{said:#?}");
        said.json()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn heads(data: &Path) -> u64 {
    Published::of(data)
        .checkpoint(LogId::Heads)
        .map_or(0, |checkpoint| checkpoint.size())
}

#[test]
fn a_standby_takes_over_a_registrar_a_cell_and_the_anchor() {
    let folder = folder();
    let data = folder.path().join("election");
    let voters = VOTERS.to_string();
    let mut local = Local::of_demo(&data, &["--voters", &voters], &["--standbys"]);
    let player = Player::start(&local);

    wait_until("sign-in", || credential_count(&data, 1) > 100);
    let most = u64::from(VOTERS) * 2 / 3;
    strike(&mut local, &player, "registrar-0", most, || {
        credential_count(&data, 1)
    });
    wait_until("casting", || recorded_count(&data) > 0);
    strike(&mut local, &player, "cell-0", most, || {
        recorded_count(&data)
    });
    strike(&mut local, &player, "anchor", u64::MAX, || heads(&data));

    let end = player.end();
    nothing_is_lost(&data, &end, VOTERS);
}

/// Everybody's vote is where her device was told, and the whole election verifies.
fn nothing_is_lost(data: &Path, end: &Value, voters: u32) {
    assert_eq!(end["audit"]["verified"], true, "{end}");
    assert_eq!(end["issued"], voters);
    assert_eq!(end["votes"], voters);
    let leaves = Published::of(data).leaves(LogId::Cell(0));
    let recorded = recorded(data);
    assert_eq!(recorded.len(), voters as usize);
    for vote in recorded {
        let index = usize::try_from(vote.index).unwrap();
        assert_eq!(leaves[index], vote.leaf, "voter {}", vote.voter);
    }
    let id = end["election_id"].as_str().unwrap();
    let public = data.join("public");
    let audit = run(
        "tallyroot-verify",
        &["audit", arg(&public), "--election", id, "--json"],
    );
    assert_eq!(audit.code, 0, "{} {}", audit.stdout, audit.stderr);
}

/// So many that the load outlasts the upgrade.
const UPGRADED: u32 = 8_000;

/// What a later version of a process would do to a schema of logs before it works with it: only adding.
const NEXT: &str = "
    ALTER TABLE batch ADD COLUMN next_version_wants integer NOT NULL DEFAULT 7;
    CREATE VIEW next_version_shows AS SELECT n, next_version_wants FROM batch;
    INSERT INTO ledger_migration (version, description, success, checksum, execution_time)
        VALUES (99990101, 'next version', true, '\\x00', 1);";

#[test]
fn a_rolling_upgrade_under_load_loses_nothing() {
    let folder = folder();
    let data = folder.path().join("election");
    let voters = UPGRADED.to_string();
    let mut local = Local::of_demo(&data, &["--voters", &voters], &["--standbys"]);
    let player = Player::start(&local);
    let upgrade = |local: &mut Local, name: &str| {
        // The schema first, beside processes that do not know it: the active one is writing.
        let schemas = local.sql(
            name,
            "SELECT table_schema FROM information_schema.tables WHERE table_name = 'ledger_migration'",
        );
        assert!(!schemas.is_empty(), "{name} has no log");
        for schema in schemas.lines() {
            let sql = format!("BEGIN; SET LOCAL search_path = {schema};{NEXT} COMMIT;");
            let _ = local.sql(name, &sql);
        }
        // Then each process: the standby, and the active one, whose place the standby takes.
        let first = active(local, name);
        let standby = [name.to_owned(), format!("{name}-standby")];
        let standby = standby.into_iter().find(|other| *other != first).unwrap();
        local.stop(&standby);
        local.up(&["--standbys"]);
        local.stop(&first);
        wait_until("the upgraded one", || {
            local.process(&standby)["state"] == "ready"
        });
        local.up(&["--standbys"]);
    };
    let most = u64::from(UPGRADED) * 2 / 3;
    wait_until("sign-in", || credential_count(&data, 1) > 100);
    let credentials = || credential_count(&data, 1);
    player.held_at(most, credentials, || upgrade(&mut local, "registrar-0"));
    assert!(credentials() < u64::from(UPGRADED), "upgraded under load");
    upgrade(&mut local, "anchor");
    wait_until("casting", || recorded_count(&data) > 0);
    let votes = || recorded_count(&data);
    player.held_at(most, votes, || upgrade(&mut local, "cell-0"));
    assert!(votes() < u64::from(UPGRADED), "upgraded under load");

    let end = player.end();
    nothing_is_lost(&data, &end, UPGRADED);
    let rows = "SELECT count(*) > 0 FROM cells_0.next_version_shows WHERE next_version_wants = 7";
    assert_eq!(local.sql("cell-0", rows), "t");
}
