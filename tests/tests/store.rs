//! The demo on a Postgres of the user's.

use serde_json::json;
use tests::demo::Demo;
use tests::{arg, folder, run};
use throwaway_postgres::Server;

#[test]
fn a_whole_election_in_one_database_killed_and_gone_on_with() {
    let folder = folder();
    let server = Server::start();
    let store = server.database("demo");
    let mut demo = Demo::new(&folder.path().join("election"), 120, 2, 2);
    demo.options.extend(["--store".to_owned(), store.clone()]);
    // Dropped as `kill -9` would end it.
    drop(demo.stay_up());

    let schemas = server.psql(
        "demo",
        "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tallyroot\\_%'",
    );
    // Two cells, two issuance logs, two rolls, the heads.
    assert_eq!(schemas, "7");
    let cells = run(
        "tallyroot",
        &["demo", "--data", arg(&demo.data), "--voters", "119"],
    );
    assert_eq!(cells.code, 1, "other options are refused: {cells:#?}");

    let said = demo.run_to_the_end();
    assert_eq!(said.code, 0, "{said:#?}");
    let end = said.json();
    assert_eq!(end["audit"], json!({ "verified": true, "findings": [] }));
    assert_eq!(end["votes"], 120);
    // No file beside the database holds a log.
    for log in ["cells/0", "registrars/1/0", "heads"] {
        assert!(!demo.data.join(log).join("log.sqlite").exists(), "{log}");
    }
}

#[test]
fn a_store_that_is_none_leaves_no_folder() {
    let folder = folder();
    let data = folder.path().join("election");
    for (store, words) in [
        ("mysql://localhost/x", "postgres://"),
        ("postgres://db.example/x", "verify-full"),
    ] {
        let said = run(
            "tallyroot",
            &["demo", "--data", arg(&data), "--store", store],
        );
        assert_eq!(said.code, 1, "{said:#?}");
        assert!(said.stderr.contains(words), "{said:#?}");
        assert!(!data.exists());
    }
}
