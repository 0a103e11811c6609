//! The server: HTTP/1.1 over TCP or TLS, with every wait and every size bounded.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics::counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use crate::meter::{HANDSHAKES, Meter};
use crate::{ApiError, Limits, Tls};

/// The pause after a failed accept. It fails when file descriptors run out, and then would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` until `shutdown` resolves; then takes no new connection, lets requests in flight end (up to
/// `limits.drain_timeout`), and returns.
///
/// HTTP/2 is left to what stands in front: one protocol with known bounds is easier to defend than two.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    accept(listener, None, router, limits, shutdown).await;
}

/// As [`serve`], over TLS alone: who speaks plain HTTP gets no answer.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Tls,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let keep_up = tls.clone().keep_up(limits.certificate_look);
    let secured = Secured {
        tls,
        handshakes: Arc::new(Semaphore::new(limits.handshakes_max)),
    };
    tokio::select! {
        () = accept(listener, Some(secured), router, limits, shutdown) => {}
        () = keep_up => {}
    }
}

/// A certificate, and how many at once may be shown it.
#[derive(Clone)]
struct Secured {
    tls: Tls,
    handshakes: Arc<Semaphore>,
}

async fn accept(
    listener: TcpListener,
    secured: Option<Secured>,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let router = with_limits(router, limits);
    let connections = Arc::new(Semaphore::new(limits.connections()));
    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        // The permit comes first: a connection that could not be served is not accepted.
        let accepted = async {
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            (permit, accepted) = accepted => match accepted {
                Ok((stream, _address_unused)) => {
                    let connection = connection(stream, secured.clone(), router.clone(), limits, stopping.clone());
                    tasks.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(kind = %error.kind(), "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let drained = tokio::time::timeout(limits.drain_timeout, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    if drained.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "connections were cut: their requests did not end in time"
        );
        tasks.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    secured: Option<Secured>,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let stream = Box::pin(unread_for(limits.write_timeout, stream));
    let Some(secured) = secured else {
        return http(stream, router, limits, stopping).await;
    };
    let handshake = async {
        // An error is a semaphore that was closed, which this one never is.
        let _permit = secured.handshakes.acquire().await;
        secured.tls.acceptor().accept(stream).await
    };
    let outcome = tokio::select! {
        handshake = tokio::time::timeout(limits.handshake_timeout, handshake) => handshake,
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    let counted = match &outcome {
        Ok(Ok(_)) => "done",
        Ok(Err(_)) => "failed",
        Err(_) => "late",
    };
    counter!(HANDSHAKES, "outcome" => counted).increment(1);
    if let Ok(Ok(stream)) = outcome {
        http(stream, router, limits, stopping).await;
    }
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.headers_max)
        .max_buf_size(limits.header_bytes_max.max(8192))
        .half_close(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        // Whatever a stranger does to a connection is no event of ours.
        _ = &mut connection => return,
        _ = stopping.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A client that does not read must not hold its place for ever: a write that makes no progress for this long ends the connection.
fn unread_for(timeout: Duration, stream: TcpStream) -> TimeoutStream<TcpStream> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    stream
}

/// Bounds the number and the duration of requests in flight.
fn with_limits(router: Router, limits: Limits) -> Router {
    let gate = Gate {
        requests: Arc::new(Semaphore::new(limits.requests_max)),
        timeout: limits.request_timeout,
    };
    router.layer(axum::middleware::from_fn_with_state(gate, gated))
}

#[derive(Clone)]
struct Gate {
    requests: Arc<Semaphore>,
    timeout: Duration,
}

async fn gated(
    State(gate): State<Gate>,
    request: Request<Body>,
    next: Next,
) -> Result<Response, Infallible> {
    let meter = Meter::of(&request);
    let Ok(_permit) = gate.requests.try_acquire() else {
        let response = ApiError::busy(
            "Too many requests at once, and nothing was done: send the same again after Retry-After.",
            2,
        )
        .into_response();
        meter.answered(&response);
        return Ok(response);
    };
    let response = tokio::time::timeout(gate.timeout, next.run(request))
        .await
        .unwrap_or_else(|_| {
            ApiError::busy(
                "No answer in time, and the outcome is unknown: send the same again, which is always safe.",
                2,
            )
            .into_response()
        });
    meter.answered(&response);
    Ok(response)
}
