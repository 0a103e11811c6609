//! Anchors: what was locked away of the heads log, object by object, against the heads log as it is published.

use protocol::anchor::{ANCHOR_LEN_MAX, AnchorError, AnchorObject};
use protocol::ids::LogId;
use protocol::merkle::{CompactRange, Hash, leaf_hash};
use protocol::note::NOTE_BYTES_MAX;

use super::ahead::Ahead;
use super::checkpoint::verify;
use super::context::{Context, Read};
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};
use crate::source::Fetched;
use crate::work::Pool;

/// The objects of one anchor, as far as they chain.
pub(super) struct Chain {
    name: String,
    /// The heads log, rebuilt from the objects alone.
    tree: CompactRange,
    objects: Vec<Object>,
    /// Objects already compared with the heads log.
    judged: usize,
    stopped: bool,
}

/// What an object says: this note was the heads log's checkpoint, over the entries up to here.
struct Object {
    size: u64,
    /// The root that the anchored entries make.
    root: Hash,
    note: Vec<u8>,
}

impl Chain {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            tree: CompactRange::new(),
            objects: Vec::new(),
            judged: 0,
            stopped: false,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn objects(&self) -> u64 {
        self.objects.len() as u64
    }

    /// The size of the heads log that is anchored.
    pub(super) const fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(super) const fn stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.objects.iter().map(|object| object.size)
    }

    fn path(&self, n: u64) -> String {
        format!("anchors/{}/{n}", self.name)
    }

    /// Reads on, up to the first number without an object.
    pub(super) fn advance(&mut self, context: Context<'_>) {
        if self.stopped {
            return;
        }
        let folder = format!("anchors/{}", self.name);
        std::thread::scope(|scope| {
            let mut ahead = Ahead::start(
                scope,
                context.source,
                &folder,
                self.objects(),
                ANCHOR_LEN_MAX,
            );
            while !self.stopped {
                match ahead.next() {
                    Ok(Fetched::File(bytes)) => self.take(&bytes, context),
                    Ok(Fetched::Missing) => return,
                    Ok(Fetched::TooLarge) => self.stop(
                        Code::FileTooLarge,
                        "it has more bytes than an anchored object may have",
                        context,
                    ),
                    Ok(Fetched::NotAFile) => self.stop(
                        Code::NotAFile,
                        "a symbolic link, a folder or a device has this name; it was not followed",
                        context,
                    ),
                    Err(error) => {
                        context.unread.add(&error);
                        self.stopped = true;
                    }
                }
            }
        });
    }

    fn stop(&mut self, code: Code, evidence: &str, context: Context<'_>) {
        self.stopped = true;
        context.add(
            code,
            Place::at(self.path(self.objects()), self.objects()),
            Votes::AtMost(0),
            format!("{evidence}; this anchor was followed no further"),
        );
    }

    fn take(&mut self, bytes: &[u8], context: Context<'_>) {
        let n = self.objects();
        let object = match AnchorObject::decode(bytes, &context.election.id()) {
            Ok(object) => object,
            Err(error) => {
                let what = match error {
                    AnchorError::Label => {
                        "it is another election's, or no anchored object".to_owned()
                    }
                    other => other.to_string(),
                };
                self.stop(Code::AnchorMalformed, &what, context);
                return;
            }
        };
        if object.n != n {
            self.stop(
                Code::AnchorMalformed,
                &format!("it is object {}", object.n),
                context,
            );
            return;
        }
        // "Old size is object n - 1's new size (0 for n = 0)".
        if object.old_size != self.tree.size() {
            let what = format!(
                "it continues size {}, and the object before it ends at {}",
                object.old_size,
                self.tree.size()
            );
            self.stop(Code::AnchorConflict, &what, context);
            return;
        }
        for entry in &object.entries {
            self.tree.push(leaf_hash(entry));
        }
        self.objects.push(Object {
            size: object.new_size,
            root: self.tree.root(),
            note: object.note.to_vec(),
        });
    }

    /// Compares the objects that the heads log reaches by now, and were not compared before.
    pub(super) fn judge<'a>(&mut self, heads: &Walk, context: Context<'a>, pool: &Pool<'a>) {
        while let Some(object) = self.objects.get(self.judged) {
            if object.size > heads.size() {
                return;
            }
            self.judge_object(self.judged as u64, object, heads, context, pool);
            self.judged += 1;
        }
    }

    fn judge_object<'a>(
        &self,
        n: u64,
        object: &Object,
        heads: &Walk,
        context: Context<'a>,
        pool: &Pool<'a>,
    ) {
        let path = self.path(n);
        match heads.end_at(object.size) {
            Some(end) if end.root == object.root => {}
            Some(end) => {
                context.add(
                    Code::AnchorConflict,
                    Place::at(path, n),
                    Votes::WholeRoll,
                    format!(
                        "its entries make root {} at size {}; the heads log's make {}. Its note is {}",
                        object.root,
                        object.size,
                        end.root,
                        describe(&object.note, context)
                    ),
                );
                return;
            }
            None => {
                context.add(
                    Code::AnchorConflict,
                    Place::at(path, n),
                    Votes::WholeRoll,
                    format!(
                        "it ends at size {}, where no batch of the heads log ends",
                        object.size
                    ),
                );
                return;
            }
        }
        // "the note is the byte-exact `checkpoints/<new size>` of the heads log"
        let (size, note) = (object.size, object.note.clone());
        pool.run(move || {
            // Where the file is missing, that is a finding of its own.
            let published = match context.read(&format!("heads/checkpoints/{size}"), NOTE_BYTES_MAX)
            {
                Read::File(published) => published,
                _ => return,
            };
            if published != note {
                context.add(
                    Code::AnchorConflict,
                    Place::at(path, n),
                    Votes::WholeRoll,
                    format!(
                        "its note is not byte-equal to heads/checkpoints/{size}; it is {}",
                        describe(&note, context)
                    ),
                );
            }
        });
    }

    /// Objects that name sizes which the published heads log does not reach: it was cut short, or is about to grow.
    pub(super) fn is_ahead_of(&self, heads: &Walk) -> bool {
        self.objects
            .last()
            .is_some_and(|last| last.size > heads.size())
    }

    /// What is still ahead when waiting did not help.
    pub(super) fn judge_ahead(&self, heads: &Walk, context: Context<'_>) {
        if heads.stopped() {
            return;
        }
        for (n, object) in (0..).zip(&self.objects).skip(self.judged) {
            context.add(
                Code::CheckpointRollback,
                Place::at(self.path(n), n),
                Votes::WholeRoll,
                format!(
                    "it holds the heads log up to size {}, and heads/checkpoint ends at {}. Its note is {}",
                    object.size,
                    heads.size(),
                    describe(&object.note, context)
                ),
            );
        }
    }
}

fn describe(note: &[u8], context: Context<'_>) -> String {
    match verify(context.election, LogId::Heads, note) {
        (Some(signed), None) => format!(
            "validly signed by the heads log's key over size {} and root {}",
            signed.size(),
            signed.checkpoint.root()
        ),
        (_, Some((_, fault))) => format!("not valid: {fault}"),
        (None, None) => "not valid".to_owned(),
    }
}
