//! Processes whose machine's clock is wrong.
#![expect(clippy::panic, reason = "what a test cannot go on without")]

use std::fs;

use crate::Environment;

/// Variables of a process for which it is so many seconds later, or earlier where that is below zero; what it waits for takes as long as it does.
///
/// # Panics
/// The library that says so to whoever asks the system is not there.
#[must_use]
pub fn off_by(seconds: i64) -> Environment {
    let mut folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let library = folders.find_map(|folder| {
        let library = folder.path().join("faketime/libfaketimeMT.so.1");
        library.exists().then_some(library)
    });
    let Some(library) = library else {
        panic!("there is no libfaketime: `scripts/setup.sh test` installs it");
    };
    vec![
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME", format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}
