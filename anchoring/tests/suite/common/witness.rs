//! A witness over real HTTP that can be told to misbehave. As an honest one it checks what a witness checks; the product's own is tried in the whole-system tests.

use std::sync::{Arc, Mutex};

use anchoring::Witness;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use protocol::checkpoint::Checkpoint;
use protocol::cosignature::{self, WitnessKey};
use protocol::merkle::{Hash, verify_consistency};
use protocol::note::{KeyType, SignedNote, VerifierKey};
use tokio::net::TcpListener;

use super::manifest::key;

/// How it behaves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mode {
    Honest,
    /// 503.
    Down,
    /// Takes the request and never answers.
    Silent,
    /// 409 with this size, whatever it is told.
    Says(u64),
    /// 422.
    Refuses,
    /// Cosigns at another time, in seconds.
    At(u64),
}

/// The witness, and its address.
pub(crate) struct FakeWitness {
    number: usize,
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    number: usize,
    mode: Mutex<Mode>,
    newest: Mutex<Option<Newest>>,
}

#[derive(Clone)]
pub(crate) struct Newest {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: Vec<u8>,
}

/// The time of the test's clock, in seconds.
const NOW_S: u64 = super::OPENING / 1_000;

pub(crate) fn witness_key(number: usize) -> WitnessKey {
    let public = key(&format!("witness {number}"), false).public();
    WitnessKey::new(&format!("w{number}.example"), public).unwrap()
}

pub(crate) fn vkey(number: usize) -> String {
    let key = witness_key(number);
    VerifierKey::new(key.name(), KeyType::Cosignature, *key.public_key())
        .unwrap()
        .encode()
}

impl FakeWitness {
    pub(crate) async fn start(number: usize) -> Self {
        let inner = Arc::new(Inner {
            number,
            mode: Mutex::new(Mode::Honest),
            newest: Mutex::new(None),
        });
        let router = Router::new()
            .route("/prefix/add-checkpoint", post(add))
            .route("/prefix/{hash}/checkpoint", get(show))
            .with_state(Arc::clone(&inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prefix", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { number, url, inner }
    }

    pub(crate) fn client(&self) -> Witness {
        Witness::new(witness_key(self.number), &self.url, None).unwrap()
    }

    pub(crate) fn be(&self, mode: Mode) {
        *self.inner.mode.lock().unwrap() = mode;
    }

    pub(crate) fn newest(&self) -> Option<Newest> {
        self.inner.newest.lock().unwrap().clone()
    }

    pub(crate) fn size(&self) -> u64 {
        self.newest().map_or(0, |newest| newest.checkpoint.size())
    }

    /// Puts something into its memory.
    pub(crate) fn remember(&self, newest: Option<Newest>) {
        *self.inner.newest.lock().unwrap() = newest;
    }
}

async fn add(State(inner): State<Arc<Inner>>, body: String) -> Response {
    let mode = inner.mode.lock().unwrap().clone();
    let time_s = match mode {
        Mode::Down => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mode::Silent => std::future::pending().await,
        Mode::Says(size) => return other_size(size),
        Mode::Refuses => return StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Mode::At(time_s) => time_s,
        Mode::Honest => NOW_S,
    };
    let (head, note) = body.split_once("\n\n").unwrap();
    let mut lines = head.split('\n');
    let old: u64 = lines.next().unwrap()[4..].parse().unwrap();
    let proof: Vec<Hash> = lines.map(|line| Hash::from_base64(line).unwrap()).collect();
    let signed = SignedNote::parse(note.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse_body(signed.text()).unwrap();
    // "The old size MUST be equal to or lower than the checkpoint size", which comes before "409 Conflict".
    if old > checkpoint.size() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let mut newest = inner.newest.lock().unwrap();
    let before = newest.as_ref().map(|newest| &newest.checkpoint);
    if before.map_or(0, Checkpoint::size) != old {
        return other_size(before.map_or(0, Checkpoint::size));
    }
    let root = before.map_or_else(protocol::merkle::empty_root, Checkpoint::root);
    if verify_consistency(old, &root, checkpoint.size(), &checkpoint.root(), &proof).is_err() {
        return StatusCode::UNPROCESSABLE_ENTITY.into_response();
    }
    let secret = key(&format!("witness {}", inner.number), false);
    let signature = secret.sign(&cosignature::message(time_s, signed.text()));
    let line = cosignature::line(&witness_key(inner.number), time_s, &signature).unwrap();
    *newest = Some(Newest {
        checkpoint,
        note: note.as_bytes().to_vec(),
    });
    // Lines by keys that nobody knows are passed over.
    let stranger = line.encode().replace(".example", ".stranger");
    format!("{stranger}{}", line.encode()).into_response()
}

fn other_size(size: u64) -> Response {
    let kind = [("content-type", "text/x.tlog.size")];
    (StatusCode::CONFLICT, kind, format!("{size}\n")).into_response()
}

async fn show(State(inner): State<Arc<Inner>>, Path(hash): Path<String>) -> Response {
    assert_eq!(hash.len(), 64);
    let newest = inner.newest.lock().unwrap().clone();
    match newest {
        Some(newest) => newest.note.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
