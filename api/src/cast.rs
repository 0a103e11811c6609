//! `POST /elections/<id>/cells/<k>/ballots`: a vote in, a receipt out.
//!
//! The checks come in the order of their price, so that junk costs little: length, JSON, base64, layout and ballot, the cell, what is known of the
//! credential, the time, the key rule, Ed25519 (30 µs), RSA of every registrar (20 µs each). Signatures are checked on threads of their own, a
//! bounded number at once.
//!
//! Whoever asks about a credential must show a valid signature of its key first: a vote that was copied off the ledger tells nothing new, and a
//! bare credential tells nothing at all.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use ledger::schedule::Schedule;
use ledger::sequencer::{Outcome, ReceiptError, Standing, SubmitError};
use ledger::{Clock, Handle};
use listener::{ApiError, Workers, base64_of, json_body};
use protocol::ballot::ballot_message;
use protocol::ed25519::PublicKey;
use protocol::entry::{Vote, VoteError};
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::CellLimits;
use crate::content::{same, submission};

/// Seconds that a client should wait when there was no room.
const BUSY_RETRY_S: u32 = 2;
/// Seconds that a client should wait when the cell is stopped: somebody has to start another process.
const HALTED_RETRY_S: u32 = 30;
/// Bytes of the JSON around the vote: `{"vote":""}`, and white space that a client may add.
const JSON_FRAME: usize = 256;

/// Everything that a cast needs.
pub(crate) struct Cast {
    pub(crate) election: Election,
    pub(crate) path_cell: u32,
    pub(crate) body_max: usize,
    pub(crate) handle: Handle,
    pub(crate) workers: Workers,
    pub(crate) schedule: watch::Receiver<Schedule>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: CellLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CastRequest {
    vote: String,
}

#[derive(Serialize)]
struct CastAnswer {
    index: u64,
    proof: String,
}

/// Bytes of the longest request that can be valid: the longest vote in base64, and the JSON around it.
pub(crate) fn body_max(election: &Election) -> usize {
    election.max_vote_len().div_ceil(3) * 4 + JSON_FRAME
}

pub(crate) async fn cast(
    State(cell): State<Arc<Cast>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    // "A ballot that arrived before closing counts": its time is that of its header.
    let arrived = cell.clock.now_ms();
    let (head, body) = request.into_parts();
    let CastRequest { vote } =
        json_body(&head.headers, body, cell.body_max, cell.limits.body_timeout).await?;
    let bytes = base64_of("vote", &vote)?;
    drop(vote);
    let vote = Vote::decode(&bytes, &cell.election).map_err(|error| {
        ApiError::malformed(format!(
            "The vote is not one of this election ({error}): make it anew from the manifest."
        ))
    })?;
    drop(bytes);
    let right = cell.election.cell_of(&vote.credential);
    if right != cell.path_cell {
        return Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-cell",
            format!("This credential votes in cell {right}: send the same there."),
        )
        .with("cell", right));
    }

    let answer = tokio::time::timeout(cell.limits.final_timeout, cell.settle(vote, arrived));
    answer.await.unwrap_or_else(|_| Err(outcome_unknown()))
}

impl Cast {
    async fn settle(&self, vote: Vote, arrived: u64) -> Result<Response, ApiError> {
        let known = self.handle.standing(&vote.credential);
        if known == Standing::Unknown {
            // Who is not known *now* may be known once the log has been read: only then may she hear "closed".
            self.check_running()?;
            self.check_window(arrived)
                .map_err(|refusal| self.unless_doubted(refusal))?;
        }
        // A repeat needs no RSA: who holds the credential's key may see what it cast. What is pending can be dropped by a takeover, and this
        // one then be the first: so it is checked in full.
        let registrars = !matches!(known, Standing::Final(_));
        let vote = self.verified(vote, registrars).await?;
        let outcome = match known {
            Standing::Final(first) if first.same == same(&vote) => Outcome::Final {
                index: first.index,
                repeat: true,
            },
            Standing::Final(first) => Outcome::Different { index: first.index },
            Standing::Pending | Standing::Unknown => self
                .handle
                .submit(submission(&vote))
                .await
                .map_err(|error| match error {
                    SubmitError::Closed => self.unless_doubted(refusal(error)),
                    error => refusal(error),
                })?,
        };
        match outcome {
            Outcome::Final { index, .. } => {
                let proof = self.receipt(index).await?;
                Ok((
                    [(axum::http::header::CACHE_CONTROL, "no-store")],
                    axum::Json(CastAnswer { index, proof }),
                )
                    .into_response())
            }
            Outcome::Different { index } => {
                let proof = self.receipt(index).await?;
                Err(ApiError::new(
                    StatusCode::CONFLICT,
                    "other-ballot",
                    "This credential has voted, with another ballot, and that vote counts: the proof shows it. If you did not cast it, somebody else holds your credential: report it.",
                )
                .with("index", index)
                .with("proof", proof))
            }
        }
    }

    fn check_running(&self) -> Result<(), ApiError> {
        match self.handle.state() {
            ledger::State::Running => Ok(()),
            ledger::State::TakingOver => Err(ApiError::busy(
                "The cell is starting, and nothing was taken: cast the same again after Retry-After.",
                BUSY_RETRY_S,
            )),
            ledger::State::SteppedDown(_) | ledger::State::Halted(_) => Err(halted()),
        }
    }

