//! Certificates for tests, from an authority that nobody else trusts.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

const HOUR: i64 = 3_600;

/// An authority.
pub struct Authority {
    key: PKey<Private>,
    certificate: X509,
}

/// A certificate of an authority, and its key: both as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl Authority {
    /// Makes one.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = key();
        let mut builder = builder(name, &key, -HOUR, 240 * HOUR);
        let ca = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(ca).unwrap();
        let subject = self::name(name);
        builder.set_issuer_name(&subject).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            key,
            certificate: builder.build(),
        }
    }

    /// Its own certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// A certificate for a host, valid for days.
    #[must_use]
    pub fn issue(&self, host: &str) -> Issued {
        self.issue_for(host, -HOUR, 100 * HOUR)
    }

    /// One that is valid from and until so many seconds from now.
    #[must_use]
    pub fn issue_for(&self, host: &str, from: i64, until: i64) -> Issued {
        let key = key();
        let mut builder = builder(host, &key, from, until);
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        let names = SubjectAlternativeName::new()
            .dns(host)
            .build(&builder.x509v3_context(Some(&self.certificate), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Issued {
            certificate: builder.build().to_pem().unwrap(),
            key: key.private_key_to_pem_pkcs8().unwrap(),
        }
    }
}

impl Issued {
    /// Puts both into a folder, each in one step: their paths.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let paths = (folder.join("tls.crt"), folder.join("tls.key"));
        put(&paths.0, &self.certificate);
        put(&paths.1, &self.key);
        paths
    }
}

/// Writes a file that its owner alone may read, in one step.
pub fn put(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::set_permissions(&beside, Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(name: &str) -> openssl::x509::X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_text("CN", name).unwrap();
    builder.build()
}

fn builder(subject: &str, key: &PKey<Private>, from: i64, until: i64) -> X509Builder {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = |seconds| Asn1Time::from_unix(now.as_secs().cast_signed() + seconds).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder
        .set_serial_number(&serial.to_asn1_integer().unwrap())
        .unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_not_before(&at(from)).unwrap();
    builder.set_not_after(&at(until)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}
