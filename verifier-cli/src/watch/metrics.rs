//! What a monitoring system wants to know, as Prometheus text over HTTP.
//!
//! One connection at a time, each bounded in bytes and time: whoever holds one up delays the next scrape by two seconds, and nothing else.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::alarm::Alarms;
use super::judge::Shown;

const REQUEST_LEN_MAX: usize = 4_096;
const TIME_MAX: Duration = Duration::from_secs(2);

/// The page, shared between the watcher and whoever serves it.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<String>>);

impl Metrics {
    /// The page as it is now.
    #[must_use]
    pub fn page(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn update(&self, round: u64, now: u64, shown: &Shown, behind: u64, alarms: &Alarms) {
        let mut page = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, lines: Vec<(String, u64)>| {
            // Writing to a string cannot fail.
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in lines {
                let _ = writeln!(page, "{name}{labels} {value}");
            }
        };
        let one = |value: u64| vec![(String::new(), value)];
        metric(
            "tallyroot_watch_rounds_total",
            "counter",
            "Rounds over all sources.",
            one(round),
        );
        metric(
            "tallyroot_watch_round_seconds",
            "gauge",
            "When the last look began, in seconds since 1970.",
            one(now / 1_000),
        );
        metric(
            "tallyroot_watch_findings_total",
            "counter",
            "Findings raised, by code.",
            alarms
                .by_code()
                .iter()
                .map(|(code, count)| (format!("{{code=\"{code}\"}}"), *count))
                .collect(),
        );
        metric(
            "tallyroot_watch_findings",
            "gauge",
            "Different findings that were raised, also before a restart.",
            one(alarms.known() as u64),
        );
        metric(
            "tallyroot_watch_findings_standing",
            "gauge",
            "Findings that stand in the last look.",
            one(alarms.standing() as u64),
        );
        metric(
            "tallyroot_watch_looks_cut",
            "gauge",
            "Sources that took more time than a look has, in the last one.",
            one(shown.cut),
        );
        metric(
            "tallyroot_watch_entries_behind",
            "gauge",
            "Entries of cells that were published and not recounted yet.",
            one(behind),
        );
        metric(
            "tallyroot_watch_unread",
            "gauge",
            "1 where a source did not answer in the last look, or not fully.",
            one(u64::from(alarms.any_unread())),
        );
        metric(
            "tallyroot_watch_log_size",
            "gauge",
            "The newest size that a source shows, by log.",
            shown
                .logs
                .iter()
                .map(|(log, (_, size))| (format!("{{log=\"{log}\"}}"), *size))
                .collect(),
        );
        let age = shown.head_time.map(|time| now.saturating_sub(time) / 1_000);
        metric(
            "tallyroot_watch_head_age_seconds",
            "gauge",
            "Age of the newest head, by the watcher's clock.",
            age.map(|age| (String::new(), age)).into_iter().collect(),
        );
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = page;
    }
}

/// Serves the page at this address until the process ends. Returns the address that it listens on.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(address: SocketAddr, metrics: Metrics) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            match stream {
                // A reader may hang up at any time.
                Ok(stream) => {
                    let _ = answer(&stream, &metrics, TIME_MAX);
                }
                // Out of descriptors, say: not at once again.
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    });
    Ok(address)
}

fn answer(mut stream: &TcpStream, metrics: &Metrics, patience: Duration) -> std::io::Result<()> {
    let deadline = Instant::now() + patience;
    let mut request = Vec::new();
    let mut part = [0; 1_024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_LEN_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut part)? {
            0 => return Ok(()),
            read => request.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", metrics.page())
    } else {
        ("404 Not Found", "the metrics are at /metrics\n".to_owned())
    };
    stream.set_write_timeout(Some(patience))?;
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that is answered with more patience than a busy machine needs.
    fn asked() -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            answer(&stream, &Metrics::default(), Duration::from_secs(60)).unwrap();
        });
        stream
    }

    fn answered(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_request_is_read_to_its_end_before_it_is_answered() {
        let mut stream = asked();
        stream.write_all(b"GET /met").unwrap();
        // Whoever answers the first part at once does so within this time; nobody may.
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        assert!(stream.read(&mut [0]).is_err());
        stream.set_read_timeout(None).unwrap();
        stream.write_all(b"rics HTTP/1.1\r\n\r\n").unwrap();
        assert!(answered(stream).starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_request_without_an_end_is_answered_at_its_greatest_length() {
        let mut stream = asked();
        stream.write_all(&[b'a'; REQUEST_LEN_MAX]).unwrap();
        assert!(answered(stream).starts_with("HTTP/1.1 404 "));
    }
}