    /// What is refused to a credential because it has not voted, another process may have recorded by now.
    fn unless_doubted(&self, refusal: ApiError) -> ApiError {
        if self.handle.is_doubted() {
            outcome_unknown()
        } else {
            refusal
        }
    }

    /// For credentials that have not voted. Those that have get their receipt at any time.
    fn check_window(&self, arrived: u64) -> Result<(), ApiError> {
        let log = LogId::Cell(self.path_cell);
        let schedule = self.schedule.borrow();
        if !schedule.is_known() {
            return Err(ApiError::busy(
                "The cell has not read the election's schedule yet, and nothing was taken: cast the same again after Retry-After.",
                BUSY_RETRY_S,
            ));
        }
        let in_force = schedule.in_force();
        if in_force.cancelled().is_some() {
            return Err(closed(
                "The election was cancelled, and nothing is counted.",
            ));
        }
        if schedule.is_stopped(log) {
            return Err(closed(
                "This cell was closed early by the election's authority, and this credential has not voted.",
            ));
        }
        if arrived >= in_force.closing_of(log) {
            return Err(closed(
                "Voting has ended, and this credential has not voted.",
            ));
        }
        if arrived < in_force.opening() {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "not-open",
                "Voting has not begun: cast the same again after the manifest's opening time.",
            ));
        }
        Ok(())
    }

    /// Checks the signatures, the registrars' only where asked.
    async fn verified(&self, vote: Vote, registrars: bool) -> Result<Vote, ApiError> {
        let election = self.election.clone();
        self.workers
            .run(move || {
                check_ballot_signature(&vote, &election)?;
                if registrars {
                    // Checks the ballot's signature once more, for 30 µs; there is one rule for what a valid vote is, and it is not here.
                    vote.verify(&election).map_err(bad_vote)?;
                }
                Ok(vote)
            })
            .await?
    }

    async fn receipt(&self, index: u64) -> Result<String, ApiError> {
        let proof = self.handle.receipt(index).await.map_err(|error| {
            if let ReceiptError::Damaged(_) = error {
                tracing::error!("ALARM: the published files do not prove an entry that is final");
            }
            ApiError::busy(
                "The vote is recorded; its proof cannot be made now: cast the same again after Retry-After to get it.",
                BUSY_RETRY_S,
            )
        })?;
        String::from_utf8(proof).map_err(|_| halted())
    }
}

/// The key rule, then the ballot's signature.
fn check_ballot_signature(vote: &Vote, election: &Election) -> Result<(), ApiError> {
    let key =
        PublicKey::parse(&vote.credential).map_err(|error| bad_vote(VoteError::BadKey(error)))?;
    key.verify(
        &ballot_message(&election.id(), &vote.ballot.encode()),
        &vote.signature,
    )
    .map_err(|error| bad_vote(VoteError::BadBallotSignature(error)))
}

fn bad_vote(error: VoteError) -> ApiError {
    match error {
        VoteError::BadKey(why) => ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad-key",
            format!(
                "The credential is not a key that may vote ({why}): nothing was taken. Make a new credential with a correct client."
            ),
        ),
        VoteError::WrongCell { cell } => ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong-cell",
            format!("This credential votes in cell {cell}: send the same there."),
        )
        .with("cell", cell),
        VoteError::BadRegistrarSignature { registrar, .. } => ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad-signature",
            format!(
                "The signature of registrar {registrar} does not fit this credential: nothing was taken. Ask that registrar again; the same request gets the same answer."
            ),
        ),
        VoteError::SignatureCount => {
            ApiError::malformed("A vote holds one signature of each registrar of the manifest.")
        }
        VoteError::BadBallotSignature(_) => ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad-signature",
            "The ballot's signature does not fit the credential and this election: nothing was taken. Sign again.",
        ),
    }
}

fn refusal(error: SubmitError) -> ApiError {
    match error {
        SubmitError::Full | SubmitError::NotOpen => ApiError::busy(
            "Too many ballots at once, or the cell is just starting; this one was not taken: cast the same again after Retry-After.",
            BUSY_RETRY_S,
        ),
        SubmitError::Closed => closed("Voting has ended, and this credential has not voted."),
        SubmitError::Halted => halted(),
        SubmitError::TooLong | SubmitError::Refused(_) => ApiError::malformed(
            "The vote cannot stand in this cell's log: make it anew from the manifest.",
        ),
        SubmitError::Unknown => outcome_unknown(),
    }
}

fn closed(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "closed", message)
}

fn halted() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "halted",
        "This cell's process has stopped, and another has to take over; whether the vote was taken is unknown: cast the same again after Retry-After, which is always safe.",
    )
    .retry_after(HALTED_RETRY_S)
}

fn outcome_unknown() -> ApiError {
    ApiError::busy(
        "Outcome unknown: the vote may or may not be recorded. Cast the same again, which is always safe: it is recorded once, and you get its receipt.",
        BUSY_RETRY_S,
    )
}
