//! What an ID token must be: OpenID Connect Core 1.0, section 3.1.3.7. The sentence stands above its check.

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::nonce::NonceError;
use super::provider::KeyError;
use super::{OidcSettings, Purpose};
use crate::roll::IDENTITY_LEN_MAX;

/// Why a token names no voter. Nothing of the token is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is no signed JSON web token")]
    Malformed,
    #[error("it is signed with an algorithm that this registrar does not take")]
    Algorithm,
    #[error("it says that something must be understood which is not")]
    Critical,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("its signature is not the provider's")]
    Signature,
    #[error("its claims are not those of an ID token")]
    Claims,
    #[error("it is another issuer's")]
    Issuer,
    #[error("it is for another audience")]
    Audience,
    #[error("it was given to another client")]
    Party,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet: is a clock wrong?")]
    Early,
    #[error("it was issued too long ago")]
    Old,
    #[error(transparent)]
    Nonce(#[from] NonceError),
    #[error("it does not hold the claim that names a voter here")]
    Identity,
    #[error("its e-mail address is not verified by the provider")]
    Unverified,
}

/// What of a header matters.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    azp: Option<String>,
    nonce: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The header, of which nothing is proven yet.
pub(super) fn header(token: &str, settings: &OidcSettings) -> Result<Header, TokenError> {
    // `none` is an algorithm that the library does not even have: no header of it can be read.
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    // "The alg value SHOULD be the default of RS256 or the algorithm sent by the Client in the id_token_signed_response_alg parameter during Registration."
    if !settings.algorithms.contains(&header.alg) {
        return Err(TokenError::Algorithm);
    }
    // RFC 7515, section 4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the recipient, then the JWS is invalid."
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    Ok(Header {
        algorithm: header.alg,
        kid: header.kid,
    })
}

/// What a token must be for.
pub(super) struct For<'a> {
    pub(super) ticket: &'a str,
    pub(super) purpose: &'a Purpose,
}

/// The voter's identity on the roll.
pub(super) fn identity(
    token: &str,
    algorithm: Algorithm,
    key: &DecodingKey,
    settings: &OidcSettings,
    of: &For<'_>,
    now_s: u64,
) -> Result<String, TokenError> {
    // "The Client MUST validate the signature of all other ID Tokens according to JWS [JWS] using the algorithm specified in the JWT alg Header Parameter. The
    // Client MUST use the keys provided by the Issuer."
    let mut by_signature_alone = Validation::new(algorithm);
    by_signature_alone.required_spec_claims.clear();
    by_signature_alone.validate_exp = false;
    by_signature_alone.validate_aud = false;
    let map: Map<String, Value> = decode(token, key, &by_signature_alone)
        .map_err(|error| match error.kind() {
            jsonwebtoken::errors::ErrorKind::Json(_) => TokenError::Claims,
            _ => TokenError::Signature,
        })?
        .claims;
    let claims: Claims =
        serde_json::from_value(Value::Object(map)).map_err(|_| TokenError::Claims)?;
    check(&claims, settings, now_s)?;

    // "If a nonce value was sent in the Authentication Request, a nonce Claim MUST be present and its value checked to verify that it is the same value as the
    // one that was sent in the Authentication Request. The Client SHOULD check the nonce value for replay attacks."
    let nonce = claims.nonce.as_deref().ok_or(NonceError::Foreign)?;
    of.purpose.check(nonce, of.ticket, now_s)?;
    of_roll(&claims, settings)
}

fn check(claims: &Claims, settings: &OidcSettings, now_s: u64) -> Result<(), TokenError> {
    // "The Issuer Identifier for the OpenID Provider (which is typically obtained during Discovery) MUST exactly match the value of the iss (issuer) Claim."
    if claims.iss != settings.issuer {
        return Err(TokenError::Issuer);
    }
    // "The Client MUST validate that the aud (audience) Claim contains its client_id value registered at the Issuer identified by the iss (issuer) Claim as an
    // audience. […] The ID Token MUST be rejected if the ID Token does not list the Client as a valid audience, or if it contains additional audiences not
    // trusted by the Client."
    let is_ours = match &claims.aud {
        Audience::One(audience) => *audience == settings.audience,
        Audience::Several(audiences) => {
            !audiences.is_empty() && audiences.iter().all(|found| *found == settings.audience)
        }
    };
    if !is_ours {
        return Err(TokenError::Audience);
    }
    // "If an azp (authorized party) Claim is present, the Client SHOULD verify that its client_id is the Claim Value."
    let party = claims.azp.as_ref();
    if party.is_some_and(|party| *party != settings.client_id) {
        return Err(TokenError::Party);
    }
    // Numbers of RFC 7519 may have fractions. What is no number compares as false, and so each is asked for what it must be.
    let (now, leeway) = (now_s as f64, settings.clock_leeway_s as f64);
    // "The current time MUST be before the time represented by the exp Claim."
    let is_current = now - leeway < claims.exp;
    if !is_current {
        return Err(TokenError::Expired);
    }
    // RFC 7519, section 4.1.5: "The processing of the "nbf" claim requires that the current date/time MUST be after or equal to the not-before date/time listed in the "nbf" claim."
    let has_begun = claims.nbf.is_none_or(|nbf| now + leeway >= nbf) && now + leeway >= claims.iat;
    if !has_begun {
        return Err(TokenError::Early);
    }
    // "The iat Claim can be used to reject tokens that were issued too far away from the current time, limiting the amount of time that nonces need to be stored to
    // prevent attacks. The acceptable range is Client specific."
    let is_fresh = now - leeway <= claims.iat + settings.max_age_s as f64;
    if !is_fresh {
        return Err(TokenError::Old);
    }
    Ok(())
}

/// Which identity on the roll the token names: `<issuer>#<sub>`, or the value of another claim.
fn of_roll(claims: &Claims, settings: &OidcSettings) -> Result<String, TokenError> {
    let identity = match settings.claim.as_str() {
        // Core, section 2: "A locally unique and never reassigned identifier within the Issuer". Another issuer's is another person.
        "sub" => super::subject_on_roll(&claims.iss, &claims.sub),
        claim => {
            // Core, section 5.1: "True if the End-User's e-mail address has been verified; otherwise false."
            if claim == "email" && claims.others.get("email_verified") != Some(&Value::Bool(true)) {
                return Err(TokenError::Unverified);
            }
            let value = claims.others.get(claim).and_then(Value::as_str);
            value.ok_or(TokenError::Identity)?.to_owned()
        }
    };
    if identity.is_empty() || identity.len() > IDENTITY_LEN_MAX || claims.sub.is_empty() {
        return Err(TokenError::Identity);
    }
    Ok(identity)
}
