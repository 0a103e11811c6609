//! Counting an issuance log entry by entry, where its own word makes the votes look invented.
//!
//! A head takes the number of issuances from the log's newest count or close entry, which is one read however long the log is. A registrar that states too few there would
//! hold back honest cells, and with them the final head, for as long as it likes. So before a cell is held, the issuances themselves are counted: from the first
//! entry on, a stretch a round, until the log is known to say the truth, or to contradict itself.

use std::sync::Arc;

use ledger::LogClient;
use ledger::heads::{keys_of, name_of};
use ledger::publisher::Reader;
use protocol::entry::Entry;
use protocol::grammar::Schedule;
use protocol::ids::LogId;
use protocol::manifest::Election;

use crate::entries;
use crate::observe::ObserveError;

/// How far a log was counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recount {
    /// The first entry that was not counted yet.
    next: u64,
    issued: u64,
    /// What the log says of itself that is not so: nothing takes it back.
    fault: Option<String>,
}

impl Recount {
    /// What the log says of itself that is not so, as far as it was counted.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Goes on up to the newest checkpoint. May be cancelled at any moment: what was counted stays counted.
    pub(crate) async fn advance(
        &mut self,
        reader: &Arc<dyn Reader>,
        election: &Election,
        schedule: &Schedule,
        log: LogId,
    ) -> Result<(), ObserveError> {
        let name = name_of(election, log);
        let keys = keys_of(election, schedule, log)
            .ok_or_else(|| ObserveError::damaged("the election has no such log"))?;
        let client = LogClient::new(Arc::clone(reader), name.clone(), keys);
        let Some((newest, _)) = client.newest().await? else {
            return Err(ObserveError::Missing(name.path("checkpoint")));
        };
        while self.fault.is_none() && self.next < newest.size() {
            let (first, bundle) =
                entries::bundle(reader.as_ref(), &name, &newest, self.next).await?;
            for (index, entry) in (first..).zip(&bundle) {
                if index < self.next {
                    continue;
                }
                self.take(
                    index,
                    &Entry::decode(entry, election).map_err(ObserveError::damaged)?,
                );
            }
        }
        Ok(())
    }

    fn take(&mut self, index: u64, entry: &Entry) {
        let said = match entry {
            Entry::Issuance(_) => {
                self.issued = self.issued.saturating_add(1);
                None
            }
            Entry::Count(count) => Some(count.issued),
            Entry::Close(close) => Some(close.count),
            _ => None,
        };
        self.next = index.saturating_add(1);
        if let Some(said) = said.filter(|said| *said != self.issued)
            && self.fault.is_none()
        {
            self.fault = Some(format!(
                "INCONSISTENT: its entry {index} says that {said} credentials were issued, and {} issuances stand in front of it",
                self.issued
            ));
        }
    }
}
