//! What the answers of AWS's services say of this machine's clock: each carries the service's own time.
//!
//! A process has one clock, however many clients it has, so this is kept once for all of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

/// So many of the last answers are kept.
const KEPT: usize = 16;

static SEEN: Mutex<VecDeque<ClockSeen>> = Mutex::new(VecDeque::new());

/// How far this machine's clock was from a service's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSeen {
    /// The service's host.
    pub host: String,
    /// By at least so many seconds this machine's clock was ahead of the service's; below zero, behind it.
    pub ahead_s: i64,
}

/// Of the last answers that this process had, the one whose time is the nearest to this machine's; `None` before the first one.
///
/// The nearest, since one service whose own clock is wrong says nothing of ours where another one agrees with it.
#[must_use]
pub fn clock_seen() -> Option<ClockSeen> {
    let seen = seen();
    seen.iter()
        .min_by_key(|seen| seen.ahead_s.unsigned_abs())
        .cloned()
}

/// Keeps what an answer says, by its `Date` and when it was asked for and had.
pub(crate) fn note(host: &str, date: Option<&str>, asked: SystemTime, had: SystemTime) {
    let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    let Some(date) = date else { return };
    let mut seen = seen();
    if seen.len() == KEPT {
        seen.pop_front();
    }
    seen.push_back(ClockSeen {
        host: host.to_owned(),
        ahead_s: ahead(
            date.secs(),
            DateTime::from(asked).secs(),
            DateTime::from(had).secs(),
        ),
    });
}

fn seen() -> MutexGuard<'static, VecDeque<ClockSeen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The service's time is whole seconds, and of some moment between the two: only what no such moment explains is a difference.
fn ahead(theirs: i64, asked: i64, had: i64) -> i64 {
    let ahead = asked.saturating_sub(theirs.saturating_add(1));
    let behind = theirs.saturating_sub(had.saturating_add(1));
    match (ahead > 0, behind > 0) {
        (true, _) => ahead,
        (_, true) => behind.saturating_neg(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_no_moment_of_the_request_explains_is_a_difference() {
        for (theirs, asked, had, expected) in [
            (100, 100, 100, 0),
            (100, 101, 101, 0),
            (101, 100, 100, 0),
            // However long the answer took.
            (100, 40, 160, 0),
            (100, 161, 170, 60),
            (100, 30, 39, -60),
            (i64::MAX, 0, 0, -(i64::MAX - 1)),
            (i64::MIN, i64::MAX, i64::MAX, i64::MAX),
        ] {
            assert_eq!(
                ahead(theirs, asked, had),
                expected,
                "{theirs} {asked} {had}"
            );
        }
    }

    #[test]
    fn the_last_answers_count_and_of_them_the_nearest() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        // Thu, 01 Jan 2026 00:00:00 GMT is that moment.
        let near = "Thu, 01 Jan 2026 00:00:10 GMT";
        note("near.example", Some(near), now, now);
        for _ in 1..KEPT {
            note(
                "far.example",
                Some("Thu, 01 Jan 2026 01:00:00 GMT"),
                now,
                now,
            );
        }
        for none in [None, Some("yesterday"), Some("")] {
            note("none.example", none, now, now);
        }
        let nearest = clock_seen().unwrap();
        assert_eq!(
            (nearest.host.as_str(), nearest.ahead_s),
            ("near.example", -9)
        );
        note(
            "far.example",
            Some("Wed, 31 Dec 2025 23:00:00 GMT"),
            now,
            now,
        );
        let nearest = clock_seen().unwrap();
        assert_eq!(
            (nearest.host.as_str(), nearest.ahead_s),
            ("far.example", -3_599)
        );
    }
}
