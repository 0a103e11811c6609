//! A package: an election in one tar file, as `bundle` writes it.
//!
//! A decoder accepts exactly what the encoder writes (principle 4): plain files in ascending order of their paths, ustar headers with fixed metadata, `BLAKE3SUMS` first. So there are no
//! links, no absolute paths, no `..`, no duplicates and no sparse files to be careful with: whatever is not the one encoding is refused, with all digests, before a file is given out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{Fetched, Listed, ListedKind, Source, SourceError};

/// The first file: the digest of every other, as `b3sum --check` reads it.
pub(crate) const SUMS: &str = "BLAKE3SUMS";

const BLOCK: usize = 512;
/// Two empty blocks end a tar.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Files in a package: 2^32 bytes of digests would be about as many.
const FILES_MAX: usize = 40_000_000;
/// Bytes of `BLAKE3SUMS`.
const SUMS_LEN_MAX: u64 = 4 << 30;
/// Bytes of one file: the longest that an election has.
const FILE_LEN_MAX: u64 = 256 << 20;

/// Where a file's bytes are.
#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    len: u64,
}

/// An opened package.
#[derive(Debug)]
pub struct Package {
    file: File,
    index: BTreeMap<String, Place>,
    /// Of what is asked for, such as `elections/<id>/`; empty or with `/` at its end.
    below: String,
}

impl Package {
    /// Opens a package: reads all of it once, and checks its form and every digest.
    ///
    /// # Errors
    /// It cannot be read, is no package, or is damaged.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let problem = |error: io::Error| {
            SourceError::new(
                path.display().to_string(),
                format!("it is no undamaged package of `tallyroot-verify bundle`: {error}"),
            )
        };
        let file = File::open(path).map_err(problem)?;
        let index = read_index(&file).map_err(problem)?;
        Ok(Self {
            file,
            index,
            below: String::new(),
        })
    }

    /// The files below this folder.
    ///
    /// # Errors
    /// The file cannot be opened a second time.
    pub fn below(&self, folder: &str) -> Result<Self, SourceError> {
        let file = self
            .file
            .try_clone()
            .map_err(|error| SourceError::new(folder, error))?;
        Ok(Self {
            file,
            index: self.index.clone(),
            below: format!("{folder}/"),
        })
    }
}

impl Source for Package {
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError> {
        let Some(place) = self.index.get(&format!("{}{path}", self.below)) else {
            return Ok(Fetched::Missing);
        };
        let Ok(len) = usize::try_from(place.len) else {
            return Ok(Fetched::TooLarge);
        };
        if len > max_len {
            return Ok(Fetched::TooLarge);
        }
        let mut bytes = vec![0; len];
        self.file
            .read_exact_at(&mut bytes, place.offset)
            .map_err(|error| SourceError::new(path, error))?;
        Ok(Fetched::File(bytes))
    }

    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError> {
        let mut prefix = format!("{}{folder}", self.below);
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        let mut names: Vec<Listed> = Vec::new();
        for path in self.index.range(prefix.clone()..).map(|(path, _)| path) {
            let Some(rest) = path.strip_prefix(&prefix) else {
                break;
            };
            let (name, kind) = match rest.split_once('/') {
                Some((folder, _)) => (folder, ListedKind::Folder),
                None => (rest, ListedKind::File),
            };
            // Paths of one folder stand together.
            if names.last().is_none_or(|last| last.name != name) {
                names.push(Listed {
                    name: name.to_owned(),
                    kind,
                });
            }
        }
        names.sort();
        names.dedup();
        Ok(Some(names))
    }

    fn parallel_reads(&self) -> usize {
        2
    }
}

fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// Reads the whole file: headers, sums, bytes, end.
fn read_index(file: &File) -> io::Result<BTreeMap<String, Place>> {
    let len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut index = BTreeMap::new();
    let mut at = 0u64;
    let mut last = String::new();
    let mut sums: Vec<u8> = Vec::new();
    let mut summed = Vec::new();
    loop {
        let mut block = [0; BLOCK];
        reader.read_exact(&mut block)?;
        at += BLOCK as u64;
        if block == [0; BLOCK] {
            break;
        }
        let (path, size) = parse_header(&block)?;
        let is_sums = at == BLOCK as u64;
        if is_sums != (path == SUMS) {
            return Err(bad(format!("{SUMS} must be its first file, and once")));
        }
        if path <= last {
            return Err(bad(format!("{path} does not follow {last} in order")));
        }
        let bound = if is_sums { SUMS_LEN_MAX } else { FILE_LEN_MAX };
        if size > bound || size > len.saturating_sub(at) || index.len() >= FILES_MAX {
            return Err(bad(format!(
                "{path} is longer than it may be, or there are too many files"
            )));
        }
        if is_sums {
            sums = vec![0; usize::try_from(size).map_err(|_| bad("too long"))?];
            reader.read_exact(&mut sums)?;
        } else {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(reader.by_ref().take(size))?;
            write_sum(&mut summed, &path, &hasher.finalize())?;
            index.insert(
                path.clone(),
                Place {
                    offset: at,
                    len: size,
                },
            );
        }
        let padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let mut rest = Vec::new();
        reader.by_ref().take(padding).read_to_end(&mut rest)?;
        if rest.len() as u64 != padding || rest.iter().any(|byte| *byte != 0) {
            return Err(bad(format!("{path} is not padded with zeroes")));
        }
        at += size + padding;
        last = path;
    }
    let mut end = Vec::new();
    reader.take(END.len() as u64 + 1).read_to_end(&mut end)?;
    if end.len() != BLOCK || end.iter().any(|byte| *byte != 0) {
        return Err(bad("it does not end in two empty blocks"));
    }
    if sums != summed {
        return Err(bad(format!(
            "a file does not have the digest that {SUMS} names, or is missing there"
        )));
    }
    Ok(index)
}

fn write_sum(out: &mut impl Write, path: &str, digest: &blake3::Hash) -> io::Result<()> {
    writeln!(out, "{}  {path}", digest.to_hex())
}

/// A path as packages hold it: parts of `[A-Za-z0-9._-]`, none of them empty, `.` or `..`.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

/// The one header of a file.
fn header(path: &str, len: u64) -> io::Result<[u8; BLOCK]> {
    // "elections/<id>" goes into the prefix, where there is more than a name holds.
    let (prefix, name) = if path.len() <= 100 {
        ("", path)
    } else {
        path.match_indices('/')
            .map(|(at, _)| (path.get(..at), path.get(at + 1..)))
            .find_map(|(prefix, name)| {
                let (prefix, name) = (prefix?, name?);
                (prefix.len() <= 155 && name.len() <= 100).then_some((prefix, name))
            })
            .ok_or_else(|| bad(format!("{path} is too long for a tar")))?
    };
    if !is_plain(path) || len >= 1 << 33 {
        return Err(bad(format!(
            "{path} is no path of a package, or too long a file"
        )));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{len:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    Ok(block)
}

/// Reads a header: what [`header`] makes, and nothing else.
fn parse_header(block: &[u8; BLOCK]) -> io::Result<(String, u64)> {
    let text = |from: usize, to: usize| {
        let field = block.get(from..to).unwrap_or_default();
        let end = field
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(field.len());
        std::str::from_utf8(field.get(..end).unwrap_or_default())
            .map_err(|_| bad("a name is not text"))
    };
    let (name, prefix) = (text(0, 100)?, text(345, 500)?);
    let path = if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    };
    let len = u64::from_str_radix(text(124, 136)?, 8)
        .map_err(|_| bad(format!("the length of {path:?} is no number")))?;
    if header(&path, len)? != *block {
        return Err(bad(format!(
            "{path:?} is not a plain file with the metadata of a package"
        )));
    }
    Ok((path, len))
}

/// Writes a package of these files: path in it, and where each is now. Returns its BLAKE3 digest, as hexadecimal digits.
///
/// # Errors
/// A file cannot be read or written, or has a path that no package holds.
pub(crate) fn write(
    out: &mut File,
    files: &BTreeMap<String, std::path::PathBuf>,
) -> io::Result<String> {
    let mut sums = Vec::new();
    for (path, full) in files {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(full)?)?;
        write_sum(&mut sums, path, &hasher.finalize())?;
    }
    let mut out = Hashing {
        out: BufWriter::with_capacity(1 << 20, out),
        hasher: blake3::Hasher::new(),
    };
    append(&mut out, SUMS, sums.len() as u64, sums.as_slice())?;
    for (path, full) in files {
        let file = File::open(full)?;
        let len = file.metadata()?.len();
        append(&mut out, path, len, file)?;
    }
    out.write_all(&END)?;
    out.flush()?;
    Ok(out.hasher.finalize().to_hex().to_string())
}

fn append(out: &mut impl Write, path: &str, len: u64, bytes: impl Read) -> io::Result<()> {
    out.write_all(&header(path, len)?)?;
    if io::copy(&mut bytes.take(len), out)? != len {
        return Err(bad(format!("{path} was changed meanwhile")));
    }
    let padding = (BLOCK as u64 - len % BLOCK as u64) % BLOCK as u64;
    io::copy(&mut io::repeat(0).take(padding), out)?;
    Ok(())
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
