//! Go's own packages for transparency logs (`golang.org/x/mod/sumdb/note` and `tlog`, as Debian has them) read our checkpoints and tiles: every signature, every leaf's inclusion, consistency with every
//! checkpoint. They know nothing of Tallyroot. For `.tlog-proof` and cosignatures no other implementation is at hand; those are checked against the C2SP pages' examples, in `protocol`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use protocol::ids::LogId;
use protocol::note::{KeyType, VerifierKey};
use tests::demo::Demo;
use tests::folder;
use tests::published::Published;

/// Where Debian's `golang-golang-x-mod-dev` puts its sources.
const GOPATH: &str = "/usr/share/gocode";

fn build(folder: &Path) -> PathBuf {
    let program = folder.join("logs");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/logs.go");
    let built = Command::new("go")
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .env("GOFLAGS", "")
        .env("GOCACHE", folder.join("cache"))
        .output()
        .expect("Go: run scripts/setup.sh test");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    program
}

fn read(program: &Path, published: &Published, log: LogId) -> Output {
    let origin = published.election.origin(log);
    let key = *published.election.log_keys(log).unwrap().main.as_bytes();
    let vkey = VerifierKey::new(&origin, KeyType::Ed25519, key).unwrap();
    Command::new(program)
        .arg(published.folder.join(log.prefix()))
        .args([origin, vkey.encode()])
        .output()
        .unwrap()
}

#[test]
fn gos_packages_for_transparency_logs_read_ours() {
    let folder = folder();
    let program = build(folder.path());
    // More than 256 votes in the cell: tiles of two levels, full and partial.
    let mut demo = Demo::new(&folder.path().join("election"), 300, 1, 1);
    demo.options
        .extend(["--witnesses".to_owned(), "2".to_owned()]);
    let said = demo.run_to_the_end();
    assert_eq!(said.code, 0, "{said:#?}");
    let published = Published::of(&demo.data);
    let issuance = LogId::Issuance {
        registrar: 0,
        shard: 0,
    };
    for log in [LogId::Cell(0), issuance, LogId::Heads] {
        let output = read(&program, &published, log);
        let (words, wrong) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let size = published.checkpoint(log).unwrap().size();
        assert!(
            words.starts_with(&format!("{size} leaves, ")),
            "{log}: {words}{wrong}"
        );
        assert!(!words.contains(" 0 checkpoints"), "{log}: {words}");
        assert_eq!(
            words.contains(" 0 cosigned"),
            log != LogId::Heads,
            "{log}: {words}"
        );
        assert!(log == LogId::Heads || size > 300, "{log}: {words}");
    }

    // And what is changed is found by them too.
    let cell = published.folder.join(LogId::Cell(0).prefix());
    for file in ["tile/0/000", "tile/entries/000", "checkpoint"] {
        let path = cell.join(file);
        let right = fs::read(&path).unwrap();
        let mut wrong = right.clone();
        // Not the last letter of a signature: of that, base64 uses some bits only.
        let last = wrong.len() - 9;
        wrong[last] ^= 1;
        fs::write(&path, wrong).unwrap();
        let output = read(&program, &published, LogId::Cell(0));
        assert_eq!(output.status.code(), Some(1), "{file}");
        fs::write(&path, right).unwrap();
    }
    assert!(read(&program, &published, LogId::Cell(0)).status.success());
}
