//! Who asks: by a code, or by an ID token whose nonce is made of the ticket that `POST /elections/<id>/registrars/<r>/sign-in` gave out.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use listener::{ApiError, base64_of, json_body};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::code::Code;
use crate::database::Voter;
use crate::issue::{Desk, unavailable};
use crate::oidc::{Oidc, Purpose, TokenError, nonce};

/// Bytes of a request for a ticket, at most: one digest, and the JSON around it.
const BODY_MAX: usize = 512;
/// Seconds that a client should wait when the provider does not answer: by then it is asked again.
const PROVIDER_RETRY_S: u32 = 30;

/// What a voter shows.
pub(crate) enum Shown {
    /// A code; `None` for what can be none.
    Code(Option<Code>),
    /// An ID token, and the ticket that its nonce is made of.
    Token(Zeroizing<String>, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    digest: String,
}

#[derive(Serialize)]
struct SignInAnswer<'a> {
    client_id: &'a str,
    expires_in: u64,
    issuer: &'a str,
    scope: &'a str,
    ticket: String,
}

/// Tells a device where to sign in, and gives it the ticket for this blinded message.
pub(crate) async fn begin(
    State(desk): State<Arc<Desk>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let SignInRequest { digest } =
        json_body(&head.headers, body, BODY_MAX, desk.limits.body_timeout).await?;
    let digest = base64_of("digest", &digest)?;
    let digest = <[u8; 32]>::try_from(digest).map_err(|_| {
        ApiError::malformed(
            "`digest` is not the SHA-256 of a blinded message: give its 32 bytes in base64.",
        )
    })?;
    let Some(oidc) = &desk.oidc else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "This registrar knows voters by their codes alone: use the code of your letter.",
        ));
    };
    let settings = oidc.settings();
    let answer = SignInAnswer {
        client_id: &settings.client_id,
        expires_in: nonce::VALID_S,
        issuer: &settings.issuer,
        scope: &settings.scope,
        ticket: oidc.ticket(&desk.purpose(digest)),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

impl Desk {
    /// Whose code or token this is.
    pub(crate) async fn voter(&self, shown: Shown, digest: [u8; 32]) -> Result<Voter, ApiError> {
        match (shown, &self.oidc) {
            (Shown::Code(code), _) => self.voter_of_code(code).await,
            (Shown::Token(token, ticket), Some(oidc)) => {
                self.voter_of_token(oidc, token, ticket, digest).await
            }
            (Shown::Token(..), None) => Err(self.unrecognized(
                "bad-token",
                "This registrar takes no ID tokens: use the code of your letter.",
            )),
        }
    }

    /// Who has this code. What can be no code at all was given to nobody either.
    async fn voter_of_code(&self, code: Option<Code>) -> Result<Voter, ApiError> {
        let found = match code {
            Some(code) => self
                .database
                .voter_of(&self.codes, &code)
                .await
                .map_err(|error| unavailable(&error))?,
            None => None,
        };
        found.ok_or_else(|| {
            self.unrecognized(
                "unknown-code",
                "This registrar gave out no such code: compare each character with your letter, and check that the code is this registrar's.",
            )
        })
    }

    /// Who stands on the roll as the token says.
    async fn voter_of_token(
        &self,
        oidc: &Oidc,
        token: Zeroizing<String>,
        ticket: String,
        digest: [u8; 32],
    ) -> Result<Voter, ApiError> {
        let identity = oidc
            .identity(token, ticket, self.purpose(digest), &self.workers)
            .await?
            .map_err(|error| self.refusal_of(error))?;
        self.database
            .voter_named(&self.codes, &identity)
            .await
            .map_err(|error| unavailable(&error))?
            .ok_or_else(|| {
                self.unrecognized(
                    "not-on-roll",
                    "You have signed in, but nobody of this account stands on the roll: sign in with the account that you are registered with, or ask the registrar.",
                )
            })
    }

    fn refusal_of(&self, error: TokenError) -> ApiError {
        if error.is_unavailable() {
            return ApiError::busy(
                "The identity provider's keys cannot be read now, or not again so soon, and nothing was issued: send the same again after Retry-After, or use a code if you have one.",
                PROVIDER_RETRY_S,
            );
        }
        self.unrecognized(
            "bad-token",
            format!("The ID token is refused: {error}. Nothing was issued: sign in again."),
        )
    }

    fn purpose(&self, blinded_digest: [u8; 32]) -> Purpose {
        Purpose {
            key: Arc::clone(&self.codes),
            election: self.election.id(),
            registrar: self.registrar,
            blinded_digest,
        }
    }

    /// Nobody knows whose it was, so the first shard counts it.
    fn unrecognized(&self, code: &'static str, message: impl Into<String>) -> ApiError {
        self.refused(None, |refused| &mut refused.unknown_code);
        ApiError::new(StatusCode::UNAUTHORIZED, code, message)
    }
}
