//! Bad input: a clear error that says what to do, no panic, and nothing written.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tests::demo::Demo;
use tests::published::Published;
use tests::{Said, arg, files, folder, moment, run};

/// A folder with input files, in which a refused command must leave no trace.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        Self(folder())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Everything here, empty folders too.
    fn state(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let top: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        (top.len(), files::contents(self.0.path()))
    }

    /// Refuses with these words, and changes nothing.
    fn refuses(&self, program: &str, arguments: &[&str], words: &[&str]) -> Said {
        let before = self.state();
        let said = run(program, arguments);
        let what = format!("{program} {arguments:?}");
        assert!(matches!(said.code, 1 | 2), "{what}: {said:#?}");
        let text = format!("{}{}", said.stderr, said.stdout);
        assert!(!text.contains("panicked"), "{what}: {text}");
        for word in words {
            assert!(text.contains(word), "{what}: no `{word}` in {text}");
        }
        assert!(text.len() < 4_000, "{what}: {} bytes of words", text.len());
        assert!(self.state() == before, "{what}: something was written");
        said
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn ballots_files() {
    let desk = Desk::new();
    let data = desk.path("data");
    let refuses = |file: &Path, choices: &str, words: &[&str]| {
        let arguments = [
            "demo",
            "--ballots",
            arg(file),
            "--choices",
            choices,
            "--data",
            arg(&data),
            "--exit",
            "--json",
        ];
        desk.refuses("tallyroot", &arguments, words);
    };
    let good = b"precinct,first,second\n1,Ada,Grace\n2,Grace,undervote\n".as_slice();
    let zipped = gzip(good);
    let csv = |bytes: &[u8]| desk.file("votes.csv", bytes);
    let gz = |bytes: &[u8]| desk.file("votes.csv.gz", bytes);

    refuses(
        &desk.path("nowhere.csv"),
        "first",
        &["cannot open", "check the path"],
    );
    refuses(desk.0.path(), "first", &["cannot read"]);
    refuses(&gz(good), "first", &["cannot read", "gzip"]);
    refuses(&gz(&zipped[..zipped.len() - 9]), "first", &["complete"]);
    refuses(&gz(b""), "first", &["votes.csv.gz"]);
    refuses(&csv(&zipped), "first", &["UTF-8"]);
    refuses(&csv(b""), "first", &["no column `first`"]);
    refuses(&csv(b"precinct,first\n1,\xff\xfe\n"), "first", &["UTF-8"]);
    refuses(&csv(b"\xff\xfe,first\n1,Ada\n"), "first", &["UTF-8"]);
    refuses(
        &csv(good),
        "third",
        &["no column `third`", "precinct, first, second"],
    );
    refuses(&csv(good), "First", &["no column `First`"]);
    refuses(&csv(good), "", &["no column ``"]);
    refuses(&csv(good), "first,second,first", &["`first` twice"]);
    refuses(
        &csv(b"first,first\nAda,Grace\n"),
        "first",
        &["occurs twice", "rename"],
    );
    refuses(
        &csv(b"precinct,first\n"),
        "first",
        &["no row below the header"],
    );
    refuses(&csv(b"precinct,first\n1\n"), "first", &["as many cells"]);
    refuses(
        &csv(b"precinct,first\n1,Ada,Grace\n"),
        "first",
        &["as many cells"],
    );
    refuses(
        &csv(b"first\nundervote\novervote\n"),
        "first",
        &["no row holds a valid choice"],
    );
    let many: String = (0..5_000).map(|i| format!("option {i}\n")).collect();
    refuses(
        &csv(format!("first\n{many}").as_bytes()),
        "first",
        &["5000", "4096"],
    );
    let long = "x".repeat(201);
    refuses(
        &csv(format!("first\n{long}\n").as_bytes()),
        "first",
        &["at most 200", "--skip"],
    );
    refuses(
        &csv("first\nAda\u{202e}\n".as_bytes()),
        "first",
        &["U+202E", "the choice", "--skip"],
    );
    refuses(&csv(b"first\nAda\x07\n"), "first", &[]);
    refuses(&csv("first\nE\u{301}va\n".as_bytes()), "first", &["NFC"]);

    let file = csv(good);
    let choose = |arguments: &[&str], words: &[&str]| {
        let mut all = vec!["demo", "--data", arg(&data)];
        all.extend(arguments);
        desk.refuses("tallyroot", &all, words);
    };
    choose(&["--ballots", arg(&file)], &["--choices"]);
    choose(&["--choices", "first"], &["--ballots"]);
    choose(
        &[
            "--ballots",
            arg(&file),
            "--choices",
            "first",
            "--voters",
            "3",
        ],
        &["--voters"],
    );
    for (option, bad) in [
        ("--voters", "0"),
        ("--voters", "many"),
        ("--voters", "4000000000"),
        ("--cells", "0"),
        ("--cells", "65"),
        ("--registrars", "0"),
        ("--registrars", "17"),
        ("--listen", "here"),
        ("--listen", "127.0.0.1"),
    ] {
        choose(&[option, bad], &[option, bad]);
    }
    choose(&["--unknown"], &["--unknown", "--help"]);
}

#[test]
fn data_folders_and_ports() {
    let desk = Desk::new();
    let demo = |data: &Path, more: &[&str], words: &[&str]| {
        let mut arguments = vec!["demo", "--data", arg(data), "--exit", "--json"];
        if !more.contains(&"--voters") {
            arguments.extend(["--voters", "20"]);
        }
        arguments.extend(more);
        desk.refuses("tallyroot", &arguments, words);
    };
    let holds_something = desk.path("letters");
    fs::create_dir(&holds_something).unwrap();
    fs::write(holds_something.join("letter.txt"), "dear").unwrap();
    demo(&holds_something, &[], &["not empty", "new folder"]);
    let file = desk.file("file", "text");
    demo(&file, &[], &["file"]);
    demo(&file.join("below"), &[], &["file"]);
    fs::write(holds_something.join("election"), "not an id\n").unwrap();
    demo(&holds_something, &[], &["election id"]);
    fs::write(holds_something.join("election"), "0".repeat(64)).unwrap();
    demo(&holds_something, &[], &["manifest.json"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    demo(
        &desk.path("new"),
        &["--listen", &address],
        &["port taken", "--listen"],
    );

    // A folder that was made for something else.
    let held = Demo::new(&desk.path("held"), 20, 1, 1);
    let said = held.run_to_the_end();
    assert_eq!(said.code, 0, "{}", said.stderr);
    for other in [
        ["--voters", "21", "--cells", "1"],
        ["--voters", "20", "--cells", "2"],
        ["--voters", "20", "--registrars", "2"],
    ] {
        demo(&held.data, &other, &["made for other", "--data"]);
    }
    let again = run(
        "tallyroot",
        &["election", "new", "nothing.toml", "--out", arg(&held.data)],
    );
    assert_ne!(again.code, 0);

    // A manifest that is no longer the one behind the id.
    let published = Published::of(&held.data);
    let path = published.folder.join("manifest.json");
    let manifest = fs::read(&path).unwrap();
    let mut changed = manifest.clone();
    changed[100] ^= 1;
    for bad in [changed, Vec::new(), [&manifest[..], b"\n"].concat()] {
        fs::write(&path, bad).unwrap();
        demo(&held.data, &["--voters", "20"], &["manifest"]);
    }
    fs::write(&path, &manifest).unwrap();
    // What the voters' devices remember is damaged.
    let recorded = held.data.join("voters/recorded");
    let mut bytes = fs::read(&recorded).unwrap();
    bytes[3] ^= 1;
    fs::write(&recorded, bytes).unwrap();
    let said = held.run_to_the_end();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("damaged"), "{}", said.stderr);
}

/// A description that is right, with one thing changed.
fn description(change: impl Fn(&str) -> String) -> String {
    let (registration, opening, closing) = (moment(0), moment(3_600), moment(7_200));
    change(&format!(
        r#"title = "Board"
base = "vote.example.org"
roll = "roll.csv"
registration = {registration}
opening = {opening}
closing = {closing}
demo = true

[[contests]]
name = "Chair"
method = "ranked"
options = ["Ada", "Grace"]
tie_rule = "prior-rounds"
"#
    ))
}

fn replaced<'a>(from: &'a str, to: &'a str) -> impl Fn(&str) -> String + 'a {
    move |text| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    }
}

#[test]
fn descriptions_of_elections() {
    let desk = Desk::new();
    desk.file("roll.csv", "identity\nada\ngrace\n");
    let out = desk.path("out");
    let refuses = |description: &[u8], words: &[&str]| {
        let file = desk.file("election.toml", description);
        let arguments = ["election", "new", arg(&file), "--out", arg(&out), "--json"];
        let said = desk.refuses("tallyroot", &arguments, words);
        assert_eq!(said.stdout, "");
    };
    let with = |from: &str, to: &str, words: &[&str]| {
        refuses(description(replaced(from, to)).as_bytes(), words);
    };
    refuses(b"", &["election new --help", "title"]);
    refuses(b"\xff\xfe", &["UTF-8"]);
    refuses(b"title = ", &["election new --help"]);
    refuses(&vec![b'#'; (1 << 20) + 1], &["1048576"]);
    with("title =", "titel =", &["titel"]);
    with("demo = true", "demo = true\ncolour = \"red\"", &["colour"]);
    with("demo = true", "demo = true\ndemo = true", &["demo"]);
    with("demo = true", "demo = 1", &["demo"]);
    with("tie_rule", "tie", &["tie"]);
    with("prior-rounds", "coin", &["coin", "listed-order"]);
    with("\"ranked\"", "\"borda\"", &["borda", "approval"]);
    with("\"ranked\"", "\"plurality\"", &["tie"]);
    with("[[contests]]", "[contests]", &["contests"]);
    with("\"Ada\", \"Grace\"", "\"Ada\", \"Ada\"", &["Ada"]);
    with("\"Ada\", \"Grace\"", "", &["option"]);
    with("\"Ada\"", "\" Ada\"", &["white space"]);
    with("\"Ada\"", "\"A\\u0000a\"", &[]);
    with("\"Board\"", "\"\"", &["title"]);
    with("vote.example.org", "https://vote.example.org", &["base"]);
    with("vote.example.org", "vote.example.org/", &["base"]);
    with("vote.example.org", "VOTE.example.org", &["base"]);
    for (name, bad) in [
        ("cells", "0"),
        ("cells", "1025"),
        ("cells", "-1"),
        ("shards", "0"),
        ("shards", "65"),
        ("registrars", "[]"),
        ("batch_min", "0"),
        ("batch_min", "32768"),
        ("batch_wait_ms", "99"),
        ("batch_wait_ms", "30001"),
        ("cast_delay_s", "86401"),
        ("head_interval_ms", "99"),
        ("grace_s", "0"),
        ("grace_s", "18446744073709551615"),
        ("anchors", "[]"),
        ("anchors", "[\"a\", \"a\"]"),
        ("anchors", "[\"../a\"]"),
    ] {
        let to = format!("demo = true\n{name} = {bad}");
        with(
            "demo = true",
            &to,
            &[name.split('_').next().unwrap().trim_end_matches('s')],
        );
    }

    let text = description(str::to_owned);
    let without_contests = text.split("[[contests]]").next().unwrap();
    refuses(without_contests.as_bytes(), &["contests"]);
    refuses(
        format!("contests = []\n{without_contests}").as_bytes(),
        &["contest"],
    );
    for (name, bad) in [
        ("opening", "2027-03-01"),
        ("opening", "2027-03-01T08:00:00"),
        ("opening", "\"tomorrow\""),
        ("opening", "08:00:00"),
        ("opening", "1969-12-31T23:59:59Z"),
        ("opening", "2027-02-30T08:00:00Z"),
        ("closing", "1999-01-01T00:00:00Z"),
        ("registration", "2999-01-01T00:00:00Z"),
    ] {
        let start = text.find(&format!("{name} = ")).unwrap();
        let end = start + text[start..].find('\n').unwrap();
        let changed = format!("{}{name} = {bad}{}", &text[..start], &text[end..]);
        refuses(changed.as_bytes(), &[name]);
    }

    // The register.
    with("roll.csv", "nowhere.csv", &["nowhere.csv", "`roll`"]);
    let long = "x".repeat(201);
    let registers: [(&[u8], &str); 12] = [
        (b"", "names no voter"),
        (b"identity\n", "names no voter"),
        (b"identity\nada\nada\n", "repeats the identity of line 2"),
        (b"ada\ngrace\nada\n", "repeats the identity of line 1"),
        (b"identity\nada\n\ngrace\n", "line 3"),
        (b"number,identity\n1,ada\n2,\n", "no identity"),
        (b"number,identity\n1,ada\n2\n", "no identity"),
        (
            b"identity\nada\n\xff\n",
            "line 3 of the register is not UTF-8",
        ),
        ("identity\nE\u{301}va\n".as_bytes(), "NFC"),
        (b"identity\n ada\n", "white space"),
        (b"identity\nad\x07a\n", "control character"),
        (long.as_bytes(), "201 bytes"),
    ];
    for (register, words) in registers {
        desk.file("roll.csv", register);
        refuses(text.as_bytes(), &[words, "roll.csv"]);
    }

    // A place that is taken; and nothing was wrong with the description.
    desk.file("roll.csv", "identity\nada\ngrace\n");
    let file = desk.file("election.toml", &text);
    let make = ["election", "new", arg(&file), "--out", arg(&out)];
    let said = run("tallyroot", &make);
    assert_eq!(said.code, 0, "{}", said.stderr);
    desk.refuses(
        "tallyroot",
        &make,
        &["holds an election already", "new folder"],
    );
    let letters = desk.path("letters");
    fs::create_dir(&letters).unwrap();
    fs::write(letters.join("letter.txt"), "dear").unwrap();
    let taken = ["election", "new", arg(&file), "--out", arg(&letters)];
    desk.refuses("tallyroot", &taken, &["not empty"]);
}

#[test]
fn manifests_under_their_own_hash() {
    let desk = Desk::new();
    desk.file("roll.csv", "identity\nada\ngrace\n");
    let file = desk.file("election.toml", description(str::to_owned));
    let out = desk.path("out");
    let said = run(
        "tallyroot",
        &["election", "new", arg(&file), "--out", arg(&out)],
    );
    assert_eq!(said.code, 0, "{}", said.stderr);
    let published = Published::of(&out);
    let manifest = String::from_utf8(published.election.manifest_bytes().to_vec()).unwrap();

    // The id is the hash of whatever is served: what is wrong is then the manifest itself.
    let audit = |bytes: &[u8], words: &[&str]| {
        let id = hex::encode(Sha256::digest(bytes));
        let folder = desk.path("public/elections").join(&id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), bytes).unwrap();
        let public = desk.path("public");
        let arguments = [
            "audit",
            arg(&public),
            "--election",
            &id,
            "--json",
            "--settle",
            "0",
        ];
        let said = desk.refuses("tallyroot-verify", &arguments, words);
        assert_eq!(said.code, 1, "{said:#?}");
        let verdict: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(verdict["findings"][0]["place"]["file"], "manifest.json");
        fs::remove_dir_all(desk.path("public")).unwrap();
        // Whoever is asked to serve it says so, too.
        let data = desk.path("data");
        let folder = data.join("public/elections").join(&id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), bytes).unwrap();
        fs::write(data.join("election"), &id).unwrap();
        let serve = ["demo", "--data", arg(&data), "--exit"];
        desk.refuses("tallyroot", &serve, &["manifest"]);
        fs::remove_dir_all(&data).unwrap();
    };
    let with = |from: &str, to: &str, words: &[&str]| {
        assert!(manifest.contains(from), "{from}");
        audit(manifest.replacen(from, to, 1).as_bytes(), words);
    };
    let invalid = "manifest-invalid";
    with(
        "\"title\":",
        "\"colour\":\"red\",\"title\":",
        &[invalid, "colour"],
    );
    with(
        "\"title\":\"Board\"",
        "\"title\":\"Board\",\"title\":\"Board\"",
        &[invalid],
    );
    with("\"title\":\"Board\",", "", &[invalid]);
    with("\"demo\":true", "\"demo\":1", &[invalid]);
    with("\"demo\":true", "\"demo\": true", &[invalid, "canonical"]);
    with("Board", "Bo\\u0061rd", &[invalid, "canonical"]);
    with("Board", "Bo\u{202e}ard", &[invalid]);
    with("Board", "Boe\u{301}", &[invalid]);
    with("\"batch_min\":16", "\"batch_min\":16.0", &[invalid]);
    with("\"batch_min\":16", "\"batch_min\":1.6e1", &[invalid]);
    with("\"batch_min\":16", "\"batch_min\":-16", &[invalid]);
    with(
        "\"batch_min\":16",
        "\"batch_min\":9007199254740993",
        &[invalid],
    );
    with("\"batch_min\":16", "\"batch_min\":\"16\"", &[invalid]);
    with("\"Ada\",\"Grace\"", "\"Ada\",\"Ada\"", &[invalid]);
    with("\"quorum\":0", "\"quorum\":1", &[invalid]);
    with("tallyroot/v1/manifest", "tallyroot/v2/manifest", &[invalid]);
    with("vote.example.org", "vote.example.org/../x", &[invalid]);
    audit(format!("{manifest}\n").as_bytes(), &[invalid]);
    audit(format!("\u{feff}{manifest}").as_bytes(), &[invalid]);
    audit(&manifest.as_bytes()[..manifest.len() - 1], &[invalid]);
    audit(b"", &[invalid]);
    audit(b"null", &[invalid]);
    audit(b"\xff\xfe\x00", &[invalid]);
    // Deep enough to end a stack, and longer than a manifest may be.
    audit("[".repeat(500_000).as_bytes(), &[invalid]);
    audit("{\"a\":".repeat(100_000).as_bytes(), &[invalid]);
    audit(&vec![b' '; (1 << 20) + 1], &["manifest.json"]);
}

