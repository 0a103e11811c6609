//! Whether what is wrong was signed. Nobody signs a batch file: whoever serves the files can change one, and needs no key for it. What the log's key signed is the
//! checkpoint, and the published tiles show what it covers.

use std::cell::OnceCell;

use protocol::checkpoint::Checkpoint;
use protocol::ids::LogId;
use protocol::merkle::Hash;

use super::context::{Context, Unread};
use super::walk::{End, Walk};
use crate::finding::{Code, Finding, Findings};
use crate::progress::Progress;
use crate::prove;

/// What to do about a copy that is not what was signed.
const ANOTHER_COPY: &str = "this copy is damaged, or was changed by whoever serves it: audit another copy or a mirror, and where both have a signed checkpoint, `consistency` tells whether the log's key signed two histories";

/// A log under its newest signed checkpoint.
pub(super) struct SignedTree<'a> {
    pub(super) context: Context<'a>,
    pub(super) log: LogId,
    pub(super) newest: Option<&'a Checkpoint>,
}

impl SignedTree<'_> {
    /// The root that the signed tree has at this size, where the published tiles show it.
    fn root_at(&self, size: u64) -> Option<Hash> {
        let newest = self
            .newest
            .filter(|newest| size > 0 && size <= newest.size())?;
        let (findings, unread) = (Findings::new(1), Unread::default());
        let progress = Progress::hidden();
        // What is wrong with the tiles is found where they are compared.
        let context = Context {
            findings: &findings,
            unread: &unread,
            progress: &progress,
            ..self.context
        };
        prove::prefix(&context, self.log, newest, size).map(|(root, _)| root)
    }

    /// Of a batch at which the log can be followed no further: `followed` is how far it was, `entries` where the batch's own entries lead, if it can be decoded.
    pub(super) fn of_batch(&self, followed: (u64, Hash), entries: Option<(u64, Hash)>) -> String {
        let Some(newest) = self.newest else {
            return format!(
                "no signed checkpoint of the log is here to hold it against, and no key signs a batch file: {ANOTHER_COPY}"
            );
        };
        let covers_other = |what: &str| {
            format!(
                "the signed checkpoint of size {} does not cover these entries{what}: {ANOTHER_COPY}",
                newest.size()
            )
        };
        if self
            .root_at(followed.0)
            .is_some_and(|root| root != followed.1)
        {
            return covers_other(", and already an earlier batch is another than was signed");
        }
        let Some((size, root)) = entries else {
            return format!(
                "no key signs a batch file, so this says nothing about what was signed: {ANOTHER_COPY}"
            );
        };
        if size > newest.size() {
            return covers_other(": they lead beyond it");
        }
        match self.root_at(size) {
            Some(signed) if signed == root => format!(
                "its entries are those that were signed, and only the file around them, which nobody signs, is wrong: {ANOTHER_COPY}"
            ),
            Some(_) => covers_other(""),
            None => format!(
                "whether the signed checkpoint of size {} covers these entries cannot be told, since no tiles here show its tree: audit another copy or a mirror",
                newest.size()
            ),
        }
    }

    /// How many of the batches that were followed are of the signed tree. `None`: the tiles do not show it.
    fn covered(&self, walk: &Walk) -> Option<usize> {
        let newest = self.newest?;
        let is_covered = |end: &End| match self.root_at(end.size) {
            Some(root) => Some(root == end.root),
            None => (end.size > newest.size()).then_some(false),
        };
        let within = walk.ends().partition_point(|end| end.size <= newest.size());
        let ends = walk.ends().get(..within)?;
        // Roots that agree at one size agree at every smaller one.
        if ends
            .last()
            .is_none_or(|last| is_covered(last) == Some(true))
        {
            return Some(within);
        }
        let mut told = true;
        let covered = ends.partition_point(|end| {
            let is_covered = is_covered(end);
            told &= is_covered.is_some();
            is_covered == Some(true)
        });
        told.then_some(covered)
    }

    /// Of entries that all fit together, and make another root than the signed one.
    pub(super) fn of_entries(&self, walk: &Walk) -> String {
        match self.covered(walk) {
            // Where nobody shows a tree of the signed root, the last batch alone tells nothing.
            Some(first) if first + 1 < walk.ends().len() || first == 0 => format!(
                "the tiles show the tree that it covers, and that holds other entries from {}/batches/{first} on: {ANOTHER_COPY}",
                self.log
            ),
            _ => "what it covers is not shown: either these batches were changed, for which nobody needs a key, or the log's key signed another history. Audit another copy or a mirror".to_owned(),
        }
    }

    /// Says of findings in batches that were followed whether the log's key signed what breaks a rule.
    pub(super) fn amend(&self, walk: &Walk) {
        let Some(newest) = self.newest else { return };
        let covered = OnceCell::new();
        self.context.findings.amend(|finding| {
            let end = of_batch_followed(walk, finding)?;
            if walk.ends().get(end)?.size > newest.size() {
                return None;
            }
            let covered = *covered.get_or_init(|| self.covered(walk));
            covered.map(|covered| {
                if end < covered {
                    "the log's key signed these bytes as they are".to_owned()
                } else {
                    format!(
                        "the signed checkpoint of size {} does not cover these bytes: {ANOTHER_COPY}",
                        newest.size()
                    )
                }
            })
        });
    }
}

/// The number of the batch in which something stands that breaks a rule.
fn of_batch_followed(walk: &Walk, finding: &Finding) -> Option<usize> {
    let is_of_the_file = matches!(
        finding.code,
        Code::BatchMalformed
            | Code::BatchForeign
            | Code::BatchChain
            | Code::MissingFile
            | Code::FileTooLarge
            | Code::NotAFile
            | Code::ForeignFile
    );
    let n = finding
        .place
        .file
        .strip_prefix(&format!("{}/batches/", walk.log()))?;
    n.parse().ok().filter(|_| !is_of_the_file)
}
