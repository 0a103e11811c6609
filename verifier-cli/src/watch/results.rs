//! Results, as a look reads them: how long they may be, and what they are held against.

use std::collections::BTreeMap;

use protocol::ids::LogId;
use protocol::manifest::{Election, Method};
use protocol::results::{RESULTS_LEN_MAX, Results};
use sha2::{Digest as _, Sha256};

use crate::audit::checkpoint::Signed;
use crate::audit::context::Context;
use crate::audit::heads_reader::HeadsToday;
use crate::result;

/// Bytes of a cell's part of results.json: its proof, and the tally in it.
const PART_LEN_MAX: usize = 128 << 10;
/// Bytes of a number in it, with what surrounds it.
const NUMBER_LEN_MAX: usize = 32;

/// Results, and the newest head, against the cells. Whether results were not due is known from the round before, and for the next.
pub(super) fn judge_results(
    was_overdue: &mut bool,
    context: &Context<'_>,
    heads: &HeadsToday,
    newest: &BTreeMap<LogId, Signed>,
    results: Option<&Results>,
) {
    let cells: Vec<Option<Signed>> = (0..context.election.cells())
        .map(|cell| newest.get(&LogId::Cell(cell)).cloned())
        .collect();
    result::judge_head(context, heads, &cells);
    let Some(results) = results else { return };
    // Just after the final head, results may be about to follow: the next round finds them, or finds that they do not.
    let is_due = result::is_due(results, heads);
    let was_overdue = std::mem::replace(was_overdue, !is_due);
    if is_due || was_overdue {
        result::check(context, heads, &cells, results);
    } else {
        // Whatever they call themselves, their numbers are sums of signed tallies at any time.
        let as_they_say = result::as_they_say(heads, results);
        result::check(context, &as_they_say, &cells, results);
    }
}

/// The most bytes that this election's results can have.
pub(super) fn results_len_max(election: &Election) -> usize {
    let numbers: usize = election
        .contests()
        .iter()
        .map(|contest| {
            let options = contest.options.len();
            // Each round of a run-off drops an option.
            let rounds = if contest.method == Method::Ranked {
                options
            } else {
                0
            };
            options.saturating_mul(rounds + 2)
        })
        .fold(0, usize::saturating_add);
    // Names are the manifest's; in JSON, a character of it has six bytes at most.
    let names = election.manifest_bytes().len().saturating_mul(6);
    usize::try_from(election.cells())
        .unwrap_or(usize::MAX)
        .saturating_mul(PART_LEN_MAX)
        .saturating_add(numbers.saturating_mul(NUMBER_LEN_MAX))
        .saturating_add(names)
        .min(RESULTS_LEN_MAX)
}

pub(super) fn fingerprint(
    results: Option<&Results>,
    heads: Option<&HeadsToday>,
    newest: &BTreeMap<LogId, Signed>,
) -> [u8; 32] {
    let mut digest = Sha256::new();
    let results = results.and_then(|results| results.to_bytes().ok());
    let heads = heads.map(|heads| heads.newest.bytes.as_slice());
    let notes = newest.values().map(|signed| signed.bytes.as_slice());
    for bytes in [results.as_deref(), heads]
        .into_iter()
        .flatten()
        .chain(notes)
    {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    digest.finalize().into()
}
