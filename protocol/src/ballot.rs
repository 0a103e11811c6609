//! Ballots: what a voter chose, and nothing about the voter.
//!
//! ```text
//! ballot = for each contest of the manifest, in order:  count u16 ‖ option index u16 * count
//! ```
//!
//! Numbers are big-endian; option indices count from 0 in the manifest's order. A ballot exists only in the one form that its contests
//! allow, so two ballots mean the same exactly when their bytes are equal.

use crate::ids::ElectionId;
use crate::manifest::{Contest, Method};

/// What a credential signs, before `0x00 ‖ election id ‖ ballot`.
pub const BALLOT_LABEL: &str = "tallyroot/v1/ballot";

/// A valid ballot: one list of options for each contest, kept end to end (a ledger holds millions).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ballot {
    /// All contests' option indices.
    options: Vec<u16>,
    /// Where each contest's end among them.
    ends: Vec<u32>,
}

/// Why bytes or choices are no ballot of these contests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BallotError {
    /// Fewer or more contests than the manifest has.
    #[error("the ballot answers {got} contests, the election has {want}")]
    Contests {
        /// Contests of the election.
        want: usize,
        /// Answers given.
        got: usize,
    },
    /// The bytes end inside a contest.
    #[error("the ballot ends inside contest {contest}")]
    Truncated {
        /// The contest's index.
        contest: usize,
    },
    /// Bytes after the last contest.
    #[error("{extra} bytes follow the ballot's last contest")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// More options than the method allows.
    #[error("contest {contest}: {count} options chosen, at most {max} allowed")]
    TooMany {
        /// The contest's index.
        contest: usize,
        /// Options chosen.
        count: usize,
        /// Options allowed.
        max: usize,
    },
    /// An option that the contest does not have.
    #[error("contest {contest}: there is no option {option}")]
    NoSuchOption {
        /// The contest's index.
        contest: usize,
        /// The option's index.
        option: u16,
    },
    /// Approved options must ascend.
    #[error("contest {contest}: approved options must be in ascending order, each once")]
    NotAscending {
        /// The contest's index.
        contest: usize,
    },
    /// Ranked options must be distinct.
    #[error("contest {contest}: option {option} is ranked twice")]
    Repeated {
        /// The contest's index.
        contest: usize,
        /// The option's index.
        option: u16,
    },
}

impl Ballot {
    /// A ballot from one list of option indices for each contest.
    ///
    /// # Errors
    /// The first contest whose method does not allow its list.
    pub fn new<C: AsRef<[u16]>>(choices: &[C], contests: &[Contest]) -> Result<Self, BallotError> {
        let _ = (choices, contests);
        unimplemented!()
    }

    /// Reads what [`Ballot::encode`] writes, and nothing else.
    ///
    /// # Errors
    /// Truncated or trailing bytes, or choices that the contests do not allow.
    pub fn decode(bytes: &[u8], contests: &[Contest]) -> Result<Self, BallotError> {
        let _ = (bytes, contests);
        unimplemented!()
    }

    /// The ballot's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// Each contest's option indices, in the ballot's order; empty for a blank.
    pub fn choices(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        Vec::new().into_iter()
    }

    /// The option indices of one contest; empty for a blank or where there is no such contest.
    #[must_use]
    pub fn choice(&self, contest: usize) -> &[u16] {
        let _ = contest;
        &[]
    }

    /// Blank in every contest. It is a vote all the same.
    #[must_use]
    pub fn is_abstention(&self) -> bool {
        self.options.is_empty()
    }

    /// Bytes of the longest ballot of these contests.
    #[must_use]
    pub fn len_max(contests: &[Contest]) -> usize {
        contests
            .iter()
            .map(|contest| match contest.method {
                Method::Plurality => 4,
                Method::Approval | Method::Ranked => 2 + 2 * contest.options.len(),
            })
            .sum()
    }
}

/// What the credential key signs: `"tallyroot/v1/ballot" ‖ 0x00 ‖ election id ‖ ballot`.
#[must_use]
pub fn ballot_message(election: &ElectionId, ballot_bytes: &[u8]) -> Vec<u8> {
    [
        BALLOT_LABEL.as_bytes(),
        &[0],
        election.as_bytes(),
        ballot_bytes,
    ]
    .concat()
}
