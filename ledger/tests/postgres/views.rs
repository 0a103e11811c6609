//! The views say what our own decoder says.

use ledger::Store;
use ledger::batch::Batch;
use ledger::store::TakeOver;
use protocol::entry::{Close, ContestTotals, Entry, Tally, TallyTotals};
use throwaway_postgres::Server;

use super::{ANNA, single};

fn tally(batch: u64, votes: u64) -> Vec<u8> {
    let contests = vec![
        ContestTotals {
            blanks: 1,
            counts: vec![votes, 0, 1 << 40],
        },
        ContestTotals {
            blanks: 0,
            counts: vec![7],
        },
    ];
    let totals = TallyTotals {
        votes,
        abstentions: 2,
        contests,
    };
    Entry::Tally(Tally {
        batch,
        time: 1_700_000_000_250,
        totals,
    })
    .encode()
}

fn vote(length: usize, fill: u8) -> Vec<u8> {
    let mut entry = vec![fill; length];
    entry[0] = 2;
    entry
}

#[tokio::test]
async fn the_views_decode_what_was_written() {
    let server = Server::start();
    let store = single(&server).await;
    let ask = |sql: &str| server.psql("postgres", &format!("SET search_path = log; {sql}"));
    assert_eq!(ask("SELECT size, batches, closed FROM state"), "0|0|f");
    for view in ["batches", "put_aside", "votes", "results"] {
        assert_eq!(ask(&format!("SELECT count(*) FROM {view}")), "0", "{view}");
    }

    let mut head = store.take_over(ANNA, TakeOver::FromAnybody).await.unwrap();
    let mut range = protocol::merkle::CompactRange::new();
    let many: Vec<Vec<u8>> = (0..3_000_u16)
        .map(|i| vote(1 + usize::from(i % 900), i.to_be_bytes()[1]))
        .collect();
    let batches: Vec<Vec<Vec<u8>>> = vec![
        vec![vec![1; 42]],
        vec![vote(1, 9), vote(65_535, 8), vote(256, 7), tally(1, 3)],
        [many, vec![tally(2, 3_003)]].concat(),
        vec![Entry::Close(Close { time: 5, count: 6 }).encode()],
    ];
    let mut votes = Vec::new();
    for (n, entries) in batches.iter().enumerate() {
        let batch = Batch::build(n as u64, &mut range, entries).unwrap();
        for (index, entry) in (batch.old().size..).zip(batch.entries()) {
            if entry[0] == 2 {
                votes.push(format!("{index}|{n}|{}", openssl_md5(&entry)));
            }
        }
        head = store.append(&head, &batch).await.unwrap();
        let newest = ask(
            "SELECT batch, size, votes, abstentions, counts, extract(epoch FROM time) FROM results",
        );
        match n {
            0 => assert_eq!(newest, ""),
            1 => assert_eq!(
                newest,
                "1|5|3|2|{1,3,0,1099511627776,0,7}|1700000000.250000"
            ),
            // The close ends no tally: the last one stands.
            _ => assert_eq!(
                newest,
                "2|3006|3003|2|{1,3003,0,1099511627776,0,7}|1700000000.250000"
            ),
        }
    }
    assert_eq!(
        ask("SELECT leaf_index, batch, md5(entry) FROM votes ORDER BY leaf_index"),
        votes.join("\n")
    );
    let bytes: Vec<usize> = batches
        .iter()
        .map(|entries| entries.iter().map(|entry| entry.len() + 2).sum())
        .collect();
    let epoch = head.epoch;
    assert_eq!(
        ask("SELECT * FROM batches ORDER BY n"),
        format!(
            "0|{epoch}|0|1|1|{}\n1|{epoch}|1|5|4|{}\n2|{epoch}|5|3006|3001|{}\n3|{epoch}|3006|3007|1|{}",
            bytes[0], bytes[1], bytes[2], bytes[3]
        )
    );
    assert_eq!(
        ask("SELECT election, log, epoch, size, root, batches, closed FROM state"),
        format!(
            "{}|{}|{epoch}|3007|{}|4|t",
            super::common::log().election(),
            super::common::log().origin(),
            hex(head.end.root.as_bytes()),
        )
    );

    // What the head does not count is no part of the log, whoever wrote it.
    let shown = || {
        [
            "closed FROM state",
            "count(*) FROM batches",
            "count(*) FROM votes",
            "batch FROM results",
        ]
        .map(|what| ask(&format!("SELECT {what}")))
    };
    let before = shown();
    ask(
        "INSERT INTO batch SELECT n + 3, epoch, size + 4000, root, body FROM batch WHERE n IN (1, 2)",
    );
    assert_eq!(shown(), before);

    let lost = Batch::build(0, &mut protocol::merkle::CompactRange::new(), &batches[0]).unwrap();
    store.put_aside(&head, 1, lost.new_end()).await.unwrap();
    assert_eq!(
        ask("SELECT n, size, bytes FROM put_aside ORDER BY id LIMIT 1"),
        format!("1|5|{}", bytes[1])
    );
    assert_eq!(ask("SELECT size, batches, closed FROM state"), "1|1|f");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn openssl_md5(bytes: &[u8]) -> String {
    hex(&openssl::hash::hash(openssl::hash::MessageDigest::md5(), bytes).unwrap())
}
