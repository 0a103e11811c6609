//! What the words of verdicts mean.

use std::fmt::Write as _;

/// The word, what it means, and what to do.
const WORDS: &[(&str, &str, &str)] = &[
    (
        "verified",
        "Everything that was checked is right.",
        "read what was not covered, and the bounds: that is what you do not know.",
    ),
    (
        "findings",
        "Something is wrong. Each finding has a code, a place, evidence, and the most votes that it can affect.",
        "`tallyroot-verify explain CODE` for each. Keep a copy (`mirror`) before you ask anybody.",
    ),
    (
        "unchecked",
        "Something could not be read, or not enough was shown: no verdict in either direction. It is printed as NOT CHECKED, NOT COMPLETE, NOT VERIFIED or NOT BUNDLED.",
        "try again, or from a mirror.",
    ),
    (
        "no-result",
        "An audit could not follow every log to its end. The numbers that it prints are of a part, and bound nothing.",
        "audit another copy, or a mirror.",
    ),
    (
        "open",
        "There is no final head yet: more votes may come.",
        "look again after the election has ended.",
    ),
    (
        "final",
        "The final head says which votes count.",
        "nothing.",
    ),
    (
        "cancelled",
        "The authority made the election void by a signed notice: nothing is counted.",
        "ask the authority why.",
    ),
    (
        "counted",
        "Of a receipt: the final head counts the vote.",
        "nothing.",
    ),
    (
        "covered",
        "Of a receipt: a head covers the vote, and more heads come.",
        "look again after the final head.",
    ),
    (
        "held",
        "Of a receipt: the published log holds the vote, and no head covers it yet.",
        "look again after a minute; a head that never covers it is a reason to ask the operator.",
    ),
    (
        "not-shown",
        "Of a receipt: it is valid, and the source showed too little to say more.",
        "try again, or from a mirror.",
    ),
    (
        "rolled-back",
        "A log is shorter than what its key signed before. An old copy and a cache look the same as a log that was cut.",
        "ask again, and at another place. If the site itself stays so, keep the file: the log was cut.",
    ),
    (
        "split-view",
        "The log's keys signed two histories that one log cannot have. It is the one finding that says who is to blame: whoever holds the key.",
        "publish the file. `consistency --check FILE` and `dispute FILE` judge it anywhere, offline.",
    ),
    (
        "invalid-receipt",
        "A signature or a proof in the receipt does not verify: it proves no vote.",
        "look for another copy of it: casting the same ballot again gives it.",
    ),
    (
        "consistent",
        "One log can have both checkpoints: the newer one continues the older one.",
        "nothing.",
    ),
    (
        "issued",
        "Every registrar has issued a credential for this place on the roll.",
        "if you asked for none, tell the election's authority, and publish it: somebody may vote in your name.",
    ),
    (
        "partly-issued",
        "Some registrars have issued a credential for this place on the roll, and not all: not enough to vote.",
        "if you asked for none, tell the election's authority: somebody asked in your name.",
    ),
    (
        "not-issued",
        "No registrar has issued a credential for this place on the roll, as far as its log was published.",
        "look again once the final head is there: before, one may still be issued.",
    ),
    (
        "copied",
        "A mirror is complete, of what was signed, and what was checked of it is right.",
        "serve its folder `public`, if you like.",
    ),
    (
        "bundled",
        "A package is complete. Nothing was recounted.",
        "audit it, and compare its BLAKE3 digest with others.",
    ),
    (
        "nothing-raised",
        "Of `watch`: whatever was seen is one growing history.",
        "nothing.",
    ),
];

/// What `explain` says of a verdict's word, as it is printed or as it stands in JSON.
pub(crate) fn of_verdict(word: &str) -> Option<String> {
    let name = word.to_ascii_lowercase().replace([' ', '_'], "-");
    let name = match name.as_str() {
        "not-checked" | "not-complete" | "not-verified" | "not-bundled" => "unchecked",
        other => other,
    };
    let (word, meaning, advice) = WORDS.iter().find(|(word, ..)| *word == name)?;
    Some(format!(
        "{word} (a verdict's word)\n\nWhat it means: {meaning}\nWhat to do:    {advice}\n"
    ))
}

/// All of them.
pub(super) fn all(out: &mut String) {
    out.push_str("\nWords of verdicts, which `explain` knows too:\n\n");
    for (word, meaning, _) in WORDS {
        let _ = writeln!(out, "{word}\n    {meaning}");
    }
}
