//! Witnesses that were asked for what they hold themselves, held against the published heads log.

use protocol::ids::LogId;

use super::context::Context;
use super::cosigned::judge_clock;
use super::evidence::{judge_checkpoint, root_at};
use super::heads::Heads;
use super::log::Log;
use crate::ask::{Shown, ask};
use crate::finding::Place;
use crate::verdict::WitnessCovered;

/// What they answered.
#[derive(Default)]
pub(super) struct Asked {
    shown: Vec<Shown>,
    /// Those of whom nothing is known, in words: a witness that is away blames nobody. But who asks for one wants to hear it, so the verdict is none without it.
    failed: Vec<String>,
}

/// Asks all of them: before anything else is read, so that whatever they cosigned must be published by the time when the log is read.
pub(super) fn all(context: &Context<'_>, urls: &[String]) -> Asked {
    let mut asked = Asked::default();
    if urls.is_empty() {
        return asked;
    }
    context.progress.stage("witnesses");
    for answer in ask(urls, context.election) {
        match answer {
            Ok(shown) => asked.shown.push(shown),
            Err(problem) => asked.failed.push(problem),
        }
    }
    asked
}

impl Asked {
    /// The published log must have passed through what each of them cosigned, and claim no time that a quorum of them contradicts.
    pub(super) fn judge(&self, context: &Context<'_>, heads: &Log<Heads<'_>>) {
        for shown in &self.shown {
            judge_checkpoint(
                context,
                &self.place(context, shown),
                &shown.held,
                &heads.walk,
            );
        }
        let quorum = usize::try_from(context.election.manifest().witnesses.quorum);
        let seen = quorum
            .ok()
            .and_then(|quorum| self.seen_by(context, quorum, heads));
        if let Some((size, seen)) = seen {
            let place = Place::file(format!("{}/checkpoint", LogId::Heads));
            judge_clock(context, heads.content.heads(), place, size, seen);
        }
    }

    /// The largest size that so many witnesses cosigned in this log, and when the last of them had (ms since 1970).
    fn seen_by(
        &self,
        context: &Context<'_>,
        quorum: usize,
        heads: &Log<Heads<'_>>,
    ) -> Option<(u64, u64)> {
        let mut seen: Vec<(u64, u64, usize)> = self
            .shown
            .iter()
            .filter(|shown| {
                let (size, root) = (shown.checkpoint().size(), shown.checkpoint().root());
                size <= heads.walk.size() && root_at(context, &heads.walk, size) == Some(root)
            })
            .map(|shown| (shown.checkpoint().size(), shown.time, shown.witness))
            .collect();
        seen.sort_unstable_by(|a, b| b.cmp(a));
        let mut counted = Vec::new();
        let mut latest = 0;
        for (size, time, witness) in seen {
            if counted.contains(&witness) {
                continue;
            }
            counted.push(witness);
            latest = time.max(latest);
            if counted.len() == quorum {
                return Some((size, latest));
            }
        }
        None
    }

    fn place(&self, context: &Context<'_>, shown: &Shown) -> String {
        format!("witness {} at {}", self.name(context, shown), shown.url)
    }

    fn name<'c>(&self, context: &Context<'c>, shown: &Shown) -> &'c str {
        let named = context.election.witnesses().get(shown.witness);
        named.map_or("", |named| named.name())
    }

    /// What the verdict says of them.
    pub(super) fn covered(&self, context: &Context<'_>) -> Vec<WitnessCovered> {
        self.shown
            .iter()
            .map(|shown| WitnessCovered {
                name: self.name(context, shown).to_owned(),
                url: shown.url.clone(),
                size: shown.checkpoint().size(),
                time: shown.time,
            })
            .collect()
    }

    /// What the verdict does not rest on, as far as witnesses go.
    pub(super) fn not_covered(&self, context: &Context<'_>) -> Vec<String> {
        let named = context.election.witnesses();
        if named.is_empty() {
            return vec!["witnesses: the manifest names none".to_owned()];
        }
        let heard = |witness: usize| self.shown.iter().any(|shown| shown.witness == witness);
        let unheard: Vec<&str> = named
            .iter()
            .enumerate()
            .filter(|(witness, _)| !heard(*witness))
            .map(|(_, named)| named.name())
            .collect();
        if unheard.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "the own copies of {}: only published cosignatures were verified; ask them with --witness URL",
            unheard.join(", ")
        )]
    }

    /// Whom the user asked for, and did not hear, in words.
    pub(super) fn unheard(&self, context: &Context<'_>) -> Vec<String> {
        let mut words = self.failed.clone();
        for (n, shown) in self.shown.iter().enumerate() {
            let mut before = self.shown.iter().take(n);
            if let Some(other) = before.find(|other| other.witness == shown.witness) {
                words.push(format!(
                    "{} and {} both answered as witness {}: say with --witness NAME=URL who is to answer where",
                    other.url,
                    shown.url,
                    self.name(context, shown)
                ));
            }
        }
        words
    }
}
