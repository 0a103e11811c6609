//! A broken rule: its code, its place, and words.

use core::fmt;

/// The log breaks a rule of its grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {index}: {message} [{code}]")]
pub struct GrammarError {
    /// Which rule; stable, for reports and tests.
    pub code: GrammarCode,
    /// The entry's index in the log.
    pub index: u64,
    /// What is wrong, in words.
    pub message: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The rules of section 8, by the stable code that a finding bears.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum GrammarCode { $($(#[$doc])* $name,)* }

        impl GrammarCode {
            /// The code as findings spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The batch's number is not the next.
    BatchNumber = "batch-number",
    /// The bytes are not an entry of this election.
    Malformed = "malformed",
    /// Entry 0 is not this log's genesis, alone in batch 0.
    Genesis = "genesis",
    /// An entry of a type that may not stand here.
    Order = "order",
    /// Something follows the entry that ends the log.
    AfterEnd = "after-end",
    /// Votes do not ascend by leaf hash.
    Unsorted = "unsorted",
    /// A vote belongs to another cell.
    WrongCell = "wrong-cell",
    /// A credential voted before.
    DuplicateVote = "duplicate-vote",
    /// A tally names another batch than its own.
    TallyBatch = "tally-batch",
    /// A tally is not the exact sum.
    TallySum = "tally-sum",
    /// A time falls below an earlier one.
    TimeFalls = "time-falls",
    /// A time is not a multiple of `batch_wait_ms`.
    TimeGrain = "time-grain",
    /// A close's or a count's number is wrong.
    WrongCount = "wrong-count",
    /// A roll index that the roll does not have.
    OffRoll = "off-roll",
    /// A roll index that belongs to another shard.
    WrongShard = "wrong-shard",
    /// A voter's second issuance.
    DuplicateIssuance = "duplicate-issuance",
    /// A number of refusals falls.
    CountFalls = "count-falls",
    /// A log's size falls, or is 0.
    SizeFalls = "size-falls",
    /// A log of the same size has another root.
    Fork = "fork",
    /// A stale log does not repeat what was said before.
    Stale = "stale",
    /// A closed log changes.
    Reopened = "reopened",
    /// A cell is closed while an issuance log is open.
    IssuanceOpen = "issuance-open",
    /// A log that is neither frozen nor of a cancelled election is closed before the closing time is over.
    ClosedEarly = "closed-early",
    /// The final head comes too early.
    EarlyFinal = "early-final",
    /// The final head lists a log that is not closed.
    Unclosed = "unclosed",
    /// A notice's number is not the next.
    NoticeSequence = "notice-sequence",
    /// A notice that is not allowed at this point.
    Notice = "notice",
}

impl fmt::Display for GrammarCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
