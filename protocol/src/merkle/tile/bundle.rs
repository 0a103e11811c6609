//! Entry bundles: "sequences of big-endian uint16 length-prefixed log entries" (C2SP tlog-tiles, "Log entries").

use super::FULL_WIDTH;

/// The number of bytes of the longest entry.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;

/// The number of bytes of the longest bundle.
pub const BUNDLE_BYTES_MAX: usize = FULL_WIDTH as usize * (2 + ENTRY_BYTES_MAX);

/// Writes a bundle of 1 to 256 entries.
///
/// # Errors
///
/// When there are no entries or more than 256, or one of them is longer than 65,535 bytes.
pub fn encode_bundle<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    let mut width: u16 = 0;
    for entry in entries {
        if width == FULL_WIDTH {
            return Err(BundleError::TooManyEntries);
        }
        let len = u16::try_from(entry.len()).map_err(|_| BundleError::EntryTooLong {
            position: width,
            len: entry.len(),
        })?;
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(entry);
        width += 1;
    }
    // "Empty tiles MUST NOT be served."
    if width == 0 {
        Err(BundleError::Width { width })
    } else {
        Ok(bytes)
    }
}

/// Splits a bundle into its entries: exactly `width` of them, with nothing behind the last.
///
/// This does not authenticate: compare each entry's [`leaf_hash`](crate::merkle::leaf_hash) with the tile of [`BundleId::tile`](super::BundleId::tile).
///
/// # Errors
///
/// When the width is not 1 to 256, the bundle ends within an entry, or bytes follow the last entry.
pub fn decode_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    if width == 0 || width > FULL_WIDTH {
        return Err(BundleError::Width { width });
    }
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bytes;
    for position in 0..width {
        let (len, after) = rest
            .split_first_chunk()
            .ok_or(BundleError::Short { position })?;
        let (entry, after) = after
            .split_at_checked(usize::from(u16::from_be_bytes(*len)))
            .ok_or(BundleError::Short { position })?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(BundleError::TrailingBytes { count: rest.len() })
    }
}

/// Why there is no such bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The width is out of range.
    #[error("a bundle holds 1 to 256 entries, not {width}")]
    Width {
        /// The width that was asked for.
        width: u16,
    },
    /// More than 256 entries were given.
    #[error("a bundle holds 1 to 256 entries, and more were given")]
    TooManyEntries,
    /// An entry does not fit its length prefix.
    #[error("entry {position} of the bundle has {len} bytes; at most 65,535 fit")]
    EntryTooLong {
        /// The entry's position in the bundle.
        position: u16,
        /// The entry's number of bytes.
        len: usize,
    },
    /// The bundle ends within an entry.
    #[error(
        "the bundle ends within entry {position}: it was cut off, or holds fewer entries than its name says"
    )]
    Short {
        /// The entry's position in the bundle.
        position: u16,
    },
    /// Bytes follow the last entry.
    #[error(
        "{count} bytes follow the bundle's last entry: it holds more entries than its name says, or was tampered with"
    )]
    TrailingBytes {
        /// The number of bytes.
        count: usize,
    },
}
