//! A listener's certificate and key: read from files, checked, and read again when the files change, as cert-manager and its like renew them in place;
//! or made at the start, where nobody looks at it.
//!
//! Sessions are never resumed: no tickets are given, and nothing is kept of a session. What resumes a session ties two connections to one device,
//! as a sign-in to a cast (decision 0017).

mod own;
#[cfg(test)]
mod tests;

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::gauge;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, version};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

pub(crate) const NOT_AFTER: &str = "tallyroot_tls_certificate_not_after_timestamp_seconds";
pub(crate) const UNREAD: &str = "tallyroot_tls_certificate_unread";

/// A chain of certificates, or a few roots.
const FILE_LEN_MAX: u64 = 1 << 20;

/// What is spoken in TLS: HTTP/2 is left to what stands in front.
const PROTOCOL: &[u8] = b"http/1.1";

/// Where a listener's certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those between it and its root, as PEM, the listener's own first.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// Roots, as PEM: only who shows a certificate of theirs is served. `None`: anybody.
    pub clients: Option<PathBuf>,
}

/// What a listener shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSource {
    /// A certificate in files.
    Files(TlsFiles),
    /// One of its own, made anew at each start; its key is in memory alone. For a front that verifies none, as AWS's load balancers do not:
    /// whoever only listens between learns nothing; whoever can put himself between is not kept out.
    SelfSigned,
}

impl From<TlsFiles> for TlsSource {
    fn from(files: TlsFiles) -> Self {
        Self::Files(files)
    }
}

/// Why files are no good, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{} cannot be read ({error}): check the path, and whether this process may read it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may read the private key.
    #[error("{} has mode {mode:04o}: it is a private key, so give it to this process alone (chmod 600)", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} holds no {what} as PEM ({why}): give a file with a \"-----BEGIN …-----\"", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The key is another certificate's, or of a kind that is not known.
    #[error("{} and {} do not go together ({why}): give the certificate and the key that was made for it", certificate.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// No more.
    #[error("the certificate in {} expired at {at}: have it renewed", path.display())]
    Expired {
        /// The file.
        path: PathBuf,
        /// When.
        at: String,
    },
    /// Not yet.
    #[error("the certificate in {} is not valid before {at}: give one that is valid now, or correct this machine's clock", path.display())]
    NotYet {
        /// The file.
        path: PathBuf,
        /// From when on.
        at: String,
    },
    /// One of its own cannot be made.
    #[error("no certificate can be made ({why}): give one in files (certificate and key)")]
    Unmade {
        /// Why.
        why: String,
    },
}

/// What a listener shows, and how it stands.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    source: TlsSource,
    shown: watch::Sender<Shown>,
    /// What was last said to be wrong: it is said once.
    wrong: Mutex<Option<String>>,
}

/// What was read at one time.
#[derive(Clone)]
struct Shown {
    config: Arc<ServerConfig>,
    not_after: Duration,
    stamps: Vec<Stamp>,
}

impl Tls {
    /// Reads the files, or makes a certificate.
    ///
    /// # Errors
    /// They are not what a listener can show now.
    pub fn open(source: impl Into<TlsSource>) -> Result<Self, TlsError> {
        let source = source.into();
        let shown = Shown::of(&source)?;
        Ok(Self(Arc::new(Inner {
            source,
            shown: watch::Sender::new(shown),
            wrong: Mutex::new(None),
        })))
    }

    /// When the certificate expires, or the first of those that it rests on: since 1970.
    #[must_use]
    pub fn not_after(&self) -> Duration {
        self.0.shown.borrow().not_after
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.0.shown.borrow().config))
    }

    /// Looks at the files now and then. What cannot be used is said, and what was shown stays: a renewal may be under way.
    pub(crate) async fn keep_up(self, every: Duration) {
        loop {
            self.count();
            tokio::time::sleep(every).await;
            let inner = Arc::clone(&self.0);
            // An error is a look that panicked: the next one comes.
            let _ = tokio::task::spawn_blocking(move || inner.look()).await;
        }
    }

    fn count(&self) {
        gauge!(NOT_AFTER).set(self.not_after().as_secs_f64());
        gauge!(UNREAD).set(u8::from(self.0.said().is_some()));
    }
}

impl Inner {
    fn is_current(&self) -> bool {
        let shown = self.shown.borrow();
        match &self.source {
            TlsSource::Files(files) => stamps(files).is_ok_and(|now| now == shown.stamps),
            TlsSource::SelfSigned => shown.not_after > now() + own::RENEWED,
        }
    }

