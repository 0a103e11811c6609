//! Between a client and the server: what networks and services do to requests, at will.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// No request or answer of a test is longer.
const BODY_LEN_MAX: usize = 64 << 20;
/// Where AWS's JSON protocol says what is asked.
const TARGET: &str = "x-amz-target";

/// Changes an answer: gets the request's and the answer's body.
pub type Change = Arc<dyn Fn(&[u8], &[u8]) -> Vec<u8> + Send + Sync>;

/// What becomes of a request.
#[derive(Clone)]
pub enum Answer {
    /// It is passed on, and so is the answer.
    True,
    /// It is not passed on; this is the answer.
    Instead(u16, String),
    /// It is not passed on, and nobody answers.
    Never,
    /// It is passed on and carried out; the connection is cut before the answer.
    Lost,
    /// It is passed on; the answer is changed.
    Changed(Change),
}

impl Answer {
    /// The service says *too many*.
    #[must_use]
    pub fn throttled() -> Self {
        Self::error(400, "ThrottlingException", "Rate exceeded")
    }

    /// The service fails.
    #[must_use]
    pub fn failed() -> Self {
        Self::error(500, "KMSInternalException", "internal failure")
    }

    /// The service answers with this error.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Instead(
            status,
            format!(r#"{{"__type":"{code}","message":"{message}"}}"#),
        )
    }
}

/// A request that came, and what the server itself answered to it, whatever the client got.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The operation, such as `TrentService.Sign`; for other protocols, method and path.
    pub operation: String,
    /// The request's body.
    pub request: Bytes,
    /// The server's answer, where the request was passed on.
    pub answer: Option<Bytes>,
}

#[derive(Default)]
struct Rules {
    operation: String,
    next: VecDeque<Answer>,
    then: Option<Answer>,
}

struct State {
    to: String,
    client: reqwest::Client,
    rules: Mutex<Rules>,
    /// A header that is not passed on.
    without: Mutex<Option<String>>,
    seen: watch::Sender<Vec<Exchange>>,
}

/// A proxy on a free port of 127.0.0.1.
pub struct Proxy {
    url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts one before the server at `to`; it passes everything on.
    ///
    /// # Panics
    /// It cannot listen.
    pub async fn start(to: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            to: to.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            rules: Mutex::default(),
            without: Mutex::default(),
            seen: watch::Sender::default(),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { state.serve(request).await }
                });
                tokio::spawn(async move {
                    // An error is a connection that was cut, by us or by the client.
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, state, task }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on requests whose operation ends so (`Sign`) are answered with these, one each, and then truly.
    pub fn answer(&self, operation: &str, next: impl IntoIterator<Item = Answer>) {
        self.set(operation, next.into_iter().collect(), None);
    }

    /// From now on all such requests are answered so.
    pub fn always(&self, operation: &str, answer: Answer) {
        self.set(operation, VecDeque::new(), Some(answer));
    }

    /// From now on this header is not passed on: the server answers as one that does not know it. Requests must then be such that it does not check their signatures.
    ///
    /// # Panics
    /// Another thread has panicked.
    pub fn without(&self, header: &str) {
        *self.state.without.lock().unwrap() = Some(header.to_owned());
    }

    /// From now on all is passed on.
    pub fn heal(&self) {
        self.set("", VecDeque::new(), None);
    }

    fn set(&self, operation: &str, next: VecDeque<Answer>, then: Option<Answer>) {
        *self.state.rules.lock().unwrap() = Rules {
            operation: operation.to_owned(),
            next,
            then,
        };
    }

    /// All requests for such an operation that came so far.
    #[must_use]
    pub fn seen(&self, operation: &str) -> Vec<Exchange> {
        of(&self.state.seen.borrow(), operation)
    }

    /// Waits until so many more of them have come than now.
    ///
    /// # Panics
    /// The proxy is gone.
    pub async fn more(&self, operation: &str, count: usize) -> Vec<Exchange> {
        let mut seen = self.state.seen.subscribe();
        let wanted = of(&seen.borrow_and_update(), operation).len() + count;
        let enough = seen.wait_for(|seen| of(seen, operation).len() >= wanted);
        of(&enough.await.unwrap(), operation)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn of(seen: &[Exchange], operation: &str) -> Vec<Exchange> {
    let such = seen.iter().filter(|one| one.operation.ends_with(operation));
    such.cloned().collect()
}

impl State {
    /// An error cuts the connection.
    async fn serve(
        &self,
        request: Request<hyper::body::Incoming>,
    ) -> Result<Response<Body>, io::Error> {
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), BODY_LEN_MAX)
            .await
            .map_err(io::Error::other)?;
        let target = head
            .headers
            .get(TARGET)
            .and_then(|value| value.to_str().ok());
        let operation = match target {
            Some(target) => target.to_owned(),
            None => format!("{} {}", head.method, head.uri.path()),
        };
        let rule = self.rule(&operation);
        let place = {
            let exchange = Exchange {
                operation,
                request: body.clone(),
                answer: None,
            };
            let mut place = 0;
            self.seen.send_modify(|seen| {
                place = seen.len();
                seen.push(exchange);
            });
            place
        };
        match rule {
            Answer::Instead(status, text) => {
                let mut answer = Response::new(Body::from(text));
                *answer.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
                answer.headers_mut().insert(
                    CONTENT_TYPE,
                    "application/x-amz-json-1.1"
                        .parse()
                        .map_err(io::Error::other)?,
                );
                return Ok(answer);
            }
            Answer::Never => match std::future::pending::<Infallible>().await {},
            Answer::True | Answer::Lost | Answer::Changed(_) => {}
        }
        let (status, headers, answer) = self
            .pass(&head.method, &head.uri, &head.headers, body.clone())
            .await?;
        self.seen.send_modify(|seen| {
            if let Some(exchange) = seen.get_mut(place) {
                exchange.answer = Some(answer.clone());
            }
        });
        let answer = match rule {
            Answer::Lost => return Err(io::Error::other("the answer is lost")),
            Answer::Changed(change) => Bytes::from(change(&body, &answer)),
            _ => answer,
        };
        let mut response = Response::new(Body::from(answer));
        *response.status_mut() = status;
        for (name, value) in &headers {
            if !is_of_connection(name.as_str()) && name.as_str() != "content-length" {
                response.headers_mut().append(name, value.clone());
            }
        }
        Ok(response)
    }

    fn rule(&self, operation: &str) -> Answer {
        let mut rules = self.rules.lock().unwrap();
        if !operation.ends_with(&rules.operation) {
            return Answer::True;
        }
        match rules.next.pop_front() {
            Some(answer) => answer,
            None => rules.then.clone().unwrap_or(Answer::True),
        }
    }

    /// As it came: the signature covers the host's name and what stands in the other headers.
    async fn pass(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: Bytes,
    ) -> io::Result<(StatusCode, HeaderMap, Bytes)> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.to))
            .body(body);
        let without = self.without.lock().unwrap().clone();
        for (name, value) in headers {
            if without.as_deref() == Some(name.as_str()) {
                continue;
            }
            if name == HOST || !is_of_connection(name.as_str()) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.map_err(io::Error::other)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.map_err(io::Error::other)?;
        Ok((status, headers, body))
    }
}

fn is_of_connection(name: &str) -> bool {
    matches!(name, "connection" | "transfer-encoding" | "keep-alive")
}
