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
use crate::audit::heads_reader::{self, HeadsToday};
use crate::audit::manifest;
use crate::finding::{Finding, Findings, Place, Votes};
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
    /// The election's title; null without a manifest.
    pub title: Option<String>,
    /// The manifest says that this is a rehearsal; null without a manifest.
    pub demo: Option<bool>,
    /// Where the files came from.
    pub source: String,
    /// Of the newest head (ms since 1970): a credential that is issued later is not in what was read; null where the heads log could not be read, or has no head yet.
    pub head_time: Option<u64>,
    /// The newest head is the final head: nothing is issued behind it.
    pub is_final: bool,
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
        title: None,
        demo: None,
        source: source.to_owned(),
        head_time: None,
        is_final: false,
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
    progress.stage("heads");
    let heads = quietly(&context);
    let registrars: Vec<RegistrarShown> = (0..)
        .zip(&election.manifest().registrars)
        .map(|(registrar, named)| {
            look(&context, heads.as_ref(), registrar, &named.name, roll_index)
        })
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
        title: Some(election.manifest().title.clone()),
        demo: Some(election.manifest().demo),
        source: located.place.clone(),
        head_time: heads
            .as_ref()
            .and_then(|heads| heads.head.as_ref())
            .map(|head| head.time),
        is_final: heads.is_some_and(|heads| heads.is_final),
        roll_index,
        registrars,
        findings: findings.finish().0,
        not_covered,
    }
}

/// The heads log, for its date and its notices. What is wrong with it says nothing of issuances: `audit` names it.
fn quietly(context: &Context<'_>) -> Option<HeadsToday> {
    let (findings, unread) = (Findings::new(1), Unread::default());
    heads_reader::read(&Context {
        findings: &findings,
        unread: &unread,
        ..*context
    })
}

fn look(
    context: &Context<'_>,
    heads: Option<&HeadsToday>,
    registrar: u16,
    name: &str,
    roll_index: u64,
) -> RegistrarShown {
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
    if let Some((code, evidence)) = heads.and_then(|heads| heads.switches.judge(log, &newest)) {
        let place = Place::file(format!("{log}/checkpoint"));
        context.add(code, place, Votes::WholeRoll, evidence);
        return shown;
    }
    // Each place on the roll is issued for once; what else there is are counts.
    let most = context
        .election
        .manifest()
        .roll
        .size
        .saturating_add(prove::ENTRIES_READ_MAX);
    if newest.size() > most {
        context.unread.note(format!(
            "{log}/checkpoint names {} entries, and at most {most} are read to look something up: `audit` reads them all",
            newest.size()
        ));
        return shown;
    }
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
