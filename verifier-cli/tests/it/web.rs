//! The same audit over HTTP, from a server that may be slow to answer, broken or hostile.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use verifier_cli::audit;
use verifier_cli::progress::Progress;
use verifier_cli::source::{Fetched, Http, Source as _};
use verifier_cli::verdict::{AuditVerdict, Outcome};

use crate::common::keys::{CLOSING, GRACE};
use crate::common::world::{Plan, World};
use crate::common::{audit as audit_folder, found, options};

/// What a server does with a request for a path; `None`: serve the file.
type Mischief = dyn Fn(&str, u64) -> Option<Answer> + Send + Sync;

pub enum Answer {
    Status(u16, &'static str),
    Redirect(String),
    /// Other bytes than the file's.
    Bytes(Vec<u8>),
    /// Says more than it sends.
    CutShort,
    /// Never ends.
    Endless,
    /// Sends a byte now and then, for as long as anybody listens.
    Drip,
}

/// Serves a folder until the test ends. Returns its address.
pub fn serve(
    root: &Path,
    mischief: impl Fn(&str, u64) -> Option<Answer> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let root = root.to_owned();
    let mischief: Arc<Mischief> = Arc::new(mischief);
    thread::spawn(move || {
        let requests = Arc::new(AtomicU64::new(0));
        for stream in listener.incoming() {
            let (root, mischief, requests) =
                (root.clone(), Arc::clone(&mischief), Arc::clone(&requests));
            thread::spawn(move || {
                // A reader may hang up at any time.
                let _ = answer(stream.unwrap(), &root, &*mischief, &requests);
            });
        }
    });
    address
}

fn answer(
    stream: TcpStream,
    root: &Path,
    mischief: &Mischief,
    requests: &AtomicU64,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches('/')
            .to_owned();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            if header.trim().is_empty() {
                break;
            }
        }
        let n = requests.fetch_add(1, Ordering::SeqCst);
        match mischief(&path, n) {
            Some(Answer::Status(code, extra)) => {
                write!(
                    stream,
                    "HTTP/1.1 {code} No\r\ncontent-length: 0\r\n{extra}\r\n"
                )?;
            }
            Some(Answer::Redirect(to)) => {
                write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
                )?;
            }
            Some(Answer::Bytes(bytes)) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                    bytes.len()
                )?;
                stream.write_all(&bytes)?;
            }
            Some(Answer::CutShort) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nonly this"
                )?;
                return Ok(());
            }
            Some(Answer::Endless) => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"
                )?;
                loop {
                    stream.write_all(&[b'x'; 65536])?;
                }
            }
            Some(Answer::Drip) => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")?;
                loop {
                    stream.write_all(b"x")?;
                    stream.flush()?;
                    thread::sleep(Duration::from_millis(20));
                }
            }
            None => match fs::read(root.join(&path)) {
                Ok(bytes) => {
                    write!(
                        stream,
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
                        bytes.len()
                    )?;
                    stream.write_all(&bytes)?;
                }
                Err(_) => write!(
                    stream,
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
                )?,
            },
        }
    }
}

const PLAN: Plan = Plan {
    votes: 60,
    issued: 300,
    batch: 20,
    finished: true,
};

/// A site with a finished election.
fn site() -> (tempfile::TempDir, World, String) {
    published(World::new("web", PLAN))
}

fn published(world: World) -> (tempfile::TempDir, World, String) {
    let folder = tempfile::tempdir().unwrap();
    let below = format!("elections/{}", world.keys.election.id());
    world.publish(&folder.path().join(&below));
    (folder, world, below)
}

fn audit_url(url: &str, world: &World) -> AuditVerdict {
    audit::run(
        url,
        &world.keys.election.id(),
        &options(),
        &Progress::hidden(),
    )
}

#[test]
fn a_site_verifies_by_its_own_address_and_the_elections() {
    let (folder, world, below) = site();
    let address = serve(folder.path(), |_, _| None);
    for url in [
        address.clone(),
        format!("{address}/"),
        format!("{address}/{below}"),
        format!("{address}/{below}/"),
    ] {
        let verdict = audit_url(&url, &world);
        assert_eq!(verdict.verdict, Outcome::Verified, "{url}: {verdict:#?}");
        assert_eq!(verdict.votes, 60);
        // It says what a web server cannot show.
        assert!(
            verdict
                .not_covered
                .iter()
                .any(|what| what.contains("does not list")),
            "{:?}",
            verdict.not_covered
        );
    }
}

