//! `sslmode=verify-full`: whoever is not the server is not talked to.

use ledger::postgres::Location;
use throwaway_certificates::Authority;
use throwaway_postgres::{Server, Setup};

use super::contains;

/// A server with a certificate of this authority, for this host name.
fn server(ca: &Authority, host: &str) -> Server {
    let issued = ca.issue(host);
    Setup::new()
        .set("ssl", "on")
        .hba("hostssl all all 127.0.0.1/32 trust\n")
        .file("server.crt", &issued.certificate)
        .file("server.key", &issued.key)
        .start()
}

/// Opens a session with a server that should be called `localhost`, trusting this authority.
async fn connect(ca: &Authority, server: &Server) -> Result<String, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca.pem()).unwrap();
    let url = format!(
        "postgres://postgres@localhost:{}/postgres?sslmode=verify-full&sslrootcert={}",
        server.port(),
        file.path().display()
    );
    let location = Location::parse(&url, "log").unwrap();
    let mut connection = location
        .connect("test")
        .await
        .map_err(|error| error.to_string())?;
    let version: String =
        sqlx::query_scalar("SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    Ok(version)
}

#[tokio::test]
async fn only_the_right_server_is_talked_to() {
    let ca = Authority::new("test CA");
    let right = server(&ca, "localhost");
    let version = connect(&ca, &right).await.unwrap();
    assert!(version.starts_with("TLSv1.3"), "{version}");

    let error = connect(&Authority::new("test CA"), &right)
        .await
        .unwrap_err();
    contains(&error, &["certificate", "the CA of sslrootcert"]);

    let other = server(&ca, "db.example");
    let error = connect(&ca, &other).await.unwrap_err();
    contains(&error, &["exactly this host name"]);

    let plain = Server::start();
    let error = connect(&ca, &plain).await.unwrap_err();
    contains(
        &error,
        &["does not support TLS", "see whether the server has TLS on"],
    );
}
