//! JSON: canonical documents, manifests, results, receipts, disputes, split views, and request bodies.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::canonical_json::{DEPTH_MAX, INTEGER_MAX, from_canonical, to_canonical};
use protocol::dispute::{Dispute, Ruling};
use protocol::entry::Vote;
use protocol::evidence::SplitView;
use protocol::manifest::Election;
use protocol::receipt::{Receipt, ReceiptVerdict};
use protocol::results::Results;
use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::chosen;
use crate::fixture::{OTHER, base, cases};
use crate::shown;

pub(crate) const CANONICAL: u8 = 0;
pub(crate) const MANIFEST: u8 = 1;
pub(crate) const RESULTS: u8 = 2;
pub(crate) const RECEIPT: u8 = 3;
pub(crate) const DISPUTE: u8 = 4;
pub(crate) const SPLIT_VIEW: u8 = 5;
pub(crate) const BODY: u8 = 6;
const ALL: u8 = 7;

/// Decodes a JSON document.
pub fn documents(data: &[u8]) {
    let Some((what, rest)) = chosen(data, ALL) else {
        return;
    };
    match what {
        CANONICAL => canonical(rest),
        MANIFEST => manifest(rest),
        RESULTS => results(rest),
        RECEIPT => receipt(rest),
        DISPUTE => dispute(rest),
        SPLIT_VIEW => split_view(rest),
        _ => body(rest),
    }
}

fn canonical(bytes: &[u8]) {
    let ours = from_canonical::<Value>(bytes, 1 << 20);
    let theirs = serde_json::from_slice::<Value>(bytes)
        .ok()
        .and_then(|value| {
            let mut text = String::new();
            write_canonical(&value, 0, &mut text)?;
            (text.as_bytes() == bytes).then_some(value)
        });
    assert_eq!(ours.as_ref().ok(), theirs.as_ref());
    if let Ok(value) = ours {
        assert_eq!(to_canonical(&value).as_deref(), Ok(bytes));
    }
}

/// RFC 8785 as it stands, for the protocol's integers: a second implementation. `None`: no document of the protocol.
fn write_canonical(value: &Value, depth: usize, out: &mut String) -> Option<()> {
    let inner = depth + 1;
    if (value.is_array() || value.is_object()) && inner > DEPTH_MAX {
        return None;
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(bool) => _ = write!(out, "{bool}"),
        Value::Number(number) => {
            let number = number.as_u64().filter(|number| *number <= INTEGER_MAX)?;
            _ = write!(out, "{number}");
        }
        Value::String(text) => write_string(text, out),
        Value::Array(values) => {
            out.push('[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_canonical(value, inner, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            // "sorted … as arrays of UTF-16 code units"
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            out.push('{');
            for (n, (name, value)) in members.into_iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write_canonical(value, inner, out)?;
            }
            out.push('}');
        }
    }
    Some(())
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn manifest(bytes: &[u8]) {
    let Ok(election) = Election::from_manifest_bytes(bytes) else {
        return;
    };
    assert_eq!(election.manifest_bytes(), bytes);
    assert_eq!(Election::new(election.manifest()).as_ref(), Ok(&election));
    assert_eq!(
        Election::check_id(bytes, &election.id()).as_ref(),
        Ok(&election)
    );
    assert!(Election::check_id(bytes, &OTHER).is_err());
    assert!(election.max_vote_len() <= protocol::entry::ENTRY_LEN_MAX);
    for (position, log) in election.logs().iter().enumerate() {
        assert!(election.log_keys(*log).is_some());
        assert_eq!(election.head_position(*log), Some(position));
    }
}

fn results(bytes: &[u8]) {
    if let Ok(results) = Results::parse(bytes, base()) {
        assert_eq!(results.to_bytes().as_deref(), Ok(bytes));
    }
}

/// What a receipt proves of a vote: cell, index, credential, choices.
pub(crate) type Proven = (u32, u64, [u8; 32], Vec<Vec<String>>);

pub(crate) fn proven(verdict: &ReceiptVerdict) -> Proven {
    let choices = verdict.choices.iter().map(|choice| choice.options.clone());
    (
        verdict.cell,
        verdict.index,
        verdict.credential,
        choices.collect(),
    )
}

/// What the right receipts of the vectors prove.
static PROVEN: LazyLock<BTreeSet<Proven>> = LazyLock::new(|| {
    cases("receipt", "cases")
        .iter()
        .filter(|case| case["valid"] == true)
        .map(|case| {
            let receipt = Receipt::parse(case["receipt"].as_str().unwrap().as_bytes()).unwrap();
            proven(&receipt.verify(&base().id()).unwrap())
        })
        .collect()
});

fn receipt(bytes: &[u8]) {
    let Ok(receipt) = Receipt::parse(bytes) else {
        return;
    };
    assert_eq!(receipt.encode().as_deref(), Ok(bytes));
    assert!(receipt.verify(&OTHER).is_err());
    if let Ok(verdict) = receipt.verify(&base().id()) {
        assert_eq!(verdict.seal.is_some(), receipt.sealed.is_some());
        assert!(
            PROVEN.contains(&proven(&verdict)),
            "a vote that nobody cast: {verdict:?}"
        );
    }
}

fn dispute(bytes: &[u8]) {
    let Ok(dispute) = Dispute::parse(bytes) else {
        return;
    };
    assert_eq!(dispute.encode().as_deref(), Ok(bytes));
    assert!(dispute.judge(&OTHER).is_err());
    shown::dispute(&dispute);
    let receipt =
        Receipt::parse(dispute.receipt.as_bytes()).and_then(|receipt| receipt.verify(&base().id()));
    if let Ok(verdict) = dispute.judge(&base().id()) {
        assert_eq!(
            verdict.ruling == Ruling::InvalidReceipt,
            receipt.is_err(),
            "{verdict:?}"
        );
        assert_eq!(verdict.receipt, receipt.ok());
        if let Some(verdict) = &verdict.receipt {
            assert!(PROVEN.contains(&proven(verdict)));
        }
    }
}

fn split_view(bytes: &[u8]) {
    let Ok(split) = SplitView::parse(bytes) else {
        return;
    };
    assert_eq!(split.encode().as_deref(), Ok(bytes));
    assert!(split.verify(&OTHER).is_err());
    shown::split_view(&split);
    if let Ok(verdict) = split.verify(&base().id()) {
        let (older, newer) = (verdict.older, verdict.newer);
        assert_eq!(older.origin(), newer.origin());
        assert!(older.size() <= newer.size() && older.root() != verdict.root);
    }
}

/// The body of a cast, as the cell declares it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cast {
    vote: String,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap()
});

/// The way of a vote into a cell, up to the first signature.
fn body(bytes: &[u8]) {
    let read = |bytes_max: usize| {
        let (headers, body) = (HeaderMap::new(), Body::from(bytes.to_vec()));
        RUNTIME.block_on(listener::json_body::<Cast>(
            &headers,
            body,
            bytes_max,
            Duration::from_secs(60),
        ))
    };
    if !bytes.is_empty() {
        assert!(read(bytes.len() - 1).is_err(), "too large");
    }
    let Ok(Cast { vote }) = read(bytes.len()) else {
        return;
    };
    let same: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(same, serde_json::json!({ "vote": vote }));
    let Ok(entry) = listener::base64_of("vote", &vote) else {
        return;
    };
    assert_eq!(STANDARD.encode(&entry), vote);
    if let Ok(vote) = Vote::decode(&entry, base()) {
        assert_eq!(vote.encode(), entry);
    }
}