#[test]
fn damage_and_holes_are_found() {
    let (folder, world, below) = site();
    let root = folder.path().join(&below);
    let address = serve(folder.path(), |_, _| None);
    for file in [
        "cells/0/batches/1",
        "cells/1/tile/0/000.p/30",
        "registrars/0/0/tile/entries/000",
        "results.json",
        "anchors/near/2",
        "heads/checkpoint",
    ] {
        let path = root.join(file);
        let before = fs::read(&path).unwrap();
        let mut flipped = before.clone();
        flipped[before.len() / 2] ^= 1;
        fs::write(&path, flipped).unwrap();
        let damaged = audit_url(&address, &world);
        fs::remove_file(&path).unwrap();
        let removed = audit_url(&address, &world);
        fs::write(&path, before).unwrap();
        for verdict in [damaged, removed] {
            assert_eq!(verdict.verdict, Outcome::Findings, "{file}");
            assert!(
                found(&verdict).iter().any(|(_, at)| at == file),
                "{file}: {:#?}",
                found(&verdict)
            );
        }
    }
}

#[test]
fn what_passes_is_asked_for_again() {
    let (folder, world, _) = site();
    // Every fifth answer fails in one of three ways; the next try succeeds.
    let address = serve(folder.path(), |_, n| match n % 15 {
        4 => Some(Answer::Status(503, "retry-after: 0\r\n")),
        9 => Some(Answer::Status(429, "")),
        14 => Some(Answer::CutShort),
        _ => None,
    });
    let verdict = audit_url(&address, &world);
    assert_eq!(verdict.verdict, Outcome::Verified, "{verdict:#?}");
}

#[test]
fn what_cannot_be_known_is_no_verdict() {
    let (folder, world, _) = site();
    let address = serve(folder.path(), |path, _| {
        (path.ends_with("cells/1/batches/2")).then_some(Answer::Status(403, ""))
    });
    let verdict = audit_url(&address, &world);
    assert_eq!(
        verdict.verdict,
        Outcome::Unchecked,
        "{:#?}",
        verdict.findings
    );
    assert!(
        verdict
            .not_covered
            .iter()
            .any(|what| what.contains("cells/1/batches/2")),
        "{:?}",
        verdict.not_covered
    );

    // No server at all, and one that sends its readers elsewhere.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(
        audit_url(&format!("http://{free}"), &world).verdict,
        Outcome::Unchecked
    );
    let elsewhere = serve(folder.path(), |_, _| None);
    let address = serve(folder.path(), move |path, _| {
        Some(Answer::Redirect(format!("{elsewhere}/{path}")))
    });
    let verdict = audit_url(&address, &world);
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    assert!(
        verdict.not_covered[0].contains("another origin"),
        "{:?}",
        verdict.not_covered
    );
}

#[test]
fn what_witnesses_said_and_cannot_be_read_blames_nobody() {
    let (folder, mut world, below) = published(World::witnessed("unread", PLAN));
    for unread in [
        "heads/cosigned/8",
        "heads/checkpoints/3",
        "heads/cosigned/3",
    ] {
        let address = serve(folder.path(), move |path, _| {
            path.ends_with(unread).then_some(Answer::Status(403, ""))
        });
        let verdict = audit_url(&address, &world);
        assert_eq!(found(&verdict), [], "{unread}");
        assert_eq!(verdict.verdict, Outcome::Unchecked, "{unread}");
        assert!(
            verdict.not_covered.iter().any(|what| what.contains(unread)),
            "{:?}",
            verdict.not_covered
        );
    }
    // Nor does a quorum that came late where one that was there before cannot be read: without the file they are late.
    world.cosign = |size, time| {
        let late = if size < 8 { 7_200_000 } else { 0 };
        (0..3).map(|n| (n, (time + late) / 1_000)).collect()
    };
    let root = folder.path().join(&below);
    world.publish(&root);
    let last = "heads/cosigned/8";
    let address = serve(folder.path(), move |path, _| {
        path.ends_with(last).then_some(Answer::Status(403, ""))
    });
    let verdict = audit_url(&address, &world);
    assert_eq!(found(&verdict), []);
    assert_eq!(verdict.verdict, Outcome::Unchecked);
    fs::remove_file(root.join(last)).unwrap();
    let verdict = audit_folder(&root, &world.keys.election.id());
    let codes: Vec<_> = verdict.findings_by_code.keys().copied().collect();
    assert_eq!(codes, ["late", "quorum"]);
}

