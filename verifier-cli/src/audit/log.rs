//! A log under audit: its newest checkpoint, how far it was followed, and what it holds.

use protocol::ids::LogId;
use protocol::note::NOTE_BYTES_MAX;

use super::checkpoint::{Signed, read_newest};
use super::context::{Context, Read};
use super::head_rules::at_most_roll;
use super::signed::SignedTree;
use super::walk::{Content, Until, Walk};
use crate::finding::{Code, Place, Votes};
use crate::work::Pool;

/// See the [module](self).
pub(super) struct Log<C> {
    pub(super) walk: Walk,
    pub(super) content: C,
    /// The `checkpoint` that the audit holds for; `None` where it is missing or wrong.
    pub(super) newest: Option<Signed>,
}

impl<C> Log<C> {
    pub(super) fn new(log: LogId, content: C) -> Self {
        Self {
            walk: Walk::new(log),
            content,
            newest: None,
        }
    }

    fn path(&self) -> String {
        format!("{}/checkpoint", self.walk.log())
    }

    /// Follows the log up to this checkpoint; without one, as far as there are batches.
    pub(super) fn follow<'a>(
        &mut self,
        newest: Option<Signed>,
        context: Context<'a>,
        pool: &Pool<'a>,
    ) where
        C: Content<'a>,
    {
        let until = newest
            .as_ref()
            .map_or(Until::Missing, |signed| Until::Size(signed.size()));
        if let Some(newest) = &newest {
            self.walk.hold_against(&newest.checkpoint);
        }
        self.walk.advance(until, &mut self.content, context, pool);
        if let Some(newest) = newest {
            self.judge(&newest, context);
            self.newest = Some(newest);
        }
    }

    /// Follows the log as far as it is published by now.
    pub(super) fn follow_on<'a>(&mut self, context: Context<'a>, pool: &Pool<'a>)
    where
        C: Content<'a>,
    {
        let newest = read_newest(&context, self.walk.log());
        self.follow(newest, context, pool);
        self.walk.compare_edge(context, pool);
        self.walk
            .advance(Until::Missing, &mut self.content, context, pool);
        self.walk.compare_edge(context, pool);
    }

    /// The log's key signed this: is it the log that is published?
    fn judge(&self, newest: &Signed, context: Context<'_>) {
        let place = || Place::file(self.path());
        if let Some(before) = &self.newest
            && newest.size() < before.size()
        {
            context.add(
                Code::CheckpointRollback,
                place(),
                at_most_roll(&context, before.size() - newest.size()),
                format!(
                    "it went back from size {} to {} during the audit",
                    before.size(),
                    newest.size()
                ),
            );
        }
        if let Some(end) = self.walk.end_at(newest.size())
            && end.root != newest.checkpoint.root()
        {
            context.add(
                Code::CheckpointRoot,
                place(),
                Votes::WholeRoll,
                format!(
                    "it names root {} at size {}; the entries make {}; {}",
                    newest.checkpoint.root(),
                    newest.size(),
                    end.root,
                    SignedTree {
                        context,
                        log: self.walk.log(),
                        newest: Some(&newest.checkpoint),
                    }
                    .of_entries(&self.walk)
                ),
            );
        }
    }

    /// "`checkpoint` must be byte-equal to the `checkpoints/<size>` of its size."
    pub(super) fn compare_newest<'a>(&self, context: Context<'a>, pool: &Pool<'a>) {
        let Some(newest) = self.newest.clone() else {
            return;
        };
        let log = self.walk.log();
        pool.run(move || {
            let path = format!("{log}/checkpoints/{}", newest.size());
            // Where it is missing, that is a finding of its own.
            if let Read::File(bytes) = context.read(&path, NOTE_BYTES_MAX)
                && bytes != newest.bytes
            {
                context.add(
                    Code::CheckpointDiffers,
                    Place::file(format!("{log}/checkpoint")),
                    Votes::AtMost(0),
                    format!("it is not byte-equal to {path}"),
                );
            }
        });
    }
}
