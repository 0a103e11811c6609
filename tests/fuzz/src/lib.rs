//! What the fuzz targets do with their input: each body asserts what must hold for any bytes, and a panic is a finding.
//!
//! The targets of `fuzz/` call these functions and nothing else. They are ordinary functions, so that the tests of this crate run them, on the
//! pinned toolchain, over every input that was kept and over the published vectors.
//!
//! What is asserted: what a decoder accepts encodes to the same bytes (one meaning has one encoding); what verifies is what the keys' owners signed, byte
//! for byte, since nobody here has their keys; where somebody else's implementation, or the specification's own words, answer the same question,
//! the answers are the same.

mod audit;
mod documents;
mod entries;
#[path = "../../../protocol/tests/common/evidence.rs"]
#[allow(missing_docs, dead_code)]
mod evidence_cases;
mod files;
mod fixture;
mod notes;
#[path = "../../../protocol/tests/merkle/oracle.rs"]
#[allow(missing_docs, dead_code)]
mod oracle;
mod proofs;
mod seeds;
mod shown;
mod trees;

pub use audit::audit;
pub use documents::documents;
pub use entries::entries;
pub use files::files;
pub use notes::notes;
pub use proofs::proofs;
pub use seeds::seeds;

/// A target's body.
pub type Body = fn(&[u8]);

/// Every target, by its name.
pub const TARGETS: [(&str, Body); 6] = [
    ("audit", audit),
    ("documents", documents),
    ("entries", entries),
    ("files", files),
    ("notes", notes),
    ("proofs", proofs),
];

/// The first byte of an input chooses among `of` things to do with the rest.
fn chosen(data: &[u8], of: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((first % of, rest))
}
