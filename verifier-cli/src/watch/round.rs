//! The parts of a round: what is started, and what is made of what comes back.

use std::time::Instant;

use protocol::ids::LogId;
use protocol::manifest::Election;

use super::jobs::{Compared, Done};
use super::judge::{Shown, allowed_age};
use super::keep::KeepError;
use super::look::{Looked, Watched};
use super::{Say, Watcher};
use crate::finding::{Code, Place, Votes};

impl Watcher {
    /// Hears what ends until this moment, or until it is over.
    pub(super) fn wait(
        &mut self,
        until: Instant,
        shown: &mut Shown,
        now: Option<u64>,
        say: Say<'_>,
        is_over: impl Fn(&Self) -> bool,
    ) -> Result<(), KeepError> {
        while !is_over(self) {
            let Some(done) = self.jobs.next(until) else {
                break;
            };
            self.take(done, shown, now, say)?;
        }
        Ok(())
    }

    pub(super) fn take(
        &mut self,
        done: Done,
        shown: &mut Shown,
        now: Option<u64>,
        say: Say<'_>,
    ) -> Result<(), KeepError> {
        let failed = match done {
            Done::Look(n, done) => {
                let (watched, looked) = *done;
                self.take_look(n, watched, looked, shown)
            }
            Done::Asked(n, answer) => {
                if let Some(witness) = self.witnesses.get_mut(n) {
                    witness.task.end();
                    match answer {
                        Ok(answer) => {
                            witness.answer = Some(*answer);
                            witness.heard_in = self.round;
                        }
                        Err(problem) => self.alarms.unread(&witness.name, problem),
                    }
                }
                None
            }
            Done::Compared(n, compared) => self.take_witness(n, *compared, shown, now),
        };
        // Whatever was found is said, also where it could not be kept.
        let said = self.say(say);
        failed.map_or(said, Err)
    }

    fn take_look(
        &mut self,
        n: usize,
        watched: Watched,
        looked: Looked,
        shown: &mut Shown,
    ) -> Option<KeepError> {
        let source = self.sources.get_mut(n)?;
        source.task.end();
        source.seen.clone_from(&watched.seen);
        source.watched = Some(watched);
        if let Some(election) = self.memory.election() {
            self.alarms.set_patience(allowed_age(&election));
        }
        self.alarms
            .take(&source.given, &looked.findings, &looked.unread);
        let mut inner = self.memory.lock();
        if looked.cut {
            shown.cut += 1;
            inner.slow.insert(source.given.clone());
        } else {
            inner.slow.remove(&source.given);
        }
        drop(inner);
        shown.heads_read |= looked.heads_read;
        shown.heads_missing |= looked.heads_missing;
        shown.is_final |= looked.is_final;
        shown.cancelled |= looked.cancelled;
        for (log, size) in looked.sizes {
            let (sources, largest) = shown.logs.entry(log).or_default();
            sources.insert(n);
            *largest = size.max(*largest);
        }
        if let Some(head) = looked.head {
            shown.head_time = shown.head_time.max(Some(head.head.time));
            if shown
                .newest
                .as_ref()
                .is_none_or(|newest| newest.size < head.size)
            {
                shown.newest = Some(head);
            }
        }
        looked.failed
    }

    /// What witnesses hold is held against what the sources show. `None` or what went wrong.
    fn take_witness(
        &mut self,
        n: usize,
        compared: Compared,
        shown: &Shown,
        now: Option<u64>,
    ) -> Option<KeepError> {
        let witness = self.witnesses.get_mut(n)?;
        witness.task.end();
        let election = self.memory.election()?;
        let heads = shown.logs.get(&LogId::Heads);
        let (answered, largest) = heads.map_or((0, 0), |(sources, size)| (sources.len(), *size));
        let size = compared.shown.checkpoint().size();
        let time = compared.shown.time;
        if answered == self.sources.len()
            && largest < size
            && now.is_some_and(|now| now.saturating_sub(time) > allowed_age(&election))
        {
            compared.findings.add(
                Code::CheckpointRollback,
                Place::file("heads/checkpoint"),
                Votes::WholeRoll,
                format!(
                    "a witness cosigned size {size}, and every source shows at most size {largest}: the log was cut, or all sources are older copies"
                ),
            );
        }
        self.alarms
            .take_at_once(&witness.name, &compared.findings, &compared.unread);
        compared.failed
    }

    /// Asks every witness, once it is known which election this is.
    pub(super) fn ask(&mut self) {
        let Some(election) = self.memory.election() else {
            return;
        };
        for (n, witness) in self.witnesses.iter_mut().enumerate() {
            if !witness.task.is_running() {
                witness.asked_in = self.round;
                self.jobs.ask(n, &mut witness.task, &witness.url, &election);
            }
        }
    }

    /// Asks them where nobody was asked in this round yet; says whether that is so.
    pub(super) fn ask_first(&mut self) -> bool {
        let is_first = self.memory.election().is_some()
            && self.witnesses.iter().all(|witness| witness.asked_in == 0);
        if is_first {
            self.ask();
        }
        is_first
    }

    pub(super) fn look(&mut self) {
        for (n, source) in self.sources.iter_mut().enumerate() {
            if source.task.is_running() {
                continue;
            }
            let new = || Watched::new(&source.given, &source.seen);
            let watched = source.watched.take().unwrap_or_else(new);
            self.jobs.look(n, &mut source.task, watched);
        }
    }

    /// The round goes on without those that have not ended.
    pub(super) fn leave_behind(&mut self, shown: &mut Shown) {
        let mut inner = self.memory.lock();
        for source in self
            .sources
            .iter()
            .filter(|source| source.task.is_running())
        {
            shown.cut += 1;
            inner.slow.insert(source.given.clone());
            let problem = "the look at it has not ended in its time; nobody else waits for it";
            self.alarms.unread(&source.given, problem.to_owned());
            self.alarms.carry(&source.given);
        }
    }

    pub(super) fn compare(&mut self, election: &Election) {
        for (n, witness) in self.witnesses.iter_mut().enumerate() {
            if !witness.task.is_running()
                && let Some(answer) = witness.answer.take()
            {
                self.jobs.compare(n, &mut witness.task, answer, election);
            }
        }
    }
}
