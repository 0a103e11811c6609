//! When a notice is allowed, and what it changes.

use crate::entry::{NoticeAction, NoticeBody};
use crate::ids::LogId;
use crate::merkle::Hash;

use super::HeadsLog;
use crate::grammar::{Freeze, GrammarCode, GrammarError, Switch};

impl HeadsLog {
    pub(super) fn take_notice(
        &mut self,
        body: &NoticeBody,
        index: u64,
    ) -> Result<(), GrammarError> {
        // "sequences are 0, 1, 2, … over the heads log"
        if body.sequence != self.next_sequence {
            return Err(GrammarError {
                code: GrammarCode::NoticeSequence,
                index,
                message: format!(
                    "notice {} stands where notice {} must",
                    body.sequence, self.next_sequence
                ),
            });
        }
        self.check_notice(&body.action, index)
            .map_err(|problem| GrammarError {
                code: GrammarCode::Notice,
                index,
                message: format!("notice {}: {problem}", body.sequence),
            })?;
        match body.action {
            NoticeAction::Extend { closing } => self.schedule.closing = closing,
            NoticeAction::Cancel => self.schedule.cancelled = Some(index),
            NoticeAction::Freeze { log } => {
                let freeze = Freeze {
                    notice: index,
                    time: None,
                };
                self.schedule.freezes.insert(log, freeze);
            }
            NoticeAction::Switch { log, size, root } => {
                let switch = Switch {
                    notice: index,
                    size,
                    root,
                };
                self.schedule.switches.insert(log, switch);
            }
        }
        self.next_sequence = self.next_sequence.saturating_add(1);
        Ok(())
    }

    fn check_notice(&self, action: &NoticeAction, index: u64) -> Result<(), String> {
        let schedule = &self.schedule;
        match *action {
            NoticeAction::Extend { closing } => {
                let in_force = schedule.closing;
                // "must be later than the one in force"
                if closing <= in_force {
                    return Err(format!(
                        "the new closing time {closing} is not later than {in_force}"
                    ));
                }
                // "and not above `retention`": anchors are locked no longer than that.
                let retention = self.at.election.manifest().retention;
                if closing > retention {
                    return Err(format!(
                        "the new closing time {closing} is later than {retention}, until when anchors are locked"
                    ));
                }
                // "An `extend` after the closing time in force (by the time of the last head before it) … is a finding."
                match &self.last_head {
                    Some((_, head)) if head.time > in_force => Err(format!(
                        "it extends after the closing time {in_force}: the last head was made at {}",
                        head.time
                    )),
                    _ => Ok(()),
                }
            }
            // "or a second notice of one effect on the same log, is a finding"
            NoticeAction::Cancel => match schedule.cancelled {
                Some(_) => Err("the election was cancelled before".to_owned()),
                None => Ok(()),
            },
            NoticeAction::Freeze { log } => match schedule.freeze(log) {
                Some(_) => Err(format!("{log} was frozen before")),
                None => Ok(()),
            },
            NoticeAction::Switch { log, size, root } => {
                if schedule.switch(log).is_some() {
                    return Err(format!("{log} was switched before"));
                }
                self.check_switch(log, size, root, index)
            }
        }
    }

    fn check_switch(&self, log: LogId, size: u64, root: Hash, index: u64) -> Result<(), String> {
        let Some(position) = self.at.election.head_position(log) else {
            // "For a switch of the heads log itself, … its `size` is the index of the notice entry."
            return if (size, root) == (index, self.tree.root()) {
                Ok(())
            } else {
                Err(format!(
                    "it must name the heads log's size {index} and its root"
                ))
            };
        };
        // "A switch names no size below the last head's": a size that a head names has its checkpoint by the main key.
        match self.known.get(position) {
            Some(known) if size < known.size => Err(format!(
                "it names size {size} of {log}, and the last head names {}",
                known.size
            )),
            Some(known) if size == known.size && root != known.root => {
                Err(format!("it names another root of {log} than the last head"))
            }
            _ => Ok(()),
        }
    }
}