#[test]
fn arguments_of_the_verifier_and_the_voter() {
    let desk = Desk::new();
    let public = desk.path("public");
    fs::create_dir(&public).unwrap();
    let id = "0123456789abcdef".repeat(4);
    let verify = |arguments: &[&str], words: &[&str]| {
        let said = desk.refuses("tallyroot-verify", arguments, words);
        assert_eq!(said.code, 2, "nothing was checked: {said:#?}");
    };
    for bad in [
        "",
        "0",
        &id[1..],
        &format!("{id}0"),
        &id.to_uppercase(),
        "../../etc/passwd",
    ] {
        verify(
            &["audit", arg(&public), "--election", bad],
            &["election id"],
        );
        let vote = ["vote", "http://127.0.0.1:9", "--election", bad];
        desk.refuses("tallyroot", &vote, &["--election", "64"]);
    }
    verify(&["audit", arg(&public)], &["--election"]);
    verify(
        &[
            "audit",
            arg(&desk.path("nowhere")),
            "--election",
            &id,
            "--settle",
            "0",
        ],
        &["nowhere"],
    );
    verify(&["audit", "ftp://example.org", "--election", &id], &["ftp"]);
    verify(
        &["audit", arg(&public), "--election", &id, "--threads", "0"],
        &["--threads"],
    );
    verify(&["explain", "no-such-code"], &["no-such-code", "explain"]);
    verify(&["recount"], &["recount"]);
    for site in ["nowhere", "ftp://example.org", "/etc", ""] {
        let vote = ["vote", site, "--election", &id];
        desk.refuses("tallyroot", &vote, &["address"]);
    }
}

