//! Was a credential issued in my name? What a voter, and above all one who did not vote, looks up in the public issuance logs.
//!
//! Nothing else can catch credentials that registrars make for people who stay away: every sum is right then. So everybody can look, by the place on the roll that
//! sign-in shows; which is nobody's business, so it is looked up here, in the logs as a whole, and not asked of a server.

use protocol::entry::Entry;
use protocol::ids::{ElectionId, LogId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::audit::checkpoint::read_newest;
use crate::audit::context::{Context, Unread};
use crate::audit::manifest;
use crate::finding::{Finding, Findings};
use crate::progress::Progress;
use crate::prove;
use crate::source::locate;
use crate::verdict::Outcome;

/// What the issuance logs say of one place on the roll.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IssuedVerdict {
    /// Verified: every registrar's log was read, and is what its key signed. It says nothing about whether a credential was issued: see `registrars`.
    pub verdict: Outcome,
    /// The election id.
    pub election: String,
    /// The place on the roll.
    pub roll_index: u64,
    /// Each registrar.
    pub registrars: Vec<RegistrarShown>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What could not be read.
    pub not_covered: Vec<String>,
}

/// What one registrar's log says.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RegistrarShown {
    /// Its index.
    pub registrar: u16,
    /// Its name.
    pub name: String,
    /// The log.
    pub log: String,
    /// Its size, as far as it is published; null where it could not be read as a whole.
    pub size: Option<u64>,
    /// Where the issuance stands; null: none, up to that size.
    pub issued_at: Option<u64>,
}

/// Looks up a place on the roll at `source`.
#[must_use]
pub fn run(source: &str, id: &ElectionId, roll_index: u64, progress: &Progress) -> IssuedVerdict {
    let unchecked = |why: String| IssuedVerdict {
        verdict: Outcome::Unchecked,
        election: id.to_string(),
        roll_index,
        registrars: Vec::new(),
        findings: Vec::new(),
        not_covered: vec![why],
    };
    let located = match locate(source, id) {
        Ok(located) => located,
        Err(error) => return unchecked(error.to_string()),
    };
    let election = match manifest::open(located.source.as_ref(), id) {
        Ok(election) => election,
        Err(manifest::NoManifest::Finding(_, why) | manifest::NoManifest::Unread(why)) => {
            return unchecked(format!("manifest.json: {why}"));
        }
    };
    let roll = election.manifest().roll.size;
    if roll_index >= roll {
        return unchecked(format!(
            "the roll has {roll} places, from 0 to {}: there is no place {roll_index}",
            roll - 1
        ));
    }
    let (findings, unread) = (Findings::new(roll), Unread::default());
    let context = Context {
        election: &election,
        source: located.source.as_ref(),
        findings: &findings,
        unread: &unread,
        progress,
    };
    let registrars: Vec<RegistrarShown> = (0..)
        .zip(&election.manifest().registrars)
        .map(|(registrar, named)| look(&context, registrar, &named.name, roll_index))
        .collect();
    let not_covered = unread.finish();
    let verdict = if !findings.is_empty() {
        Outcome::Findings
    } else if registrars.iter().any(|shown| shown.size.is_none()) {
        Outcome::Unchecked
    } else {
        Outcome::Verified
    };
    IssuedVerdict {
        verdict,
        election: id.to_string(),
        roll_index,
        registrars,
        findings: findings.finish().0,
        not_covered,
    }
}

fn look(context: &Context<'_>, registrar: u16, name: &str, roll_index: u64) -> RegistrarShown {
    // The roll holds this place, so some shard does.
    let shard = context
        .election
        .shard_of(registrar, roll_index)
        .unwrap_or_default();
    let log = LogId::Issuance { registrar, shard };
    let mut shown = RegistrarShown {
        registrar,
        name: name.to_owned(),
        log: log.prefix(),
        size: None,
        issued_at: None,
    };
    context.progress.stage(log.to_string());
    let Some(newest) = read_newest(context, log) else {
        context
            .unread
            .note(format!("{log}/checkpoint is not there, or is wrong"));
        return shown;
    };
    let mut found = None;
    let whole = prove::entries(context, log, &newest.checkpoint, |index, bytes| {
        if let Ok(Entry::Issuance(issuance)) = Entry::decode(bytes, context.election)
            && issuance.roll_index == roll_index
        {
            found = found.or(Some(index));
        }
    });
    if whole.is_some() {
        shown.size = Some(newest.size());
        shown.issued_at = found;
    }
    shown
}
