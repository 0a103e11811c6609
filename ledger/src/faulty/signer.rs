//! A signer in memory, which remembers everything that it ever signed.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use protocol::checkpoint::Checkpoint;
use protocol::ed25519::SigningKey;
use signer::{SignError, Signer};

use super::faults::{Fault, Faults, perform};
use super::store::lock;
use crate::batch::End;

/// Everything that was ever signed, whether or not anybody got to see it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Signed(Arc<Mutex<Vec<End>>>);

impl Signed {
    /// The checkpoints, in the order of signing.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        lock(&self.0).clone()
    }
}

/// A key in memory.
pub struct MemorySigner {
    key: SigningKey,
    signed: Signed,
    faults: Faults,
}

impl MemorySigner {
    /// Signs with the key of this seed, and remembers it in `signed`.
    #[must_use]
    pub fn new(seed: [u8; 32], signed: Signed, faults: Faults) -> Self {
        Self {
            key: SigningKey::from_seed(&seed),
            signed,
            faults,
        }
    }
}

#[async_trait]
impl Signer for MemorySigner {
    fn public_key(&self) -> [u8; 32] {
        self.key.public()
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let mut step = self.faults.next(|| "signer: sign".to_owned());
        // Nothing is done late: a signature changes nothing by itself.
        step.fault = step.fault.map(|fault| {
            if fault == Fault::Late {
                Fault::After
            } else {
                fault
            }
        });
        let signed = self.signed.clone();
        let end = std::str::from_utf8(message)
            .ok()
            .and_then(|text| Checkpoint::parse_body(text).ok());
        let remember = move || {
            lock(&signed.0).extend(end.map(|checkpoint| End {
                size: checkpoint.size(),
                root: checkpoint.root(),
            }));
        };
        perform(step, remember)
            .await
            .ok_or_else(|| SignError::Unavailable("timed out".to_owned()))?;
        Ok(self.key.sign(message))
    }
}