/// One request as bytes over a plain connection; the answer's status line and body.
fn request(address: &str, head: &str, body: &[u8]) -> (u16, String) {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(tests::demo::PATIENCE))
        .unwrap();
    let head = format!("{head}\r\nHost: {address}\r\nConnection: close\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
        .write_all(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes())
        .unwrap();
    // A server that has heard enough may close before all was sent.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status.unwrap_or(0), body.to_owned())
}

#[test]
fn requests_to_a_running_election() {
    let desk = Desk::new();
    let up = Demo::new(&desk.path("election"), 20, 1, 1).stay_up();
    let published = Published::of(&desk.path("election"));
    let address = up.url.strip_prefix("http://").unwrap();
    let base = format!("/elections/{}", published.id());
    let cell = protocol::ids::LogId::Cell(0);
    let before = published.checkpoint(cell);
    let good_vote = "AAAA";
    let bodies: Vec<(Vec<u8>, &[u16])> = vec![
        (b"".to_vec(), &[400]),
        (b"{".to_vec(), &[400]),
        (b"null".to_vec(), &[400]),
        (b"[]".to_vec(), &[400]),
        (b"\xff\xfe".to_vec(), &[400]),
        (b"{}".to_vec(), &[400]),
        (b"{\"vote\":1}".to_vec(), &[400]),
        (b"{\"vote\":\"\"}".to_vec(), &[400]),
        (b"{\"vote\":\"A\"}".to_vec(), &[400]),
        (b"{\"vote\":\"####\"}".to_vec(), &[400]),
        (format!("{{\"vote\":\"{good_vote}\"}}").into_bytes(), &[400]),
        (
            format!("{{\"vote\":\"{good_vote}\"}}x").into_bytes(),
            &[400],
        ),
        (
            format!("{{\"vote\":\"{good_vote}\",\"more\":1}}").into_bytes(),
            &[400],
        ),
        (
            format!("{{\"vote\":\"{good_vote}\",\"vote\":\"{good_vote}\"}}").into_bytes(),
            &[400],
        ),
        (b"[".repeat(100_000), &[400, 413]),
        (
            format!("{{\"vote\":\"{}\"}}", "A".repeat(4 << 20)).into_bytes(),
            &[413],
        ),
    ];
    for path in ["cells/0/ballots", "registrars/0/credentials"] {
        for (body, allowed) in &bodies {
            let head = format!("POST {base}/{path} HTTP/1.1\r\nContent-Type: application/json");
            let (status, answer) = request(address, &head, body);
            let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            assert!(
                allowed.contains(&status),
                "{path} {shown}: {status} {answer}"
            );
            let answer: serde_json::Value = serde_json::from_str(&answer)
                .unwrap_or_else(|error| panic!("{path} {shown}: {error}: {answer}"));
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(!message.is_empty() && answer["error"]["code"].is_string());
        }
    }
    let wrong_places = [
        format!("/elections/{}/cells/0/ballots", "0".repeat(64)),
        format!("{base}/cells/1/ballots"),
        format!("{base}/cells/00/ballots"),
        format!("{base}/cells/-1/ballots"),
        format!("{base}/registrars/1/credentials"),
        format!("{base}/registrars/99999999999/credentials"),
    ];
    for path in wrong_places {
        let (status, answer) = request(address, &format!("POST {path} HTTP/1.1"), b"{}");
        assert!(matches!(status, 404 | 405), "{path}: {status} {answer}");
    }
    // What is published is all that can be read.
    for path in [
        format!("{base}/../../../election"),
        format!("{base}/../../../voters/secrets"),
        "/elections/..%2f..%2fvoters%2fsecrets".to_owned(),
        format!("{base}/%2e%2e/%2e%2e/%2e%2e/registrars/0/rsa.pem"),
        "/../voters/secrets".to_owned(),
        "//voters/secrets".to_owned(),
        format!("{base}/cells/0/main.key"),
        "/elections/".to_owned(),
    ] {
        let (status, answer) = request(address, &format!("GET {path} HTTP/1.1"), b"");
        assert!(
            matches!(status, 400 | 403 | 404 | 405),
            "{path}: {status} {answer}"
        );
    }
    assert_eq!(published.checkpoint(cell), before, "nothing was written");
}
