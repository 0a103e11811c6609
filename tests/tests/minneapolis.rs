//! A real election, replayed: every ballot of Minneapolis 2013 is signed in, cast over HTTP, counted, anchored and audited,
//! and the result is the city's official count to the vote.

use std::path::Path;

use serde_json::{Value, json};
use tests::local::Local;
use tests::{Said, arg, folder, minneapolis, run};
use throwaway_postgres::Server;

/// The official first round.
const FIRST_ROUND: [(&str, u64); 8] = [
    ("BETSY HODGES", 28_962),
    ("MARK ANDREW", 19_648),
    ("DON SAMUELS", 8_350),
    ("CAM WINTON", 7_533),
    ("JACKIE CHERRYHOMES", 3_548),
    ("BOB FINE", 2_101),
    ("DAN COHEN", 1_808),
    ("STEPHANIE WOODRUFF", 1_014),
];

fn options(cells: &str, registrars: &str) -> [String; 8] {
    [
        "--ballots",
        arg(&minneapolis()),
        "--choices",
        "choice1,choice2,choice3",
        "--cells",
        cells,
        "--registrars",
        registrars,
    ]
    .map(str::to_owned)
}

/// In one process, over SQLite or what `more` says.
fn replay(cells: &str, registrars: &str, more: &[&str]) {
    let folder = folder();
    let data = folder.path().join("election");
    let options = options(cells, registrars);
    let mut arguments = vec!["demo", "--data", arg(&data), "--exit", "--json"];
    arguments.extend(options.iter().map(String::as_str));
    arguments.extend(more);
    let said = run("tallyroot", &arguments);
    check(&data, &said, cells, registrars, 0);
}

/// The city's count, and an audit that verifies.
fn check(data: &Path, said: &Said, cells: &str, registrars: &str, guests: u64) {
    assert_eq!(said.code, 0, "{}", said.stderr);
    let end = said.json();
    assert_eq!(end["audit"]["verified"], true, "{end}");
    assert_eq!(end["audit"]["findings"], json!([]));
    assert_eq!(end["cells"], cells.parse::<u64>().unwrap());
    assert_eq!(end["registrars"], registrars.parse::<u64>().unwrap());
    assert_eq!(end["roll"], 80_101 + guests);
    for member in ["issued", "votes"] {
        assert_eq!(end[member], 80_101, "{member}");
    }
    assert_eq!(end["abstentions"], 686);

    let first = end["results"]["contest"].as_object().unwrap();
    assert_eq!(
        first
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum::<u64>(),
        79_415
    );
    for (candidate, count) in FIRST_ROUND {
        assert_eq!(first[candidate], count, "{candidate}");
    }
    let rounds = end["rounds"]["contest"].as_array().unwrap();
    let counts = |round: &Value| -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = round["counts"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap()))
            .collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    };
    let named = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    };
    let [.., with_three, with_two] = rounds.as_slice() else {
        panic!("{} rounds", rounds.len())
    };
    assert_eq!(
        counts(with_three),
        named(&[
            ("BETSY HODGES", 34_083),
            ("MARK ANDREW", 22_713),
            ("DON SAMUELS", 11_609)
        ])
    );
    assert_eq!(
        counts(with_two),
        named(&[("BETSY HODGES", 38_870), ("MARK ANDREW", 24_972)])
    );
    assert_eq!(end["winner"]["contest"], "BETSY HODGES");

    // The separate program, knowing only the election id.
    let id = end["election_id"].as_str().unwrap();
    let audit = run(
        "tallyroot-verify",
        &[
            "audit",
            arg(&data.join("public")),
            "--election",
            id,
            "--json",
        ],
    );
    assert_eq!(audit.code, 0, "{} {}", audit.stdout, audit.stderr);
}

#[test]
fn the_official_count_over_four_cells() {
    replay("4", "1", &[]);
}

#[test]
#[ignore = "minutes; `make replay` runs it"]
fn the_official_count_in_one_cell() {
    replay("1", "1", &[]);
}

#[test]
#[ignore = "minutes; `make replay` runs it"]
fn the_official_count_with_two_registrars() {
    replay("1", "2", &[]);
}

#[test]
#[ignore = "minutes; `make replay` runs it"]
fn the_official_count_over_one_postgres() {
    let server = Server::start();
    let store = server.database("minneapolis");
    replay("1", "1", &["--store", &store]);
}

#[test]
#[ignore = "minutes; `make replay` runs it"]
fn the_official_count_over_services_of_their_own() {
    let folder = folder();
    let data = folder.path().join("election");
    let options = options("4", "2");
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let local = Local::of_demo(&data, &options, &[]);
    let said = local.play(&["--exit"]);
    // An election that is prepared, and may stay open, has places for guests.
    check(&data, &said, "4", "2", 3);
}
