//! The independent verifier of `specs/reference`, written from the specification alone, agrees: on all vectors, on elections of
//! these programs, and on changes to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::demo::Demo;
use tests::folder;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

#[test]
fn the_independent_verifier_agrees() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join(".tools/bin/python");
    assert!(
        python.is_file(),
        "run scripts/setup.sh test first: it installs what the verifier needs"
    );
    let folder = folder();
    let elections = folder.path().join("elections");
    // The tests name files of these shapes.
    for (name, parts, ends) in [("e1", 2, true), ("e2", 1, false)] {
        let data = folder.path().join(name);
        let demo = Demo::new(&data, 90, u32::from(parts), parts);
        if ends {
            let said = demo.run_to_the_end();
            assert_eq!(said.code, 0, "{said:#?}");
        } else {
            // Killed while it is open.
            drop(demo.stay_up());
        }
        for (of, to) in [("public/elections", "elections"), ("receipts", "receipts")] {
            copy(&demo.data.join(of), &elections.join(name).join(to));
        }
    }
    let tested = Command::new(python)
        .args(["-B", "-m", "unittest", "-q"])
        .current_dir(root.join("specs/reference"))
        .env("TALLYROOT_ELECTIONS", &elections)
        .output()
        .unwrap();
    assert!(
        tested.status.success(),
        "{}",
        String::from_utf8_lossy(&tested.stderr)
    );
}
