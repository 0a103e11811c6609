//! Server-sent events: each watcher gets the newest results, and skips what it was too slow for.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Bounds on watchers.
#[derive(Debug, Clone, Copy)]
pub struct Watchers {
    /// Most watchers at once; one more is told to come back (and the page polls meanwhile).
    pub count_max: usize,
    /// A comment is sent after this long without an update, so that nobody in between closes the connection.
    pub keep_alive: Duration,
    /// A watcher that takes nothing for this long is let go.
    pub stall_max: Duration,
    /// After this long a watcher is asked to connect again, so that load can move between servers.
    pub age_max: Duration,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            count_max: 10_000,
            keep_alive: Duration::from_secs(15),
            stall_max: Duration::from_secs(30),
            age_max: Duration::from_secs(3_600),
        }
    }
}

/// The newest event, shared by all watchers: it is encoded once, however many there are.
#[derive(Clone)]
pub(crate) struct Updates {
    newest: watch::Receiver<Option<Bytes>>,
    seats: Arc<Semaphore>,
    watchers: Watchers,
    /// True once the service stops.
    stopping: watch::Sender<bool>,
}

impl Updates {
    pub(crate) fn new(newest: watch::Receiver<Option<Bytes>>, watchers: Watchers) -> Self {
        Self {
            newest,
            seats: Arc::new(Semaphore::new(watchers.count_max)),
            watchers,
            stopping: watch::Sender::new(false),
        }
    }

    /// Ends every stream: a server that stops gracefully would else wait for its watchers, who never end by themselves.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }
}

/// The event for these bytes of `results.json`: canonical JSON escapes every control character, so they stand on one line.
pub(crate) fn event(results: &[u8]) -> Bytes {
    [b"event: results\ndata: ", results, b"\n\n"]
        .concat()
        .into()
}

const KEEP_ALIVE: &[u8] = b": still here\n\n";

pub(super) async fn events(State(updates): State<Updates>) -> Response {
    let Ok(seat) = Arc::clone(&updates.seats).try_acquire_owned() else {
        let headers = [(header::RETRY_AFTER, "30")];
        let text = "Too many watchers: read results.json instead, or come back later.\n";
        return (StatusCode::SERVICE_UNAVAILABLE, headers, text).into_response();
    };
    // One place: a watcher that does not take an event blocks its own feeder and nobody else.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(feed(
        sender,
        updates.newest,
        updates.stopping.subscribe(),
        updates.watchers,
        seat,
    ));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        // Proxies of the nginx kind would else hold events back.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}

/// Feeds one watcher until it is gone, stalls, is old enough, the service stops, or there are no more updates. Holds its seat meanwhile.
async fn feed(
    sender: mpsc::Sender<Result<Bytes, Infallible>>,
    mut newest: watch::Receiver<Option<Bytes>>,
    mut stopping: watch::Receiver<bool>,
    watchers: Watchers,
    _seat: OwnedSemaphorePermit,
) {
    let end = Instant::now() + watchers.age_max;
    // A new watcher gets what there is.
    newest.mark_changed();
    while Instant::now() < end {
        let wait = watchers
            .keep_alive
            .min(end.saturating_duration_since(Instant::now()));
        let next = tokio::select! {
            () = sender.closed() => return,
            // An error is a service that is gone.
            _ = stopping.wait_for(|stopping| *stopping) => return,
            changed = timeout(wait, newest.changed()) => match changed {
                // Only the newest counts: whatever came in between while this watcher was slow is gone.
                Ok(Ok(())) => newest.borrow_and_update().clone(),
                Ok(Err(_)) => return,
                Err(_) => Some(Bytes::from_static(KEEP_ALIVE)),
            },
        };
        let Some(bytes) = next else { continue };
        if sender
            .send_timeout(Ok(bytes), watchers.stall_max)
            .await
            .is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_watcher_that_takes_nothing_gives_its_seat_back() {
        let (sender, newest) = watch::channel(Some(event(b"{}")));
        let watchers = Watchers {
            count_max: 1,
            keep_alive: Duration::from_millis(1),
            stall_max: Duration::from_millis(20),
            ..Watchers::default()
        };
        let updates = Updates::new(newest, watchers);
        // Held and never read: one event fits the channel, the next one stalls.
        let stalled = events(State(updates.clone())).await;
        assert_eq!(stalled.status(), StatusCode::OK);
        let refused = events(State(updates.clone())).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let seat = timeout(
            Duration::from_secs(30),
            Arc::clone(&updates.seats).acquire_owned(),
        );
        assert!(seat.await.unwrap().is_ok());
        drop((stalled, sender));
    }

    #[tokio::test]
    async fn a_stop_ends_every_stream() {
        let (_sender, newest) = watch::channel(Some(event(b"{}")));
        let updates = Updates::new(newest, Watchers::default());
        let before = events(State(updates.clone())).await;
        updates.stop();
        let after = events(State(updates.clone())).await;
        for response in [before, after] {
            let body = axum::body::to_bytes(response.into_body(), 1_000);
            let body = timeout(Duration::from_secs(30), body).await;
            assert!(body.unwrap().is_ok());
        }
    }
}
