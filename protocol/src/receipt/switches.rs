//! Which key may have signed a checkpoint of the receipt, by the switch notices that it carries.

use super::verify::Proof;
use super::{KeySlot, Receipt, ReceiptCode, ReceiptError, fail};
use crate::entry::{Entry, NoticeAction};
use crate::ids::LogId;
use crate::manifest::{Election, LogKeys};

/// The notices, signed by the authority; their place in the heads log is checked by [`Switches::verify`], at the end: a switch of the
/// heads log itself decides under which key.
pub(super) struct Switches {
    cell: LogKeys,
    heads: LogKeys,
    notices: Vec<Notice>,
}

struct Notice {
    log: LogId,
    size: u64,
    proof: Proof,
    is_needed: bool,
}

/// The one key that may have signed a checkpoint.
pub(super) struct Key {
    pub(super) slot: KeySlot,
    pub(super) bytes: [u8; 32],
}

impl Switches {
    pub(super) fn read(receipt: &Receipt, election: &Election) -> Result<Self, ReceiptError> {
        let cell = LogId::Cell(receipt.cell);
        let (Some(cell_keys), Some(heads)) =
            (election.log_keys(cell), election.log_keys(LogId::Heads))
        else {
            return fail(
                ReceiptCode::WrongCell,
                format!("the election has no {cell}"),
            );
        };
        let mut notices: Vec<Notice> = Vec::new();
        for text in &receipt.switches {
            let notice = read_notice(text, election)?;
            // "the cell's before the heads log's"
            let in_order = match notices.last() {
                None => notice.log == cell || notice.log == LogId::Heads,
                Some(before) => before.log == cell && notice.log == LogId::Heads,
            };
            if !in_order {
                return fail(
                    ReceiptCode::Switch,
                    "switch notices must be one of this cell at most, then one of the heads log at most",
                );
            }
            notices.push(notice);
        }
        Ok(Self {
            cell: cell_keys,
            heads,
            notices,
        })
    }

    /// "a checkpoint above a notice's size is signed by that log's spare, any other by its main key"
    pub(super) fn key(&mut self, log: LogId, proof: &Proof) -> Result<Key, ReceiptError> {
        let size = proof.claimed_size()?;
        let keys = match log {
            LogId::Heads => self.heads,
            _ => self.cell,
        };
        let notice = self.notices.iter_mut().find(|notice| notice.log == log);
        Ok(match notice {
            Some(notice) if size > notice.size => {
                notice.is_needed = true;
                Key {
                    slot: KeySlot::Spare,
                    bytes: *keys.spare.as_bytes(),
                }
            }
            _ => Key {
                slot: KeySlot::Main,
                bytes: *keys.main.as_bytes(),
            },
        })
    }

    /// The notices' proofs; call it after every other checkpoint was asked about.
    pub(super) fn verify(mut self, election: &Election) -> Result<(), ReceiptError> {
        let notices = std::mem::take(&mut self.notices);
        let heads_switch = notices.iter().find(|notice| notice.log == LogId::Heads);
        let mut heads_needed = heads_switch.is_some_and(|notice| notice.is_needed);
        for notice in &notices {
            let size = notice.proof.claimed_size()?;
            let by_spare = heads_switch.is_some_and(|switch| size > switch.size);
            // A heads log's switch does not excuse itself: another checkpoint must need it.
            heads_needed |= by_spare && notice.log != LogId::Heads;
            let keys = if by_spare {
                self.heads.spare
            } else {
                self.heads.main
            };
            notice.proof.under_heads(election, *keys.as_bytes())?;
        }
        let all_needed = notices.iter().all(|notice| match notice.log {
            LogId::Heads => heads_needed,
            _ => notice.is_needed,
        });
        if !all_needed {
            return fail(
                ReceiptCode::Switch,
                "the receipt carries a switch notice that none of its checkpoints needs",
            );
        }
        Ok(())
    }
}

fn read_notice(text: &str, election: &Election) -> Result<Notice, ReceiptError> {
    let proof = Proof::parse(text, ReceiptCode::Switch, "a switch notice's proof")?;
    let notice = match Entry::decode(&proof.entry, election) {
        Ok(Entry::Notice(notice)) => notice,
        Ok(other) => {
            return fail(
                ReceiptCode::Switch,
                format!("a switch notice's proof is of a {} entry", other.name()),
            );
        }
        Err(error) => return fail(ReceiptCode::Switch, error.to_string()),
    };
    notice
        .verify(election)
        .or_else(|error| fail(ReceiptCode::Switch, error.to_string()))?;
    let NoticeAction::Switch { log, size, .. } = notice.body.action else {
        return fail(ReceiptCode::Switch, "a notice does not switch keys");
    };
    // "For a switch of the heads log itself, … its `size` is the index of the notice entry."
    if log == LogId::Heads && size != proof.proof.index() {
        return fail(
            ReceiptCode::Switch,
            "a switch of the heads log must name the size at which it stands itself",
        );
    }
    Ok(Notice {
        log,
        size,
        proof,
        is_needed: false,
    })
}
