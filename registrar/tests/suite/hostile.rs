//! What strangers send to a registrar, and what an operator configures wrongly.

use crate::common::{Options, Place, Served, code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use registrar::code::CodeKey;
use registrar::database::{Database, DatabaseError};
use registrar::roll::SealedRoll;
use registrar::rsa::{BlindSigner, BlindSignerError};
use registrar::{CreateError, RegistrarFiles, create};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_none() {
    let place = Place::new(&["a", "b"], 1).await;
    let codes = place.codes(0);
    let served = Served::start(&place, 0, Options::default()).await;
    let good = place.blinded(0, 1).message().to_vec();
    let (code_a, message) = (&codes["a"], STANDARD.encode(&good));
    let n = place.election.registrar_keys()[0].modulus().to_vec();
    let mut n_minus_1 = n.clone();
    *n_minus_1.last_mut().unwrap() -= 1;
    let ask =
        |blinded: &[u8]| json!({"blinded": STANDARD.encode(blinded), "code": code_a}).to_string();
    let bodies = [
        ("empty", String::new()),
        ("not JSON", "x".into()),
        ("truncated", ask(&good)[..200].to_owned()),
        ("trailing", format!("{}]", ask(&good))),
        ("array", json!([message, code_a]).to_string()),
        (
            "duplicate code",
            format!(r#"{{"blinded":"{message}","code":"","code":"{code_a}"}}"#),
        ),
        (
            "unknown member",
            json!({"blinded": message, "code": code_a, "name": "a"}).to_string(),
        ),
        ("no code", json!({"blinded": message}).to_string()),
        ("number", json!({"blinded": message, "code": 7}).to_string()),
        (
            "base64url",
            json!({"blinded": message.replace('+', "-").replace('/', "_") + "_", "code": code_a})
                .to_string(),
        ),
        ("short", ask(&good[1..])),
        ("long", ask(&[&[0], &good[..]].concat())),
        ("zero", ask(&vec![0; good.len()])),
        (
            "one",
            ask(&{
                let mut one = vec![0; good.len()];
                one[good.len() - 1] = 1;
                one
            }),
        ),
        ("n - 1", ask(&n_minus_1)),
        ("n", ask(&n)),
        ("above n", ask(&vec![0xff; good.len()])),
        ("empty message", ask(&[])),
    ];
    for (what, body) in bodies {
        assert_eq!(code(&served.post(body).await), (400, "malformed"), "{what}");
    }
    let oversized = json!({"blinded": message, "code": "x".repeat(2000)}).to_string();
    assert_eq!(code(&served.post(oversized).await), (413, "too-large"));
    for typed in [
        "",
        "x",
        "U".repeat(20).as_str(),
        format!("{code_a}0").as_str(),
        &code_a[..22],
    ] {
        assert_eq!(
            code(&served.ask(typed, &good).await),
            (401, "unknown-code"),
            "{typed}"
        );
    }
    for path in [
        "/registrars/1/credentials",
        "/registrars/00/credentials",
        "/registrars/0/credentials/",
    ] {
        let url = format!(
            "http://{}/elections/{}{path}",
            served.address,
            place.election.id()
        );
        let answer = served
            .client
            .post(url)
            .body(ask(&good))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    assert!(place.issued(0).is_empty());
    // And nothing of it has done any harm.
    assert_eq!(served.ask(code_a, &good).await.0, 200);
    served.stop().await;
}

#[tokio::test]
async fn what_belongs_elsewhere_is_refused_at_start() {
    let place = Place::new(&["a", "b", "c"], 2).await;
    let other = Place::new(&["a", "b", "c"], 1).await;
    let files = place.files(0);
    assert!(matches!(
        Database::open(&files.database, &place.election, 1).await,
        Err(DatabaseError::Other(_))
    ));
    assert!(matches!(
        Database::open(&files.database, &other.election, 0).await,
        Err(DatabaseError::Other(_))
    ));
    let rsa = BlindSigner::from_file(&files.rsa_key).unwrap();
    assert!(matches!(
        rsa.check_is(&place.election.registrar_keys()[1]),
        Err(BlindSignerError::OtherKey)
    ));

    // Nothing that exists is replaced.
    assert!(matches!(
        create(&files, &place.election, 0, &place.roll).await,
        Err(CreateError::File(_))
    ));
    let folder = tempfile::tempdir().unwrap();
    let fresh = RegistrarFiles::in_folder(folder.path());
    let roll = SealedRoll::seal(vec!["a".into(), "b".into(), "c".into()]);
    assert!(matches!(
        create(&fresh, &place.election, 0, &roll).await,
        Err(CreateError::OtherRoll)
    ));
    assert!(matches!(
        create(&fresh, &place.election, 2, &place.roll).await,
        Err(CreateError::NoSuchRegistrar(2))
    ));
}

#[tokio::test]
async fn a_changed_roll_is_found_at_start() {
    for change in [
        "UPDATE voter SET identity = 'z' WHERE roll_index = 1",
        "UPDATE voter SET salt = zeroblob(32) WHERE roll_index = 0",
        "DELETE FROM voter WHERE roll_index = 2",
        "INSERT INTO voter SELECT 3, 'invented', salt, zeroblob(32), code_seal FROM voter WHERE roll_index = 0",
    ] {
        let place = Place::new(&["a", "b", "c"], 1).await;
        let path = place.files(0).database;
        Database::open(&path, &place.election, 0).await.unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query(change).execute(&pool).await.unwrap();
        pool.close().await;
        assert!(
            matches!(
                Database::open(&path, &place.election, 0).await,
                Err(DatabaseError::OtherRoll(_))
            ),
            "{change}"
        );
    }
}

/// What the roll's root does not cover: a lost bit there would turn a voter away, or leave her without a proof.
#[tokio::test]
async fn a_changed_code_or_tree_is_found_at_start() {
    for change in [
        "UPDATE voter SET code_hmac = zeroblob(32) WHERE roll_index = 1",
        "UPDATE voter SET code_seal = zeroblob(32) WHERE roll_index = 1",
        "UPDATE roll_tile SET bytes = zeroblob(length(bytes))",
        "INSERT INTO roll_tile VALUES ('tile/7/000', x'00')",
        "DELETE FROM roll_tile",
        "UPDATE meta SET digest = zeroblob(32)",
    ] {
        let place = Place::new(&["a", "b", "c"], 1).await;
        let path = place.files(0).database;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query(change).execute(&pool).await.unwrap();
        pool.close().await;
        assert!(
            matches!(
                Database::open(&path, &place.election, 0).await,
                Err(DatabaseError::Damaged(_))
            ),
            "{change}"
        );
    }
}

/// What the registrar's disk tells a thief: no code, and nothing that codes could be guessed against without the key file.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_holds_no_code_and_does_not_change() {
    let place = Place::new(&["a", "b", "c"], 1).await;
    let codes = place.codes(0);
    let before = std::fs::read(place.files(0).database).unwrap();
    let served = Served::start(&place, 0, Options::default()).await;
    let blinded = place.blinded(0, 1);
    assert_eq!(served.ask(&codes["a"], blinded.message()).await.0, 200);
    served.stop().await;
    let after = std::fs::read(place.files(0).database).unwrap();
    // Who asked, and when, leaves no trace here.
    assert_eq!(before, after);
    let key = CodeKey::from_file(&place.files(0).code_key).unwrap();
    for typed in codes.values() {
        let plain = typed.replace('-', "");
        for needle in [
            typed.as_bytes(),
            plain.as_bytes(),
            &openssl::sha::sha256(plain.as_bytes()),
        ] {
            assert!(!after.windows(needle.len()).any(|bytes| bytes == needle));
        }
        // The digest under the key is there: the search itself works.
        let code = registrar::code::Code::parse(typed).unwrap();
        let digest = key.digest(&place.election.id(), &code).0;
        assert!(after.windows(32).any(|bytes| bytes == digest));
    }
    use std::os::unix::fs::PermissionsExt as _;
    let files = place.files(0);
    for path in [
        files.database,
        files.code_key,
        files.code_sheet,
        files.rsa_key,
    ] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

/// A roll whose tree has several tiles and levels.
#[tokio::test]
async fn every_voter_of_a_larger_roll_has_a_proof() {
    let voters: Vec<String> = (0..700).map(|i| format!("voter {i}")).collect();
    let names: Vec<&str> = voters.iter().map(String::as_str).collect();
    let place = Place::new(&names, 1).await;
    let database = Database::open(&place.files(0).database, &place.election, 0)
        .await
        .unwrap();
    let root = protocol::merkle::Hash(place.election.manifest().roll.root);
    for (index, entry) in (0u64..).zip(place.roll.entries()) {
        let proof = database.roll_proof(index).await.unwrap();
        protocol::merkle::verify_inclusion(&entry.leaf_hash(), index, 700, &proof, &root).unwrap();
    }
    let sheet = std::fs::read_to_string(place.files(0).code_sheet).unwrap();
    let order: Vec<&str> = sheet
        .lines()
        .skip(1)
        .map(|line| line.split_once(',').unwrap().0)
        .collect();
    assert!(
        order.is_sorted(),
        "the sheet's order says nothing about roll indices"
    );
    assert_eq!(order.len(), 700);
}
