//! What is known of the log from its signatures, whatever the two copies say.

use bytes::Bytes;

use super::Config;
use super::retry::{Persistent, Stop};
use crate::batch::{Batch, End};
use crate::publisher::CHECKPOINT_BYTES_MAX;

/// The ends that somebody outside may hold a signature over. The log must contain them, or it has forked.
pub(super) struct Known {
    /// The newest published checkpoint and its bytes.
    pub(super) signed: Option<(End, Bytes)>,
    /// [`Config::floor`].
    floor: Option<End>,
}

impl Known {
    /// Reads the newest checkpoint. Anything there that the log's key did not sign halts the log.
    pub(super) async fn read(config: &Config, files: &Persistent<'_>) -> Result<Self, Stop> {
        let path = config.log.path("checkpoint");
        let signed = match files.read(&path, CHECKPOINT_BYTES_MAX).await? {
            None => None,
            Some(bytes) => {
                let checkpoint = config.keys.verify(&config.log, &bytes).map_err(|error| {
                    Stop::Halt(format!("{path} is not a checkpoint of this log: {error}"))
                })?;
                let end = End {
                    size: checkpoint.size(),
                    root: checkpoint.root(),
                };
                Some((end, bytes))
            }
        };
        Ok(Self {
            signed,
            floor: config.floor,
        })
    }

    /// Whether tiles and `checkpoints/<size>` are published up to this size: the newest checkpoint moved last.
    pub(super) fn covers(&self, size: u64) -> bool {
        self.signed
            .as_ref()
            .is_some_and(|(end, _)| size <= end.size)
    }

    /// Whether each of these ends that is not beyond the last of `batch_ends` is one of them.
    pub(super) fn agrees(&self, batch_ends: &[End]) -> bool {
        let last = batch_ends.last().map_or(0, |end| end.size);
        self.ends()
            .filter(|(_, end)| end.size <= last)
            .all(|(_, end)| {
                let at = batch_ends.binary_search_by_key(&end.size, |other| other.size);
                at.ok().and_then(|at| batch_ends.get(at)) == Some(&end)
            })
    }

    fn ends(&self) -> impl Iterator<Item = (&'static str, End)> {
        let signed = self.signed.as_ref().map(|(end, _)| *end);
        let signed = signed.map(|end| ("a checkpoint was signed", end));
        signed.into_iter().chain(
            self.floor
                .map(|end| ("somebody outside holds a signature", end)),
        )
    }

    /// SPEC: "Checkpoints fall on batch ends only." One that falls into this batch must be its end.
    pub(super) fn check_batch(&self, batch: &Batch) -> Result<(), Stop> {
        let (old, new) = (batch.old(), batch.new_end());
        for (what, end) in self.ends() {
            if old.size < end.size && end.size <= new.size && end != new {
                return Err(Stop::Halt(format!(
                    "{what} at {end:?}, but batch {} ends at {new:?}: the log has forked",
                    batch.n()
                )));
            }
        }
        Ok(())
    }

    /// Both copies together reach `size`, and no further.
    pub(super) fn check_reach(&self, size: u64) -> Result<(), Stop> {
        match self.ends().find(|(_, end)| end.size > size) {
            None => Ok(()),
            Some((what, end)) => Err(Stop::Halt(format!(
                "{what} at {end:?}, but the database and what is published both end at size {size}: entries are lost; restore either copy"
            ))),
        }
    }
}
