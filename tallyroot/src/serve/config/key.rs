//! Which keys a service holds: in files, or in KMS; and how KMS is reached.

use aws::{Aws, Settings};
use protocol::ids::LogId;
use registrar::rsa::RsaKeySource;
use signer::{KeyRef, KeySource};
use toml::{Table, Value};

use super::section::{ConfigError, Section};

pub(super) const WHAT_REGION: &str = "an AWS region, such as \"eu-central-1\"";
pub(super) const WHAT_ENDPOINT: &str = "where AWS is reached, if not at its own addresses, such as \"https://vpce-1.kms.eu-central-1.vpce.amazonaws.com\"";
const WHAT_RSA: &str = "the file of the private RSA key, or { kms = \"arn:…\", wrapped = \"rsa.wrapped\" }, as `election new` made it";

/// A log's keys: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlace {
    /// The main key.
    pub main: Option<KeySource>,
    /// The spare, which signs once a switch notice is in force.
    pub spare: Option<KeySource>,
}

/// `[aws]`: all of it is optional, since the environment may say it (`AWS_REGION`, `AWS_ENDPOINT_URL`); credentials only come from there.
pub(super) fn aws(root: &Section<'_>) -> Result<Aws, ConfigError> {
    let section = root.section("aws")?;
    let region = section.text_if_any("region", WHAT_REGION)?;
    let endpoint = section
        .text_if_any("endpoint", WHAT_ENDPOINT)?
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: aws::EndpointError| section.error("endpoint", error.to_string()))?;
    section.finish()?;
    Ok(Aws::new(Settings {
        region,
        endpoint,
        ..Settings::default()
    }))
}

/// `main` and `spare` of a log.
pub(super) fn key(section: &Section<'_>, log: LogId, aws: &Aws) -> Result<KeyPlace, ConfigError> {
    let key = KeyPlace {
        main: source(section, "main", aws)?,
        spare: source(section, "spare", aws)?,
    };
    if key.main.is_none() && key.spare.is_none() {
        return Err(section.error(
            "main",
            format!(
                "it is missing: give the main key of {log}: its file, or {{ kms = \"arn:…\" }}"
            ),
        ));
    }
    Ok(key)
}

/// A registrar's `rsa_key`.
pub(super) fn rsa_key(root: &Section<'_>, aws: &Aws) -> Result<RsaKeySource, ConfigError> {
    let name = "rsa_key";
    let Some(Value::Table(table)) = root.any(name) else {
        return root.path(name, WHAT_RSA).map(RsaKeySource::File);
    };
    let wrong = || root.error(name, format!("it is {table}: give {WHAT_RSA}"));
    let file = text(&table, &["kms", "wrapped"], "wrapped").ok_or_else(wrong)?;
    Ok(RsaKeySource::Wrapped {
        aws: aws.clone(),
        key: kms(root, name, &table, &["kms", "wrapped"], WHAT_RSA)?,
        file: root.beside(file),
    })
}

/// A path, or `{ kms = "…" }`.
fn source(section: &Section<'_>, name: &str, aws: &Aws) -> Result<Option<KeySource>, ConfigError> {
    let what = what(name);
    Ok(match section.any(name) {
        Some(Value::Table(table)) => Some(KeySource::Kms {
            aws: aws.clone(),
            key: kms(section, name, &table, &["kms"], &what)?,
        }),
        _ => section.path_if_any(name, &what)?.map(KeySource::File),
    })
}

fn kms(
    section: &Section<'_>,
    name: &str,
    table: &Table,
    known: &[&str],
    what: &str,
) -> Result<KeyRef, ConfigError> {
    let given = text(table, known, "kms")
        .ok_or_else(|| section.error(name, format!("it is {table}: give {what}")))?;
    given
        .parse()
        .map_err(|error: signer::kms::KeyRefError| section.error(name, error.to_string()))
}

/// The text of a key of an inline table that has these keys alone.
fn text<'t>(table: &'t Table, known: &[&str], key: &str) -> Option<&'t str> {
    let is_known = table.keys().all(|key| known.contains(&key.as_str()));
    let text = table.get(key)?.as_str()?;
    (is_known && !text.is_empty()).then_some(text)
}

fn what(name: &str) -> String {
    format!("the file of the log's {name} key, or {{ kms = \"arn:…\" }}")
}
