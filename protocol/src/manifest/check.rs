//! The rules of the manifest (section 2), each beside the sentence that it enforces.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use crate::ballot::Ballot;
use crate::batch::{BATCH_ENTRIES_MAX, BATCH_HEADER_LEN, BATCH_LEN_MAX};
use crate::canonical_json::{CanonicalError, INTEGER_MAX};
use crate::ids::ElectionId;
use crate::rsa::RegistrarKey;
use crate::text::check_label;

use super::election::ParsedKeys;
use super::{Contest, FORMAT, MANIFEST_LEN_MAX, Manifest, Method, TieRule, keys};

/// Bytes of a title, a name or an option, at most.
pub const LABEL_LEN_MAX: usize = 200;
const BASE_LEN_MAX: usize = 128;
const CONTESTS_MAX: u64 = 200;
const OPTIONS_MAX: u64 = 4_096;
/// One entry of a batch is its tally.
const BATCH_MIN_MAX: u64 = BATCH_ENTRIES_MAX as u64 - 1;

/// Why a file is no manifest, or not the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are a different election's manifest, or damaged.
    #[error(
        "this manifest is of election {actual}, not {expected}: it belongs to another election or was changed; fetch it again, or ask for the id at a source that you trust"
    )]
    OtherElection {
        /// The id that the caller knows.
        expected: ElectionId,
        /// The hash of the bytes at hand.
        actual: ElectionId,
    },
    /// The bytes are not canonical JSON with a manifest's members.
    #[error("manifest.json cannot be read: {0}")]
    Json(#[from] CanonicalError),
    /// A member breaks a rule.
    #[error("manifest.json, member `{member}`: {problem}")]
    Member {
        /// Where, such as `contests[2].options[0]`.
        member: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// "`manifest.json` is at most 1 MiB".
pub(super) fn check_len(bytes: &[u8]) -> Result<(), ManifestError> {
    if bytes.len() > MANIFEST_LEN_MAX {
        return Err(ManifestError::Json(CanonicalError::TooLarge {
            len: bytes.len(),
            max: MANIFEST_LEN_MAX,
        }));
    }
    Ok(())
}

/// Every rule beyond the JSON types; returns the keys, parsed.
pub(super) fn check(manifest: &Manifest) -> Result<ParsedKeys, ManifestError> {
    if manifest.format != FORMAT {
        return wrong("format", format!("must be `{FORMAT}`"));
    }
    check_text(&manifest.title, "title")?;
    check_base(&manifest.base)?;
    check_contests(&manifest.contests)?;
    check_times(manifest)?;
    check_numbers(manifest)?;
    check_anchors(manifest)?;
    let keys = keys::check(manifest)?;
    check_batch_fits(manifest, &keys.registrars)?;
    Ok(keys)
}

pub(super) fn wrong<T>(
    member: impl Into<String>,
    problem: impl Into<String>,
) -> Result<T, ManifestError> {
    Err(ManifestError::Member {
        member: member.into(),
        problem: problem.into(),
    })
}

/// "A title or name is at most 200 bytes, an option 200 bytes."
pub(super) fn check_text(text: &str, member: &str) -> Result<(), ManifestError> {
    check_label(text, LABEL_LEN_MAX).or_else(|error| wrong(member, error.to_string()))
}

pub(super) fn check_range(
    value: u64,
    allowed: RangeInclusive<u64>,
    member: &str,
) -> Result<(), ManifestError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    wrong(member, format!("is {value}; it must be {least} to {most}"))
}

pub(super) fn check_len_of<T>(
    items: &[T],
    allowed: RangeInclusive<u64>,
    member: &str,
) -> Result<(), ManifestError> {
    let count = items.len() as u64;
    if allowed.contains(&count) {
        return Ok(());
    }
    let (least, most) = (allowed.start(), allowed.end());
    wrong(
        member,
        format!("has {count} items; it must have {least} to {most}"),
    )
}

fn check_distinct<'t>(
    texts: impl Iterator<Item = &'t str>,
    member: impl Fn(usize) -> String,
) -> Result<(), ManifestError> {
    let mut seen = HashSet::new();
    for (index, text) in texts.enumerate() {
        if !seen.insert(text) {
            return wrong(
                member(index),
                format!("repeats `{text}`; each must be distinct"),
            );
        }
    }
    Ok(())
}

/// "schema-less URL: a host name of `[a-z0-9.-]` and optionally path parts of `[a-z0-9._-]`, at most 128 bytes, no trailing `/`"
fn check_base(base: &str) -> Result<(), ManifestError> {
    const MEMBER: &str = "base";
    if base.len() > BASE_LEN_MAX {
        return wrong(
            MEMBER,
            format!(
                "has {} bytes; at most {BASE_LEN_MAX} are allowed",
                base.len()
            ),
        );
    }
    let mut parts = base.split('/');
    let host = parts.next().unwrap_or_default();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
    // "Each label of the host name begins and ends with a letter or digit."
    let host_label = |label: &str| {
        let ends = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        label.as_bytes().first().is_some_and(ends) && label.as_bytes().last().is_some_and(ends)
    };
    if !host.bytes().all(plain) || !host.split('.').all(host_label) {
        return wrong(
            MEMBER,
            "must start with a host name in lower case, such as `votes.example.org`, without scheme or port",
        );
    }
    // "No part is empty, `.` or `..`": such a path does not survive URL normalization.
    let path_part = |part: &str| {
        part.bytes().all(|b| plain(b) || b == b'_') && !matches!(part, "" | "." | "..")
    };
    if !parts.all(path_part) {
        return wrong(
            MEMBER,
            "path parts consist of a to z, 0 to 9, `.`, `_` and `-`; none is empty, `.` or `..`, and no `/` ends it",
        );
    }
    Ok(())
}

