//! Writing a package.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use super::format::{END, SUMS, bad, header, is_below_a_file, padding, write_sum};

/// Writes a package of these files: path in it, and where each is now. Returns its BLAKE3 digest, as hexadecimal digits.
///
/// # Errors
/// A file cannot be read or written, or has a path that no package holds.
pub(crate) fn write(
    out: &mut File,
    files: &BTreeMap<String, std::path::PathBuf>,
) -> io::Result<String> {
    let mut sums = Vec::new();
    let mut digests = Vec::with_capacity(files.len());
    for (path, full) in files {
        if is_below_a_file(path, |part| files.contains_key(part)) {
            return Err(bad(format!("{path}: a part of this path is a file")));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(full)?)?;
        let digest = hasher.finalize();
        write_sum(&mut sums, path, &digest)?;
        digests.push(digest);
    }
    let mut out = Hashing {
        out: BufWriter::with_capacity(1 << 20, out),
        hasher: blake3::Hasher::new(),
    };
    append(&mut out, SUMS, sums.len() as u64, sums.as_slice())?;
    for ((path, full), digest) in files.iter().zip(digests) {
        let file = File::open(full)?;
        let len = file.metadata()?.len();
        if append(&mut out, path, len, file)? != digest {
            return Err(changed(path));
        }
    }
    out.write_all(&END)?;
    out.flush()?;
    Ok(out.hasher.finalize().to_hex().to_string())
}

/// Writes a file's header and bytes; returns their digest.
fn append(
    out: &mut impl Write,
    path: &str,
    len: u64,
    bytes: impl Read,
) -> io::Result<blake3::Hash> {
    out.write_all(&header(path, len)?)?;
    let mut hashing = Hashing {
        out: &mut *out,
        hasher: blake3::Hasher::new(),
    };
    if io::copy(&mut bytes.take(len), &mut hashing)? != len {
        return Err(changed(path));
    }
    let digest = hashing.hasher.finalize();
    io::copy(&mut io::repeat(0).take(padding(len)), out)?;
    Ok(digest)
}

fn changed(path: &str) -> io::Error {
    bad(format!("{path} was changed meanwhile"))
}

/// Hashes what is written.
struct Hashing<W> {
    out: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_disk_does_not_take_is_no_package() {
        // It takes nothing, and says so only when it is written to: small packages are held back until the end.
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = write(&mut full, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
