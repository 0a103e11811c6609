//! What went wrong with a request, in the few kinds that decide what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::SystemTime;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// Codes by which services say *too many*.
pub(crate) const THROTTLED: &[&str] = &[
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "PriorRequestNotComplete",
    "SlowDown",
    "EC2ThrottledException",
];
/// Codes of a refusal that holds until somebody changes credentials or permissions.
const NOT_ALLOWED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "OptInRequired",
];
/// Codes of a signature that does not hold; for some services also of one whose time is not theirs, as their words say.
const SIGNATURE: &[&str] = &["InvalidSignatureException", "SignatureDoesNotMatch"];
/// Codes that a later try, with new credentials, may not meet again.
const PASSING: &[&str] = &[
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestTimeout",
    "RequestTimeoutException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "IDPCommunicationError",
];
/// A difference of clocks that no service minds is not named: S3 takes 15 minutes, others 5.
const DIFFERENCE_MIN: i64 = 60;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// No answer in time, no connection, or one that broke. Whether the request was carried out is not known.
    Unreachable,
    /// Too many requests: nothing was done.
    Throttled,
    /// The service failed, or answered something that is no answer. Whether the request was carried out is not known.
    Broken,
    /// There are no credentials, or none for this: somebody must change that.
    NotAllowed,
    /// The service refused this very request, for the reason that the code says.
    Refused,
    /// This machine's clock is too far from the service's: somebody must set it.
    Skewed,
}

/// What went wrong with a request. Holds nothing of what was asked or answered, but what the service says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: FaultKind,
    /// The service's code, such as `DisabledException`.
    pub code: Option<String>,
    /// In words.
    pub message: String,
}

impl Fault {
    /// Reads an error of any operation.
    #[must_use]
    pub fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let (code, message) = (answer.err().code(), answer.err().message());
                let status = answer.raw().status().as_u16();
                let mut fault = Self::answered(code, message, status);
                if fault.kind == FaultKind::Skewed {
                    fault.message.push_str(&skew(answer.raw()));
                }
                fault
            }
            SdkError::TimeoutError(_) => Self::new(FaultKind::Unreachable, "no answer in time"),
            SdkError::ResponseError(_) => Self::new(
                FaultKind::Broken,
                format!("what came back is no answer ({})", causes(error)),
            ),
            other => match role(other) {
                Some(fault) => fault,
                None => {
                    let kind = match credentials(other) {
                        Some(kind) => kind,
                        None if is_our_own(other) => FaultKind::Refused,
                        None => FaultKind::Unreachable,
                    };
                    Self::new(kind, causes(other))
                }
            },
        }
    }

    fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            message: message.into(),
        }
    }

    fn answered(code: Option<&str>, message: Option<&str>, status: u16) -> Self {
        let is = |codes: &[&str]| code.is_some_and(|code| codes.contains(&code));
        let of_time = |message: &str| {
            message.contains("Signature expired") || message.contains("not yet current")
        };
        let skewed = is(&["RequestTimeTooSkewed"]) || is(SIGNATURE) && message.is_some_and(of_time);
        let kind = if skewed {
            FaultKind::Skewed
        } else if is(THROTTLED) || status == 429 {
            FaultKind::Throttled
        } else if is(NOT_ALLOWED) {
            FaultKind::NotAllowed
        } else if is(PASSING) || status >= 500 || code.is_none() {
            // Without a code it was not the service that answered, but something on the way.
            FaultKind::Broken
        } else {
            FaultKind::Refused
        };
        Self {
            kind,
            code: code.map(str::to_owned),
            message: match message {
                Some(message) if !message.is_empty() => bounded(message),
                _ => format!("status {status}"),
            },
        }
    }

    /// Whether the same may succeed later, without anybody changing anything.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Unreachable | FaultKind::Throttled | FaultKind::Broken
        )
    }

    /// Whether the service gave this code.
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        self.code.as_deref() == Some(code)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl Error for Fault {}

/// How far apart the clocks are, by an answer, and what to do.
fn skew(answer: &HttpResponse) -> String {
    let theirs = answer.headers().get("date");
    let theirs = theirs.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    let ahead = theirs.map(|theirs| {
        DateTime::from(SystemTime::now())
            .secs()
            .saturating_sub(theirs.secs())
    });
    let which = match ahead {
        Some(s) if s >= DIFFERENCE_MIN => format!("{s} s ahead of the service's"),
        Some(s) if s <= -DIFFERENCE_MIN => format!("{} s behind the service's", s.unsigned_abs()),
        _ => "too far from the service's".to_owned(),
    };
    format!("; this machine's clock is {which}: set it (NTP)")
}

