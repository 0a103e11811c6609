//! kill -9 at random moments of an election, 50 times: the same command goes on by the one takeover path, and nothing that was ever
//! acknowledged is missing or has moved.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::ids::LogId;
use protocol::merkle::Hash;
use rand::RngExt as _;
use rand::rngs::StdRng;
use tests::demo::{Demo, PATIENCE};
use tests::published::{Published, Recorded, credential_count, recorded, recorded_count};
use tests::{arg, files, folder, run, seed};

const KILLS: usize = 10;

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after the start: making the folder, starting, taking over.
    Start(Duration),
    /// Once so many voters have their credential.
    SignedIn(u64),
    /// Once so many votes are recorded, and a little later.
    Recorded(u64, Duration),
    /// So long after the last vote: freezing, closing, anchoring, counting, auditing.
    Closing(Duration),
}

struct Attack {
    demo: Demo,
    voters: u64,
    registrars: u16,
    rng: StdRng,
    /// It has come to its end once.
    ended: bool,
}

impl Attack {
    /// The moments of an election in their order; those in the middle of casting are the most.
    fn draw(&mut self, kill: usize) -> Moment {
        let data = &self.demo.data;
        let (rng, voters) = (&mut self.rng, self.voters);
        let signed_in = credential_count(data, self.registrars);
        let recorded = recorded_count(data);
        let ms = Duration::from_millis;
        match kill {
            _ if self.ended => Moment::Start(ms(rng.random_range(0..400))),
            0 => Moment::Start(ms(rng.random_range(0..1_500))),
            1 | 2 if signed_in < voters => {
                Moment::SignedIn(rng.random_range(signed_in + 1..=voters))
            }
            3..=6 if recorded < voters => {
                // Not too far on, so that the next ones hit casting too.
                let furthest = recorded + ((voters - recorded) / 2).max(1);
                Moment::Recorded(
                    rng.random_range(recorded..=furthest),
                    ms(rng.random_range(0..30)),
                )
            }
            8 | 9 => Moment::Closing(ms(rng.random_range(0..1_500))),
            _ => Moment::Start(ms(rng.random_range(0..700))),
        }
    }

    /// Starts the command and kills it at this moment. False when it had ended by itself before.
    fn strike(&self, moment: Moment, stderr: &Path) -> bool {
        let data = &self.demo.data;
        let mut child = self.demo.start_to_the_end(stderr);
        let begun = Instant::now();
        let mut since: Option<Instant> = None;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                let said = fs::read_to_string(stderr).unwrap_or_default();
                assert!(status.success(), "it ended by itself, {status}:\n{said}");
                return false;
            }
            let (reached, after) = match moment {
                Moment::Start(after) => (true, after),
                Moment::SignedIn(count) => (
                    credential_count(data, self.registrars) >= count,
                    Duration::ZERO,
                ),
                Moment::Recorded(count, after) => (recorded_count(data) >= count, after),
                Moment::Closing(after) => (recorded_count(data) >= self.voters, after),
            };
            if reached {
                let since = *since.get_or_insert(match moment {
                    Moment::Start(_) => begun,
                    _ => Instant::now(),
                });
                if since.elapsed() >= after {
                    child.kill().unwrap();
                    let status = child.wait().unwrap();
                    // It may have ended well in between.
                    return status.code().is_none();
                }
            }
            assert!(begun.elapsed() < PATIENCE, "{moment:?} never came");
            std::thread::sleep(Duration::from_micros(500));
        }
    }
}

/// What must stay true from one look to the next.
#[derive(Default)]
struct Seen {
    recorded: Vec<Recorded>,
    leaves: BTreeMap<u32, Vec<Hash>>,
}

impl Seen {
    /// Looks at what is on the disk, with no process running.
    fn look(&mut self, data: &Path, cells: u32) {
        let recorded = recorded(data);
        assert_eq!(
            recorded.get(..self.recorded.len()),
            Some(&*self.recorded),
            "a device forgot or changed what it had recorded"
        );
        if data.join("election").exists() {
            let published = Published::of(data);
            for cell in 0..cells {
                let leaves = published.leaves(LogId::Cell(cell));
                let before = self.leaves.entry(cell).or_default();
                assert_eq!(
                    leaves.get(..before.len()),
                    Some(&**before),
                    "cell {cell} does not go on from where it stood"
                );
                *before = leaves;
            }
        }
        for vote in &recorded {
            assert_eq!(
                self.leaves[&vote.cell].get(usize::try_from(vote.index).unwrap()),
                Some(&vote.leaf),
                "voter {} was told index {} of cell {}",
                vote.voter,
                vote.index,
                vote.cell
            );
        }
        self.recorded = recorded;
    }
}

fn ten_kills(name: &str, voters: u32, cells: u32, registrars: u16) {
    let folder = folder();
    let stderr = folder.path().join("stderr");
    let mut attack = Attack {
        demo: Demo::new(&folder.path().join("election"), voters, cells, registrars),
        voters: u64::from(voters),
        registrars,
        rng: seed::generator(name),
        ended: false,
    };
    let data = attack.demo.data.clone();
    let mut seen = Seen::default();
    let mut kills = 0;
    let mut casting = 0;
    for _ in 0..4 * KILLS {
        if kills == KILLS {
            break;
        }
        let moment = attack.draw(kills);
        let before = recorded_count(&data);
        let killed = attack.strike(moment, &stderr);
        let after = recorded_count(&data);
        eprintln!(
            "{name}: {moment:?}: {}, {} credentials, {after} votes recorded",
            if killed { "killed" } else { "ended by itself" },
            credential_count(&data, registrars),
        );
        attack.ended |= !killed;
        kills += usize::from(killed);
        casting += u32::from(killed && after > before && after < u64::from(voters));
        seen.look(&data, cells);
    }
    assert_eq!(kills, KILLS, "it ends before it can be killed");
    eprintln!("{name}: {casting} kills in the middle of casting");

    let said = attack.demo.run_to_the_end();
    assert_eq!(said.code, 0, "{}", said.stderr);
    let end = said.json();
    assert_eq!(end["votes"], voters, "{end}");
    assert_eq!(end["issued"], voters);
    assert_eq!(end["audit"]["verified"], true);
    seen.look(&data, cells);
    let places: BTreeSet<(u32, u64)> = seen
        .recorded
        .iter()
        .map(|vote| (vote.cell, vote.index))
        .collect();
    assert_eq!(
        places.len(),
        voters as usize,
        "everybody has a leaf of her own"
    );

    let id = end["election_id"].as_str().unwrap();
    let public = data.join("public");
    let audit = run(
        "tallyroot-verify",
        &["audit", arg(&public), "--election", id, "--json"],
    );
    assert_eq!(audit.code, 0, "{}", audit.stdout);

    // Once it has ended, the same command changes nothing any more.
    let published = files::contents(&public.join("elections"));
    let again = attack.demo.run_to_the_end();
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_eq!(again.json()["results"], end["results"]);
    assert!(files::contents(&public.join("elections")) == published);
}

#[test]
fn killed_ten_times_with_one_registrar() {
    ten_kills("one registrar", 800, 2, 1);
}

#[test]
fn killed_ten_times_with_two_registrars() {
    ten_kills("two registrars", 400, 2, 2);
}

#[test]
fn killed_ten_times_with_one_cell() {
    ten_kills("one cell", 600, 1, 1);
}

#[test]
fn killed_ten_times_with_three_cells() {
    ten_kills("three cells", 500, 3, 1);
}

#[test]
fn killed_ten_times_with_few_voters() {
    // So few that most batches wait out their time.
    ten_kills("few voters", 60, 2, 2);
}
