//! The names of tiles and entry bundles, and their paths.

use std::fmt::{self, Write as _};

use super::{FULL_WIDTH, LEVELS};
use crate::merkle::Hash;

/// A tile's name: level, index within the level, and width (256 for a full tile, 1 to 255 for a partial one).
///
/// Only tiles of trees whose size fits 64 bits can be named, so the level is at most 7. (The specification allows 63, for trees that nobody has.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// The tile of this level, index and width.
    ///
    /// # Errors
    ///
    /// When the width is not 1 to 256, or the tile starts beyond the largest tree, 2^64 leaves.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, IdError> {
        check_width(width)?;
        // The first leaf below the tile is `index * 256^(level + 1)`, which must fit 64 bits; at level 7 only index 0 is left.
        let in_range = level < LEVELS && index >> (8 * (LEVELS - 1 - level)) == 0;
        if !in_range {
            return Err(IdError::OutOfRange { level, index });
        }
        Ok(Self {
            level,
            index,
            width,
        })
    }

    /// For code that derives tiles from tree sizes: what it passes is in range.
    pub(super) const fn derived(level: u8, index: u64, width: u16) -> Self {
        Self {
            level,
            index,
            width,
        }
    }

    /// The level: 0 holds leaf hashes.
    #[must_use]
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// The index within the level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The number of hashes, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The number of bytes of the tile.
    #[must_use]
    pub const fn byte_len(&self) -> usize {
        self.width as usize * Hash::LEN
    }

    /// Whether all 256 hashes are there.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == FULL_WIDTH
    }

    /// The full tile at the same place. A log may delete a partial tile once the full one exists; then fetch this one and [`TileId::truncate`] it.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self {
            width: FULL_WIDTH,
            ..*self
        }
    }

    /// Cuts the bytes of the full tile at the same place down to this tile's. `None` when these are not the bytes of a full tile.
    #[must_use]
    pub fn truncate<'a>(&self, full_tile: &'a [u8]) -> Option<&'a [u8]> {
        if full_tile.len() != self.full().byte_len() {
            return None;
        }
        full_tile.get(..self.byte_len())
    }

    /// The path below the log's prefix: `tile/<L>/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = format!("tile/{}/", self.level);
        push_index_and_width(&mut path, self.index, self.width);
        path
    }

    /// Reads exactly what [`TileId::path`] writes.
    ///
    /// # Errors
    ///
    /// When the path is spelled in any other way.
    pub fn parse_path(path: &str) -> Result<Self, IdError> {
        let rest = path.strip_prefix("tile/").ok_or(IdError::Path)?;
        let (level, rest) = rest.split_once('/').ok_or(IdError::Path)?;
        let (index, width) = parse_index_and_width(rest)?;
        let id = Self::new(level.parse().map_err(|_| IdError::Path)?, index, width)?;
        // Parsing above is lenient about leading zeroes and signs; one tile has one path.
        if id.path() == path {
            Ok(id)
        } else {
            Err(IdError::Path)
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

/// An entry bundle's name: index and width; entry bundles stand beside the tiles of level 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId {
    index: u64,
    width: u16,
}

impl BundleId {
    /// The bundle of this index and width.
    ///
    /// # Errors
    ///
    /// When the width is not 1 to 256, or the bundle starts beyond the largest tree, 2^64 leaves.
    pub fn new(index: u64, width: u16) -> Result<Self, IdError> {
        TileId::new(0, index, width).map(|tile| Self {
            index,
            width: tile.width,
        })
    }

    /// For code that derives bundles from tree sizes: what it passes is in range.
    pub(super) const fn derived(index: u64, width: u16) -> Self {
        Self { index, width }
    }

    /// The index.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The number of entries, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// The leaf index of the bundle's first entry.
    #[must_use]
    pub const fn first_leaf(&self) -> u64 {
        self.index * FULL_WIDTH as u64
    }

    /// Whether all 256 entries are there.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == FULL_WIDTH
    }

    /// The full bundle at the same place, to fall back on when the partial one is gone: decode that, and keep the first [`BundleId::width`] entries.
    #[must_use]
    pub const fn full(&self) -> Self {
        Self {
            width: FULL_WIDTH,
            ..*self
        }
    }

    /// The tile of level 0 that holds the hashes of this bundle's entries.
    #[must_use]
    pub const fn tile(&self) -> TileId {
        TileId::derived(0, self.index, self.width)
    }

    /// The path below the log's prefix: `tile/entries/<N>[.p/<W>]`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = String::from("tile/entries/");
        push_index_and_width(&mut path, self.index, self.width);
        path
    }

    /// Reads exactly what [`BundleId::path`] writes.
    ///
    /// # Errors
    ///
    /// When the path is spelled in any other way.
    pub fn parse_path(path: &str) -> Result<Self, IdError> {
        let rest = path.strip_prefix("tile/entries/").ok_or(IdError::Path)?;
        let (index, width) = parse_index_and_width(rest)?;
        let id = Self::new(index, width)?;
        if id.path() == path {
            Ok(id)
        } else {
            Err(IdError::Path)
        }
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

const fn check_width(width: u16) -> Result<(), IdError> {
    if width == 0 || width > FULL_WIDTH {
        Err(IdError::Width { width })
    } else {
        Ok(())
    }
}

/// "`<N>` … MUST be a non-negative integer encoded into zero-padded 3-digit path elements. All but the last path element MUST begin with an `x`."
fn push_index_and_width(path: &mut String, index: u64, width: u16) {
    // 64 bits have at most 20 digits: seven groups of three.
    let mut started = false;
    for group in (0..7).rev() {
        let digits = index / 1000_u64.pow(group) % 1000;
        started |= digits != 0 || group == 0;
        if started {
            let (open, end) = if group == 0 { ("", "") } else { ("x", "/") };
            // Writing to a string cannot fail.
            let _ = write!(path, "{open}{digits:03}{end}");
        }
    }
    // "The `.p/<W>` suffix is only present for partial tiles"
    if width != FULL_WIDTH {
        let _ = write!(path, ".p/{width}");
    }
}

/// Reads an index and a width, leniently: callers compare with the one right spelling.
fn parse_index_and_width(text: &str) -> Result<(u64, u16), IdError> {
    let (index, width) = match text.split_once(".p/") {
        Some((index, width)) => (index, width.parse().map_err(|_| IdError::Path)?),
        None => (text, FULL_WIDTH),
    };
    let mut number: u64 = 0;
    for element in index.split('/') {
        let digits = element.strip_prefix('x').unwrap_or(element);
        let digits: u64 = match digits.len() {
            3 => digits.parse().map_err(|_| IdError::Path)?,
            _ => return Err(IdError::Path),
        };
        number = number
            .checked_mul(1000)
            .and_then(|n| n.checked_add(digits))
            .ok_or(IdError::Path)?;
    }
    Ok((number, width))
}

/// Why there is no such tile or bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The width is out of range.
    #[error("a tile or bundle holds 1 to 256 items, not {width}")]
    Width {
        /// The width that was asked for.
        width: u16,
    },
    /// No tree of up to 2^64 leaves has this tile.
    #[error("tile {index} of level {level} lies beyond the largest tree, 2^64 leaves")]
    OutOfRange {
        /// The level that was asked for.
        level: u8,
        /// The index that was asked for.
        index: u64,
    },
    /// The path is not spelled as tlog-tiles asks.
    #[error("not the path of a tile or bundle as tlog-tiles spells it")]
    Path,
}