/// What went wrong where the service that gives out roles was asked for this process's; `None` for anything else.
fn role(error: &(dyn Error + 'static)) -> Option<Fault> {
    let fault = chain(error).find_map(|cause| {
        let by_token =
            cause.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>();
        let by_role = cause.downcast_ref::<SdkError<AssumeRoleError, HttpResponse>>();
        by_token.map(Fault::of).or_else(|| by_role.map(Fault::of))
    })?;
    let advice = match fault.kind {
        FaultKind::NotAllowed | FaultKind::Refused => {
            ": see that AWS_ROLE_ARN (or the profile) names this process's role, and that the role's trust policy names whoever this process is"
        }
        _ => "",
    };
    Some(Fault {
        kind: match fault.kind {
            FaultKind::Refused => FaultKind::NotAllowed,
            kind => kind,
        },
        message: format!(
            "this process's role cannot be assumed ({}){advice}",
            fault.message
        ),
        code: fault.code,
    })
}

/// What an error about credentials means; `None` for any other.
fn credentials(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    chain(error)
        .find_map(|cause| cause.downcast_ref::<CredentialsError>())
        .map(|error| match error {
            CredentialsError::CredentialsNotLoaded(_)
            | CredentialsError::InvalidConfiguration(_) => FaultKind::NotAllowed,
            // A token's file.
            other if other.source().is_some_and(is_no_file) => FaultKind::NotAllowed,
            // Whoever gives them out was out of reach, or will not now.
            _ => FaultKind::Unreachable,
        })
}

fn is_no_file(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
        )
    })
}

/// Whether the request was never sent, for a reason that stays.
fn is_our_own<E, R>(error: &SdkError<E, R>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_user(),
        _ => false,
    }
}

