//! The order of sign-in and the order of the votes: no closer than chance.

use std::collections::HashMap;
use std::path::Path;

use protocol::entry::Entry;
use protocol::ids::LogId;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use tests::demo::Demo;
use tests::folder;
use tests::published::{Published, recorded};

/// Between two lists of ranks, as a number of standard deviations of a random shuffle: rho * sqrt(n - 1).
#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
fn spearman(mut pairs: Vec<(u64, u64)>) -> f64 {
    pairs.sort_unstable();
    let mut by_second: Vec<(u64, usize)> = pairs
        .iter()
        .enumerate()
        .map(|(first_rank, (_, second))| (*second, first_rank))
        .collect();
    by_second.sort_unstable();
    let n = pairs.len() as f64;
    let squares: f64 = by_second
        .iter()
        .enumerate()
        .map(|(second_rank, (_, first_rank))| (second_rank as f64 - *first_rank as f64).powi(2))
        .sum();
    let rho = 1.0 - 6.0 * squares / (n * (n * n - 1.0));
    rho * (n - 1.0).sqrt()
}

/// The roll index of each played voter, which only a registrar knows.
async fn roll_indices(data: &Path, registrar: usize) -> HashMap<u64, u32> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(data.join(format!("registrars/{registrar}/registrar.sqlite")))
        .read_only(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let rows = sqlx::query("SELECT roll_index, identity FROM voter")
        .fetch_all(&mut database)
        .await
        .unwrap();
    database.close().await.unwrap();
    rows.iter()
        .map(|row| {
            let (index, identity): (i64, String) = (row.get(0), row.get(1));
            let voter = identity.strip_prefix("voter ").unwrap().parse().unwrap();
            (u64::try_from(index).unwrap(), voter)
        })
        .collect()
}

/// For each registrar and cell, how far issuance order and leaf order are from unrelated.
async fn statistics(data: &Path) -> Vec<f64> {
    let published = Published::of(data);
    let election = &published.election;
    let mut statistics = Vec::new();
    for registrar in 0..election.registrar_keys().len() {
        let of_roll = roll_indices(data, registrar).await;
        let log = LogId::Issuance {
            registrar: u16::try_from(registrar).unwrap(),
            shard: 0,
        };
        let issued: HashMap<u32, u64> = (0u64..)
            .zip(published.batches(log).concat())
            .filter_map(|(index, entry)| match entry {
                Entry::Issuance(issuance) => Some((of_roll[&issuance.roll_index], index)),
                _ => None,
            })
            .collect();
        for cell in 0..election.cells() {
            let pairs: Vec<(u64, u64)> = recorded(data)
                .iter()
                .filter(|vote| vote.cell == cell)
                .map(|vote| (issued[&vote.voter], vote.index))
                .collect();
            assert!(pairs.len() > 1_000, "{} votes in cell {cell}", pairs.len());
            statistics.push(spearman(pairs));
        }
    }
    statistics
}

async fn held(shuffled: bool) -> Vec<f64> {
    let folder = folder();
    // More than cast at the same time: else chance alone decides who is in which batch.
    let mut demo = Demo::new(&folder.path().join("election"), 2_400, 2, 1);
    if !shuffled {
        demo.options.push("--no-shuffle".to_owned());
    }
    let said = {
        let demo = demo.clone();
        tokio::task::spawn_blocking(move || demo.run_to_the_end())
            .await
            .unwrap()
    };
    assert_eq!(said.code, 0, "{}", said.stderr);
    statistics(&demo.data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn issuance_order_and_leaf_order_are_related_no_closer_than_by_chance() {
    let (shuffled, unshuffled) = tokio::join!(held(true), held(false));
    eprintln!("shuffled: {shuffled:.1?}; not shuffled: {unshuffled:.1?}");
    // Each exceeds this once in 150,000 elections.
    assert!(shuffled.iter().all(|z| z.abs() < 4.5), "{shuffled:?}");
    // Without the shuffle it is far outside: so it would be noticed.
    assert!(unshuffled.iter().all(|z| z.abs() > 9.0), "{unshuffled:?}");
}

#[test]
fn the_statistic_knows_order_and_disorder() {
    let same: Vec<(u64, u64)> = (0..401).map(|i| (i, 1_000 + 3 * i)).collect();
    assert!((spearman(same.clone()) - 20.0).abs() < 1e-9);
    let reversed: Vec<(u64, u64)> = same.iter().map(|(i, j)| (*i, 10_000 - j)).collect();
    assert!((spearman(reversed) + 20.0).abs() < 1e-9);
    // SciPy: spearmanr([1, 2, 3, 4, 5], [5, 6, 7, 8, 7.5]).statistic = 0.9
    let some = vec![(1, 50), (2, 60), (3, 70), (4, 80), (5, 75)];
    assert!((spearman(some) - 0.9 * 2.0).abs() < 1e-9);
}
