//! Comparing the published tiles and entry bundles with what the entries make.
//!
//! "Every full tile and every right-edge partial tile of the newest checkpoint must exist. Superseded partial tiles may exist and must then be right."

use protocol::merkle::tile::{
    BUNDLE_BYTES_MAX, BundleId, Edge, FULL_WIDTH, TILE_BYTES_MAX, TileId, edge_tiles,
};

use super::context::{Context, Read};
use crate::finding::{Code, Place, Votes};
use crate::source::ListedKind;
use crate::work::Pool;

/// The entry bundle that is being filled.
#[derive(Debug, Default)]
pub(super) struct OpenBundle {
    index: u64,
    /// Length-prefixed entries.
    bytes: Vec<u8>,
    /// Where each entry ends in `bytes`.
    ends: Vec<usize>,
}

impl OpenBundle {
    /// Adds an entry; returns the bundle when that fills it. Entries come from batches, where their length has 16 bits.
    pub(super) fn push(&mut self, entry: &[u8]) -> Option<Expected> {
        let len = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        self.bytes.extend_from_slice(entry);
        self.ends.push(self.bytes.len());
        if self.ends.len() < usize::from(FULL_WIDTH) {
            return None;
        }
        let full = self.expected()?;
        *self = Self {
            index: self.index + 1,
            ..Self::default()
        };
        Some(full)
    }

    /// The bundle as far as it is filled; `None` while it is empty.
    pub(super) fn expected(&self) -> Option<Expected> {
        let width = u16::try_from(self.ends.len()).ok().filter(|w| *w > 0)?;
        let id = BundleId::new(self.index, width).ok()?;
        Some(Expected {
            full_path: id.full().path(),
            full_len_max: BUNDLE_BYTES_MAX,
            partial: !id.is_full(),
            must_exist: true,
            path: id.path(),
            bytes: self.bytes.clone(),
            ends: self.ends.clone(),
            code: Code::BundleMismatch,
        })
    }
}

/// What a tile or bundle must hold.
pub(super) struct Expected {
    path: String,
    /// The path of the full one at the same place.
    full_path: String,
    full_len_max: usize,
    partial: bool,
    pub(super) must_exist: bool,
    bytes: Vec<u8>,
    /// Where each of its items ends: a narrower one at the same place is this one up to there.
    ends: Vec<usize>,
    code: Code,
}

impl Expected {
    pub(super) fn tile(id: TileId, bytes: Vec<u8>) -> Self {
        Self {
            path: id.path(),
            full_path: id.full().path(),
            full_len_max: TILE_BYTES_MAX,
            partial: !id.is_full(),
            must_exist: true,
            ends: (1..=usize::from(id.width())).map(|i| i * 32).collect(),
            bytes,
            code: Code::TileMismatch,
        }
    }

    /// Compares the published file, and where the source lists folders every narrower one beside it.
    fn compare(&self, context: &Context<'_>, prefix: &str) {
        let path = format!("{prefix}/{}", self.path);
        match context.read(&path, self.full_len_max) {
            Read::File(found) => self.judge(context, path, &found, &self.bytes),
            // "Partial tiles are optional once the full tile exists": it then starts with what the partial one held.
            Read::Missing if !self.must_exist => {}
            Read::Missing if self.partial => self.compare_start_of_full(context, prefix, path),
            Read::Missing => context.add(
                Code::MissingFile,
                Place::file(path),
                Votes::AtMost(0),
                "there is no such file; every tile and entry bundle of the newest checkpoint must exist",
            ),
            Read::Unusable | Read::Unknown => {}
        }
        self.compare_narrower(context, prefix);
    }

    fn compare_start_of_full(&self, context: &Context<'_>, prefix: &str, path: String) {
        let full_path = format!("{prefix}/{}", self.full_path);
        match context.read(&full_path, self.full_len_max) {
            Read::File(found) => {
                let start = found.get(..self.bytes.len()).unwrap_or(&found);
                self.judge(context, full_path, start, &self.bytes);
            }
            Read::Missing => context.add(
                Code::MissingFile,
                Place::file(path),
                Votes::AtMost(0),
                "there is no such file, nor the full one in its place; every tile and entry bundle of the newest checkpoint must exist",
            ),
            Read::Unusable | Read::Unknown => {}
        }
    }

    fn compare_narrower(&self, context: &Context<'_>, prefix: &str) {
        let folder = format!("{prefix}/{}.p", self.full_path);
        for listed in context.list(&folder).unwrap_or_default() {
            // Other names belong to nothing, or to a later size: the census judges those.
            let Some(width) =
                strict_decimal(&listed.name).filter(|_| listed.kind == ListedKind::File)
            else {
                continue;
            };
            let Some(end) = usize::try_from(width)
                .ok()
                .and_then(|width| width.checked_sub(1))
                .and_then(|last| self.ends.get(last))
            else {
                continue;
            };
            let path = format!("{folder}/{width}");
            if path == format!("{prefix}/{}", self.path) || width >= u64::from(FULL_WIDTH) {
                continue;
            }
            if let Read::File(found) = context.read(&path, self.full_len_max) {
                let start = self.bytes.get(..*end).unwrap_or_default();
                self.judge(context, path, &found, start);
            }
        }
    }

    fn judge(&self, context: &Context<'_>, path: String, found: &[u8], expected: &[u8]) {
        if found == expected {
            return;
        }
        let what = match found.iter().zip(expected).position(|(a, b)| a != b) {
            Some(byte) => format!("it differs from byte {byte} on"),
            None => format!("it has {} bytes", found.len()),
        };
        context.add(
            self.code,
            Place::file(path),
            Votes::AtMost(0),
            format!(
                "{what}; the entries in the batches make {} bytes here",
                expected.len()
            ),
        );
    }
}

/// Hands the comparison to a worker.
pub(super) fn compare_later<'a>(
    pool: &Pool<'a>,
    context: Context<'a>,
    prefix: &str,
    expected: Expected,
) {
    let prefix = prefix.to_owned();
    pool.run(move || expected.compare(&context, &prefix));
}

/// The partial tiles at the right edge of a tree.
pub(super) fn right_edge(edge: &Edge) -> Vec<Expected> {
    edge_tiles(edge.size())
        .into_iter()
        .filter_map(|id| edge.tile(&id).map(|bytes| Expected::tile(id, bytes)))
        .collect()
}

/// A decimal as file names spell it: ASCII digits, no leading zero, no sign.
pub(crate) fn strict_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
