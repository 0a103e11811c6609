//! A package: an election in one tar file, as `bundle` writes it.
//!
//! A decoder accepts exactly what the encoder writes (principle 4): plain files in ascending order of their paths, ustar headers with fixed metadata, `BLAKE3SUMS` first. So there are no
//! links, no absolute paths, no `..`, no duplicates and no sparse files to be careful with: whatever is not the one encoding is refused, with all digests, before a file is given out.

mod format;
mod write;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use self::format::{BLOCK, END, SUMS, bad, is_below_a_file, padding, parse_header, write_sum};
pub(crate) use self::write::write;
use super::{Fetched, Listed, ListedKind, Source, SourceError};

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
    index: Arc<BTreeMap<String, Place>>,
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
            index: Arc::new(index),
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
            index: Arc::clone(&self.index),
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

/// Reads the whole file: headers, sums, bytes, end.
fn read_index(file: &File) -> io::Result<BTreeMap<String, Place>> {
    let len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut index = BTreeMap::new();
    let mut at = 0u64;
    let mut last = String::new();
    // They are as many bytes as the paths and more, so they are compared as they come, not held.
    let mut sums = BufReader::new(Part::new(file, 0, 0));
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
            sums = BufReader::new(Part::new(file, at, size));
            let behind = i64::try_from(size).map_err(|_| bad("too long"))?;
            reader.seek_relative(behind)?;
        } else {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(reader.by_ref().take(size))?;
            let mut line = Vec::new();
            write_sum(&mut line, &path, &hasher.finalize())?;
            let mut said = vec![0; line.len()];
            if sums.read_exact(&mut said).is_err() || said != line {
                return Err(bad(format!(
                    "{path} does not have the digest that {SUMS} names, or is missing there"
                )));
            }
            if is_below_a_file(&path, |part| index.contains_key(part)) {
                return Err(bad(format!("{path}: a part of this path is a file")));
            }
            index.insert(
                path.clone(),
                Place {
                    offset: at,
                    len: size,
                },
            );
        }
        let padding = padding(size);
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
    if sums.read(&mut [0])? != 0 {
        return Err(bad(format!("{SUMS} names a file that is not there")));
    }
    Ok(index)
}

/// A stretch of the file, read apart from whoever else reads it.
struct Part<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl<'f> Part<'f> {
    const fn new(file: &'f File, at: u64, left: u64) -> Self {
        Self { file, at, left }
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self
            .file
            .read_at(buffer.get_mut(..len).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package of these files, as `bundle` writes it.
    fn package(files: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let mut sums = Vec::new();
        for (path, bytes) in files {
            write_sum(&mut sums, path, &blake3::hash(bytes)).unwrap();
        }
        let mut tar = Vec::new();
        for (path, bytes) in [(SUMS, sums.as_slice())].iter().chain(files) {
            tar.extend(format::header(path, bytes.len() as u64).unwrap());
            tar.extend(*bytes);
            tar.resize(tar.len().next_multiple_of(BLOCK), 0);
        }
        tar.extend(END);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), tar).unwrap();
        file
    }

    #[test]
    fn a_package_lists_and_gives_what_is_in_it() {
        let file = package(&[
            ("e/a-b", b""),
            ("e/a/1", b"one"),
            ("e/a/2", b"two"),
            ("e/b", b"four"),
            ("f", b"x"),
        ]);
        let package = Package::open(file.path()).unwrap();
        let listed = |source: &Package, folder: &str| -> Vec<(String, bool)> {
            let names = source.list(folder).unwrap().unwrap();
            names
                .into_iter()
                .map(|one| (one.name, one.kind == ListedKind::Folder))
                .collect()
        };
        let named = |names: &[(&str, bool)]| -> Vec<(String, bool)> {
            names
                .iter()
                .map(|(name, folder)| ((*name).to_owned(), *folder))
                .collect()
        };
        assert_eq!(listed(&package, ""), named(&[("e", true), ("f", false)]));
        assert_eq!(
            listed(&package, "e"),
            named(&[("a", true), ("a-b", false), ("b", false)])
        );
        let below = package.below("e").unwrap();
        assert_eq!(
            listed(&below, ""),
            named(&[("a", true), ("a-b", false), ("b", false)])
        );
        assert_eq!(listed(&below, "a"), named(&[("1", false), ("2", false)]));
        assert_eq!(listed(&below, "none"), []);

        assert_eq!(below.read("b", 4).unwrap(), Fetched::File(b"four".to_vec()));
        assert_eq!(below.read("b", 3).unwrap(), Fetched::TooLarge);
        assert_eq!(below.read("c", 4).unwrap(), Fetched::Missing);
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_anything_is_read() {
        // Of a file that is longer than any may be, and there as a hole; of one that is not there whole.
        for (len, size) in [(FILE_LEN_MAX + 1, 2 * FILE_LEN_MAX), (5_000, 4_096)] {
            let file = package(&[]);
            let mut tar = std::fs::read(file.path()).unwrap();
            tar.truncate(BLOCK);
            tar.extend(format::header("a", len).unwrap());
            std::fs::write(file.path(), tar).unwrap();
            std::fs::OpenOptions::new()
                .write(true)
                .open(file.path())
                .unwrap()
                .set_len(size)
                .unwrap();
            let error = Package::open(file.path()).unwrap_err().to_string();
            assert!(error.contains("longer than it may be"), "{error}");
        }
    }
}
