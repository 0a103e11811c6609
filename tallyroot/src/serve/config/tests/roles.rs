//! What each role but a cell is told, and what is said to whoever gives a role the wrong thing.

use listener::{TlsFiles, TlsSource};

use super::*;
use crate::serve::config::Objects;

#[tokio::test]
async fn registrars_anchors_and_the_tally_have_their_own() {
    let at = Fixture::new().await;
    let registrar = |database: &str, shards: &[&str]| {
        let shards: Vec<String> = shards
            .iter()
            .map(|s| format!("[[shards]]\n{s}\n"))
            .collect();
        format!(
            "{}registrar = 0\nrsa_key = \"rsa.pem\"\ncode_key = \"code.key\"\nroll_backup = \"roll.sqlite\"\n[published]\ndirectory = \"public\"\n{database}\n{}",
            at.common(),
            shards.concat()
        )
    };
    let shard = "main = \"a\"\nsqlite = \"a.sqlite\"";
    let config = at
        .load(
            RoleName::Registrar,
            &registrar("", &[shard, shard]),
            &[("TALLYROOT_SHARDS_1_MAIN", "/b")],
        )
        .unwrap();
    let keys: Vec<_> = config
        .logs()
        .iter()
        .map(|log| log.key.main.clone())
        .collect();
    assert_eq!(
        keys,
        [at.folder.path().join("a"), PathBuf::from("/b")].map(|path| Some(KeySource::File(path)))
    );
    let error = at.refused(RoleName::Registrar, &registrar("", &[shard]), &[]);
    assert!(
        error.contains("there are 1: give one section [[shards]] for each of the manifest's 2"),
        "{error}"
    );
    let misspelt = shard.replace("sqlite =", "sqlit =");
    let error = at.refused(
        RoleName::Registrar,
        &registrar("", &[&misspelt, shard]),
        &[],
    );
    assert!(error.contains("shards[0].url: neither"), "{error}");

    // One database for all that a registrar keeps, a schema for each.
    let database = "[database]\nurl = \"postgres://r@localhost/r\"\ndurability = \"single-node\"";
    let in_postgres = registrar(
        database,
        &["main = \"a\"", "main = \"b\"\nschema = \"other\""],
    );
    let config = at.load(RoleName::Registrar, &in_postgres, &[]).unwrap();
    let Role::Registrar { roll, shards, .. } = &config.role else {
        panic!("{:?}", config.role);
    };
    assert_eq!(roll.database.as_ref().unwrap().location.schema(), "roll");
    let schemas: Vec<_> = shards
        .iter()
        .map(|log| match &log.database {
            Database::Postgres(postgres, _) => postgres.location.schema(),
            Database::Sqlite(_) => "",
        })
        .collect();
    assert_eq!(schemas, ["shard_0", "other"]);
    let error = at.refused(
        RoleName::Registrar,
        &registrar(database, &[shard, shard]),
        &[],
    );
    assert!(error.contains("shards[0].sqlite: both"), "{error}");

    let anchor = format!(
        "{}[published]\ndirectory = \"public\"\n[key]\nspare = \"spare.key\"\n[database]\nsqlite = \"log.sqlite\"\n[[anchors]]\nname = \"local\"\n",
        at.common()
    );
    let config = at.load(RoleName::Anchor, &anchor, &[]).unwrap();
    let Role::Anchor { anchors, .. } = &config.role else {
        panic!("{:?}", config.role);
    };
    let folder = at.folder.path().join("public/elections");
    assert_eq!(
        anchors.first().unwrap().objects,
        Objects::Directory {
            folder: folder
                .join(at.election.id().to_string())
                .join("anchors/local"),
            unfinished: at.folder.path().join("public/tmp/anchors"),
        }
    );
    let error = at.refused(RoleName::Anchor, &anchor.replace("local", "remote"), &[]);
    assert!(error.contains("[\"local\"]"), "{error}");

    let tally = format!(
        "{}[published]\ndirectory = \"public\"\nserve = true\n",
        at.common()
    );
    let config = at.load(RoleName::Tally, &tally, &[]).unwrap();
    assert!(matches!(
        config.role,
        Role::Tally {
            serve_files: true,
            ..
        }
    ));
    assert!(config.logs().is_empty());
    let with = |list: &str| format!("sign_in_at = {list}\n{tally}");
    let config = at
        .load(RoleName::Tally, &with("[\"https://id.example.org\"]"), &[])
        .unwrap();
    let wanted = Providers::new(vec!["https://id.example.org".to_owned()]).unwrap();
    assert!(matches!(config.role, Role::Tally { providers, .. } if providers == wanted));
    for bad in [
        "[\"https://id.example.org/\"]",
        "\"https://id.example.org\"",
        "[1]",
    ] {
        let error = at.refused(RoleName::Tally, &with(bad), &[]);
        assert!(error.contains("sign_in_at: it "), "{error}");
    }
    let error = at.refused(
        RoleName::Tally,
        &format!("{tally}[key]\nmain = \"main.key\"\n"),
        &[],
    );
    assert!(
        error.contains("serve.toml: key: this role has no such key"),
        "{error}"
    );
}

