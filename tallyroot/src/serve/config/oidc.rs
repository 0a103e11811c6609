//! `[oidc]`: where a registrar's voters may sign in beside their codes.

use registrar::oidc::{Algorithm, OidcSettings};

use super::section::{ConfigError, Section};

const WHAT_ISSUER: &str = "the provider's issuer, letter by letter as its .well-known/openid-configuration has it, such as \"https://id.example.org\"";
const WHAT_CLIENT: &str = "the public client that the voters' devices are at the provider";
const WHAT_AUDIENCE: &str = "what `aud` of its ID tokens is, where that is not the client id";
const WHAT_SCOPE: &str = "the scopes that devices ask for, such as \"openid email\"";
const WHAT_CLAIM: &str =
    "the claim that is the identity on the roll: \"sub\", \"email\" or another";
const WHAT_LEEWAY: &str = "how many seconds clocks may differ, 0 to 300";
const WHAT_AGE: &str = "how many seconds old an ID token may be, 1 to 86400";

/// The section, if it is there; whether its values go together, [`registrar::oidc::Oidc::new`] says.
pub(super) fn oidc(root: &Section<'_>) -> Result<Option<OidcSettings>, ConfigError> {
    let section = root.section("oidc")?;
    let issuer = section.text_if_any("issuer", WHAT_ISSUER)?;
    let client_id = section.text_if_any("client_id", WHAT_CLIENT)?;
    let audience = section.text_if_any("audience", WHAT_AUDIENCE)?;
    let claim = section.text_if_any("claim", WHAT_CLAIM)?;
    let scope = section.text_if_any("scope", WHAT_SCOPE)?;
    let algorithms = algorithms(&section)?;
    let number = |key: &str, what: &str| {
        let is_there = section.has(key);
        is_there.then(|| section.number(key, what)).transpose()
    };
    let clock_leeway_s: Option<u32> = number("clock_leeway_s", WHAT_LEEWAY)?;
    let max_age_s: Option<u32> = number("max_age_s", WHAT_AGE)?;
    let allow_http_loopback = section.flag("allow_http_loopback")?;
    section.finish()?;
    let is_empty = client_id.is_none()
        && audience.is_none()
        && claim.is_none()
        && scope.is_none()
        && algorithms.is_none()
        && clock_leeway_s.is_none()
        && max_age_s.is_none()
        && !allow_http_loopback;
    let Some(issuer) = issuer else {
        return if is_empty {
            Ok(None)
        } else {
            Err(section.error("issuer", format!("it is missing: give {WHAT_ISSUER}")))
        };
    };
    let client_id = client_id
        .ok_or_else(|| section.error("client_id", format!("it is missing: give {WHAT_CLIENT}")))?;
    let defaults = OidcSettings::new(&issuer, &client_id);
    let claim = claim.unwrap_or(defaults.claim);
    let scope = scope.unwrap_or_else(|| match claim.as_str() {
        "email" => "openid email".to_owned(),
        _ => defaults.scope,
    });
    Ok(Some(OidcSettings {
        audience: audience.unwrap_or(defaults.audience),
        scope,
        algorithms: algorithms.unwrap_or(defaults.algorithms),
        claim,
        clock_leeway_s: clock_leeway_s.map_or(defaults.clock_leeway_s, u64::from),
        max_age_s: max_age_s.map_or(defaults.max_age_s, u64::from),
        allow_http_loopback,
        issuer,
        client_id,
    }))
}

fn algorithms(section: &Section<'_>) -> Result<Option<Vec<Algorithm>>, ConfigError> {
    let Some(given) = section.any("algorithms") else {
        return Ok(None);
    };
    let list = given.as_array().map(Vec::as_slice).unwrap_or_default();
    let named: Option<Vec<Algorithm>> = list
        .iter()
        .map(|name| name.as_str().and_then(OidcSettings::algorithm))
        .collect();
    match named {
        Some(named) if !named.is_empty() => Ok(Some(named)),
        _ => Err(section.error(
            "algorithms",
            format!(
                "it is {given}: give a list of some of {}, such as [\"RS256\"]: whoever can check a shared secret (HS256) could sign with it",
                OidcSettings::ALGORITHMS.join(", ")
            ),
        )),
    }
}
