//! Every mistake names its place, what is wrong, and what to do.

mod keys;
mod roles;

use std::path::PathBuf;

use signer::KeySource;
use tempfile::TempDir;

use ledger::store::postgres::{Failover, Standbys};

use super::*;
use crate::election::create;
use crate::election::description::{
    AwsDescription, ContestDescription, Description, Keys, Moment, WitnessDescription,
};
use crate::folder::Folder;

struct Fixture {
    folder: TempDir,
    election: Election,
}

impl Fixture {
    async fn new() -> Self {
        Self::with_witnesses(&[]).await
    }

    async fn with_witnesses(names: &[&str]) -> Self {
        Self::of(names, true, &["local"]).await
    }

    async fn of(names: &[&str], demo: bool, anchors: &[&str]) -> Self {
        let vkey = |name: &&str| {
            let (key, _) = verifier_cli::witness::key::CosigningKey::generate(name).unwrap();
            WitnessDescription {
                vkey: key.vkey().unwrap(),
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let description = Description {
            title: "Test".to_owned(),
            base: "test.tallyroot.example".to_owned(),
            roll: PathBuf::new(),
            registration: Moment(1_000),
            opening: Moment(2_000),
            closing: Moment(3_000),
            grace_s: 60,
            retention: None,
            demo,
            cells: 2,
            registrars: vec!["R".to_owned()],
            shards: 2,
            batch_min: 1,
            batch_wait_ms: 1_000,
            cast_delay_s: 0,
            head_interval_ms: 1_000,
            anchors: anchors.iter().map(ToString::to_string).collect(),
            witnesses: names.iter().map(vkey).collect(),
            quorum: None,
            keys: Keys::default(),
            aws: AwsDescription::default(),
            contests: vec![ContestDescription {
                name: "C".to_owned(),
                method: protocol::manifest::Method::Plurality,
                options: vec!["A".to_owned(), "B".to_owned()],
                tie_rule: protocol::manifest::TieRule::ListedOrder,
            }],
        };
        let out = Folder::at(&folder.path().join("election"));
        let election = create::create(&description, vec!["v".to_owned()], &out, |_| Ok(()))
            .await
            .unwrap();
        std::fs::copy(
            out.published(&election.id()).join("manifest.json"),
            folder.path().join("manifest.json"),
        )
        .unwrap();
        Self { folder, election }
    }

    fn common(&self) -> String {
        format!(
            "manifest = \"manifest.json\"\nelection = \"{}\"\nlisten = \"127.0.0.1:7100\"\nhealth_listen = 7101\n",
            self.election.id()
        )
    }

    fn cell(&self) -> String {
        format!(
            "{}cell = 1\n[published]\ndirectory = \"public\"\n[key]\nmain = \"main.key\"\n[database]\nsqlite = \"log.sqlite\"\n",
            self.common()
        )
    }

    fn load(
        &self,
        role: RoleName,
        text: &str,
        environment: &[(&str, &str)],
    ) -> Result<Config, String> {
        let path = self.folder.path().join("serve.toml");
        std::fs::write(&path, text).unwrap();
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(role, &path, environment).map_err(|error| {
            let place = format!("{}/", self.folder.path().display());
            error.to_string().replace(&place, "")
        })
    }

    fn refused(&self, role: RoleName, text: &str, environment: &[(&str, &str)]) -> String {
        self.load(role, text, environment).unwrap_err()
    }
}

#[tokio::test]
async fn a_cell_is_told_all_that_it_needs() {
    let at = Fixture::new().await;
    let config = at.load(RoleName::Cell, &at.cell(), &[]).unwrap();
    assert_eq!(config.health_listen, "127.0.0.1:7101".parse().unwrap());
    let Role::Cell { cell: 1, log } = &config.role else {
        panic!("{:?}", config.role);
    };
    let file = |name: &str| KeySource::File(at.folder.path().join(name));
    let log_file = at.folder.path().join("log.sqlite");
    assert!(matches!(&log.database, Database::Sqlite(path) if *path == log_file));
    assert_eq!(log.key.main, Some(file("main.key")));
}

#[tokio::test]
async fn the_environment_goes_before_the_file() {
    let at = Fixture::new().await;
    let config = at
        .load(
            RoleName::Cell,
            &at.cell(),
            &[
                ("TALLYROOT_CELL", "0"),
                ("TALLYROOT_LISTEN", "0.0.0.0:80"),
                ("TALLYROOT_KEY_SPARE", "/keys/spare"),
                ("TALLYROOT_TEST_SEED", "of the tests"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
    let Role::Cell { cell: 0, log } = &config.role else {
        panic!("{:?}", config.role);
    };
    assert_eq!(
        log.key.spare,
        Some(KeySource::File(PathBuf::from("/keys/spare")))
    );
    assert_eq!(config.listen, "0.0.0.0:80".parse().unwrap());

    // A whole section, and a value that is no text.
    let text = at
        .cell()
        .replace("[database]\nsqlite = \"log.sqlite\"\n", "");
    let config = at
        .load(
            RoleName::Cell,
            &text,
            &[
                ("TALLYROOT_DATABASE_URL", "postgres://cell@localhost/votes"),
                (
                    "TALLYROOT_DATABASE_DURABILITY",
                    "{ standbys = [\"a\", \"b\"], count = 1, failover = 2 }",
                ),
            ],
        )
        .unwrap();
    let Role::Cell { log, .. } = &config.role else {
        panic!("{:?}", config.role);
    };
    let Database::Postgres(postgres, durability) = &log.database else {
        panic!("{:?}", log.database);
    };
    let wanted = Standbys::new(["a", "b"], 1, Failover::Compares(2)).unwrap();
    assert_eq!(*durability, Durability::Standbys(wanted));
    assert_eq!(
        postgres.location.to_string(),
        "cell@localhost:5432/votes schema cells_1"
    );
}

#[tokio::test]
async fn each_mistake_is_named_with_what_to_do() {
    let at = Fixture::new().await;
    let cell = at.cell();
    let with = |from: &str, to: &str| {
        assert!(cell.contains(from), "{from}");
        cell.replace(from, to)
    };
    let url = |url: &str| {
        with(
            "sqlite = \"log.sqlite\"",
            &format!("url = \"{url}\"\ndurability = \"single-node\""),
        )
    };
    for (text, place, words) in [
        (
            with("cell = 1", "cel = 1"),
            "serve.toml: cell",
            "it is missing: give the cell's index, 0 to 1",
        ),
        (
            format!("lisen = 1\n{cell}"),
            "serve.toml: lisen",
            "did you mean `listen`?",
        ),
        (
            with("main = ", "mian = \"x\"\nmain = "),
            "serve.toml: key.mian",
            "did you mean `main`?",
        ),
        (
            with("sqlite = ", "sqlit = \"x\"\nsqlite = "),
            "serve.toml: database.sqlit",
            "did you mean `sqlite`?",
        ),
        (
            with("cell = 1", "cell = 2"),
            "serve.toml: cell",
            "it is 2: give the cell's index, 0 to 1",
        ),
        (
            with("cell = 1", "cell = \"1\""),
            "serve.toml: cell",
            "it is \"1\": give",
        ),
        (
            with("cell = 1", "cell = -1"),
            "serve.toml: cell",
            "it is -1: give",
        ),
        (
            with("cell = 1", "cell = 1\nregistrar = 0"),
            "serve.toml: registrar",
            "no such key here",
        ),
        (
            with("cell = 1", "cell = 1\nrsa_key = \"rsa.pem\""),
            "serve.toml: rsa_key",
            "no such key here",
        ),
        (
            with("7100", "70000"),
            "serve.toml: listen",
            "give an address",
        ),
        (
            with("health_listen = 7101", "health_listen = 7100"),
            "serve.toml: health_listen",
            "give another port",
        ),
        (
            with("manifest.json", "other.json"),
            "serve.toml: manifest",
            "cannot be read",
        ),
        (
            with("election = \"", "election = \"0"),
            "serve.toml: election",
            "64 hexadecimal digits",
        ),
        (
            with("[key]\nmain = \"main.key\"\n", ""),
            "serve.toml: key.main",
            "it is missing",
        ),
        (
            with("sqlite = \"log.sqlite\"", ""),
            "serve.toml: database.url",
            "neither",
        ),
        (
            with("sqlite =", "url = \"postgres://u@localhost/d\"\nsqlite ="),
            "serve.toml: database.sqlite",
            "remove one",
        ),
        (
            with("sqlite =", "durability = \"single-node\"\nsqlite ="),
            "serve.toml: database.durability",
            "belongs to a Postgres",
        ),
        (
            url("mysql://h/d"),
            "serve.toml: database.url",
            "postgres://role@host",
        ),
        (
            url("postgres://u@far.example/d"),
            "serve.toml: database.url",
            "sslmode=verify-full",
        ),
        (
            url("postgres://u@localhost/d").replace("durability", "schema = \"No\"\ndurability"),
            "serve.toml: database.url",
            "name of a schema",
        ),
        (
            url("postgres://u@localhost/d").replace(
                "\"single-node\"",
                "{ standbys = [\"a\", \"b\"], count = 1 }",
            ),
            "serve.toml: database.durability",
            "names - compares + 1",
        ),
        (
            url("postgres://u@localhost/d")
                .replace("\"single-node\"", "{ standby = [\"a\"], count = 1 }"),
            "serve.toml: database.durability",
            "give",
        ),
        (
            url("postgres://cell:hunter2@h/d"),
            "serve.toml: database.url",
            "password_file",
        ),
        (
            url("postgres://u@localhost/d?password=hunter2"),
            "serve.toml: database.url",
            "password_file",
        ),
        (
            url("postgres://u@localhost/d").replace("durability = \"single-node\"", ""),
            "serve.toml: database.durability",
            "it is missing",
        ),
        (
            url("postgres://u@localhost/d").replace("\"single-node\"", "\"singel-node\""),
            "serve.toml: database.durability",
            "it is \"singel-node\": give",
        ),
        (
            url("postgres://u@localhost/d")
                .replace("\"single-node\"", "{ standbys = [\"a\"], count = 2 }"),
            "serve.toml: database.durability",
            "give",
        ),
        (
            url("postgres://u@localhost/d")
                .replace("\"single-node\"", "{ standbys = [\"a\"], count = 0 }"),
            "serve.toml: database.durability",
            "give",
        ),
        (
            with(
                "[published]\ndirectory",
                "[published]\nserve = true\ndirectory",
            ),
            "serve.toml: published.serve",
            "no such key",
        ),
        (
            with("[published]\ndirectory = \"public\"\n", ""),
            "serve.toml: published.directory",
            "it is missing",
        ),
        (
            format!("{cell}\n[tls]\nkey = \"tls.key\"\n"),
            "serve.toml: tls.certificate",
            "it is missing: give the file of the certificate",
        ),
        (
            format!("{cell}\n[tls]\ncertificate = \"tls.crt\"\nclients = \"ca.pem\"\n"),
            "serve.toml: tls.key",
            "it is missing: give the file of the certificate's private key",
        ),
        (
            format!("{cell}\n[tls]\nclients = \"ca.pem\"\n"),
            "serve.toml: tls.certificate",
            "it is missing",
        ),
        ("a = [".to_owned(), "serve.toml", "not TOML"),
        // No line of the file is shown, and no key that was pasted in its file's place.
        (
            format!("{cell}\n[aws]\nregion = \"postgres://r:hunter2@h/db\n"),
            "serve.toml",
            "not TOML: line 14",
        ),
        (
            cell.replace("\"main.key\"", &format!("\"{}\"", "0c".repeat(32))),
            "serve.toml: key.main",
            "it holds a key, and not the path of its file",
        ),
        (
            cell.replace("\"main.key\"", "\"-----BEGIN PRIVATE KEY-----hunter2\""),
            "serve.toml: key.main",
            "it holds a key, and not the path of its file",
        ),
        (
            format!(
                "{cell}\n[tls]\ncertificate = \"tls.crt\"\nkey = \"\"\"\nhunter2\nhunter2\"\"\"\n"
            ),
            "serve.toml: tls.key",
            "it holds a key, and not the path of its file",
        ),
    ] {
        let error = at.refused(RoleName::Cell, &text, &[]);
        assert!(
            error.starts_with(&format!("{place}: ")) && error.contains(words),
            "{error}\n  wanted {place}: … {words}\n{text}"
        );
        assert!(
            !error.contains("hunter2") && !error.contains("0c0c"),
            "{error}"
        );
    }
    // Another election's id: the manifest is not its.
    let id = at.election.id().to_string();
    let other = cell.replace(&id, &"0".repeat(64));
    let error = at.refused(RoleName::Cell, &other, &[]);
    assert!(
        error.contains("check both `manifest` and `election`"),
        "{error}"
    );

    for (variable, value, words) in [
        (
            "TALLYROOT_CELL",
            "two",
            "TALLYROOT_CELL: it is \"two\": give",
        ),
        ("TALLYROOT_CEL", "1", "did you mean `TALLYROOT_CELL`?"),
        (
            "TALLYROOT_DATABASE_URL",
            "postgres://u@localhost/d",
            "remove one",
        ),
        (
            "TALLYROOT_RSA_KEY",
            "rsa.pem",
            "no key of this role has this variable",
        ),
    ] {
        let error = at.refused(RoleName::Cell, &cell, &[(variable, value)]);
        assert!(error.contains(words), "{error}");
    }
}
