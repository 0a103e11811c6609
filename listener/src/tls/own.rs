//! A certificate that nobody vouches for, made at the start and kept in memory alone.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

/// How long one is valid.
const VALID: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The next one is made when so much is left: before an alert of certificates that expire.
pub(super) const RENEWED: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Clocks differ.
const EARLIER: Duration = Duration::from_secs(3_600);

/// A key, a certificate of it for no name that means anything, and until when (since 1970).
pub(super) fn make() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>, Duration), TlsError>
{
    let unmade = |error: rcgen::Error| TlsError::Unmade {
        why: error.to_string(),
    };
    let now = SystemTime::now();
    let mut params = CertificateParams::new(["tallyroot.invalid".to_owned()]).map_err(unmade)?;
    params.not_before = (now - EARLIER).into();
    params.not_after = (now + VALID).into();
    let key = KeyPair::generate().map_err(unmade)?;
    let certificate = params.self_signed(&key).map_err(unmade)?;
    let not_after = now.duration_since(UNIX_EPOCH).unwrap_or_default() + VALID;
    Ok((certificate.into(), key.into(), not_after))
}
