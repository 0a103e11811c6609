//! What became of each request to AWS, in counters: by operation and outcome, and nothing of what was asked.

use std::fmt;
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use metrics::{counter, describe_counter, describe_histogram, histogram};

use crate::fault::THROTTLED;

const REQUESTS: &str = "tallyroot_aws_requests_total";
const SECONDS: &str = "tallyroot_aws_request_seconds";
/// Not answered: in no time that was given to it, or nobody waited for it any longer.
const UNANSWERED: &str = "unanswered";

/// Names and explains the counters of this crate, for whoever installs a recorder.
pub fn describe_metrics() {
    describe_counter!(
        REQUESTS,
        "Requests to AWS, each try by itself, by service, operation and outcome."
    );
    describe_histogram!(SECONDS, "Seconds until a request to AWS was answered.");
}

/// Counts the requests of one service's client, each try by itself; its configuration takes it as an interceptor.
#[derive(Clone, Copy, Debug)]
pub struct Counted(&'static str);

impl Counted {
    /// For the clients of KMS.
    pub const KMS: Self = Self("kms");
    /// For the clients of S3.
    pub const S3: Self = Self("s3");
}

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "tallyroot-counted"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The SDK's own list of operations: no caller's text.
        let operation = config
            .load::<Metadata>()
            .map_or_else(|| "unknown".to_owned(), |it| it.name().to_owned());
        // In the place of the try before, which is then over.
        config.interceptor_state().store_put(Attempt {
            service: self.0,
            operation,
            begun: Instant::now(),
            answered: None,
        });
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(response) = context.response()
            && let Some(attempt) = config.get_mut_from_interceptor_state::<Attempt>()
        {
            attempt.answered = Some((outcome(response), attempt.begun.elapsed()));
        }
        Ok(())
    }
}

/// A try. It is counted when it is dropped: a time-out ends it without another word.
struct Attempt {
    service: &'static str,
    operation: String,
    begun: Instant,
    /// What became of it, and how long that took: it is dropped later, behind the pause before the next try.
    answered: Option<(&'static str, Duration)>,
}

impl Storable for Attempt {
    type Storer = StoreReplace<Self>;
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attempt({} {})", self.service, self.operation)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let operation = std::mem::take(&mut self.operation);
        let outcome = self.answered.map_or(UNANSWERED, |(outcome, _)| outcome);
        counter!(REQUESTS, "service" => self.service, "operation" => operation.clone(), "outcome" => outcome)
            .increment(1);
        if let Some((_, took)) = self.answered {
            histogram!(SECONDS, "service" => self.service, "operation" => operation).record(took);
        }
    }
}

fn outcome(response: &HttpResponse) -> &'static str {
    match response.status().as_u16() {
        200..=399 => "done",
        // Nothing is there, or a condition does not hold: an answer like others.
        404 | 409 | 412 => "not-done",
        429 | 503 => "throttled",
        // KMS says it so.
        400 if response.body().bytes().is_some_and(says_throttled) => "throttled",
        400..=499 => "refused",
        _ => "failed",
    }
}

fn says_throttled(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    THROTTLED
        .iter()
        .any(|code| text.contains(&format!("{code}\"")))
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::http::{Response, StatusCode};
    use aws_smithy_types::body::SdkBody;

    use super::*;

    #[test]
    fn outcomes_follow_from_the_answer() {
        for (status, body, expected) in [
            (200, "", "done"),
            (304, "", "done"),
            (404, "", "not-done"),
            (412, "", "not-done"),
            (503, "<Code>SlowDown</Code>", "throttled"),
            (400, r#"{"__type":"ThrottlingException"}"#, "throttled"),
            (400, r#"{"__type":"ValidationException"}"#, "refused"),
            (403, "", "refused"),
            (500, "", "failed"),
        ] {
            let status = StatusCode::try_from(status).unwrap();
            let response = Response::new(status, SdkBody::from(body));
            assert_eq!(outcome(&response), expected, "{status:?} {body}");
        }
    }
}