#[tokio::test]
async fn the_anchor_is_told_where_each_of_the_manifests_witnesses_is() {
    let at = Fixture::with_witnesses(&["w.example/1", "w.example/2"]).await;
    assert_eq!(at.election.manifest().witnesses.quorum, 2);
    let one = "[[witnesses]]\nname = \"w.example/1\"\nurl = \"https://w.example/1\"\n";
    let two = "[[witnesses]]\nname = \"w.example/2\"\nurl = \"http://127.0.0.1:7000\"\nmonitoring = \"https://cdn.example\"\n";
    let anchor = |witnesses: &[&str]| {
        format!(
            "{}[published]\ndirectory = \"public\"\n[key]\nmain = \"main.key\"\n[database]\nsqlite = \"log.sqlite\"\n[[anchors]]\nname = \"local\"\n{}",
            at.common(),
            witnesses.concat()
        )
    };
    let config = at
        .load(RoleName::Anchor, &anchor(&[one, two]), &[])
        .unwrap();
    let Role::Anchor { witnesses, .. } = &config.role else {
        panic!("{:?}", config.role);
    };
    let keys: Vec<_> = witnesses.iter().map(|witness| witness.key()).collect();
    assert!(keys.into_iter().eq(at.election.witnesses()));

    let foreign = one.replace("w.example/1", "x.example");
    let no_address = one.replace("https://w.example/1", "w.example/1");
    for (given, words) in [
        (vec![], "[\"w.example/1\", \"w.example/2\"]"),
        (vec![one], "one section [[witnesses]] for each"),
        (vec![two, one], "in its order"),
        (
            vec![one, foreign.as_str()],
            "names no witness \"x.example\"",
        ),
        (vec![no_address.as_str(), two], "witnesses[0].url"),
    ] {
        let error = at.refused(RoleName::Anchor, &anchor(&given), &[]);
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn a_misspelt_key_is_named_with_what_it_led_to() {
    let at = Fixture::new().await;
    for (right, wrong, words) in [
        (
            "listen =",
            "lisen =",
            ["listen: it is missing", "`lisen` (did you mean `listen`?)"],
        ),
        (
            "cell =",
            "cel =",
            ["cell: it is missing", "`cel` (did you mean `cell`?)"],
        ),
        (
            "sqlite =",
            "sqlit =",
            ["neither `url`", "`database.sqlit` (did you mean `sqlite`?)"],
        ),
        (
            "[published]\ndirectory",
            "[publisched]\ndirectory",
            [
                "directory: it is missing",
                "`publisched` (did you mean `published`?)",
            ],
        ),
    ] {
        let text = at.cell().replacen(right, wrong, 1);
        assert_ne!(text, at.cell());
        let said = at.refused(RoleName::Cell, &text, &[]);
        for words in words {
            assert!(said.contains(words), "`{words}` in: {said}");
        }
    }
    // What is merely missing is not blamed on anything.
    let said = at.refused(RoleName::Cell, &at.cell().replace("cell = 1\n", ""), &[]);
    assert!(!said.contains("which is no key"), "{said}");
}

#[tokio::test]
async fn another_roles_configuration_is_recognised() {
    let at = Fixture::new().await;
    let registrar = at
        .cell()
        .replace("cell = 1", "registrar = 0\nrsa_key = \"rsa.pem\"");
    let anchor = format!(
        "{}\n[[anchors]]\nname = \"local\"\n",
        at.cell().replace("cell = 1\n", "")
    );
    let tally = format!(
        "{}[published]\ndirectory = \"public\"\nserve = true\n",
        at.common()
    );
    for (role, text, words) in [
        (
            RoleName::Cell,
            &registrar,
            "of a registrar, and this is `cell`: run `tallyroot serve registrar`",
        ),
        (
            RoleName::Anchor,
            &at.cell(),
            "of a cell, and this is `anchor`: run `tallyroot serve cell`",
        ),
        (
            RoleName::Tally,
            &at.cell(),
            "of a cell, and this is `tally`",
        ),
        (
            RoleName::Registrar,
            &anchor,
            "of the anchoring service, and this is `registrar`: run `tallyroot serve anchor`",
        ),
        (
            RoleName::Cell,
            &tally,
            "of the tally service, and this is `cell`: run `tallyroot serve tally`",
        ),
    ] {
        let said = at.refused(role, text, &[]);
        assert!(said.contains(words), "`{words}` in: {said}");
    }
    // Nothing at all is nobody's.
    let said = at.refused(RoleName::Cell, &at.common(), &[]);
    assert!(!said.contains("this is the configuration"), "{said}");
}

#[tokio::test]
async fn an_anchor_is_a_place_of_its_own_and_for_a_real_election_no_folder() {
    let anchor = |at: &Fixture, anchors: &[&str]| {
        format!(
            "{}[published]\ndirectory = \"public\"\n[key]\nmain = \"main.key\"\n[database]\nsqlite = \"log.sqlite\"\n{}",
            at.common(),
            anchors.concat()
        )
    };
    let at = Fixture::of(&[], true, &["one", "two"]).await;
    let place = |name: &str, folder: &str| {
        format!("[[anchors]]\nname = \"{name}\"\ndirectory = \"{folder}\"\n")
    };
    let apart = [place("one", "a"), place("two", "b")];
    let apart = anchor(&at, &[&apart[0], &apart[1]]);
    at.load(RoleName::Anchor, &apart, &[]).unwrap();
    let same = apart.replace("\"b\"", "\"a\"");
    let error = at.refused(RoleName::Anchor, &same, &[]);
    assert!(error.contains("one and two are in one place"), "{error}");

    // One folder by two paths, one bucket under two prefixes.
    std::fs::create_dir_all(at.folder.path().join("a/b")).unwrap();
    let error = at.refused(RoleName::Anchor, &apart.replace("\"b\"", "\"a/b/..\""), &[]);
    assert!(error.contains("in one place"), "{error}");
    let bucket = |name: &str, bucket: &str, prefix: &str| {
        format!("[[anchors]]\nname = \"{name}\"\nbucket = \"{bucket}\"\nprefix = \"{prefix}\"\n")
    };
    let both = |first: &str, second: &str| {
        anchor(
            &at,
            &[&bucket("one", first, "a"), &bucket("two", second, "b")],
        )
    };
    let error = at.refused(RoleName::Anchor, &both("court", "court"), &[]);
    assert!(error.contains("in one place"), "{error}");
    at.load(RoleName::Anchor, &both("court", "press"), &[])
        .unwrap();

    let at = Fixture::of(&[], false, &["one"]).await;
    for folder in [
        place("one", "a"),
        "[[anchors]]\nname = \"one\"\n".to_owned(),
    ] {
        let error = at.refused(RoleName::Anchor, &anchor(&at, &[&folder]), &[]);
        assert!(error.contains("buckets with Object Lock"), "{error}");
    }
    let bucket = "[[anchors]]\nname = \"one\"\nbucket = \"court-2027\"\n";
    at.load(RoleName::Anchor, &anchor(&at, &[bucket]), &[])
        .unwrap();
}

#[tokio::test]
async fn a_certificate_is_in_files_or_of_its_own() {
    let at = Fixture::new().await;
    let tally = |tls: &str| format!("{}[published]\ndirectory = \"public\"\n{tls}", at.common());
    let given = |tls: &str| at.load(RoleName::Tally, &tally(tls), &[]).unwrap().tls;
    assert_eq!(given(""), None);
    assert_eq!(given("[tls]\nself_signed = false\n"), None);
    assert_eq!(
        given("[tls]\nself_signed = true\n"),
        Some(TlsSource::SelfSigned)
    );
    let files = "[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\n";
    assert_eq!(
        given(files),
        Some(TlsSource::Files(TlsFiles {
            certificate: at.folder.path().join("tls.crt"),
            key: at.folder.path().join("tls.key"),
            clients: None,
        }))
    );
    for (tls, words) in [
        (
            format!("{files}self_signed = true\n"),
            "tls.self_signed: it stands beside",
        ),
        (
            "[tls]\nself_signed = true\nclients = \"ca.pem\"\n".to_owned(),
            "tls.self_signed: it stands beside",
        ),
        (
            "[tls]\nkey = \"tls.key\"\n".to_owned(),
            "tls.certificate: it is missing",
        ),
        (
            "[tls]\ncertificate = \"tls.crt\"\n".to_owned(),
            "tls.key: it is missing",
        ),
    ] {
        let error = at.refused(RoleName::Tally, &tally(&tls), &[]);
        assert!(error.contains(words), "{error}");
    }
}
