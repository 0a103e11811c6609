//! How a process of ours talks to AWS, whichever service it is: one region, one chain of credentials, one HTTP client with TLS, the same time-outs and retries.
//!
//! Credentials never stand in a configuration of ours. They come from the SDK's default chain: environment, profile, web identity (a Kubernetes service account's role), the
//! container's or the machine's role. A region or an endpoint that is not configured comes from there too (`AWS_REGION`, `AWS_ENDPOINT_URL`).
//!
//! A service's crate builds its client from [`Aws::config`], with [`Counted`] as an interceptor, and reads its errors with [`Fault::of`].

mod clock;
mod endpoint;
mod fault;
mod meter;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::OnceCell;

pub use aws_config::SdkConfig;
pub use aws_credential_types::Credentials;
pub use clock::{ClockSeen, clock_seen};
pub use endpoint::{Endpoint, EndpointError};
pub use fault::{Fault, FaultKind};
pub use meter::{Counted, describe_metrics};

/// What our requests call themselves in AWS's own logs.
const APP_NAME: &str = concat!("tallyroot-", env!("CARGO_PKG_VERSION"));
/// An operation is tried so often before its caller hears of it. Callers that must succeed go on from there, with pauses of their own.
const ATTEMPTS: u32 = 3;
/// Before the second try; a random part of it, doubled before each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest such pause.
const BACKOFF_LONGEST: Duration = Duration::from_secs(2);
/// A transfer that makes no progress for so long is given up.
const STALLED: Duration = Duration::from_secs(5);

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A connection, TLS included.
    pub connect: Duration,
    /// One attempt, from its first byte out to its last byte in.
    pub attempt: Duration,
    /// All attempts together, with the pauses between them.
    pub operation: Duration,
}

impl Default for Timeouts {
    /// For requests and answers of a few kilobytes: KMS answers within tens of milliseconds, and rarely within seconds.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            attempt: Duration::from_secs(10),
            operation: Duration::from_secs(30),
        }
    }
}

impl Timeouts {
    /// For what is done once, while nobody waits: to give up and do it again could do it twice.
    #[must_use]
    pub const fn patient() -> Self {
        Self {
            connect: Duration::from_secs(10),
            attempt: Duration::from_secs(60),
            operation: Duration::from_secs(180),
        }
    }

    /// As the SDK takes them. Clients of services with larger answers put their own over those of [`Aws::config`].
    #[must_use]
    pub fn to_config(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .operation_timeout(self.operation)
            .build()
    }
}

/// What a configuration may say. Nothing of it is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The region; without one, the default chain's.
    pub region: Option<String>,
    /// Where requests go in place of AWS's own addresses: a private endpoint, or a server that speaks AWS's protocols.
    pub endpoint: Option<Endpoint>,
    /// How long things may take.
    pub timeouts: Timeouts,
}

/// Why nothing can be asked of AWS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// Neither the configuration nor the environment names a region.
    #[error("no AWS region is known: give `region` in [aws], or set AWS_REGION")]
    NoRegion,
    /// The environment or a profile names an endpoint that is none for us.
    #[error("the AWS endpoint from the environment or the profile: {0}")]
    Endpoint(#[from] EndpointError),
    /// A region's name has small letters, digits and hyphens.
    #[error("{0:?} is no name of an AWS region: give one such as eu-central-1")]
    Region(String),
}

/// AWS, as one process reaches it. Cheap to clone; all clones share connections and credentials.
#[derive(Clone)]
pub struct Aws {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    credentials: Option<Credentials>,
    config: OnceCell<SdkConfig>,
}