/// The causes, which the error's own words leave out.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for cause in chain(error) {
        let said = cause.to_string();
        // Many layers only repeat what is below them.
        if !words.iter().any(|word| word.contains(&said)) {
            words.push(said);
        }
    }
    bounded(&words.join(": "))
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Others' words, in one line of bearable length.
fn bounded(text: &str) -> String {
    const CHARS_MAX: usize = 400;
    text.chars()
        .take(CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::client::result::ConnectorError;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::ErrorMetadata;

    use super::*;

    fn answered(code: Option<&str>, status: u16) -> Fault {
        let mut metadata = ErrorMetadata::builder().message("words");
        if let Some(code) = code {
            metadata = metadata.code(code);
        }
        let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        Fault::of(&SdkError::service_error(Plain(metadata.build()), response))
    }

    /// An operation's error that is nothing but its metadata.
    #[derive(Debug)]
    struct Plain(ErrorMetadata);

    impl fmt::Display for Plain {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("plain")
        }
    }

    impl Error for Plain {}

    impl ProvideErrorMetadata for Plain {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    #[test]
    fn answers_have_their_kinds() {
        for (code, status, kind) in [
            (Some("ThrottlingException"), 400, FaultKind::Throttled),
            (Some("SlowDown"), 503, FaultKind::Throttled),
            (None, 429, FaultKind::Throttled),
            (Some("AccessDeniedException"), 400, FaultKind::NotAllowed),
            (
                Some("UnrecognizedClientException"),
                400,
                FaultKind::NotAllowed,
            ),
            (Some("KMSInternalException"), 500, FaultKind::Broken),
            (Some("ExpiredTokenException"), 400, FaultKind::Broken),
            (None, 502, FaultKind::Broken),
            (None, 404, FaultKind::Broken),
            (Some("DisabledException"), 400, FaultKind::Refused),
            (Some("NotFoundException"), 400, FaultKind::Refused),
        ] {
            let fault = answered(code, status);
            assert_eq!(fault.kind, kind, "{code:?} {status}");
            assert_eq!(fault.code.as_deref(), code);
        }
        assert_eq!(
            answered(Some("DisabledException"), 400).to_string(),
            "DisabledException: words"
        );
    }

    #[test]
    fn a_clock_that_is_wrong_is_said_with_how_much() {
        let said = |code: &str, message: &str, date: Option<SystemTime>| {
            let metadata = ErrorMetadata::builder().code(code).message(message);
            let mut response = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
            if let Some(date) = date {
                let date = DateTime::from(date).fmt(Format::HttpDate).unwrap();
                response.headers_mut().insert("date", date);
            }
            Fault::of(&SdkError::service_error(Plain(metadata.build()), response))
        };
        let now = SystemTime::now();
        let hour = std::time::Duration::from_secs(3_600);
        for (date, words) in [
            (
                now.checked_sub(hour),
                "s ahead of the service's: set it (NTP)",
            ),
            (
                now.checked_add(hour),
                "s behind the service's: set it (NTP)",
            ),
            (Some(now), "too far from the service's"),
            (None, "too far from the service's"),
        ] {
            for (code, message) in [
                ("RequestTimeTooSkewed", "too large"),
                (
                    "InvalidSignatureException",
                    "Signature expired: A is now earlier than B",
                ),
                (
                    "SignatureDoesNotMatch",
                    "Signature not yet current: A is later than B",
                ),
            ] {
                let fault = said(code, message, date);
                assert_eq!(fault.kind, FaultKind::Skewed, "{fault}");
                assert!(!fault.passes());
                assert!(fault.message.contains(words), "{fault}");
            }
        }
        let other = said("SignatureDoesNotMatch", "the key's secret", Some(now));
        assert_eq!(other.kind, FaultKind::NotAllowed);
    }

    /// As the chain of credentials hands on what STS answers.
    #[test]
    fn a_role_that_may_not_be_assumed_is_no_matter_of_time() {
        type Failed = SdkError<Plain, HttpResponse>;
        let asked = |code: &str, status: u16| {
            let metadata = ErrorMetadata::builder().code(code).message("words").build();
            let response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
            let refused = AssumeRoleWithWebIdentityError::generic(metadata);
            let refused = SdkError::service_error(refused, response);
            Fault::of(&Failed::dispatch_failure(ConnectorError::other(
                CredentialsError::provider_error(refused).into(),
                None,
            )))
        };
        for (code, status, kind) in [
            ("AccessDenied", 403, FaultKind::NotAllowed),
            ("InvalidIdentityToken", 400, FaultKind::NotAllowed),
            ("ExpiredTokenException", 400, FaultKind::Broken),
            ("IDPCommunicationError", 400, FaultKind::Broken),
            ("Throttling", 400, FaultKind::Throttled),
            ("InternalFailure", 500, FaultKind::Broken),
        ] {
            let fault = asked(code, status);
            assert_eq!(fault.kind, kind, "{code}");
            assert_eq!(fault.code.as_deref(), Some(code));
            assert!(
                fault.message.contains("cannot be assumed (words)"),
                "{fault}"
            );
            assert_eq!(fault.message.contains("trust policy"), !fault.passes());
        }
        for (kind, expected) in [
            (io::ErrorKind::NotFound, FaultKind::NotAllowed),
            (io::ErrorKind::TimedOut, FaultKind::Unreachable),
        ] {
            let token = CredentialsError::provider_error(io::Error::from(kind));
            let fault = Fault::of(&Failed::construction_failure(token));
            assert_eq!(fault.kind, expected);
        }
    }

    #[test]
    fn what_never_arrived_has_its_kind() {
        type Failed = SdkError<Plain, HttpResponse>;
        let timed_out = Fault::of(&Failed::timeout_error("late"));
        assert_eq!(timed_out.kind, FaultKind::Unreachable);
        let refused = ConnectorError::io("connection refused".into());
        let unreachable = Fault::of(&Failed::dispatch_failure(refused));
        assert_eq!(unreachable.kind, FaultKind::Unreachable);
        assert!(unreachable.message.contains("connection refused"));
        let plain = ConnectorError::user("without TLS".into());
        let ours = Fault::of(&Failed::dispatch_failure(plain));
        assert_eq!(ours.kind, FaultKind::Refused);
        assert!(!ours.passes());
        let none = CredentialsError::not_loaded("none anywhere");
        let nobody = Fault::of(&Failed::construction_failure(none));
        assert_eq!(nobody.kind, FaultKind::NotAllowed);
        let away = CredentialsError::provider_timed_out(std::time::Duration::from_secs(1));
        let waits = Fault::of(&Failed::construction_failure(away));
        assert_eq!(waits.kind, FaultKind::Unreachable);
    }

    #[test]
    fn others_words_are_bounded() {
        assert_eq!(bounded(&"a\n".repeat(1_000)).chars().count(), 400);
        assert!(!bounded("a\nb\u{1b}[0m").contains(['\n', '\u{1b}']));
    }
}