fn check_contests(contests: &[Contest]) -> Result<(), ManifestError> {
    check_len_of(contests, 1..=CONTESTS_MAX, "contests")?;
    for (c, contest) in contests.iter().enumerate() {
        check_text(&contest.name, &format!("contests[{c}].name"))?;
        let member = format!("contests[{c}].options");
        check_len_of(&contest.options, 1..=OPTIONS_MAX, &member)?;
        for (o, option) in contest.options.iter().enumerate() {
            check_text(option, &format!("{member}[{o}]"))?;
        }
        // "`options` has 1 to 4,096 labels, distinct within the contest"
        check_distinct(contest.options.iter().map(String::as_str), |o| {
            format!("{member}[{o}]")
        })?;
        // "`tie_rule` is `listed-order`, or, for `ranked` only, `prior-rounds`"
        if contest.tie_rule == TieRule::PriorRounds && contest.method != Method::Ranked {
            return wrong(
                format!("contests[{c}].tie_rule"),
                "`prior-rounds` is for ranked contests only; use `listed-order`",
            );
        }
    }
    // "contest names are distinct"
    check_distinct(contests.iter().map(|contest| contest.name.as_str()), |c| {
        format!("contests[{c}].name")
    })?;
    // "at most 4,096 options in all"
    let options: usize = contests.iter().map(|contest| contest.options.len()).sum();
    check_range(options as u64, 1..=OPTIONS_MAX, "contests (options in all)")
}

/// "the first three are times with `registration <= opening < closing`; `grace` is a duration in ms, 1,000 to 604,800,000"
fn check_times(manifest: &Manifest) -> Result<(), ManifestError> {
    let times = &manifest.times;
    for (value, member) in [
        (times.registration, "times.registration"),
        (times.opening, "times.opening"),
        (times.closing, "times.closing"),
        (manifest.retention, "retention"),
    ] {
        check_range(value, 0..=INTEGER_MAX, member)?;
    }
    if times.registration > times.opening {
        return wrong("times.registration", "must not be after `times.opening`");
    }
    if times.opening >= times.closing {
        return wrong("times.opening", "must be before `times.closing`");
    }
    check_range(times.grace, 1_000..=604_800_000, "times.grace")?;
    // "time until which anchors are locked; at least `closing`"
    if manifest.retention < times.closing {
        return wrong("retention", "must not be before `times.closing`");
    }
    Ok(())
}

fn check_numbers(manifest: &Manifest) -> Result<(), ManifestError> {
    check_range(manifest.roll.size, 1..=1 << 40, "roll.size")?;
    check_range(
        u64::from(manifest.batch_min),
        1..=BATCH_MIN_MAX,
        "batch_min",
    )?;
    check_range(manifest.batch_wait_ms, 100..=30_000, "batch_wait_ms")?;
    check_range(manifest.cast_delay_s, 0..=86_400, "cast_delay_s")?;
    check_range(
        manifest.head_interval_ms,
        100..=3_600_000,
        "head_interval_ms",
    )
}

/// "of `{"kind": "directory", "name": name}`; names match `[a-z0-9-]{1,64}` and are distinct"
fn check_anchors(manifest: &Manifest) -> Result<(), ManifestError> {
    let anchors = &manifest.anchors;
    check_len_of(anchors, 1..=16, "anchors")?;
    for (a, anchor) in anchors.iter().enumerate() {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=64).contains(&anchor.name.len()) || !anchor.name.bytes().all(allowed) {
            return wrong(
                format!("anchors[{a}].name"),
                "must be 1 to 64 of a to z, 0 to 9 and `-`",
            );
        }
    }
    check_distinct(anchors.iter().map(|anchor| anchor.name.as_str()), |a| {
        format!("anchors[{a}].name")
    })
}

/// "`batch_min` of the longest votes and their tally must fit in a batch file (section 9)": else a batch could not keep its promise.
fn check_batch_fits(manifest: &Manifest, registrars: &[RegistrarKey]) -> Result<(), ManifestError> {
    let tally_len = 33
        + 8 * manifest
            .contests
            .iter()
            .map(|contest| 1 + contest.options.len())
            .sum::<usize>();
    let vote_len = vote_len_max(manifest, registrars);
    let fits = (BATCH_LEN_MAX - BATCH_HEADER_LEN).saturating_sub(2 + tally_len) / (2 + vote_len);
    if manifest.batch_min as usize > fits {
        return wrong(
            "batch_min",
            format!(
                "is {}; with votes of up to {vote_len} bytes a batch file of 16 MiB holds {fits}",
                manifest.batch_min
            ),
        );
    }
    Ok(())
}

/// The longest vote entry: type, credential, signatures, the longest ballot, ballot signature.
pub(super) fn vote_len_max(manifest: &Manifest, registrars: &[RegistrarKey]) -> usize {
    let signatures: usize = registrars.iter().map(RegistrarKey::signature_len).sum();
    1 + 32 + signatures + Ballot::len_max(&manifest.contests) + 64
}
