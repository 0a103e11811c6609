//! `[tls]`: the certificate that a service shows.

use listener::{TlsFiles, TlsSource};

use super::section::{ConfigError, Section};

const WHAT_CERTIFICATE: &str =
    "the file of the certificate and those that it rests on, as PEM, this service's own first";
const WHAT_KEY: &str = "the file of the certificate's private key, as PEM";
const WHAT_CLIENTS: &str = "the file of the roots, as PEM, whose certificates clients must show";

/// The section, if it is there; what is in the files, the start checks.
pub(super) fn tls(root: &Section<'_>) -> Result<Option<TlsSource>, ConfigError> {
    let section = root.section("tls")?;
    let certificate = section.path_if_any("certificate", WHAT_CERTIFICATE)?;
    let key = section.path_if_any("key", WHAT_KEY)?;
    let clients = section.path_if_any("clients", WHAT_CLIENTS)?;
    let self_signed = section.flag("self_signed")?;
    section.finish()?;
    if self_signed {
        return match (certificate, key, clients) {
            (None, None, None) => Ok(Some(TlsSource::SelfSigned)),
            _ => Err(section.error(
                "self_signed",
                "it stands beside a certificate, a key or clients: give it alone, or files"
                    .to_owned(),
            )),
        };
    }
    let missing = |key: &str, what: &str| section.error(key, format!("it is missing: give {what}"));
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsSource::Files(TlsFiles {
            certificate,
            key,
            clients,
        }))),
        (None, None) if clients.is_none() => Ok(None),
        (None, _) => Err(missing("certificate", WHAT_CERTIFICATE)),
        (Some(_), None) => Err(missing("key", WHAT_KEY)),
    }
}
