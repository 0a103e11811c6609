//! Ballots: what a voter chose, and nothing about the voter.
//!
//! ```text
//! ballot = for each contest of the manifest, in order:  count u16 ‖ option index u16 * count
//! ```
//!
//! Numbers are big-endian; option indices count from 0 in the manifest's order. A ballot exists only in the one form that its contests
//! allow, so two ballots mean the same exactly when their bytes are equal.

use std::collections::HashSet;

use crate::ids::ElectionId;
use crate::manifest::{Contest, Method};
use crate::wire::Reader;

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
        if choices.len() != contests.len() {
            return Err(BallotError::Contests {
                want: contests.len(),
                got: choices.len(),
            });
        }
        let mut ballot = Self::with_capacity(contests.len());
        for (contest, chosen) in contests.iter().zip(choices) {
            ballot.push(contest, chosen.as_ref().iter().copied())?;
        }
        Ok(ballot)
    }

    /// Reads what [`Ballot::encode`] writes, and nothing else.
    ///
    /// # Errors
    /// Truncated or trailing bytes, or choices that the contests do not allow.
    pub fn decode(bytes: &[u8], contests: &[Contest]) -> Result<Self, BallotError> {
        let mut reader = Reader::new(bytes);
        let mut ballot = Self::with_capacity(contests.len());
        for (index, contest) in contests.iter().enumerate() {
            let truncated = |_| BallotError::Truncated { contest: index };
            let count = reader.u16().map_err(truncated)?;
            let chosen = reader.bytes(2 * usize::from(count)).map_err(truncated)?;
            let (chosen, _) = chosen.as_chunks();
            ballot.push(contest, chosen.iter().map(|pair| u16::from_be_bytes(*pair)))?;
        }
        match reader.remaining() {
            0 => Ok(ballot),
            extra => Err(BallotError::Trailing { extra }),
        }
    }

    /// The ballot's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 * (self.ends.len() + self.options.len()));
        for chosen in self.choices() {
            // A contest has at most 4,096 options, and none is chosen twice.
            let count = u16::try_from(chosen.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&count.to_be_bytes());
            for option in chosen {
                out.extend_from_slice(&option.to_be_bytes());
            }
        }
        out
    }

    /// Each contest's option indices, in the ballot's order; empty for a blank.
    pub fn choices(&self) -> impl ExactSizeIterator<Item = &[u16]> {
        (0..self.ends.len()).map(|contest| self.choice(contest))
    }

    /// The option indices of one contest; empty for a blank or where there is no such contest.
    #[must_use]
    pub fn choice(&self, contest: usize) -> &[u16] {
        let start = match contest.checked_sub(1) {
            Some(before) => self.ends.get(before).copied(),
            None => Some(0),
        };
        let (Some(start), Some(&end)) = (start, self.ends.get(contest)) else {
            return &[];
        };
        self.options
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    fn with_capacity(contests: usize) -> Self {
        Self {
            options: Vec::with_capacity(contests),
            ends: Vec::with_capacity(contests),
        }
    }

    /// Adds the choices in one more contest, if its method allows them.
    fn push(
        &mut self,
        contest: &Contest,
        chosen: impl ExactSizeIterator<Item = u16>,
    ) -> Result<(), BallotError> {
        let index = self.ends.len();
        let count = chosen.len();
        let max = most_choices(contest);
        // First, so that the loops below are short.
        if count > max {
            return Err(BallotError::TooMany {
                contest: index,
                count,
                max,
            });
        }
        let start = self.options.len();
        self.options.extend(chosen);
        let chosen = self.options.get(start..).unwrap_or_default();
        if let Some(&option) = chosen
            .iter()
            .find(|option| usize::from(**option) >= contest.options.len())
        {
            return Err(BallotError::NoSuchOption {
                contest: index,
                option,
            });
        }
        match contest.method {
            Method::Plurality => {}
            // "strictly ascending indices"
            Method::Approval => {
                if !chosen.is_sorted_by(|a, b| a < b) {
                    return Err(BallotError::NotAscending { contest: index });
                }
            }
            // "distinct indices, most preferred first"
            Method::Ranked => {
                if let Some(option) = repeated(chosen) {
                    return Err(BallotError::Repeated {
                        contest: index,
                        option,
                    });
                }
            }
        }
        // All contests together have at most 4,096 options.
        self.ends
            .push(u32::try_from(self.options.len()).unwrap_or(u32::MAX));
        Ok(())
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
            .map(|contest| 2 + 2 * most_choices(contest))
            .sum()
    }
}

/// "*plurality*: count is 0 or 1." Elsewhere options are distinct, so there are at most as many as the contest has.
fn most_choices(contest: &Contest) -> usize {
    match contest.method {
        Method::Plurality => 1,
        Method::Approval | Method::Ranked => contest.options.len(),
    }
}

/// The first option that occurs a second time.
fn repeated(chosen: &[u16]) -> Option<u16> {
    // Most rankings are short: comparing pairs is then the fastest, and takes no memory.
    if chosen.len() <= 32 {
        return (1..chosen.len()).find_map(|end| {
            let (before, rest) = chosen.split_at_checked(end)?;
            rest.first()
                .copied()
                .filter(|option| before.contains(option))
        });
    }
    let mut seen = HashSet::new();
    chosen.iter().copied().find(|option| !seen.insert(*option))
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
