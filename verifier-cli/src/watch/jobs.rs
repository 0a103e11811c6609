//! What waits for others runs in threads, so that whoever does not answer holds up nobody else: looks at sources, and questions to witnesses.
//!
//! A thread that is not done when its round ends goes on; what it comes to is taken in a later round, and it is not started again before.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use protocol::manifest::Election;

use super::keep::KeepError;
use super::look::{Looked, Watched, look};
use super::memory::Memory;
use super::observe::{Observer, Shows};
use super::timed::{Limits, Timed, Until};
use crate::ask::{Shown, ask};
use crate::audit::context::{Context, Unread};
use crate::finding::Findings;
use crate::progress::Progress;

/// What a thread came to.
pub(super) enum Done {
    /// The n-th source was looked at.
    Look(usize, Box<(Watched, Looked)>),
    /// The n-th witness answered, or did not.
    Asked(usize, Result<Box<Shown>, String>),
    /// What the n-th witness holds was held against what was seen.
    Compared(usize, Box<Compared>),
}

/// What a witness's checkpoint came to.
pub(super) struct Compared {
    pub(super) shown: Shown,
    pub(super) findings: Findings,
    pub(super) unread: Unread,
    pub(super) failed: Option<KeepError>,
}

/// Something that may be under way.
#[derive(Default)]
pub(super) struct Task(Option<JoinHandle<()>>);

impl Task {
    pub(super) const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// It ended without a word.
    fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(JoinHandle::is_finished)
    }

    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

/// Starts threads, and hears from them.
pub(super) struct Jobs {
    memory: Arc<Memory>,
    pub(super) limits: Limits,
    sender: Sender<Done>,
    receiver: Receiver<Done>,
}

impl Jobs {
    pub(super) fn new(memory: Arc<Memory>) -> Self {
        let (sender, receiver) = channel();
        Self {
            memory,
            limits: Limits::default(),
            sender,
            receiver,
        }
    }

    /// The next that is done before this moment, if any.
    pub(super) fn next(&self, until: Instant) -> Option<Done> {
        let left = until.saturating_duration_since(Instant::now());
        self.receiver.recv_timeout(left).ok()
    }

    /// Frees those that ended without a word, once all words were heard.
    pub(super) fn free<'t>(&self, tasks: impl Iterator<Item = &'t mut Task>) {
        for task in tasks.filter(|task| task.is_lost()) {
            task.end();
        }
    }

    fn start(&self, task: &mut Task, job: impl FnOnce(&Memory, &Limits) -> Done + Send + 'static) {
        let (memory, limits, sender) = (Arc::clone(&self.memory), self.limits, self.sender.clone());
        task.0 = Some(std::thread::spawn(move || {
            let done = job(&memory, &limits);
            // The memory is let go of first: whoever hears of the end may end the watch.
            drop(memory);
            // Nobody listens any more where the watch has ended.
            let _ = sender.send(done);
        }));
    }

    pub(super) fn look(&self, n: usize, task: &mut Task, mut watched: Watched) {
        self.start(task, move |memory, limits| {
            let looked = look(memory, &mut watched, limits);
            Done::Look(n, Box::new((watched, looked)))
        });
    }

    pub(super) fn ask(&self, n: usize, task: &mut Task, url: &str, election: &Election) {
        let (urls, election) = ([url.to_owned()], election.clone());
        self.start(task, move |_, _| {
            let answer = ask(&urls, &election).pop();
            let answer = answer.unwrap_or_else(|| Err("it was not asked".to_owned()));
            Done::Asked(n, answer.map(Box::new))
        });
    }

    /// What a witness holds is held against what was seen, and kept with it.
    pub(super) fn compare(&self, n: usize, task: &mut Task, shown: Shown, election: &Election) {
        let election = election.clone();
        self.start(task, move |memory, limits| {
            let until = Until::of(limits.look);
            let (findings, unread) = (
                Findings::new(election.manifest().roll.size),
                Unread::default(),
            );
            let first = memory.first_located();
            let mut failed = None;
            if let Some((given, located)) = &first {
                let located = Timed::located(located, &until);
                let progress = Progress::hidden();
                let context = Context {
                    election: &election,
                    source: located.source.as_ref(),
                    findings: &findings,
                    unread: &unread,
                    progress: &progress,
                };
                let observer = Observer {
                    memory,
                    context: &context,
                    given,
                    until: &until,
                    shows: Shows::Checkpoint,
                };
                failed = observer.observe_held(&shown.held).err();
            }
            let compared = Compared {
                shown,
                findings,
                unread,
                failed,
            };
            Done::Compared(n, Box::new(compared))
        });
    }
}
