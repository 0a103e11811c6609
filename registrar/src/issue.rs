//! `POST /elections/<id>/registrars/<r>/credentials`: a code or an ID token and a blinded message in, a blind signature out.
//!
//! The registrar learns who asks, and signs something that it cannot recognize later. It signs once for each voter: the issuance entry is final
//! in the log *before* the signature leaves, and the log, not the roll's database, says who has one. RSA is deterministic, so the same message
//! gets the same answer, computed anew, at any time.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::Clock;
use ledger::schedule::Schedule;
use ledger::sequencer::{Final, Outcome, Standing, SubmitError};
use listener::{ApiError, Workers, base64_of, json_body};
use protocol::credential::{blinded_digest, check_blinded_message};
use protocol::entry::Refused;
use protocol::manifest::Election;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::code::{Code, CodeKey};
use crate::content::{issuance, key_of};
use crate::database::{Database, Voter};
use crate::meter;
use crate::oidc::{Oidc, TOKEN_LEN_MAX};
use crate::rsa::BlindSigner;
use crate::service::{RegistrarLimits, Shard};
use crate::sign_in::Shown;

/// Seconds that a client should wait when there was no room.
const BUSY_RETRY_S: u32 = 2;
/// Seconds that a client should wait when the registrar is stopped.
const HALTED_RETRY_S: u32 = 30;
/// Bytes of the JSON around the blinded message: members' names, the code in any spelling, white space.
const JSON_FRAME: usize = 512;

/// Everything that an issuance needs.
pub(crate) struct Desk {
    pub(crate) election: Election,
    pub(crate) registrar: u16,
    pub(crate) database: Database,
    pub(crate) codes: Arc<CodeKey>,
    pub(crate) oidc: Option<Oidc>,
    pub(crate) rsa: Arc<BlindSigner>,
    pub(crate) shards: Arc<Vec<Shard>>,
    pub(crate) schedule: watch::Receiver<Schedule>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) workers: Workers,
    pub(crate) limits: RegistrarLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IssueRequest {
    blinded: String,
    code: Option<String>,
    id_token: Option<String>,
    ticket: Option<String>,
}

#[derive(Serialize)]
struct IssueAnswer {
    blind_signature: String,
    issuance: IssuanceProof,
    roll: RollProof,
}

#[derive(Serialize)]
struct IssuanceProof {
    index: u64,
    proof: String,
    shard: u32,
}

#[derive(Serialize)]
struct RollProof {
    identity: String,
    index: u64,
    proof: Vec<String>,
    salt: String,
}

