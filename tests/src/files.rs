//! Folders as lists of files.
#![allow(clippy::expect_used, reason = "what a test cannot go on without")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::arg;

/// The paths of all files below a folder, relative to it, sorted. Links are listed and not followed.
///
/// # Panics
/// The folder cannot be read.
#[must_use]
pub fn list(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = format!("{prefix}{}", arg(Path::new(&entry.file_name())));
        if entry.file_type().expect("its type").is_dir() {
            walk(&entry.path(), &format!("{path}/"), found);
        } else {
            found.push(path);
        }
    }
}

/// All files below a folder with what they hold.
///
/// # Panics
/// They cannot be read.
#[must_use]
pub fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    list(folder)
        .into_iter()
        .map(|path| {
            let bytes = fs::read(folder.join(&path)).expect("a file");
            (path, bytes)
        })
        .collect()
}

/// Writes files out below a folder.
///
/// # Panics
/// They cannot be written.
pub fn write(folder: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}
