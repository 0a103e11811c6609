//! What of a run-off can be checked without the ballots: its first round is the tallies', each round follows from the rule and the one before it, and the winner from the last.
//!
//! Which ballots move where, the tallies do not say. So the rounds behind the first, and with them the winner, are not verified here; but where there is only one.

use protocol::count::{Round, Step, step};
use protocol::manifest::Contest;
use protocol::results::ContestResult;

/// Judges the rounds that are shown. `firsts` are the sums of first preferences, `ballots` those that are not blank.
///
/// # Errors
/// What does not follow.
pub(super) fn judge(
    contest: &Contest,
    firsts: &[u64],
    ballots: u64,
    shown: &ContestResult,
) -> Result<(), String> {
    let rounds = shown.rounds.as_deref().unwrap_or_default();
    let first = rounds.first().ok_or("it has no round")?;
    let counts = first.counts.iter().copied();
    if !counts.eq(firsts.iter().copied().map(Some)) || first.exhausted != 0 {
        return Err("the first round is not the sum of first preferences".to_owned());
    }
    for (n, (before, round)) in (2..).zip(rounds.iter().zip(rounds.iter().skip(1))) {
        if !follows(before, round, ballots) {
            return Err(format!(
                "round {n} does not follow from the one before it: only the ballots of who went may move"
            ));
        }
    }
    for (n, round) in rounds.iter().enumerate() {
        let earlier = rounds.get(..n).unwrap_or_default();
        let is_last = n + 1 == rounds.len();
        let right = match step(&round.counts, earlier, contest.tie_rule) {
            Step::Ends(winner) => {
                is_last && round.eliminated.is_none() && !round.tie_broken && shown.winner == winner
            }
            Step::Eliminates { option, tie_broken } => {
                !is_last && round.eliminated == Some(option) && round.tie_broken == tie_broken
            }
        };
        if !right {
            return Err(format!(
                "by the counts of round {} another option goes, or wins",
                n + 1
            ));
        }
    }
    if shown.tie_broken != Some(rounds.iter().any(|round| round.tie_broken)) {
        return Err("it says otherwise than its rounds whether a tie was broken".to_owned());
    }
    Ok(())
}

/// Whoever was eliminated is gone, the others keep their ballots and may gain, and every ballot counts for one of them or is exhausted.
fn follows(before: &Round, round: &Round, ballots: u64) -> bool {
    let mut options = (0u16..).zip(before.counts.iter().zip(&round.counts));
    let kept = options.all(|(option, counts)| match counts {
        (Some(_), None) => before.eliminated == Some(option),
        (Some(old), Some(new)) => new >= old && before.eliminated != Some(option),
        (None, new) => new.is_none(),
    });
    let counted = round.counts.iter().flatten().copied();
    let sum = counted.fold(round.exhausted, u64::saturating_add);
    kept && before.counts.len() == round.counts.len()
        && round.exhausted >= before.exhausted
        && sum == ballots
}