pub(crate) async fn issue(
    State(desk): State<Arc<Desk>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let arrived = desk.clock.now_ms();
    let (shown, blinded) = match desk.read(request).await {
        Ok(read) => read,
        Err(refusal) => {
            // Nobody knows whose it was, so the first shard counts it. Too long or too slow is no request either.
            if refusal.status().is_client_error() {
                desk.refused(None, |refused| &mut refused.malformed);
            }
            return Err(refusal);
        }
    };
    let digest = blinded_digest(&blinded);
    let voter = desk.voter(shown, digest).await?;
    let shard = desk.shard_of(&voter)?;
    let settled = tokio::time::timeout(
        desk.limits.final_timeout,
        desk.settle(&voter, shard, digest, arrived),
    );
    let index = settled.await.unwrap_or_else(|_| Err(outcome_unknown()))?;

    // Only now: the entry is final.
    let answer = desk.answer(&voter, shard, index, blinded).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

impl Desk {
    async fn read(&self, request: Request<Body>) -> Result<(Shown, Vec<u8>), ApiError> {
        let (head, body) = request.into_parts();
        let key = self.rsa.public();
        let token_max = self.oidc.as_ref().map_or(0, |_| TOKEN_LEN_MAX);
        let body_max = key.signature_len().div_ceil(3) * 4 + JSON_FRAME + token_max;
        let IssueRequest {
            blinded,
            code,
            id_token,
            ticket,
        } = json_body(&head.headers, body, body_max, self.limits.body_timeout).await?;
        let shown = match (
            code.map(Zeroizing::new),
            id_token.map(Zeroizing::new),
            ticket,
        ) {
            (Some(code), None, None) => Shown::Code(Code::parse(&code)),
            (None, Some(token), Some(ticket)) => Shown::Token(token, ticket),
            _ => {
                return Err(ApiError::malformed(
                    "The request holds no code and no ID token with its ticket, or both: give one of them.",
                ));
            }
        };
        let blinded = base64_of("blinded", &blinded)?;
        check_blinded_message(key, &blinded).map_err(|error| {
            ApiError::malformed(format!(
                "The blinded message is not one for this registrar's key ({error}): blind the credential again with the key of the manifest."
            ))
        })?;
        Ok((shown, blinded))
    }

    fn shard_of(&self, voter: &Voter) -> Result<u32, ApiError> {
        // The roll in the database is the manifest's, so each of its voters has a shard.
        self.election
            .shard_of(self.registrar, voter.roll_index)
            .filter(|shard| self.shard(*shard).is_some())
            .ok_or_else(halted)
    }

    fn shard(&self, shard: u32) -> Option<&Shard> {
        self.shards.get(usize::try_from(shard).ok()?)
    }

    pub(crate) fn refused(&self, shard: Option<u32>, which: impl FnOnce(&mut Refused) -> &mut u64) {
        if let Some(shard) = self.shard(shard.unwrap_or(0)) {
            shard.refusals.add(which);
        }
    }

    /// The index of the voter's issuance entry with this digest, once it is final.
    async fn settle(
        &self,
        voter: &Voter,
        shard_index: u32,
        digest: [u8; 32],
        arrived: u64,
    ) -> Result<u64, ApiError> {
        let shard = self.shard(shard_index).ok_or_else(halted)?;
        let key = key_of(voter.roll_index);
        let outcome = match shard.handle.standing(&key) {
            Standing::Final(found) => of_final(found, &digest),
            Standing::Pending | Standing::Unknown => {
                // Held until the entry is final: the last count of the log waits for it.
                let ended = shard.ended.read().await;
                // Who is not known *now* may be known once the log has been read: only then may she hear "closed".
                check_running(shard)?;
                if shard.handle.standing(&key) == Standing::Unknown {
                    self.check_period(shard_index, shard, *ended, arrived)?;
                }
                shard
                    .handle
                    .submit(issuance(voter.roll_index, digest))
                    .await
                    .map_err(|error| match error {
                        SubmitError::Closed => unless_doubted(shard, closed()),
                        error => refusal(error),
                    })?
            }
        };
        match outcome {
            Outcome::Final { index, .. } => Ok(index),
            Outcome::Different { .. } => {
                self.refused(Some(shard_index), |refused| &mut refused.other_message);
                Err(ApiError::new(
                    StatusCode::CONFLICT,
                    "other-message",
                    "A credential was already issued in your name, for another blinded message. Use the device that asked first: its secret gives the same message again. If that was not you, tell the registrar and the observers at once.",
                ))
            }
        }
    }

    fn check_period(
        &self,
        shard_index: u32,
        shard: &Shard,
        ended: bool,
        arrived: u64,
    ) -> Result<(), ApiError> {
        let schedule = self.schedule.borrow();
        if !schedule.is_known() {
            return Err(ApiError::busy(
                "The registrar has not read the election's schedule yet, and nothing was issued: send the same again after Retry-After.",
                BUSY_RETRY_S,
            ));
        }
        let error = if ended
            || schedule.is_stopped(shard.log)
            || arrived >= schedule.in_force().closing_of(shard.log)
        {
            closed()
        } else if arrived < self.election.manifest().times.registration {
            ApiError::new(
                StatusCode::FORBIDDEN,
                "not-open",
                "Registration has not begun: send the same again after the manifest's registration time.",
            )
        } else {
            return Ok(());
        };
        if shard.handle.is_doubted() {
            return Err(outcome_unknown());
        }
        self.refused(Some(shard_index), |refused| &mut refused.outside_period);
        Err(error)
    }

    async fn answer(
        &self,
        voter: &Voter,
        shard: u32,
        index: u64,
        blinded: Vec<u8>,
    ) -> Result<IssueAnswer, ApiError> {
        let handle = &self.shard(shard).ok_or_else(halted)?.handle;
        let proof = handle
            .receipt(index)
            .await
            .map_err(|error| unavailable(&error))?;
        let proof = String::from_utf8(proof).map_err(|error| unavailable(&error))?;
        let roll = self
            .database
            .roll_proof(voter.roll_index)
            .await
            .map_err(|error| unavailable(&error))?;
        let rsa = Arc::clone(&self.rsa);
        let begun = Instant::now();
        let signature = self
            .workers
            .run(move || rsa.blind_sign(&blinded))
            .await?
            .map_err(|error| {
                tracing::error!(%error, "ALARM: a blind signature could not be made");
                halted()
            });
        meter::blindly_signed(begun, signature.is_ok());
        let signature = signature?;
        Ok(IssueAnswer {
            blind_signature: STANDARD.encode(signature),
            issuance: IssuanceProof {
                index,
                proof,
                shard,
            },
            roll: RollProof {
                identity: voter.entry.identity.clone(),
                index: voter.roll_index,
                proof: roll.iter().map(protocol::merkle::Hash::to_base64).collect(),
                salt: hex::encode(voter.entry.salt),
            },
        })
    }
}

fn of_final(found: Final, digest: &[u8; 32]) -> Outcome {
    if found.same == *digest {
        Outcome::Final {
            index: found.index,
            repeat: true,
        }
    } else {
        Outcome::Different { index: found.index }
    }
}

/// What is refused to a voter because she has no credential, another process may have issued by now.
fn unless_doubted(shard: &Shard, refusal: ApiError) -> ApiError {
    if shard.handle.is_doubted() {
        outcome_unknown()
    } else {
        refusal
    }
}

fn check_running(shard: &Shard) -> Result<(), ApiError> {
    match shard.handle.state() {
        ledger::State::Running => Ok(()),
        ledger::State::TakingOver => Err(ApiError::busy(
            "The registrar is starting, and nothing was issued: send the same again after Retry-After.",
            BUSY_RETRY_S,
        )),
        ledger::State::SteppedDown(_) | ledger::State::Halted(_) => Err(halted()),
    }
}

fn refusal(error: SubmitError) -> ApiError {
    match error {
        SubmitError::Full | SubmitError::NotOpen => ApiError::busy(
            "Too many requests at once, or the registrar is just starting; nothing was issued: send the same again after Retry-After.",
            BUSY_RETRY_S,
        ),
        SubmitError::Closed => closed(),
        SubmitError::Unknown => outcome_unknown(),
        SubmitError::Halted | SubmitError::TooLong | SubmitError::Refused(_) => halted(),
    }
}

fn closed() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "closed",
        "Registration has ended, and no credential was issued in your name.",
    )
}

fn halted() -> ApiError {
    ApiError::busy(
        "The registrar's process has stopped, and somebody has to look; whether a credential was issued is unknown: send the same again after Retry-After, which is always safe.",
        HALTED_RETRY_S,
    )
}

fn outcome_unknown() -> ApiError {
    ApiError::busy(
        "Outcome unknown: the credential may or may not be issued. Send the same again, which is always safe and gets the same answer.",
        BUSY_RETRY_S,
    )
}

/// The error's text goes to the log: it names files and SQL, never a voter.
pub(crate) fn unavailable(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "a request could not be answered");
    ApiError::busy(
        "The answer cannot be made now: send the same again after Retry-After, which is always safe and gets the same answer.",
        BUSY_RETRY_S,
    )
}