impl Aws {
    /// With the credentials of the default chain. Nothing is read or asked yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::with(settings, None)
    }

    /// With these credentials: for a caller that was handed some, such as a test.
    #[must_use]
    pub fn with_credentials(settings: Settings, credentials: Credentials) -> Self {
        Self::with(settings, Some(credentials))
    }

    fn with(settings: Settings, credentials: Option<Credentials>) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                credentials,
                config: OnceCell::new(),
            }),
        }
    }

    /// What it was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// What a service's client is built from. Made once; credentials are fetched by the first request, and renewed in time.
    ///
    /// # Errors
    /// No region, or an endpoint that is none for us.
    pub async fn config(&self) -> Result<&SdkConfig, AwsError> {
        self.inner.config.get_or_try_init(|| self.load()).await
    }

    /// As [`Aws::config`], for another region: that of a key or bucket which names its own.
    ///
    /// # Errors
    /// As [`Aws::config`]; a configured region is not needed here.
    pub async fn config_in(&self, region: &str) -> Result<SdkConfig, AwsError> {
        let region = region_named(region)?;
        let base = match self.config().await {
            Ok(config) => config.clone(),
            Err(AwsError::NoRegion) => self.build(Some(region.clone())).await?,
            Err(error) => return Err(error),
        };
        Ok(base.into_builder().region(region).build())
    }

    async fn load(&self) -> Result<SdkConfig, AwsError> {
        let region = self.inner.settings.region.as_deref();
        self.build(region.map(region_named).transpose()?).await
    }

    async fn build(&self, region: Option<Region>) -> Result<SdkConfig, AwsError> {
        let settings = &self.inner.settings;
        // A fixed version of the SDK's behaviour: an update of the crate alone changes no default.
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(transport::client())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(BACKOFF_FIRST)
                    .with_max_backoff(BACKOFF_LONGEST),
            )
            .timeout_config(settings.timeouts.to_config())
            .stalled_stream_protection(
                StalledStreamProtectionConfig::enabled()
                    .grace_period(STALLED)
                    .build(),
            );
        if let Ok(name) = AppName::new(APP_NAME) {
            loader = loader.app_name(name);
        }
        if let Some(region) = region {
            loader = loader.region(region);
        }
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint.as_str());
        }
        if let Some(credentials) = &self.inner.credentials {
            loader =
                loader.credentials_provider(SharedCredentialsProvider::new(credentials.clone()));
        }
        let config = loader.load().await;
        if let Some(endpoint) = config.endpoint_url() {
            endpoint.parse::<Endpoint>()?;
        }
        if config.region().is_none() {
            return Err(AwsError::NoRegion);
        }
        // The SDK would sign with the service's time in place of ours: a clock that is hours off would be noticed by nobody, and date what goes into the ledger.
        let config = config.into_builder().disable_clock_skew_correction(true);
        Ok(config.build())
    }
}

/// By what they were told: two that were told the same reach the same.
impl PartialEq for Aws {
    fn eq(&self, other: &Self) -> bool {
        self.inner.settings == other.inner.settings
    }
}

impl Eq for Aws {}

impl Default for Aws {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aws({:?})", self.inner.settings)
    }
}

fn region_named(name: &str) -> Result<Region, AwsError> {
    // It becomes a part of a host's name.
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 40 || !name.chars().all(fits) {
        return Err(AwsError::Region(name.to_owned()));
    }
    Ok(Region::new(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(region: Option<&str>, endpoint: Option<&str>) -> Settings {
        Settings {
            region: region.map(str::to_owned),
            endpoint: endpoint.map(|endpoint| endpoint.parse().unwrap()),
            timeouts: Timeouts::default(),
        }
    }

    #[tokio::test]
    async fn what_is_configured_reaches_the_clients() {
        let credentials = Credentials::new("id", "secret", None, None, "test");
        let settings = settings(Some("eu-central-1"), Some("http://127.0.0.1:4566"));
        let aws = Aws::with_credentials(settings, credentials);
        let config = aws.config().await.unwrap();
        assert_eq!(config.region().unwrap().as_ref(), "eu-central-1");
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:4566"));
        assert_eq!(config.app_name().unwrap().as_ref(), APP_NAME);
        assert_eq!(config.retry_config().unwrap().max_attempts(), ATTEMPTS);
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(30)));
        assert!(config.stalled_stream_protection().unwrap().is_enabled());
        let elsewhere = aws.config_in("us-east-2").await.unwrap();
        assert_eq!(elsewhere.region().unwrap().as_ref(), "us-east-2");
        assert_eq!(elsewhere.endpoint_url(), Some("http://127.0.0.1:4566"));
    }

    #[tokio::test]
    async fn a_region_that_is_none_is_refused() {
        for name in ["", "EU-CENTRAL-1", "eu.central", "a/b", &"a".repeat(41)] {
            let aws = Aws::new(settings(Some(name), None));
            let refused = aws.config().await.err();
            assert_eq!(refused, Some(AwsError::Region(name.to_owned())));
            assert!(aws.config_in(name).await.is_err());
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let credentials = Credentials::new("id", "not-for-logs", None, None, "test");
        let aws = Aws::with_credentials(Settings::default(), credentials);
        assert!(!format!("{aws:?}").contains("not-for-logs"));
    }
}
