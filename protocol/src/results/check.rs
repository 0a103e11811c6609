//! What a `results.json` may not contradict: the manifest, and itself.

use super::{ContestResult, Results, ResultsError, Status, wrong};
use crate::manifest::{Contest, Election, Method};
use crate::tlog_proof::TlogProof;

pub(super) fn cells(results: &Results, election: &Election) -> Result<(), ResultsError> {
    if results.cells.len() != election.manifest().cells.len() {
        return wrong("cells", "must be all of the manifest's");
    }
    for (k, cell) in (0..).zip(&results.cells) {
        if cell.cell != k {
            return wrong(format!("cells[{k}].cell"), "must be its position");
        }
        // "When `final`, the sizes are those of the final head", which are 1 at least: the genesis.
        if cell.size == 0 && results.status == Status::Final {
            return wrong(format!("cells[{k}].size"), "the final head names no size 0");
        }
        // The first tally stands at index 2 at the earliest, after the genesis and a vote; what is longer than a genesis and a close has one.
        let Some(proof) = &cell.proof else {
            if cell.size > 2 {
                return wrong(
                    format!("cells[{k}].proof"),
                    "a log of this size has a tally",
                );
            }
            continue;
        };
        if cell.size < 3 {
            return wrong(format!("cells[{k}].proof"), "there is no tally yet");
        }
        if !TlogProof::parse(proof.as_bytes()).is_ok_and(|proof| proof.index() < cell.size) {
            return wrong(
                format!("cells[{k}].proof"),
                "must be a `.tlog-proof` of an entry below the size",
            );
        }
    }
    Ok(())
}

pub(super) fn contests(results: &Results, election: &Election) -> Result<(), ResultsError> {
    if results.contests.len() != election.contests().len() {
        return wrong("contests", "must be all of the manifest's");
    }
    for (c, (result, contest)) in results.contests.iter().zip(election.contests()).enumerate() {
        one(results, result, contest)
            .or_else(|(member, problem)| wrong(format!("contests[{c}].{member}"), problem))?;
    }
    Ok(())
}

fn one(
    results: &Results,
    result: &ContestResult,
    contest: &Contest,
) -> Result<(), (&'static str, &'static str)> {
    if result.name != contest.name {
        return Err(("name", "must be the manifest's"));
    }
    if result.options != contest.options {
        return Err(("options", "must be the manifest's"));
    }
    if result.counts.len() != contest.options.len() {
        return Err(("counts", "must be one for each option"));
    }
    sums(results, result, contest)?;
    let is_final = results.status == Status::Final;
    // "While not `final`, `rounds`, `tie_broken` and `winner` are null."
    if result.tie_broken.is_some() != is_final {
        return Err(("tie_broken", "must be null until final, and then not"));
    }
    if result.rounds.is_some() != (is_final && contest.method == Method::Ranked) {
        return Err(("rounds", "must be null but for a final ranked contest"));
    }
    let option_in_range =
        |option: Option<u16>| option.is_none_or(|o| usize::from(o) < contest.options.len());
    if (!is_final && result.winner.is_some()) || !option_in_range(result.winner) {
        return Err(("winner", "must be null until final, and then an option"));
    }
    // At least one round, and one option is eliminated in each but the last.
    if let Some(rounds) = &result.rounds
        && !(1..=contest.options.len()).contains(&rounds.len())
    {
        return Err((
            "rounds",
            "must be at least one, and at most one for each option",
        ));
    }
    for round in result.rounds.iter().flatten() {
        let too_many = |count: &u64| *count > results.votes;
        if too_many(&round.exhausted) || round.counts.iter().flatten().any(too_many) {
            return Err((
                "rounds",
                "no round counts more ballots than there are votes",
            ));
        }
        if round.counts.len() != contest.options.len() || !option_in_range(round.eliminated) {
            return Err(("rounds", "each round must have one count for each option"));
        }
    }
    Ok(())
}

/// Every vote is a blank or chooses: one option, or any number where several may be approved.
fn sums(
    results: &Results,
    result: &ContestResult,
    contest: &Contest,
) -> Result<(), (&'static str, &'static str)> {
    if result.blanks < results.abstentions || result.blanks > results.votes {
        return Err((
            "blanks",
            "must be at least the abstentions and at most the votes",
        ));
    }
    let chosen = u128::from(results.votes - result.blanks);
    let sum: u128 = result.counts.iter().copied().map(u128::from).sum();
    let fits = match contest.method {
        Method::Plurality | Method::Ranked => sum == chosen,
        Method::Approval => {
            sum >= chosen
                && result
                    .counts
                    .iter()
                    .all(|count| u128::from(*count) <= chosen)
        }
    };
    if !fits {
        return Err(("counts", "do not fit the number of votes and blanks"));
    }
    Ok(())
}
