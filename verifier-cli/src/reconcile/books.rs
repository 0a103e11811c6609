//! Reading the books: each cell's last tally, and each issuance log back to its newest count.

use protocol::checkpoint::Checkpoint;
use protocol::entry::{Count, Entry, TallyTotals};
use protocol::ids::LogId;

use super::{
    CellBooks, Moment, ReconcileVerdict, Refusals, RegistrarBooks, ShardBooks, identities,
};
use crate::audit::context::Context;
use crate::audit::heads_reader::{self, HeadsToday};
use crate::counted::{self, Patience};
use crate::finding::{Code, Place, Votes};
use crate::prove;

/// Makes the books, and says what must hold of them. `None`: something could not be shown; why, was written down.
pub(super) fn make(context: &Context<'_>, verdict: &mut ReconcileVerdict) -> Option<()> {
    let election = context.election;
    context.progress.stage("heads");
    let heads = heads_reader::read(context)?;
    verdict.at = Some(if heads.is_final {
        Moment::FinalHead
    } else {
        Moment::NewestCheckpoints
    });
    let patience = Patience::new();
    let mut totals = TallyTotals::zero(election.contests());
    // The cells before the issuance logs: every vote was preceded by its issuances.
    context.progress.stage("cells");
    for cell in 0..election.cells() {
        let log = LogId::Cell(cell);
        let Some(tree) = counted::tree(context, &heads, log, patience)? else {
            verdict.cells.push(CellBooks {
                cell,
                size: 0,
                batches: 0,
                votes: 0,
                abstentions: 0,
            });
            continue;
        };
        let end = counted::cell_end(context, log, &tree)?;
        let of_cell = end.totals(election);
        verdict.cells.push(CellBooks {
            cell,
            size: tree.size(),
            batches: end.batches(),
            votes: of_cell.votes,
            abstentions: of_cell.abstentions,
        });
        if totals.merge(&of_cell).is_none() {
            context.add(
                Code::TallyWrong,
                Place::file(format!("{log}/checkpoint")),
                Votes::WholeRoll,
                "its totals are too large to add",
            );
            return None;
        }
    }
    verdict.votes = totals.votes;
    verdict.abstentions = totals.abstentions;
    context.progress.stage("issuance");
    for registrar in (0u16..).take(election.manifest().registrars.len()) {
        let mut books = read_registrar(context, &heads, registrar, patience)?;
        // Before the final head, sizes of different moments may have been read: a cache's, or those of a folder that was copied while votes were cast.
        while !heads.is_final && books.issued < totals.votes && patience.waits() {
            books = read_registrar(context, &heads, registrar, patience)?;
        }
        books.not_issued = verdict.roll.saturating_sub(books.issued);
        books.unused = books.issued.saturating_sub(totals.votes);
        verdict.registrars.push(books);
    }
    verdict.unused_credentials = verdict.registrars.iter().map(|books| books.unused).min();
    verdict.voters_without_vote = Some(verdict.roll.saturating_sub(totals.votes));
    identities::judge(context, verdict, &totals);
    Some(())
}

/// Reads the issuance logs of a registrar. `None`: one could not be shown, or is wrong; why, was written down.
fn read_registrar(
    context: &Context<'_>,
    heads: &HeadsToday,
    registrar: u16,
    patience: Patience,
) -> Option<RegistrarBooks> {
    let election = context.election;
    let named = election.manifest().registrars.get(usize::from(registrar))?;
    let mut books = RegistrarBooks {
        registrar,
        name: named.name.clone(),
        issued: 0,
        not_issued: 0,
        unused: 0,
        refused: Refusals::default(),
        shards: Vec::new(),
    };
    for shard in (0u32..).take(named.shards.len()) {
        let log = LogId::Issuance { registrar, shard };
        let mut of_shard = ShardBooks {
            shard,
            size: 0,
            closed: false,
            roll: election.voters_of_shard(registrar, shard),
            issued: 0,
            refused: Refusals::default(),
        };
        if let Some(tree) = counted::tree(context, heads, log, patience)? {
            read_shard(context, log, &tree, &mut of_shard)?;
        }
        books.issued = books.issued.saturating_add(of_shard.issued);
        books.refused.add(of_shard.refused);
        books.shards.push(of_shard);
    }
    Some(books)
}

/// Reads an issuance log from its end back to its newest count, into the books of its shard.
///
/// It is as long as whoever holds its key makes it: more issuances in a row than the shard has voters end the reading.
fn read_shard(
    context: &Context<'_>,
    log: LogId,
    tree: &Checkpoint,
    books: &mut ShardBooks,
) -> Option<()> {
    books.size = tree.size();
    let mut closed_at = None;
    let mut after = 0u64;
    let mut end = tree.size();
    while end > 0 {
        let (first, entries) = prove::entries_around(context, log, tree, end - 1)?;
        for (index, bytes) in (first..end).rev().zip(entries.iter().rev()) {
            let issued = match Entry::decode(bytes, context.election) {
                Ok(Entry::Issuance(_)) => {
                    after += 1;
                    continue;
                }
                Ok(Entry::Close(close)) if index + 1 == tree.size() => {
                    books.closed = true;
                    closed_at = Some((index, close.count));
                    continue;
                }
                Ok(Entry::Count(count)) => {
                    take_count(context, log, index, &count, books);
                    count.issued
                }
                Ok(Entry::Genesis(_)) if index == 0 => 0,
                _ => {
                    context.add(
                        Code::GrammarBroken,
                        Place::at(format!("{log}/checkpoint"), index),
                        Votes::AtMost(1),
                        "the entry at this index is none that may stand there",
                    );
                    return None;
                }
            };
            books.issued = issued.saturating_add(after);
            if let Some((index, count)) = closed_at
                && count != books.issued
            {
                context.add(
                    Code::CloseWrong,
                    Place::at(format!("{log}/checkpoint"), index),
                    Votes::AtMost(count.abs_diff(books.issued)),
                    format!(
                        "the close names {count} issuances, and the log {}",
                        books.issued
                    ),
                );
            }
            return Some(());
        }
        if after > books.roll {
            context.add(
                Code::IssuedExceedsRoll,
                Place::at(format!("{log}/checkpoint"), first),
                Votes::AtMost(after - books.roll),
                format!(
                    "from here on it issues {after} credentials without a count, and the shard has {} voters",
                    books.roll
                ),
            );
            return None;
        }
        end = first;
    }
    context.add(
        Code::GrammarBroken,
        Place::at(format!("{log}/checkpoint"), 0),
        Votes::AtMost(1),
        "the log does not begin with its genesis",
    );
    None
}

/// Takes a count entry's numbers. Before it stand the genesis and all that it counts, at least.
fn take_count(
    context: &Context<'_>,
    log: LogId,
    index: u64,
    count: &Count,
    books: &mut ShardBooks,
) {
    let [unknown_code, other_message, outside_period, malformed] = count.refused.to_array();
    books.refused = Refusals {
        unknown_code,
        other_message,
        outside_period,
        malformed,
    };
    let room = index.saturating_sub(1);
    if count.issued > room {
        context.add(
            Code::CountWrong,
            Place::at(format!("{log}/checkpoint"), index),
            Votes::AtMost(count.issued - room),
            format!(
                "it counts {} issuances, and at most {room} can stand before it",
                count.issued
            ),
        );
    }
}
