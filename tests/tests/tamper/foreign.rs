//! Files that no election has, and elections that are not this one.

use std::fs;
use std::path::PathBuf;

use tests::{files, folder};

use crate::closed::{Copy, audit, elections, named};

#[test]
fn what_belongs_to_nothing_is_named() {
    let [victim, other] = elections();
    let copy = Copy::of(victim);
    let one = |path: &str, what: &str| {
        let named = named(&copy.audit(), what);
        // A foreign folder is named once, for all that is in it.
        let is_it = |file: &String| path == file || path.starts_with(&format!("{file}/"));
        assert!(
            named.len() == 1 && named.iter().all(is_it),
            "{what}: {named:?}"
        );
    };
    // What would come next in a log or an anchor that has ended.
    let next = |folder: &str| {
        let there = |n: &usize| victim.files.contains_key(&format!("{folder}/{n}"));
        let n = (0..).find(|n| !there(n)).unwrap();
        format!("{folder}/{n}")
    };
    for path in [
        next("cells/0/batches"),
        next("registrars/1/0/batches"),
        next("heads/batches"),
        next("anchors/local"),
    ] {
        let before = &victim.files[&format!("{}/0", path.rsplit_once('/').unwrap().0)];
        fs::write(copy.path(&path), before).unwrap();
        one(&path, &path);
        copy.put_back(&path);
    }
    for path in [
        "notes.txt",
        ".hidden",
        "manifest.json~",
        "MANIFEST.JSON",
        "anchors/local/1000000",
        "anchors/local/00",
        "anchors/elsewhere/0",
        "cells/2/checkpoint",
        "cells/0/notes.txt",
        "cells/0/batches/00",
        "cells/0/batches/+1",
        "cells/0/checkpoints/01",
        "cells/0/checkpoints/999999",
        "cells/0/tile/0/000.p/256",
        "cells/0/tile/0/000.p/0",
        "cells/0/tile/0/999",
        "cells/0/tile/0/1",
        "cells/0/tile/00/000",
        "cells/0/tile/2/000.p/1",
        "cells/0/tile/entries/000.gz",
        "cells/0/cosigned/1",
        "registrars/0/1/checkpoint",
        "registrars/2/0/checkpoint",
        "heads/cosigned/1",
        "heads/0/checkpoint",
    ] {
        let place = copy.path(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // Something that would be right elsewhere.
        fs::write(&place, &victim.files["cells/0/checkpoint"]).unwrap();
        one(path, path);
        copy.put_back(path);
    }
    for (path, target) in [
        ("linked", "manifest.json"),
        ("linked", "."),
        ("linked", "/nowhere"),
        ("cells/0/linked", "../../cells/1"),
        ("cells/0/tile/0/linked", "000"),
    ] {
        let place = copy.path(path);
        std::os::unix::fs::symlink(target, &place).unwrap();
        one(path, &format!("{path} -> {target}"));
        fs::remove_file(place).unwrap();
    }
    // A whole log that is a link to the right files elsewhere is not followed.
    let log = copy.path("cells/1");
    let elsewhere = copy.folder.path().join("elsewhere");
    fs::rename(&log, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &log).unwrap();
    assert!(
        named(&copy.audit(), "a linked log")
            .iter()
            .any(|file| file.starts_with("cells/1")),
    );
    fs::remove_file(&log).unwrap();
    fs::rename(&elsewhere, &log).unwrap();
    copy.must_verify("afterwards");

    // Another election under this one's name: nothing of it is looked at, the id decides.
    let foreign = folder();
    files::write(foreign.path(), &other.files);
    let said = audit(foreign.path(), &victim.id);
    assert!(named(&said, "another election").contains("manifest.json"));
    assert_eq!(audit(foreign.path(), &other.id).code, 0);
}

#[test]
fn nothing_there_is_no_yes() {
    let [victim, _] = elections();
    let empty = folder();
    for source in [
        empty.path().to_owned(),
        empty.path().join("nowhere"),
        PathBuf::from("/dev/null"),
    ] {
        let said = audit(&source, &victim.id);
        assert_ne!(said.code, 0, "{said:?}");
    }
}
