//! The roll in a Postgres, filled from the sealed backup, and a registrar whose databases are all lost.

use std::sync::Arc;

use crate::common::{Options, Place, Served, code};
use ledger::postgres::Location;
use registrar::code::{Code, CodeKey};
use registrar::database::{Database, DatabaseError, Loaded};
use throwaway_postgres::Server;

fn location(server: &Server) -> Location {
    Location::parse(&server.url("postgres"), "roll").unwrap()
}

async fn load(server: &Server, place: &Place) -> Result<Loaded, DatabaseError> {
    let backup = place.files(0).database;
    Database::load_into_postgres(&backup, &location(server), &place.election, 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_is_loaded_once_and_whole_and_says_the_same_as_its_backup() {
    let voters: Vec<String> = (0..700).map(|i| format!("Wähler {i}, \"x\"\\")).collect();
    let names: Vec<&str> = voters.iter().map(String::as_str).collect();
    let place = Place::new(&names, 1).await;
    let server = Server::start();
    let opened = Database::open_postgres(&location(&server), &place.election, 0).await;
    assert!(matches!(opened, Err(DatabaseError::Empty(_))));
    // At once, twice; and again.
    let (one, two) = tokio::join!(load(&server, &place), load(&server, &place));
    let mut found = [one.unwrap(), two.unwrap()];
    found.sort_by_key(|loaded| *loaded == Loaded::AlreadyThere);
    assert_eq!(found, [Loaded::Filled, Loaded::AlreadyThere]);
    assert_eq!(load(&server, &place).await.unwrap(), Loaded::AlreadyThere);
    assert_eq!(
        server.psql("postgres", "SELECT count(*) FROM roll.voter"),
        "700"
    );

    // A role that may only read is enough from here on.
    server.psql(
        "postgres",
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA roll TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA roll TO reader",
    );
    let reader = Location::parse(&server.url_as("reader", "", "postgres"), "roll").unwrap();
    let database = Database::open_postgres(&reader, &place.election, 0)
        .await
        .unwrap();
    let root = protocol::merkle::Hash(place.election.manifest().roll.root);
    for index in [0, 1, 255, 256, 511, 512, 699] {
        let entry = &place.roll.entries()[usize::try_from(index).unwrap()];
        let proof = database.roll_proof(index).await.unwrap();
        protocol::merkle::verify_inclusion(&entry.leaf_hash(), index, 700, &proof, &root).unwrap();
    }
    let key = CodeKey::from_file(&place.files(0).code_key).unwrap();
    for (identity, typed) in place.codes(0).iter().take(20) {
        let code = Code::parse(typed).unwrap();
        let voter = database.voter_of(&key, &code).await.unwrap().unwrap();
        assert_eq!(&voter.entry.identity, identity);
        assert_eq!(voter.roll_index, place.roll_index(identity));
    }
    let nobody = Code::parse(&crate::common::nobodys_code()).unwrap();
    assert!(database.voter_of(&key, &nobody).await.unwrap().is_none());
    // And it can change nothing.
    for sql in [
        "UPDATE voter SET code_hmac = code_seal",
        "INSERT INTO meta SELECT * FROM meta",
        "DELETE FROM roll_tile",
        "CREATE TABLE other ()",
    ] {
        let mut session = reader.connect("test").await.unwrap();
        let error = sqlx::raw_sql(sql).execute(&mut session).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_elections_roll_or_a_damaged_one_is_not_used() {
    let place = Place::new(&["a", "b", "c"], 2).await;
    let other = Place::new(&["a", "b", "c"], 2).await;
    let server = Server::start();
    load(&server, &place).await.unwrap();
    assert!(matches!(
        load(&server, &other).await,
        Err(DatabaseError::Other(_))
    ));
    let second = place.files(1).database;
    let loaded =
        Database::load_into_postgres(&second, &location(&server), &place.election, 1).await;
    assert!(matches!(loaded, Err(DatabaseError::Other(_))));
    let opened = Database::open_postgres(&location(&server), &place.election, 1).await;
    assert!(matches!(opened, Err(DatabaseError::Other(_))));
    assert_eq!(load(&server, &place).await.unwrap(), Loaded::AlreadyThere);

    for (change, undo, root) in [
        (
            "UPDATE roll.voter SET identity = 'z' WHERE identity = 'a'",
            "UPDATE roll.voter SET identity = 'a' WHERE identity = 'z'",
            true,
        ),
        (
            "UPDATE roll.voter SET code_hmac = set_byte(code_hmac, 3, get_byte(code_hmac, 3) # 1) WHERE identity = 'a'",
            "UPDATE roll.voter SET code_hmac = set_byte(code_hmac, 3, get_byte(code_hmac, 3) # 1) WHERE identity = 'a'",
            false,
        ),
        (
            "UPDATE roll.voter SET code_seal = set_byte(code_seal, 3, get_byte(code_seal, 3) # 1) WHERE identity = 'a'",
            "UPDATE roll.voter SET code_seal = set_byte(code_seal, 3, get_byte(code_seal, 3) # 1) WHERE identity = 'a'",
            false,
        ),
        (
            "UPDATE roll.roll_tile SET path = path || 'x'",
            "UPDATE roll.roll_tile SET path = left(path, -1)",
            false,
        ),
    ] {
        server.psql("postgres", change);
        let opened = Database::open_postgres(&location(&server), &place.election, 0).await;
        match opened {
            Err(DatabaseError::OtherRoll(_)) if root => {}
            Err(DatabaseError::Damaged(_)) if !root => {}
            Err(error) => panic!("{change}: {error}"),
            Ok(_) => panic!("{change}: not found"),
        }
        // Loading says so too, and repairs nothing behind anybody's back.
        assert!(load(&server, &place).await.is_err());
        server.psql("postgres", undo);
        Database::open_postgres(&location(&server), &place.election, 0)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_leaves_nothing_behind() {
    let place = Place::new(&["a", "b", "c"], 1).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.files(0).database);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("UPDATE voter SET code_hmac = zeroblob(32) WHERE roll_index = 1")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let server = Server::start();
    assert!(matches!(
        load(&server, &place).await,
        Err(DatabaseError::Damaged(_))
    ));
    assert_eq!(
        server.psql("postgres", "SELECT to_regnamespace('roll')"),
        ""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_is_cut_off_leaves_nothing_behind() {
    let place = Place::new(&["a", "b", "c"], 1).await;
    let server = Arc::new(Server::start());
    load(&server, &place).await.unwrap();
    server.psql("postgres", "TRUNCATE roll.meta, roll.voter, roll.roll_tile");
    // It waits before its last statement, with everything else written.
    let mut hold = location(&server).connect("test").await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE roll_tile IN SHARE MODE")
        .execute(&mut hold)
        .await
        .unwrap();
    let loading = {
        let (server, backup, election) = (
            Arc::clone(&server),
            place.files(0).database,
            place.election.clone(),
        );
        tokio::spawn(async move {
            Database::load_into_postgres(&backup, &location(&server), &election, 0).await
        })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tallyroot roll load' AND wait_event_type = 'Lock'";
    crate::common::until(|| server.psql("postgres", waits) == "1").await;
    server.psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tallyroot roll load'");
    assert!(loading.await.unwrap().is_err());
    sqlx::raw_sql("COMMIT").execute(&mut hold).await.unwrap();
    assert_eq!(
        server.psql("postgres", "SELECT count(*) FROM roll.voter"),
        "0"
    );
    assert_eq!(load(&server, &place).await.unwrap(), Loaded::Filled);
}

/// Every way in which a row that is found by one voter's code may say that it is another's.
fn moved(code: &str, none: &str, mine: u64, other: u64) -> [Vec<String>; 3] {
    [
        // Her code at the other's place.
        vec![
            format!("UPDATE voter SET code_hmac = {none} WHERE roll_index = {mine}"),
            format!("UPDATE voter SET code_hmac = {code} WHERE roll_index = {other}"),
        ],
        // The other's place for her code.
        vec![
            format!("DELETE FROM voter WHERE roll_index = {other}"),
            format!("UPDATE voter SET roll_index = {other} WHERE code_hmac = {code}"),
        ],
        // The other's name for her code; that it stands there twice, the index keeps nobody from who may drop it.
        vec![
            "DROP INDEX voter_by_identity".to_owned(),
            format!(
                "UPDATE voter SET (identity, salt) = (SELECT identity, salt FROM voter WHERE roll_index = {other}) WHERE code_hmac = {code}"
            ),
        ],
    ]
}

/// Who may write the database, but has no code key, cannot vote in another's name: not even after the roll was opened, when nobody looks at the whole of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_moved_to_another_voter_opens_nothing() {
    for case in 0..3 {
        for postgres in [true, false] {
            let place = Place::new(&["a", "b", "c"], 1).await;
            let codes = place.codes(0);
            let key = CodeKey::from_file(&place.files(0).code_key).unwrap();
            let digest = key.digest(&place.election.id(), &Code::parse(&codes["a"]).unwrap());
            let hex: String = digest.0.iter().map(|byte| format!("{byte:02x}")).collect();
            let (mine, other) = (place.roll_index("a"), place.roll_index("b"));
            let server = postgres.then(Server::start);
            let options = Options {
                postgres: server.as_ref().map(location),
                ..Options::default()
            };
            let served = Served::start(&place, 0, options).await;
            if let Some(server) = &server {
                let code = format!("decode('{hex}', 'hex')");
                let none = "decode(repeat('00', 32), 'hex')";
                for sql in &moved(&code, none, mine, other)[case] {
                    server.psql("postgres", &format!("SET search_path = roll; {sql}"));
                }
            } else {
                let file = place.files(0).database;
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
                let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
                for sql in &moved(&format!("x'{hex}'"), "zeroblob(32)", mine, other)[case] {
                    let sql = sqlx::AssertSqlSafe(sql.clone());
                    sqlx::query(sql).execute(&pool).await.unwrap();
                }
                pool.close().await;
            }
            let blinded = place.blinded(0, 1);
            let (status, answer) = served.ask(&codes["a"], blinded.message()).await;
            assert_eq!(status, 503, "{case} {postgres}: {answer}");
            if !postgres {
                assert!(place.issued(0).is_empty());
            }
            // Nobody else is in the way.
            let (status, answer) = served.ask(&codes["c"], blinded.message()).await;
            assert_eq!(status, 200, "{case} {postgres}: {answer}");
            served.stop().await;
        }
    }
}

/// The whole server is gone: the roll comes from its backup, and who was issued a credential from what is published.
#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_whose_server_is_lost_issues_nothing_twice() {
    let place = Place::new(&["a", "b", "c"], 1).await;
    let codes = place.codes(0);
    let at = |server: &Server| Options {
        postgres: Some(location(server)),
        ..Options::default()
    };
    let lost = Server::start();
    let served = Served::start(&place, 0, at(&lost)).await;
    let blinded = place.blinded(0, 1);
    let (status, first) = served.ask(&codes["b"], blinded.message()).await;
    assert_eq!(status, 200, "{first}");
    place.check_answer(0, "b", &blinded, &first);
    served.stop().await;
    drop(lost);

    let fresh = Server::start();
    let served = Served::start(&place, 0, at(&fresh)).await;
    let other = place.blinded(0, 2);
    assert_eq!(
        code(&served.ask(&codes["b"], other.message()).await),
        (409, "other-message")
    );
    let (status, again) = served.ask(&codes["b"], blinded.message()).await;
    assert_eq!(status, 200);
    assert_eq!(again["blind_signature"], first["blind_signature"]);
    assert_eq!(again["issuance"]["index"], first["issuance"]["index"]);
    let (status, _) = served.ask(&codes["c"], other.message()).await;
    assert_eq!(status, 200);
    assert_eq!(place.issued(0).len(), 2);
    served.stop().await;
}