#[test]
fn witnesses_are_judged_over_http_as_in_a_folder() {
    // All votes stand in heads of closing plus grace at most. Witnesses saw them in time, were away for a hundred heads around the end, and
    // cosigned what came then; or they saw one head that claims an hour more than it was.
    let away: fn(u64, u64) -> Vec<(usize, u64)> = |_, time| {
        if (CLOSING - 50_000..=CLOSING + GRACE).contains(&time) {
            return Vec::new();
        }
        let late = if time > CLOSING { 3_600_000 } else { 0 };
        (0..3).map(|n| (n, (time + late) / 1_000)).collect()
    };
    let ahead: fn(u64, u64) -> Vec<(usize, u64)> = |size, time| {
        let ahead = if size == 4 { 3_600_000 } else { 0 };
        (0..3).map(|n| (n, (time - ahead) / 1_000)).collect()
    };
    let mut world = World::witnessed(
        "alike",
        Plan {
            finished: false,
            ..PLAN
        },
    );
    let first = CLOSING - 50_000;
    for n in 0..100 {
        world.head(first + n * 500);
    }
    world.head(CLOSING + GRACE + 1_000);
    let mut seen = Vec::new();
    for cosign in [away, ahead] {
        world.cosign = cosign;
        let folder = tempfile::tempdir().unwrap();
        let root = folder
            .path()
            .join(format!("elections/{}", world.keys.election.id()));
        world.publish(&root);
        let address = serve(folder.path(), |_, _| None);
        let (web, local) = (
            audit_url(&address, &world),
            audit_folder(&root, &world.keys.election.id()),
        );
        assert_eq!(found(&web), found(&local));
        assert_eq!(web.bounds.late, local.bounds.late);
        assert_eq!(web.bounds.judged_by, local.bounds.judged_by);
        assert_eq!(web.verdict, local.verdict);
        seen.push((web.bounds.late, found(&web)));
    }
    // Only that one head is wrong, and no vote is late: a quorum had seen the last before the end.
    assert_eq!(
        seen,
        [
            (0, Vec::new()),
            (0, vec![("clock", "heads/cosigned/4".to_owned())])
        ]
    );
}

#[test]
fn endless_answers_are_cut() {
    let (folder, world, _) = site();
    let address = serve(folder.path(), |path, _| {
        path.ends_with("cells/0/checkpoint")
            .then_some(Answer::Endless)
    });
    let verdict = audit_url(&address, &world);
    assert!(
        found(&verdict).contains(&("file-too-large", "cells/0/checkpoint".to_owned())),
        "{:#?}",
        found(&verdict)
    );
}

/// Each single byte comes in time, and the file never does.
#[test]
fn an_answer_that_drips_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let site = serve(folder.path(), |_, _| Some(Answer::Drip));
    let server = Http::with_timeout(&site, Duration::from_millis(300)).unwrap();
    let error = server.read("file", 1_000_000).unwrap_err();
    assert!(error.problem.contains("time"), "{error}");
}

/// How often a reader asks, and what it gets.
fn asked(answer: impl Fn(&str, u64) -> Option<Answer> + Send + Sync + 'static) -> (u64, bool) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), b"right").unwrap();
    let times = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&times);
    let address = serve(folder.path(), move |path, n| {
        counter.fetch_add(1, Ordering::SeqCst);
        answer(path, n)
    });
    let source = Http::new(&address).unwrap();
    let read = source.read("file", 100);
    let is_right = matches!(read, Ok(Fetched::File(bytes)) if bytes == b"right");
    (times.load(Ordering::SeqCst), is_right)
}

#[test]
fn what_will_not_pass_is_asked_for_once() {
    for status in [400, 403, 451] {
        let refused = move |_: &str, _| Some(Answer::Status(status, ""));
        assert_eq!(asked(refused), (1, false), "{status}");
    }
    let elsewhere = |_: &str, _| Some(Answer::Redirect("http://127.0.0.1:9/file".to_owned()));
    assert_eq!(asked(elsewhere), (1, false));
    for status in [408, 429, 500] {
        let once = move |_: &str, n| (n == 0).then_some(Answer::Status(status, ""));
        assert_eq!(asked(once), (2, true), "{status}");
    }
}

#[test]
fn redirects_within_the_site_are_followed_so_far() {
    for (redirects, is_followed) in [(1, true), (5, true), (6, false)] {
        let (_, is_right) =
            asked(move |_, n| (n < redirects).then(|| Answer::Redirect("/file".to_owned())));
        assert_eq!(is_right, is_followed, "{redirects}");
    }
}
