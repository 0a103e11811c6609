//! What the demo's voters remember: append-only files of records of one length, each with a checksum.
//!
//! A demo that is killed in the middle of a write leaves a torn last record; opening the file cuts it off. These files play
//! the voters' own devices. They are no part of the ledger, and nothing else reads them.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

const CHECKSUM_LEN: usize = 8;

/// An open file of records.
#[derive(Debug)]
pub struct Records {
    file: File,
    record_len: usize,
}

impl Records {
    /// Opens or makes the file; hands out the records that it holds.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds something else.
    pub fn open(path: &Path, record_len: usize) -> Result<(Self, Vec<Vec<u8>>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let framed_len = record_len + CHECKSUM_LEN;
        let mut records = Vec::with_capacity(bytes.len() / framed_len);
        for (number, framed) in bytes.chunks_exact(framed_len).enumerate() {
            let (record, checksum) = framed.split_at(record_len);
            if checksum != checksum_of(record) {
                bail!(
                    "record {number} of {} is damaged: begin again with another --data folder",
                    path.display()
                );
            }
            records.push(record.to_vec());
        }
        let whole = (records.len() * framed_len) as u64;
        file.set_len(whole)
            .with_context(|| format!("cannot cut the torn end off {}", path.display()))?;
        file.seek(SeekFrom::Start(whole))?;
        Ok((Self { file, record_len }, records))
    }

    /// Appends a record.
    ///
    /// # Errors
    /// The write failed, or the record has another length.
    pub fn append(&mut self, record: &[u8]) -> Result<()> {
        if record.len() != self.record_len {
            bail!(
                "a record of {} bytes, where records have {}",
                record.len(),
                self.record_len
            );
        }
        let mut framed = record.to_vec();
        framed.extend_from_slice(&checksum_of(record));
        self.file
            .write_all(&framed)
            .context("cannot write down what a voter must remember")
    }
}

fn checksum_of(record: &[u8]) -> [u8; CHECKSUM_LEN] {
    let digest = Sha256::digest(record);
    let mut checksum = [0; CHECKSUM_LEN];
    for (to, from) in checksum.iter_mut().zip(digest) {
        *to = from;
    }
    checksum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_record_is_cut_off_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        let (mut records, before) = Records::open(&path, 5).unwrap();
        assert!(before.is_empty());
        records.append(b"first").unwrap();
        records.append(b"other").unwrap();
        drop(records);
        let len = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(len - 1)
            .unwrap();

        let (mut records, kept) = Records::open(&path, 5).unwrap();
        assert_eq!(kept, [b"first".to_vec()]);
        records.append(b"again").unwrap();
        let (_, kept) = Records::open(&path, 5).unwrap();
        assert_eq!(kept, [b"first".to_vec(), b"again".to_vec()]);
    }

    #[test]
    fn a_damaged_record_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records");
        Records::open(&path, 5).unwrap().0.append(b"first").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(Records::open(&path, 5).is_err());
    }
}
