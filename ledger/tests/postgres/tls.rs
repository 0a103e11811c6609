//! `sslmode=verify-full`: whoever is not the server is not talked to.

use ledger::postgres::Location;
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use throwaway_postgres::{Server, Setup};

use super::contains;

struct Ca {
    key: PKey<Private>,
    certificate: X509,
}

fn builder(name: &str, key: &PKey<Private>) -> X509Builder {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(2).unwrap())
        .unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

fn key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

impl Ca {
    fn new() -> Self {
        let key = key();
        let mut builder = builder("test CA", &key);
        let ca = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(ca).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            key,
            certificate: builder.build(),
        }
    }

    /// A server whose certificate is for this host name.
    fn server(&self, host: &str) -> Server {
        let key = key();
        let mut builder = builder(host, &key);
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        let names = SubjectAlternativeName::new()
            .dns(host)
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Setup::new()
            .set("ssl", "on")
            .hba("hostssl all all 127.0.0.1/32 trust\n")
            .file("server.crt", &builder.build().to_pem().unwrap())
            .file("server.key", &key.private_key_to_pem_pkcs8().unwrap())
            .start()
    }

    /// Opens a session with a server that should be called `localhost`, trusting this CA.
    async fn connect(&self, server: &Server) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), self.certificate.to_pem().unwrap()).unwrap();
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
        let version: String = sqlx::query_scalar(
            "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        Ok(version)
    }
}

#[tokio::test]
async fn only_the_right_server_is_talked_to() {
    let ca = Ca::new();
    let right = ca.server("localhost");
    let version = ca.connect(&right).await.unwrap();
    assert!(version.starts_with("TLSv1.3"), "{version}");

    let error = Ca::new().connect(&right).await.unwrap_err();
    contains(&error, &["certificate", "the CA of sslrootcert"]);

    let other = ca.server("db.example");
    let error = ca.connect(&other).await.unwrap_err();
    contains(&error, &["exactly this host name"]);

    let plain = Server::start();
    let error = ca.connect(&plain).await.unwrap_err();
    contains(
        &error,
        &["does not support TLS", "see whether the server has TLS on"],
    );
}
