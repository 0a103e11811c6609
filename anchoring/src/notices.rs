//! The authority's notices: checked, appended, and taken over HTTP.
//!
//! Nobody needs to be let in: a notice is what the authority's key signed, whoever brings it, and the same one again changes nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use ledger::batch::End;
use ledger::heads::name_of;
use ledger::log::Keys;
use ledger::publisher::Reader;
use ledger::read::{LogClient, LogError};
use ledger::sequencer::{Handle, Outcome, State, SubmitError};
use listener::{ApiError, base64_of, json_body};
use protocol::entry::{Entry, Notice, NoticeAction};
use protocol::ids::LogId;
use protocol::manifest::Election;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use crate::content;

/// Between two tries of a notice.
const RETRY: Duration = Duration::from_millis(50);
/// A notice has at most 120 bytes; the rest is for JSON and white space.
const BODY_MAX: usize = 1_024;
/// From the header to the end of the body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How many seconds whoever is turned away should wait.
const RETRY_AFTER_S: u32 = 2;

/// Why a notice was not appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoticeRefused {
    /// It will never be: the signature, the number or the effect is wrong.
    #[error("the notice was refused and changes nothing: {0}")]
    Refused(String),
    /// The log does not take entries now, or the outcome is unknown. The same notice can be submitted again; it is appended once.
    #[error(
        "whether the notice was appended is not known ({0}): submit the same notice again, which is always safe"
    )]
    Again(String),
    /// The final head is made.
    #[error("the final head is made: no notice can follow it")]
    Ended,
    /// The service has stopped.
    #[error("the heads log has stopped: {0}")]
    Stopped(String),
}

/// A notice that stands in the heads log and is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoticeAppended {
    /// Its index in the heads log.
    pub index: u64,
}

/// Takes notices into the heads log.
pub(crate) struct Notices {
    pub(crate) election: Election,
    /// Where the cells and registrars publish.
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) handle: Handle,
    /// How long a notice waits for a log that is just being taken over.
    pub(crate) patience: Duration,
}

impl Notices {
    /// See [`Anchoring::submit_notice`](crate::Anchoring::submit_notice).
    pub(crate) async fn submit(&self, notice: &Notice) -> Result<NoticeAppended, NoticeRefused> {
        // Before anything is queued: whoever cannot sign for the authority costs one signature check.
        notice
            .verify(&self.election)
            .map_err(|error| NoticeRefused::Refused(error.to_string()))?;
        if let NoticeAction::Switch { log, size, root } = notice.body.action {
            self.check_switch(log, End { size, root }).await?;
        }
        let deadline = Instant::now() + self.patience;
        loop {
            let error = match self.handle.submit(content::notice(notice.encode())).await {
                Ok(Outcome::Final { index, .. } | Outcome::Different { index }) => {
                    return Ok(NoticeAppended { index });
                }
                Err(error) => error,
            };
            match error {
                SubmitError::Full | SubmitError::NotOpen | SubmitError::Unknown => {
                    if Instant::now() >= deadline {
                        return Err(NoticeRefused::Again(error.to_string()));
                    }
                    tokio::time::sleep(RETRY).await;
                }
                SubmitError::Refused(reason) => return Err(NoticeRefused::Refused(reason)),
                SubmitError::TooLong => return Err(NoticeRefused::Refused(error.to_string())),
                SubmitError::Closed => return Err(NoticeRefused::Ended),
                SubmitError::Halted => {
                    return Err(NoticeRefused::Stopped(state_text(&self.handle.state())));
                }
            }
        }
    }

    /// What the main key has signed above the notice's size would be signed by the wrong key once the notice stands: votes that were acknowledged
    /// there could not be shown any more. So the writer stops first, and the notice names its very last checkpoint.
    async fn check_switch(&self, log: LogId, end: End) -> Result<(), NoticeRefused> {
        if log == LogId::Heads {
            // Its own sequencer checks that nothing stands above the notice.
            return Ok(());
        }
        let Some(keys) = self.election.log_keys(log) else {
            return Err(NoticeRefused::Refused(format!(
                "the election has no log {}",
                log.prefix()
            )));
        };
        let client = LogClient::new(
            Arc::clone(&self.reader),
            name_of(&self.election, log),
            Keys::main(*keys.main.as_bytes()).switched(*keys.spare.as_bytes(), end.size),
        );
        match client.newest().await {
            // Under the main key up to the notice's size, or under the spare above it.
            Ok(Some((newest, _))) if newest.size() > end.size => Ok(()),
            Ok(Some((newest, _))) if newest.size() == end.size && newest.root() == end.root => {
                Ok(())
            }
            Ok(_) => Err(NoticeRefused::Refused(
                "it does not name the log's newest checkpoint: name the size and root of that one"
                    .to_owned(),
            )),
            Err(LogError::Read(error)) => Err(NoticeRefused::Again(error.to_string())),
            Err(error) => Err(NoticeRefused::Refused(format!(
                "the log's newest checkpoint is not the one that the notice names, or not by the key that it puts in force there ({error}): stop the log's writer, then name its last checkpoint"
            ))),
        }
    }
}

fn state_text(state: &State) -> String {
    match state {
        State::SteppedDown(reason) | State::Halted(reason) => reason.clone(),
        State::Running | State::TakingOver => "it is not running".to_owned(),
    }
}

/// `POST /elections/<id>/notices`.
pub(crate) fn router(notices: &Arc<Notices>) -> Router {
    let path = format!("/elections/{}/notices", notices.election.id());
    Router::new()
        .route(&path, post(take))
        .method_not_allowed_fallback(listener::method_not_allowed)
        .with_state(Arc::clone(notices))
}

/// `{"notice": base64 of the notice entry}`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoticeRequest {
    notice: String,
}

async fn take(
    Extract(notices): Extract<Arc<Notices>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let NoticeRequest { notice } = json_body(&head.headers, body, BODY_MAX, BODY_TIMEOUT).await?;
    let bytes = base64_of("notice", &notice)?;
    let notice = match Entry::decode(&bytes, &notices.election) {
        Ok(Entry::Notice(notice)) => notice,
        Ok(other) => {
            return Err(ApiError::malformed(format!(
                "This is a {}, and notices are taken here.",
                other.name()
            )));
        }
        Err(error) => {
            return Err(ApiError::malformed(format!(
                "This is no notice of this election ({error}): make it anew."
            )));
        }
    };
    notice.verify(&notices.election).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad-signature",
            format!("The notice was refused and changes nothing: {error}. Sign it with the authority's key, for this election."),
        )
    })?;
    let NoticeAppended { index } = notices
        .submit(&notice)
        .await
        .map_err(|error| refusal(&error))?;
    let answer = axum::Json(json!({ "index": index }));
    Ok(([(header::CACHE_CONTROL, "no-store")], answer).into_response())
}

fn refusal(error: &NoticeRefused) -> ApiError {
    let words = error.to_string();
    match error {
        NoticeRefused::Refused(_) => ApiError::new(StatusCode::CONFLICT, "refused", words),
        NoticeRefused::Ended => ApiError::new(StatusCode::CONFLICT, "ended", words),
        NoticeRefused::Again(_) => ApiError::busy(words, RETRY_AFTER_S),
        NoticeRefused::Stopped(_) => {
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "halted", words)
                .retry_after(RETRY_AFTER_S)
        }
    }
}
