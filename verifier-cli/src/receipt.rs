//! x
use crate::verdict::Outcome;
use std::path::Path;
/// x
#[derive(serde::Serialize)]
pub struct ReceiptVerdict {
    /// x
    pub verdict: Outcome,
}
/// x
pub fn run(
    _: &Path,
    _: &protocol::ids::ElectionId,
    _: Option<&str>,
    _: Option<&[u8; 32]>,
) -> ReceiptVerdict {
    ReceiptVerdict {
        verdict: Outcome::Unchecked,
    }
}