    /// A plain value is behind the lock: what a panic left is whole.
    fn said(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        if self.is_current() {
            *self.said() = None;
            return;
        }
        match Shown::of(&self.source) {
            Ok(shown) => {
                self.shown.send_replace(shown);
                *self.said() = None;
                tracing::info!("the listener's certificate was read again");
            }
            Err(error) => {
                let wrong = error.to_string();
                let mut said = self.said();
                if said.as_ref() != Some(&wrong) {
                    tracing::error!(
                        "the files of [tls] changed, and what was shown stays: {wrong}"
                    );
                    *said = Some(wrong);
                }
            }
        }
    }
}

impl Shown {
    fn of(source: &TlsSource) -> Result<Self, TlsError> {
        let files = match source {
            TlsSource::Files(files) => files,
            TlsSource::SelfSigned => return Self::own(),
        };
        // First: what changes meanwhile is found changed at the next look.
        let stamps = stamps(files)?;
        let chain = certificates(&files.certificate)?;
        let not_after = valid_until(&files.certificate, &chain)?;
        let key = private_key(&files.key)?;
        let clients = files.clients.as_deref().map(verifier).transpose()?;
        let config = configured(chain, key, clients).map_err(|error| TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why: error.to_string(),
        })?;
        Ok(Self {
            config,
            not_after,
            stamps,
        })
    }

    fn own() -> Result<Self, TlsError> {
        let (certificate, key, not_after) = own::make()?;
        let config =
            configured(vec![certificate], key, None).map_err(|error| TlsError::Unmade {
                why: error.to_string(),
            })?;
        Ok(Self {
            config,
            not_after,
            stamps: Vec::new(),
        })
    }
}

/// Who may connect: those with a certificate of these roots.
fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unfit = |why: String| TlsError::Content {
        path: path.to_owned(),
        what: "root certificate",
        why,
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(path)? {
        roots.add(root).map_err(|error| unfit(error.to_string()))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| unfit(error.to_string()))
}

fn configured(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Which file it was, and which content of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    place: (u64, u64),
    changed: (i64, i64, i64, i64),
    len: u64,
}

impl From<Metadata> for Stamp {
    fn from(of: Metadata) -> Self {
        Self {
            place: (of.dev(), of.ino()),
            changed: (of.mtime(), of.mtime_nsec(), of.ctime(), of.ctime_nsec()),
            len: of.len(),
        }
    }
}

fn stamps(files: &TlsFiles) -> Result<Vec<Stamp>, TlsError> {
    [
        Some(&files.certificate),
        Some(&files.key),
        files.clients.as_ref(),
    ]
    .into_iter()
    .flatten()
    .map(|path| {
        let found = std::fs::metadata(path).map_err(|error| unreadable(path, error))?;
        Ok(Stamp::from(found))
    })
    .collect()
}

fn unreadable(path: &Path, error: io::Error) -> TlsError {
    TlsError::Unreadable {
        path: path.to_owned(),
        error,
    }
}

fn read(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes);
    let read = read.map_err(|error| unreadable(path, error))?;
    if read as u64 > FILE_LEN_MAX {
        let error = io::Error::other(format!("it has more than {FILE_LEN_MAX} bytes"));
        return Err(unreadable(path, error));
    }
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let content = |why: String| TlsError::Content {
        path: path.to_owned(),
        what: "certificate",
        why,
    };
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path, file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(error.to_string()))?;
    if chain.is_empty() {
        return Err(content("there is none".to_owned()));
    }
    Ok(chain)
}

/// Until when the whole chain is valid, which it must be now.
fn valid_until(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Duration, TlsError> {
    let now = now();
    let mut until = Duration::MAX;
    for certificate in chain {
        let parsed = x509_cert::Certificate::from_der(certificate);
        let parsed = parsed.map_err(|error| TlsError::Content {
            path: path.to_owned(),
            what: "certificate",
            why: error.to_string(),
        })?;
        let validity = parsed.tbs_certificate().validity();
        if validity.not_before.to_unix_duration() > now {
            return Err(TlsError::NotYet {
                path: path.to_owned(),
                at: validity.not_before.to_string(),
            });
        }
        if validity.not_after.to_unix_duration() < now {
            return Err(TlsError::Expired {
                path: path.to_owned(),
                at: validity.not_after.to_string(),
            });
        }
        until = until.min(validity.not_after.to_unix_duration());
    }
    Ok(until)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    // The open file is asked, not the path: nothing can be put in its place in between.
    let mode = file
        .metadata()
        .map_err(|error| unreadable(path, error))?
        .mode()
        & 0o7777;
    // Its group may read it, unlike other keys': so Kubernetes shows a secret to a process that is not root, and renews it in place.
    if mode & 0o037 != 0 {
        return Err(TlsError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    PrivateKeyDer::from_pem_slice(&read(path, file)?).map_err(|error| TlsError::Content {
        path: path.to_owned(),
        what: "private key",
        why: error.to_string(),
    })
}
