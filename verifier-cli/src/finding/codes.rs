//! Every kind of finding, in one table: its stable code, its weight, what it means, what to do.
//!
//! Codes are a published interface: scripts, other verifiers and reports name them. They are added to, never renamed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::Severity;

macro_rules! codes {
    ($($(#[doc = $section:literal])? $variant:ident = $name:literal, $severity:ident, $meaning:literal, $votes:literal, $do:literal;)+) => {
        /// What kind of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)+
        }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How much it weighs.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// How the most votes that it can affect follow, in the words of the protocol's section 16.
            #[must_use]
            pub const fn votes(self) -> &'static str {
                match self { $(Self::$variant => $votes,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $do,)+ }
            }
        }
    };
}

impl Code {
    /// The code of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl JsonSchema for Code {
    fn schema_name() -> Cow<'static, str> {
        "Code".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Self::ALL.iter().map(|code| code.name()).collect();
        json_schema!({
            "description": "The stable code of a finding: `tallyroot-verify explain` says what each means. Codes are added to, never renamed.",
            "type": "string",
            "enum": names,
        })
    }
}

codes! {
    // Files.
    MissingFile = "missing-file", Major,
        "A file that must be published is not there.",
        "of a batch: the entries that `checkpoint` covers beyond it, at most the roll; of `checkpoint`: the roll; of `manifest.json`: 2^40; else 0",
        "Ask the operator for it, and compare with a mirror: a missing batch hides the votes in it. Of a copy that you made while the site was publishing: copy the checkpoints first and everything else after them, or copy again.";
    FileTooLarge = "file-too-large", Major,
        "A file has more bytes than a file of its kind may have. It was not read further.",
        "as `missing-file` for a batch; of an anchored object 0; else the roll",
        "Keep the file as evidence; the operator must say where it comes from.";
    NotAFile = "not-a-file", Major,
        "A symbolic link, a folder or a device stands where a file must be. Links are not followed.",
        "as `file-too-large`; 0 where no file is needed",
        "Copy the published tree anew, as plain files.";
    ForeignFile = "foreign-file", Major,
        "A file belongs to nothing that the election publishes.",
        "0",
        "Find out who put it there. It takes no part in the result.";
    ManifestMismatch = "manifest-mismatch", Critical,
        "manifest.json does not hash to the election id: it is another election's, or was changed.",
        "2^40, the largest roll: nothing else bounds it",
        "Check the id at a second place that you trust. If it is right, this source shows another election.";
    ManifestInvalid = "manifest-invalid", Critical,
        "manifest.json hashes to the id and breaks a rule that every manifest must keep.",
        "2^40, the largest roll: nothing else bounds it",
        "Such an election must not be held: report it before it opens.";

    // Batches, the chain that everything is recomputed from.
    BatchMalformed = "batch-malformed", Critical,
        "A batch file cannot be decoded.",
        "the roll",
        "Compare with a mirror. The log cannot be followed beyond this batch.";
    BatchForeign = "batch-foreign", Critical,
        "A batch file is of another election, log or number.",
        "the roll",
        "Compare with a mirror. The log cannot be followed beyond this batch.";
    BatchChain = "batch-chain", Critical,
        "A batch does not continue the one before it, or its entries do not make the root that it names.",
        "the roll",
        "The file was changed, or there are two versions of the log. Compare with mirrors, receipts and anchors.";
    EntryMalformed = "entry-malformed", Critical,
        "An entry is not the encoding of anything that may stand in this log.",
        "1",
        "It is in the signed tree, so the log's operator put it there and must explain it.";
    GenesisWrong = "genesis-wrong", Critical,
        "The first entry does not name this election and this log, or does not stand alone in the first batch.",
        "the roll",
        "The log belongs to something else; nothing in it counts.";
    GrammarBroken = "grammar-broken", Critical,
        "An entry stands where the log's grammar does not allow it.",
        "of a cell: the batch's entries; of an issuance log: 1; of the heads log: the roll",
        "It is in the signed tree, so the log's operator put it there and must explain it.";
    TimeBackwards = "time-backwards", Critical,
        "A time in the log is earlier than the one before it, or is not a multiple of the grain.",
        "0",
        "Somebody turned a clock back. Compare with anchors and witnesses, which keep their own time.";
    CloseWrong = "close-wrong", Critical,
        "A close entry does not name the number of votes or issuances in its log.",
        "the difference",
        "The operator must explain the difference.";
    LogNotClosed = "log-not-closed", Major,
        "A head says that a log is closed, and the log does not end in a close entry there; or the other way round.",
        "0",
        "The heads log and the log disagree about the end of voting: ask both operators.";

    // Votes.
    VoteBadKey = "vote-bad-key", Critical,
        "A vote's credential key is of small order, not canonical or not on the curve: one signature could fit several ballots.",
        "1",
        "The cell accepted what it must refuse. The vote is at dispute.";
    VoteRegistrarSignature = "vote-registrar-signature", Critical,
        "A registrar's signature on a vote's credential does not verify: nobody with the right to vote is behind it.",
        "1",
        "An invented vote. The cell that took it must explain.";
    VoteBallotSignature = "vote-ballot-signature", Critical,
        "The voter's signature on the ballot does not verify: the ballot is not what she signed.",
        "1",
        "A changed or invented ballot. The cell that took it must explain.";
    VoteWrongCell = "vote-wrong-cell", Critical,
        "A vote stands in another cell than its credential belongs to, so that it could be cast twice.",
        "1",
        "Look for the same credential in the cell where it belongs.";
    VoteDuplicate = "vote-duplicate", Critical,
        "A credential voted twice.",
        "1",
        "One of the two votes must not count; the cell's operator must explain.";
    BatchOrder = "batch-order", Critical,
        "The votes of a batch are not in ascending order of their leaf hashes: their order could tell when each was cast.",
        "the batch's votes",
        "The secrecy of that batch is at risk; the cell's operator must explain.";
    TallyWrong = "tally-wrong", Critical,
        "A tally entry is not the sum of the votes up to it.",
        "the votes so far, the entry's or the recount's, whichever are more",
        "The running result was wrong from here on. The recount in this report is right.";

    // Issuance.
    IssuanceDuplicate = "issuance-duplicate", Critical,
        "A registrar issued two credentials for one voter.",
        "1",
        "One credential too many exists. The registrar must explain; see the bound in the verdict.";
    IssuanceOutOfRoll = "issuance-out-of-roll", Critical,
        "A credential was issued for a roll index that does not exist, or that belongs to another shard.",
        "1",
        "An invented voter, or a mistake of the registrar, who must explain.";
    CountWrong = "count-wrong", Major,
        "A count entry does not name the number of issuances before it, or its counts fall.",
        "the difference of issuances",
        "The registrar's published counts cannot be relied on.";

    // Checkpoints.
    CheckpointMalformed = "checkpoint-malformed", Critical,
        "A checkpoint is not a signed note of three lines in its one spelling, or is of another log.",
        "the roll",
        "Compare with a mirror.";
    CheckpointExtraLine = "checkpoint-extra-line", Major,
        "A checkpoint carries a signature line that the manifest does not allow.",
        "the roll",
        "Somebody hides data in it, or shows different readers different bytes.";
    CheckpointSignature = "checkpoint-signature", Critical,
        "A checkpoint is not signed by the key that the manifest, and the switch notices, name for it.",
        "the roll",
        "Forged or damaged. Compare with a mirror.";
    CheckpointRoot = "checkpoint-root", Critical,
        "A signed checkpoint names another root than the published entries have: they are not the entries that were signed.",
        "the roll",
        "Nobody needs a key to change entries: audit another copy first. One that fits the checkpoint shows that only this one was changed. If another signed checkpoint fits these entries, the log's key signed two histories, and `consistency` proves it to everybody.";
    CheckpointPlace = "checkpoint-place", Major,
        "A checkpoint's size is not the one its file is named after, or no batch ends there.",
        "of a `checkpoints/<size>` that nothing names: 0; else the roll",
        "The operator must say how it came to be signed.";
    CheckpointDiffers = "checkpoint-differs", Major,
        "`checkpoint` is not byte-equal to the `checkpoints/<size>` of its size.",
        "0",
        "Keep both as evidence.";
    CheckpointRollback = "checkpoint-rollback", Critical,
        "A log's newest checkpoint is smaller than a size that a head, an anchor or an earlier reading names.",
        "the entries between the two sizes, at most the roll; of the heads log, where many votes can stand under one entry, the roll",
        "The log was rolled back: votes above its checkpoint are withheld. Of a copy of your own that is older than the evidence: bring it up to date, and audit again.";
    Quorum = "quorum", Major,
        "The final head is not cosigned by as many witnesses as the manifest asks for.",
        "the roll",
        "Ask the witnesses for their own copies: nobody but the operator vouches for this end of the election.";
    Clock = "clock", Critical,
        "A head claims a time more than 5 minutes after a quorum of witnesses had seen it.",
        "the roll",
        "The heads' times were set forward: logs may have been closed before the closing time. Ask the witnesses for their own times.";
    CosignatureWrong = "cosignature-wrong", Major,
        "A cosigned checkpoint is malformed, has a line of nobody who is named, or is of another checkpoint.",
        "0",
        "Ask the witness for its own copy.";

    // Tiles.
    TileMismatch = "tile-mismatch", Major,
        "A published hash tile is not what the entries make.",
        "0",
        "Proofs made from it fail or deceive. The recount does not use it.";
    BundleMismatch = "bundle-mismatch", Major,
        "A published entry bundle does not hold the log's entries.",
        "0",
        "Readers of bundles see other votes than were counted. The recount uses the batches.";

    // Heads and notices.
    HeadSize = "head-size", Critical,
        "A head names a size at which no batch of the log ends, or that the log never reached.",
        "the roll",
        "The heads log saw another log than is published: compare with mirrors.";
    HeadRoot = "head-root", Critical,
        "A head names another root than the log has at that size.",
        "the roll",
        "There were two versions of the log. Head and log together prove it.";
    HeadFalls = "head-falls", Critical,
        "A size, or the time, in a head is below the one before it.",
        "of a size: the difference, at most the roll; of a time: 0",
        "The heads log must not go backwards; its operator must explain.";
    HeadReopened = "head-reopened", Critical,
        "A log was closed in a head, and a later head speaks of it as anything else.",
        "the difference of sizes, at most the roll",
        "Entries were added after the end of voting, or the heads log is wrong: ask both operators.";
    HeadStale = "head-stale", Major,
        "A head marks a log as stale and does not repeat the last size and root.",
        "the difference of sizes, at most the roll",
        "The heads log's operator must explain.";
    VotesExceedIssued = "votes-exceed-issued", Critical,
        "At a head, there are more votes than a registrar issued credentials.",
        "the excess",
        "At least the difference was invented with that registrar's key.";
    IssuedExceedsRoll = "issued-exceeds-roll", Critical,
        "A registrar issued more credentials than the roll has voters.",
        "the excess",
        "At least the difference was invented.";
    IssuanceClosedLate = "issuance-closed-late", Critical,
        "A cell was closed while an issuance log was still open: a registrar could pad its log after seeing the votes.",
        "the roll",
        "The bound on invented votes does not hold for that registrar.";
    ClosedEarly = "closed-early", Critical,
        "A log was closed before the closing time was over, and the authority had neither frozen it nor cancelled the election: voters were shut out.",
        "the roll",
        "Ask the log's operator why; voters who were turned away can tell how many they are.";
    NoticeSignature = "notice-signature", Critical,
        "A notice is not signed by the authority.",
        "the roll",
        "The heads log's operator put it there; it has no effect.";
    NoticeInvalid = "notice-invalid", Critical,
        "A notice is out of sequence, comes too late, extends beyond what anchors keep, repeats an effect, or names what the election does not have.",
        "the roll",
        "Ask the authority what was meant.";
    FinalHeadEarly = "final-head-early", Critical,
        "The final head was made before all logs were closed, and not later than closing plus grace.",
        "the roll",
        "Votes may have been cut off; see what the logs hold above it.";
    Unclosed = "unclosed", Major,
        "The final head lists a log that was never closed.",
        "the votes or issuances that are published above the size",
        "The result counts what it had published; votes above it were dropped.";
    LateVotes = "late", Minor,
        "Votes were covered by a head only after closing and grace. They are counted.",
        "their number",
        "Compare their number with the margin of each contest.";
    EarlyVotes = "early", Minor,
        "Votes were covered by a head before the election opened. They are counted.",
        "their number",
        "Compare their number with the margin of each contest.";

    // Anchors.
    AnchorMalformed = "anchor-malformed", Major,
        "An anchored object cannot be decoded, or is of another election or number.",
        "0",
        "Compare with the anchor itself: its objects are locked.";
    AnchorConflict = "anchor-conflict", Critical,
        "An anchored object holds other entries, or another note, than the heads log.",
        "the roll; 0 where the object does not continue the one before",
        "There were two versions of the heads log. The object and the log together prove it.";
    AnchorNotFinal = "anchor-not-final", Major,
        "The final head is not covered by an anchor.",
        "0",
        "Ask the anchoring service to write it.";
    AnchorMissing = "anchor-missing", Major,
        "An anchor holds no version of an object, and one of a later object.",
        "0",
        "Objects are locked one after the other, so one was never written or its lock was over. Compare with copies that others kept.";
    AnchorHidden = "anchor-hidden", Major,
        "A delete marker was put above an anchored object. What it hides is still there.",
        "0",
        "Ask who may write to the anchor's bucket. The earliest version was read all the same.";
    AnchorRewritten = "anchor-rewritten", Major,
        "An anchored object has more than one version. The earliest counts.",
        "0",
        "Ask who may write to the anchor's bucket, and keep both versions: whoever wrote the second may have shown it to others.";
    AnchorUnlocked = "anchor-unlocked", Major,
        "An anchored object is not locked in COMPLIANCE mode until the manifest's retention: it can be deleted.",
        "0",
        "Keep a copy of it. The anchoring service's operator can still lock it.";
    AnchorLate = "anchor-late", Minor,
        "An object was anchored long after the newest head in it, by the store's clock.",
        "0",
        "The anchor or the way to it was down, or the heads log was held back: until then nothing bound it there. Compare with other anchors and with witnesses.";

    // Results.
    ResultsWrong = "results-wrong", Critical,
        "results.json is not what the votes below its sizes make.",
        "the roll",
        "What was shown to the public was not the count. The recount is in this report.";
    ResultsNotFinal = "results-not-final", Major,
        "There is a final head, and results.json is not final.",
        "the roll",
        "The published result is not the final one. The recount is in this report.";

    // Receipts.
    ReceiptMalformed = "receipt-malformed", Major,
        "The file is not a receipt in its one spelling.",
        "1",
        "Ask for the receipt again: casting the same ballot again gives it.";
    ReceiptForeign = "receipt-foreign", Major,
        "The receipt is of another election than the one that was asked for.",
        "1",
        "Check the election id at a second place that you trust.";
    ReceiptInvalid = "receipt-invalid", Critical,
        "A signature or a proof in the receipt does not verify, or its manifest is not that of the election that it names.",
        "1",
        "The file was damaged or forged, and proves nothing: look for another copy of it, or ask for the receipt again: casting the same ballot again gives it.";
    ReceiptOtherKey = "receipt-other-key", Critical,
        "The receipt is for another voter's credential.",
        "1",
        "It says nothing about your vote. Ask for your own receipt: casting the same ballot again gives it.";
    Equivocation = "equivocation", Critical,
        "The log's key signed two checkpoints that cannot belong to one log.",
        "the roll",
        "Keep both notes: together they prove to everybody that the operator shows different ledgers to different people.";
    Fork = "fork", Critical,
        "A valid receipt proves an entry at an index where the published log holds another: the log's key signed two histories.",
        "1",
        "Publish the receipt: it is transferable evidence.";
    Dropped = "dropped", Critical,
        "The receipt is valid, and the final head does not count the vote.",
        "1",
        "Publish the receipt: it is transferable evidence.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page's table is this one, row for row. `TALLYROOT_WRITE_VECTORS=1` writes it there.
    #[test]
    fn the_protocol_lists_every_code() {
        const FIRST: &str =
            "| code | severity | what it says | votes at most |\n| --- | --- | --- | --- |\n";
        let rows: String = Code::ALL
            .iter()
            .map(|code| {
                format!(
                    "| `{}` | {} | {} | {} |\n",
                    code.name(),
                    code.severity(),
                    code.meaning(),
                    code.votes()
                )
            })
            .collect();
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/protocol.md");
        let text = std::fs::read_to_string(page).unwrap();
        let (before, rest) = text.split_once(FIRST).unwrap();
        let end = rest.find("\n\n").unwrap() + 1;
        if std::env::var_os("TALLYROOT_WRITE_VECTORS").is_some() {
            std::fs::write(page, [before, FIRST, &rows, &rest[end..]].concat()).unwrap();
            return;
        }
        assert_eq!(&rest[..end], rows, "specs/protocol.md, section 16");
    }

    #[test]
    fn codes_are_distinct_words() {
        for (i, code) in Code::ALL.iter().enumerate() {
            let name = code.name();
            assert_eq!(Code::by_name(name), Some(*code));
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{name}"
            );
            assert!(
                !Code::ALL
                    .iter()
                    .skip(i + 1)
                    .any(|other| other.name() == name),
                "{name}"
            );
        }
    }
}
