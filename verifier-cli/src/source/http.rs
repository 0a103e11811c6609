//! A web server. Answers are bounded, requests time out, and what fails is asked for again a few times before it counts as not known.

use std::thread;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};

use super::directory::read_bounded;
use super::{Fetched, Listed, Source, SourceError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one whole file: 16 MiB at most, so a line of a few Mbit/s suffices.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// After so many request time-outs a file is given up, however many tries are left.
const PATIENCE: u32 = 2;
/// Waits before the second, third, … try.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// The longest `Retry-After` that is waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(15);
const REDIRECTS_MAX: usize = 5;
/// Requests at once: enough to hide the round trip, few enough to be a guest.
const PARALLEL_READS: usize = 6;

/// An election's folder on a web server.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// Ends with `/`.
    base: Url,
    /// For one try, its whole answer included.
    timeout: Duration,
}

impl Http {
    /// A folder on a web server; nothing is asked for yet.
    ///
    /// # Errors
    /// The address is no `http` or `https` URL, or the machine's TLS set-up cannot be read.
    pub fn new(url: &str) -> Result<Self, SourceError> {
        Self::with_timeout(url, REQUEST_TIMEOUT)
    }

    /// As [`Http::new`], with another bound on the time of one answer.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn with_timeout(url: &str, timeout: Duration) -> Result<Self, SourceError> {
        let mut base = Url::parse(url).map_err(|e| SourceError::new(url, e))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(SourceError::new(
                url,
                "only http:// and https:// addresses can be read",
            ));
        }
        base.set_query(None);
        base.set_fragment(None);
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::custom(same_origin_only))
            .user_agent(concat!("tallyroot-verify/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| SourceError::new(url, full_text(&e)))?;
        Ok(Self {
            client,
            base,
            timeout,
        })
    }

    /// The folder's address.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A folder below this one, over the same connections.
    ///
    /// # Errors
    /// The path makes no address.
    pub(super) fn below(&self, folder: &str) -> Result<Self, SourceError> {
        Ok(Self {
            client: self.client.clone(),
            base: self.address(&format!("{folder}/"))?,
            timeout: self.timeout,
        })
    }

    fn address(&self, path: &str) -> Result<Url, SourceError> {
        self.base.join(path).map_err(|e| SourceError::new(path, e))
    }

    /// Asks for what is at this address, a few times if need be; `path` is what it is called.
    ///
    /// # Errors
    /// It cannot be read; see [`SourceError`].
    pub(super) fn fetch(
        &self,
        url: Url,
        path: &str,
        max_len: usize,
    ) -> Result<Answer, SourceError> {
        let mut waits = BACKOFF.iter();
        let begun = Instant::now();
        loop {
            let failure = match self.try_once(url.clone(), max_len) {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match waits.next() {
                Some(wait)
                    if failure.again && begun.elapsed() < self.timeout.saturating_mul(PATIENCE) =>
                {
                    thread::sleep((*wait).max(failure.not_before));
                }
                _ => return Err(SourceError::new(path, failure.problem)),
            }
        }
    }

    /// One try. `Err(Try::…)` says whether another makes sense.
    fn try_once(&self, url: Url, max_len: usize) -> Result<Answer, Failure> {
        // A request's own time-out covers its body as well; the blocking client's would begin anew with every read, for whoever sends a byte now and then.
        let request = self.client.get(url).timeout(self.timeout);
        let response = request.send().map_err(|e| Failure {
            // Where it leads elsewhere, it will again.
            again: !e.is_redirect(),
            ..Failure::passing(full_text(&e))
        })?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND || status == StatusCode::GONE {
            return Ok(Answer {
                content: Fetched::Missing,
                headers: HeaderMap::new(),
            });
        }
        if status == StatusCode::OK {
            let headers = response.headers().clone();
            // A connection that breaks within the body is an error here, not a short file.
            let content = read_bounded(response, max_len);
            let content = content.map_err(|e| Failure::passing(full_text(&e)))?;
            return Ok(Answer { content, headers });
        }
        let problem = format!("the server answered {status}");
        if status.is_server_error()
            || status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
        {
            return Err(Failure {
                problem,
                again: true,
                not_before: retry_after(&response),
            });
        }
        Err(Failure {
            problem,
            again: false,
            not_before: Duration::ZERO,
        })
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) content: Fetched,
    pub(super) headers: HeaderMap,
}

struct Failure {
    problem: String,
    again: bool,
    not_before: Duration,
}

impl Failure {
    const fn passing(problem: String) -> Self {
        Self {
            problem,
            again: true,
            not_before: Duration::ZERO,
        }
    }
}

impl Source for Http {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        let answer = self.fetch(self.address(path)?, path, max_len)?;
        Ok(answer.content)
    }

    fn list(&self, _folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        Ok(None)
    }

    fn parallel_reads(&self) -> usize {
        PARALLEL_READS
    }
}

/// A redirect to elsewhere would let one server answer for another: what is audited is the address that was given.
fn same_origin_only(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same = attempt
        .previous()
        .first()
        .is_some_and(|first| first.origin() == attempt.url().origin());
    if !same {
        return attempt.error(
            "the server redirects to another origin; give that address instead, if you mean it",
        );
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

/// `Retry-After` in seconds; dates are not read.
fn retry_after(response: &Response) -> Duration {
    response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.trim().parse().ok())
        .map_or(Duration::ZERO, Duration::from_secs)
        .min(RETRY_AFTER_MAX)
}

/// An error with its causes: reqwest's own text leaves out why.
fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    // What rustls says of an answer that is no TLS at all.
    if text.contains("InvalidContentType") {
        text.push_str(
            ": the server speaks no TLS at this address; try http:// in place of https://",
        );
    }
    text
}
