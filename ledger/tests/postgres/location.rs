use ledger::postgres::{Location, LocationError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

fn url(text: &str) -> Result<Location, LocationError> {
    Location::parse(text, "log")
}

#[test]
fn a_server_on_another_machine_needs_a_protected_connection() {
    for unprotected in [
        "postgres://me@db.example/votes",
        "postgres://me@db.example/votes?sslmode=require&sslrootcert=/ca.pem",
        "postgres://me@db.example/votes?sslmode=verify-ca&sslrootcert=/ca.pem",
        "postgres://me@db.example/votes?sslmode=verify-full",
        "postgres://me@127.0.0.1/votes?host=db.example",
        "postgres://me@10.0.0.1/votes",
        "postgres://me@127.0.0.1.example/votes",
    ] {
        let error = url(unprotected).unwrap_err();
        assert!(
            matches!(error, LocationError::Unprotected(_)),
            "{unprotected}"
        );
        super::contains(&error.to_string(), &["sslmode=verify-full", "sslrootcert"]);
    }
    for fine in [
        "postgres://me@db.example/votes?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgres://me@127.0.0.1:7000/votes",
        "postgresql://me@localhost/votes",
        "postgres://me@[::1]/votes",
        "postgres://me@127.8.0.1/votes",
        "postgres:///votes?host=/run/postgresql&user=me",
    ] {
        url(fine).unwrap();
    }
}

#[test]
fn what_a_url_may_not_say_is_refused() {
    for wrong in [
        "mysql://me@127.0.0.1/votes",
        "127.0.0.1",
        "",
        "postgres://me@127.0.0.1:99999/votes",
        "postgres://me@127.0.0.1/votes?ssl-mode=disable",
        "postgres://me@127.0.0.1/votes?options=-c%20fsync=off",
        "postgres://me@127.0.0.1/votes?options[search_path]=public",
        "postgres://me@127.0.0.1/votes?sslmode=verify-most",
        "postgres://me@127.0.0.1/votes?%73slmode=disable",
    ] {
        assert!(matches!(url(wrong), Err(LocationError::Url(_))), "{wrong}");
    }
}

#[test]
fn a_schema_has_a_plain_name() {
    for name in ["log", "_", "cells_0", "user"] {
        assert_eq!(
            Location::parse("postgres://me@127.0.0.1/votes", name)
                .unwrap()
                .schema(),
            name
        );
    }
    for name in [
        "",
        "Log",
        "0log",
        "a-b",
        "a\"b",
        "a,b",
        "$user",
        "pg_log",
        "ä",
        &"a".repeat(64),
    ] {
        assert!(
            matches!(
                Location::parse("postgres://me@127.0.0.1/votes", name),
                Err(LocationError::Schema(_))
            ),
            "{name}"
        );
    }
}

#[test]
fn no_password_is_ever_shown() {
    let secret = "hunter2";
    let location = url(&format!("postgres://me:{secret}@127.0.0.1/votes")).unwrap();
    let other = location
        .clone()
        .with_password(&Zeroizing::new(secret.to_owned()));
    for shown in [
        format!("{location} {location:?} {location:#?}"),
        format!("{other} {other:?}"),
        format!(
            "{:?}",
            url(&format!("postgres://me:{secret}@db.example/votes"))
        ),
        format!(
            "{:?}",
            url(&format!("postgres://me@127.0.0.1/votes?sslmode={secret}"))
        ),
        format!(
            "{:?}",
            url(&format!("postgres://me:{secret}@127.0.0.1:x/votes"))
        ),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(location.to_string(), "me@127.0.0.1:5432/votes schema log");
}

#[tokio::test]
async fn the_password_counts_and_a_wrong_one_is_said_in_words() {
    let server = throwaway_postgres::Setup::new()
        .hba("host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        .start();
    server.psql("postgres", "CREATE ROLE cell LOGIN PASSWORD 'right'");
    let at = |password: &str| {
        Location::parse(&server.url_as("cell", "", "postgres"), "log")
            .unwrap()
            .with_password(&Zeroizing::new(password.to_owned()))
    };
    at("right").connect("test").await.unwrap();
    let error = at("wrong").connect("test").await.unwrap_err().to_string();
    super::contains(
        &error,
        &["cell@127.0.0.1", "check the role and its password"],
    );
    assert!(!error.contains("wrong"), "{error}");
    let gone = Location::parse("postgres://me@127.0.0.1:1/votes", "log").unwrap();
    let error = gone.connect("test").await.unwrap_err().to_string();
    super::contains(&error, &["see whether the server runs"]);
    let nowhere = Location::parse(&server.url("nowhere"), "log").unwrap();
    let error = nowhere.connect("test").await.unwrap_err().to_string();
    super::contains(&error, &["CREATE DATABASE"]);
}

#[tokio::test]
async fn a_session_is_rid_of_whatever_hangs_and_lives_in_its_schema_alone() {
    let server = throwaway_postgres::Server::start();
    server.psql(
        "postgres",
        "ALTER ROLE postgres SET idle_session_timeout = '10min'",
    );
    let mut connection = super::location(&server).connect("test").await.unwrap();
    for (setting, value) in [
        ("search_path", "log"),
        ("statement_timeout", "15s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "10s"),
        ("idle_session_timeout", "0"),
        ("tcp_user_timeout", "10000"),
        ("tcp_keepalives_idle", "5"),
        ("application_name", "tallyroot test"),
    ] {
        let is: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(setting)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(is, value, "{setting}");
    }
}

/// A proxy that forgets what a session is started with, as a pooling one does that is told to ignore it.
async fn forgetful_proxy(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            // length u32 ‖ version u32 ‖ (name NUL value NUL)* ‖ NUL
            let len = client.read_u32().await.unwrap();
            let mut start = vec![0; usize::try_from(len).unwrap() - 4];
            client.read_exact(&mut start).await.unwrap();
            let parts: Vec<&[u8]> = start[4..].split(|byte| *byte == 0).collect();
            let mut kept = start[..4].to_vec();
            for pair in parts.chunks(2) {
                if pair.len() == 2 && !pair[0].is_empty() && pair[0] != b"options" {
                    kept.extend([pair[0], b"\0", pair[1], b"\0"].concat());
                }
            }
            kept.push(0);
            server
                .write_u32(u32::try_from(kept.len()).unwrap() + 4)
                .await
                .unwrap();
            server.write_all(&kept).await.unwrap();
            tokio::spawn(
                async move { tokio::io::copy_bidirectional(&mut client, &mut server).await },
            );
        }
    });
    port
}

#[tokio::test]
async fn a_proxy_that_drops_the_sessions_settings_is_refused() {
    let server = throwaway_postgres::Server::start();
    let port = forgetful_proxy(server.port()).await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let error = Location::parse(&url, "log")
        .unwrap()
        .connect("test")
        .await
        .unwrap_err();
    super::contains(
        &error.to_string(),
        &["pooling proxy", "the address of the server itself"],
    );
}
