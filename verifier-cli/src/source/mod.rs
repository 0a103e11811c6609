//! Where an election's files come from: a folder, a web server or a package, read file by file, each with a bound on its size.
//!
//! Nothing here trusts what it reads, and nothing is interpreted here. What matters is that three answers are kept apart: the file, the
//! certainty that there is no such file (a finding, where it must exist), and not knowing (no verdict).

mod bucket;
mod directory;
mod http;
mod locate;
pub(crate) mod package;

use std::fmt;

pub use bucket::{Bucket, Lock, Stored, Version};
pub use directory::Directory;
pub use http::Http;
pub use locate::{Located, locate};
pub use package::Package;

/// What a source says about one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The file's bytes: at most as many as were asked for.
    File(Vec<u8>),
    /// There is no such file.
    Missing,
    /// The file has more bytes than a file of its kind may have. It was not read further.
    TooLarge,
    /// Something else has this name: a symbolic link, a folder, a device. It was not followed or opened.
    NotAFile,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name, without the folder. Bytes that are not UTF-8 are shown as U+FFFD; no file of an election has such a name.
    pub name: String,
    /// What it is.
    pub kind: ListedKind,
}

/// What a name in a folder stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListedKind {
    /// An ordinary file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, a device, a socket.
    Other,
}

/// The source could not say: a network or disk failure, after bounded retries. No verdict follows from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct SourceError {
    /// The path that was asked for.
    pub path: String,
    /// What happened.
    pub problem: String,
}

impl SourceError {
    pub(crate) fn new(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            problem: problem.to_string(),
        }
    }
}

/// One election's published folder. Paths are relative to it, with `/` between parts.
pub trait Source: Send + Sync {
    /// Reads a file of at most `max_len` bytes.
    ///
    /// # Errors
    /// The source cannot be read; see [`SourceError`].
    fn read(&self, path: &str, max_len: usize) -> Result<Fetched, SourceError>;

    /// The names in a folder, sorted; `None` where the source cannot list (a web server). A folder that is not there has no names.
    ///
    /// # Errors
    /// The source cannot be read; see [`SourceError`].
    fn list(&self, folder: &str) -> Result<Option<Vec<Listed>>, SourceError>;

    /// How many files are worth asking for at once.
    fn parallel_reads(&self) -> usize;
}
