//! Many issuances at once, and where their time goes. Nothing is timed here, only shown: `cargo test -p registrar --test suite load -- --nocapture`; `ISSUANCES=80000` for more.

use std::time::Instant;

use crate::common::{Options, Place, Served};
use futures::StreamExt as _;
use ledger::postgres::Location;
use registrar::code::{Code, CodeKey};
use registrar::database::Database;
use registrar::rsa::BlindSigner;

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Shows the CPU that one of `count` calls takes.
async fn shown<T>(what: &str, count: usize, work: impl Future<Output = T>) -> T {
    let (began, used) = (Instant::now(), cpu());
    let done = work.await;
    let each = |seconds: f64| seconds / count as f64 * 1_000_000.0;
    println!(
        "{what}: {:.0} µs of CPU each, {:.0} µs of time",
        each(cpu() - used),
        each(began.elapsed().as_secs_f64())
    );
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_issuances_through_sqlite() {
    many_issuances("SQLite", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_issuances_through_postgres() {
    let server = throwaway_postgres::Server::start();
    let location = Location::parse(&server.url("postgres"), "roll").unwrap();
    many_issuances("Postgres", Some(location)).await;
}

async fn many_issuances(on: &str, postgres: Option<Location>) {
    let count: usize = std::env::var("ISSUANCES")
        .ok()
        .map_or(3_000, |text| text.parse().unwrap());
    let voters: Vec<String> = (0..count).map(|v| format!("voter {v:07}")).collect();
    let voters: Vec<&str> = voters.iter().map(String::as_str).collect();
    let place = Place::new(&voters, 1).await;
    let codes: Vec<String> = place.codes(0).into_values().collect();
    let served = Served::start(
        &place,
        0,
        Options {
            postgres: postgres.clone(),
            ..Options::default()
        },
    )
    .await;
    // Any number below the modulus will do: the registrar cannot tell.
    let key = place.election.registrar_keys()[0].clone();
    let blinded: Vec<Vec<u8>> = (0..count)
        .map(|_| {
            let mut message = vec![0; key.signature_len()];
            rand::fill(&mut message[1..]);
            message
        })
        .collect();
    let all = futures::stream::iter(codes.iter().zip(&blinded))
        .map(|(code, blinded)| served.ask(code, blinded))
        .buffer_unordered(64)
        .for_each(async |(status, answer)| assert_eq!(status, 200, "{answer}"));
    shown(&format!("{on}: an issuance, with its client"), count, all).await;
    served.stop().await;

    let files = place.files(0);
    let database = match &postgres {
        None => Database::open(&files.database, &place.election, 0).await,
        Some(location) => Database::open_postgres(location, &place.election, 0).await,
    };
    let (database, of_codes) = (
        database.unwrap(),
        CodeKey::from_file(&files.code_key).unwrap(),
    );
    let mut indices = Vec::new();
    let found = async {
        for code in &codes {
            let code = Code::parse(code).unwrap();
            let voter = database.voter_of(&of_codes, &code).await.unwrap();
            indices.push(voter.unwrap().roll_index);
        }
    };
    shown(&format!("{on}: whose code it is"), count, found).await;
    let proofs = async {
        for index in &indices {
            database.roll_proof(*index).await.unwrap();
        }
    };
    shown(&format!("{on}: the place on the roll"), count, proofs).await;
    let rsa = BlindSigner::from_file(&files.rsa_key).unwrap();
    let signed = async {
        for message in &blinded {
            rsa.blind_sign(message).unwrap();
        }
    };
    shown("the blind signature", count, signed).await;
}
