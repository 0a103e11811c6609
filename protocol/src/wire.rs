//! Reading fixed layouts: big-endian numbers and byte strings off the front of a slice, never past its end.

use crate::entry::ENTRY_LEN_MAX;
use crate::ids::{ElectionId, LogId};
use crate::manifest::INTEGER_END;

/// Why bytes do not have their layout. The formats add what they were reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end too early.
    #[error("the bytes end at {len}, inside a field")]
    Truncated {
        /// Bytes that there are.
        len: usize,
    },
    /// Bytes after the end of the layout.
    #[error("{extra} bytes follow the end")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// A time of 2^53 ms or more.
    #[error("the time {time} is not below 2^53")]
    Time {
        /// The time read.
        time: u64,
    },
    /// Nine bytes that are no log id.
    #[error("a log id is malformed")]
    LogId,
}

/// What is left to read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            len: bytes.len(),
        }
    }

    /// Bytes not yet read.
    pub(crate) const fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(WireError::Truncated { len: self.len })?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(WireError::Truncated { len: self.len })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// "Times are milliseconds … in a `u64` below 2^53."
    pub(crate) fn time(&mut self) -> Result<u64, WireError> {
        let time = self.u64()?;
        if time >= INTEGER_END {
            return Err(WireError::Time { time });
        }
        Ok(time)
    }

    pub(crate) fn log_id(&mut self) -> Result<LogId, WireError> {
        LogId::decode(&self.array()?).map_err(|_| WireError::LogId)
    }

    /// Reads `label ‖ 0x00 ‖ election id`; false if it is another label or election.
    pub(crate) fn starts_with(
        &mut self,
        label: &str,
        election: &ElectionId,
    ) -> Result<bool, WireError> {
        Ok(self.bytes(label.len())? == label.as_bytes()
            && self.u8()? == 0
            && self.array()? == *election.as_bytes())
    }

    /// Reads `(length u16 ‖ entry) * count`. Memory stays in proportion to the bytes at hand, whatever `count` claims.
    pub(crate) fn entries(&mut self, count: usize) -> Result<Vec<&'a [u8]>, WireError> {
        let mut entries = Vec::with_capacity(count.min(self.remaining() / 3));
        for _ in 0..count {
            let len = self.u16()?;
            entries.push(self.bytes(usize::from(len))?);
        }
        Ok(entries)
    }

    /// "Trailing bytes … are errors."
    pub(crate) const fn finish(self) -> Result<(), WireError> {
        match self.rest.len() {
            0 => Ok(()),
            extra => Err(WireError::Trailing { extra }),
        }
    }
}

/// Writes `(length u16 ‖ entry)*`; the lengths were checked with [`check_entry_lens`].
pub(crate) fn write_entries(out: &mut Vec<u8>, entries: &[&[u8]]) {
    for entry in entries {
        let len = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(entry);
    }
}

/// "An entry is at most 65,535 bytes", and has at least its type.
pub(crate) fn check_entry_lens(entries: &[&[u8]]) -> Result<(), &'static str> {
    if entries
        .iter()
        .all(|entry| (1..=ENTRY_LEN_MAX).contains(&entry.len()))
    {
        Ok(())
    } else {
        Err("an entry must have 1 to 65,535 bytes")
    }
}
