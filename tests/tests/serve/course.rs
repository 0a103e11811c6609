//! What the authority can do to an election, and what can go wrong at its end: each says in the verdict what was counted, and why.

use protocol::anchor::AnchorObject;
use protocol::ids::LogId;
use serde_json::{Value, json};
use tests::demo::until;
use tests::device::code;
use tests::hours::{longer, within_hours};
use tests::serve::{Plan, Role, Service, World};
use tests::{arg, files, folder, moment, run};

use crate::{but, voter, voter_of_cell};

/// Seconds: enough for the longest hours of [`within_hours`].
const WAIT: &str = "1200";

/// Waits until a service's log is closed.
async fn closed(service: &Service) {
    while service.status().await["logs"][0]["closed"] != true {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn find(services: &[Service], role: Role) -> &Service {
    services
        .iter()
        .find(|service| service.role == role)
        .unwrap()
}

/// Each finding's code and the most votes that it affects.
fn findings(verdict: &Value) -> Vec<(String, Value)> {
    verdict["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let code = finding["code"].as_str().unwrap().to_owned();
            (code, finding["votes"].clone())
        })
        .collect()
}

#[tokio::test]
async fn the_hours_are_extended_and_the_election_is_closed_early() {
    let plan = Plan {
        closing: 6,
        ..Plan::default()
    };
    let (folder, world, (services, second)) = within_hours(&plan, async |world| {
        let opens = |services: &[Service]| {
            let mut arguments = vec!["open"];
            for service in services {
                arguments.extend(["--health", &service.health]);
            }
            world.election(&arguments)
        };
        // Nothing runs: no-go, and why.
        let said = opens(&[]);
        assert_eq!(
            (said.code, &said.json()["go"]),
            (1, &json!(false)),
            "{said:#?}"
        );
        let services = world.start_all();
        let site = world.site(&services);
        let votes = [voter(world, &site, 0).await, voter(world, &site, 1).await];
        assert_eq!(site.cast(&votes[0]).await.0, 200);
        until("a head that covers all logs", || {
            opens(&services).code == 0 || world.is_over()
        });

        let anchor = find(&services, Role::Anchor);
        let before = moment(-60);
        let earlier = world.notice(anchor, &["extend", "--until", &before]);
        assert_eq!(earlier.code, 1);
        assert!(
            earlier.stderr.contains("is not later than 20"),
            "{}",
            earlier.stderr
        );
        // A mistake is found before it is carried anywhere.
        let file = world.data.with_file_name("mistake.notices");
        let offline = ["extend", "--until", &before, "--offline", arg(&file)];
        let mistake = world.notice(anchor, &offline);
        assert!(mistake.code == 1 && !file.exists(), "{mistake:#?}");
        let said = world.notice(anchor, &["extend", "--until", &moment(3_600)]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(said.json()["notices"][0]["action"], "extend");
        let [_, second] = votes;
        (services, second)
    })
    .await;
    let site = world.site(&services);
    let anchor = find(&services, Role::Anchor);

    // Past the manifest's closing time.
    until("the first closing time is over", || world.is_over());
    let (status, answer) = site.cast(&second).await;
    assert_eq!(status, 200, "{answer}");

    // Signed on a machine without network, carried, and submitted.
    let file = folder.path().join("close.notices");
    let signed = world.notice(anchor, &["close", "--offline", tests::arg(&file)]);
    assert_eq!(signed.code, 0, "{}", signed.stderr);
    let submitted = world.election(&["submit", tests::arg(&file), "--anchor", &anchor.url]);
    assert_eq!(submitted.code, 0, "{}", submitted.stderr);
    assert_eq!(submitted.json()["notices"].as_array().unwrap().len(), 2);
    let said = world.election(&["finalize"]);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    let end = said.json();
    assert_eq!(
        (&end["votes"], &end["cancelled"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(end["anchors"][0]["holds_final_head"], true);
    assert_eq!(end["results"]["status"], "final");
    // Nothing can be changed any more.
    let said = world.notice(anchor, &["cancel"]);
    assert!(
        said.code == 1 && said.stderr.contains("final head"),
        "{said:#?}"
    );

    let (exit, verdict) = world.audit();
    assert_eq!(
        (exit, &verdict["state"]),
        (0, &json!("final")),
        "{verdict:#}"
    );
    assert_eq!(findings(&verdict), []);

    let copy = folder.path().join("archive");
    let said = world.election(&["archive", tests::arg(&copy)]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // The same from a site, as anybody could.
    let tally = find(&services, Role::Tally);
    let other = folder.path().join("from-the-site");
    let id = world.published.id();
    let said = run(
        "tallyroot",
        &[
            "election",
            "archive",
            &tally.url,
            arg(&other),
            "--election",
            &id,
        ],
    );
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(files::contents(&copy), files::contents(&other));
    let said = run(
        "tallyroot",
        &[
            "election",
            "finalize",
            &tally.url,
            "--election",
            &id,
            "--json",
        ],
    );
    assert_eq!((said.code, said.json()), (0, end), "{}", said.stderr);

    let mut look = vec!["status", &tally.url, "--election", &id, "--json"];
    for service in &services {
        look.extend(["--health", &service.health]);
    }
    let said = run("tallyroot", &look);
    assert_eq!(said.code, 0, "{said:#?}");
    let status = said.json();
    assert_eq!(
        (
            &status["site"]["votes"],
            &status["site"]["final"],
            &status["site"]["extended"]
        ),
        (&json!(2), &json!(true), &json!(true))
    );
    assert_eq!(status["services"].as_array().unwrap().len(), services.len());
    let said = run(
        "tallyroot",
        &["status", "--health", "127.0.0.1:9", "--json"],
    );
    assert_eq!((said.code, &said.json()["well"]), (3, &json!(false)));
    let problem = said.json()["services"][0]["problem"].clone();
    assert_eq!(
        problem.as_str().unwrap().matches("onnect").count(),
        1,
        "once is enough: {problem}"
    );
    // An address that is there, and is no health address.
    let service = &find(&services, Role::Cell(0)).url;
    let said = run("tallyroot", &["status", "--health", service]);
    assert_eq!(said.code, 3);
    assert!(
        said.stdout
            .contains("give the one that its configuration names as `health_listen`"),
        "{said:#?}"
    );
    // The site leads to its election, and so does the election's own page.
    let page = format!("{}/elections/{id}/", tally.url);
    for site in [&tally.url, &page] {
        let said = run("tallyroot", &["status", site, "--json"]);
        assert_eq!(said.json()["site"]["election_id"], id, "{said:#?}");
    }
    let said = run("tallyroot", &["status", service]);
    assert!(
        said.code == 1 && said.stderr.contains("name it with --election ID"),
        "{said:#?}"
    );
    let wrong = "0".repeat(64);
    let said = run("tallyroot", &["status", &tally.url, "--election", &wrong]);
    assert!(
        said.code == 1 && said.stderr.contains("has no election"),
        "{said:#?}"
    );

    let again = tests::run(
        "tallyroot-verify",
        &[
            "audit",
            tests::arg(&copy),
            "--election",
            &world.published.id(),
        ],
    );
    assert_eq!(again.code, 0, "{}", again.stdout);
}

#[tokio::test]
async fn a_damaged_copy_is_not_an_archive() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let services = world.start_all();
    let site = world.site(&services);
    let vote = voter(&world, &site, 0).await;
    assert_eq!(site.cast(&vote).await.0, 200);
    let copy = folder.path().join("archive");
    let said = world.election(&["archive", tests::arg(&copy)]);
    assert!(
        said.code == 1 && said.stderr.contains("no final head yet"),
        "{said:#?}"
    );
    let anchor = find(&services, Role::Anchor);
    assert_eq!(world.notice(anchor, &["close"]).code, 0);
    assert_eq!(world.election(&["finalize"]).code, 0);
    let bundle = world.published.folder.join("cells/0/tile/entries");
    let name = std::fs::read_dir(&bundle)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = if name.is_dir() {
        std::fs::read_dir(name)
            .unwrap()
            .map(|f| f.unwrap().path())
            .max_by_key(|f| std::fs::metadata(f).unwrap().len())
            .unwrap()
    } else {
        name
    };
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let said = world.election(&["archive", tests::arg(&copy)]);
    assert!(
        said.code == 1 && said.stderr.contains("does not verify"),
        "{said:#?}"
    );
    assert!(!copy.exists());
}

#[tokio::test]
async fn a_cancelled_election_counts_nothing() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    // The anchor is a folder elsewhere: it is shown among the published files all the same.
    let elsewhere = folder.path().join("elsewhere");
    let place = format!(
        "name = \"local\"\ndirectory = \"{}\"\nunfinished = \"{}\"\n",
        arg(&elsewhere),
        arg(&folder.path().join("unfinished"))
    );
    let text = world.configuration(Role::Anchor);
    world.configure(Role::Anchor, &text.replace("name = \"local\"\n", &place));
    let services = world.start_all();
    let site = world.site(&services);
    let votes = [voter(&world, &site, 0).await, voter(&world, &site, 1).await];
    assert_eq!(site.cast(&votes[0]).await.0, 200);
    let anchor = find(&services, Role::Anchor);
    let said = world.notice(anchor, &["cancel"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // The cell hears of it like anybody else does, from the published heads log.
    let cell = find(&services, Role::Cell(0));
    while cell.status().await["schedule"]["cancelled"] != true {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let answer = site.cast(&votes[1]).await;
    assert_eq!(code(&answer), (403, "closed"), "{answer:?}");
    let said = world.election(&["finalize"]);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    let end = said.json();
    assert_eq!(end["cancelled"], true);
    assert_eq!(end["results"]["status"], "cancelled");
    let (exit, verdict) = world.audit();
    assert_eq!(
        (exit, &verdict["state"]),
        (0, &json!("cancelled")),
        "{verdict:#}"
    );
    assert!(elsewhere.join("0").is_file());
}

#[tokio::test]
async fn a_cell_that_never_closes_is_counted_up_to_its_newest_checkpoint() {
    let mut plan = Plan {
        cells: 2,
        closing: 6,
        grace: 3,
        ..Plan::default()
    };
    let state = |end: &Value, log: &str| {
        let logs = end["final_head"]["logs"].as_array().unwrap();
        logs.iter().find(|said| said["log"] == log).unwrap()["state"].clone()
    };
    let (_folder, world, end) = loop {
        let (folder, world, services) = within_hours(&plan, async |world| {
            let services = world.start_all();
            let site = world.site(&services);
            for v in 0..6 {
                let vote = voter_of_cell(world, &site, v, v % 2).await;
                assert_eq!(site.cast(&vote).await.0, 200);
            }
            let (services, dead) = but(services, |service| service.role == Role::Cell(1));
            dead.kill();
            services
        })
        .await;
        let end = world.election(&["finalize", "--wait", WAIT]).json();
        drop(services);
        // A slow machine may be too slow for the living cell's close too.
        match longer(&world.plan) {
            Some(longer) if state(&end, "cells/0") != "closed" => plan = longer,
            _ => break (folder, world, end),
        }
    };
    assert_eq!(end["votes"], 6, "{end:#}");
    assert_eq!(
        (state(&end, "cells/0"), state(&end, "cells/1")),
        (json!("closed"), json!("open"))
    );
    let (_, verdict) = world.audit();
    assert_eq!(verdict["state"], "final", "{verdict:#}");
    // What the dead cell had published counts.
    assert_eq!(verdict["covered"]["cells"][1]["votes"], 3);
    let codes: Vec<String> = findings(&verdict)
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["unclosed"], "{verdict:#}");
    assert_eq!(verdict["votes"], 6);
}

#[tokio::test]
async fn votes_that_no_head_covered_in_time_are_late_and_counted() {
    let plan = Plan {
        closing: 6,
        grace: 3,
        ..Plan::default()
    };
    let (_folder, world, mut services) = within_hours(&plan, async |world| {
        let services = world.start_all();
        let site = world.site(&services);
        let votes = [
            voter(world, &site, 0).await,
            voter(world, &site, 1).await,
            voter(world, &site, 2).await,
        ];
        assert_eq!(site.cast(&votes[0]).await.0, 200);
        let covered = || {
            let id = world.published.id();
            let look = ["status", arg(&world.data), "--election", &id, "--json"];
            let said = run("tallyroot", &look);
            said.json()["site"]["logs"][0]["in_head"].as_u64() >= Some(3) || world.is_over()
        };
        until("a head covers the first vote", covered);
        let (services, anchor) = but(services, |service| service.role == Role::Anchor);
        anchor.kill();
        for vote in &votes[1..] {
            assert_eq!(site.cast(vote).await.0, 200);
        }
        services
    })
    .await;
    let times = world.published.election.manifest().times;
    let deadline = i64::try_from(times.closing + times.grace).unwrap();
    until("closing plus grace is over", || {
        jiff::Timestamp::now().as_millisecond() > deadline
    });
    // Without heads each log closes by itself, on a slow machine only now.
    for role in [Role::Registrar(0), Role::Cell(0)] {
        closed(find(&services, role)).await;
    }
    services.push(world.start(Role::Anchor));
    let end = world.election(&["finalize", "--wait", WAIT]).json();
    assert_eq!(end["votes"], 3, "{end:#}");
    let (_, verdict) = world.audit();
    let codes: Vec<String> = findings(&verdict)
        .into_iter()
        .map(|(code, _)| code)
        .collect();
    assert_eq!(codes, ["late"], "{verdict:#}");
    assert_eq!(verdict["bounds"]["late"], 2, "{verdict:#}");
    assert_eq!(verdict["votes"], 3);
}

#[tokio::test]
async fn a_spare_key_takes_over_by_notice() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let services = world.start_all();
    let site = world.site(&services);
    let votes = [voter(&world, &site, 0).await, voter(&world, &site, 1).await];
    assert_eq!(site.cast(&votes[0]).await.0, 200);
    let said = world.notice(find(&services, Role::Anchor), &["switch", "--cell", "0"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // It held the main key, and ends; its supervisor starts it again, and it takes the spare.
    let (mut services, cell) = but(services, |service| service.role == Role::Cell(0));
    let (exit, words) = cell.ended();
    assert_eq!(exit, 3, "{words}");
    assert!(
        words.contains("switched cells/0 to its spare key"),
        "{words}"
    );

    // Who has the main key alone is told what to do.
    let whole = world.configuration(Role::Cell(0));
    world.configure(Role::Cell(0), &whole.replace("spare = \"spare.key\"\n", ""));
    let said = world.check(Role::Cell(0));
    assert_eq!(said.code, 1);
    assert!(
        said.stdout.contains("give the spare key as `spare`"),
        "{}",
        said.stdout
    );
    // And who has the spare alone serves: the main key can be taken away, from the configuration or from under it.
    world.configure(Role::Cell(0), &whole.replace("main = \"main.key\"\n", ""));
    assert_eq!(world.check(Role::Cell(0)).code, 0);
    world.configure(Role::Cell(0), &whole);
    std::fs::remove_file(world.data.join("cells/0/main.key")).unwrap();
    let said = world.check(Role::Cell(0));
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(said.stdout.contains("take `main` out"), "{}", said.stdout);
    let mut cell = world.start(Role::Cell(0));
    cell.wait_for("active");
    services.push(cell);
    let site = world.site(&services);
    let (status, answer) = site.cast(&votes[1]).await;
    assert_eq!(status, 200, "{answer}");
    // The first vote is still there, at its place.
    assert_eq!(site.cast(&votes[0]).await.1["index"], 1);

    assert_eq!(
        world.notice(find(&services, Role::Anchor), &["close"]).code,
        0
    );
    let end = world.election(&["finalize"]);
    assert_eq!(end.code, 0, "{} {}", end.stdout, end.stderr);
    assert_eq!(end.json()["votes"], 2);
    let (exit, verdict) = world.audit();
    assert_eq!((exit, findings(&verdict)), (0, vec![]), "{verdict:#}");
}

#[tokio::test]
async fn a_frozen_cell_takes_nothing_new_and_the_others_go_on() {
    let folder = folder();
    let plan = Plan {
        cells: 2,
        ..Plan::default()
    };
    let world = World::new(folder.path(), &plan);
    let services = world.start_all();
    let site = world.site(&services);
    let anchor = find(&services, Role::Anchor);
    let first = voter_of_cell(&world, &site, 0, 1).await;
    let mut votes = Vec::new();
    for v in 1..7 {
        votes.push((v % 2, voter_of_cell(&world, &site, v, v % 2).await));
    }
    assert_eq!(site.cast(&first).await.0, 200);
    let said = world.notice(anchor, &["freeze", "--cell", "7"]);
    assert!(
        said.code == 1 && said.stderr.contains("no log"),
        "{said:#?}"
    );
    let said = world.notice(anchor, &["freeze"]);
    assert!(
        said.code == 1 && said.stderr.contains("name at least one log"),
        "{said:#?}"
    );
    let said = world.notice(anchor, &["freeze", "--cell", "1"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.json()["notices"][0]["fields"]["log"], "cells/1");
    // Whoever freezes is told whom it concerns.
    let warning = said.json()["warning"].as_str().unwrap().to_owned();
    for words in [
        "1 of 2 cells is frozen (cells/1)",
        "50 %",
        "registrars/0/0 still issue",
    ] {
        assert!(warning.contains(words), "`{words}` in: {warning}");
    }
    // Whoever has voted there still gets her receipt; nobody else is taken, once the cell has read the notice.
    let cell = find(&services, Role::Cell(1));
    let index = said.json()["notices"][0]["index"].as_u64();
    while cell.status().await["schedule"]["heads_size"].as_u64() <= index {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    // It is no idle log, and says so.
    let ending = &cell.status().await["logs"][0]["ending"];
    assert_eq!(ending["state"], "frozen");
    let waits_for = ending["waits_for"].as_str().unwrap();
    assert!(
        waits_for.starts_with("every issuance log to show closed in a head, or for 20"),
        "{waits_for}"
    );
    let look = |more: &[&str]| {
        let arguments = ["status", arg(&world.data), "--health", &cell.health];
        run("tallyroot", &[&arguments[..], more].concat())
    };
    // The folder holds one election, which need not be named.
    let logs = &look(&["--json"]).json()["site"]["logs"];
    assert_eq!(
        (&logs[0]["ending"]["state"], &logs[1]["ending"]),
        (&json!("open"), ending)
    );
    let words = look(&[]).stdout;
    assert_eq!(
        words.matches("; frozen: waits for every").count(),
        2,
        "{words}"
    );
    assert!(words.contains("1 vote in the results"), "{words}");
    let mut counted = 1u32;
    for (cell, vote) in &votes {
        let answer = site.cast(vote).await;
        match cell {
            0 => assert_eq!(answer.0, 200, "{answer:?}"),
            _ => assert_eq!(code(&answer), (403, "closed")),
        }
        counted += u32::from(answer.0 == 200);
    }
    assert_eq!(site.cast(&first).await.0, 200);
    let file = folder.path().join("all.notices");
    let all = ["freeze", "--cell", "0", "--offline", arg(&file)];
    let warning = world.notice(anchor, &all).json()["warning"].clone();
    assert!(
        warning
            .as_str()
            .unwrap()
            .starts_with("every cell is frozen"),
        "{warning}"
    );
    let said = world.notice(anchor, &["close"]);
    assert_eq!((said.code, &said.json()["warning"]), (0, &Value::Null));
    let said = world.election(&["finalize"]);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    assert_eq!(said.json()["votes"], counted);
    let (exit, verdict) = world.audit();
    assert_eq!((exit, findings(&verdict)), (0, vec![]), "{verdict:#}");
}

/// Takes the newest head's checkpoint away, and the anchors' objects of it: a writer that is killed between a batch and its checkpoint leaves the log so.
fn uncover(world: &World) {
    let folder = &world.published.folder;
    let batches = world.published.batches(LogId::Heads);
    let size: usize = batches.iter().map(Vec::len).sum();
    let before = size - batches.last().unwrap().len();
    let heads = folder.join("heads");
    let note = std::fs::read(heads.join(format!("checkpoints/{before}"))).unwrap();
    std::fs::write(heads.join("checkpoint"), note).unwrap();
    // It may never have been there: then the writer has left it so by itself.
    let _ = std::fs::remove_file(heads.join(format!("checkpoints/{size}")));
    let anchor = folder.join("anchors/local");
    for n in files::list(&anchor) {
        let bytes = std::fs::read(anchor.join(&n)).unwrap();
        let object = AnchorObject::decode(&bytes, &world.published.election.id()).unwrap();
        if object.new_size > before as u64 {
            std::fs::remove_file(anchor.join(n)).unwrap();
        }
    }
}

#[tokio::test]
async fn the_heads_log_and_an_issuance_log_take_their_spares() {
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let mut services = world.start_all();
    let site = world.site(&services);
    let mut votes = vec![voter(&world, &site, 0).await];
    assert_eq!(site.cast(&votes[0]).await.0, 200);

    // An idle writer hears of it and ends; its restart takes the spare, since both are configured.
    let anchor = find(&services, Role::Anchor);
    let said = world.notice(anchor, &["switch", "--registrar", "0/0"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let (rest, registrar) = but(services, |service| service.role == Role::Registrar(0));
    services = rest;
    let (exit, words) = registrar.ended();
    assert_eq!(exit, 3, "{words}");
    let mut registrar = world.start(Role::Registrar(0));
    registrar.wait_for("active");
    services.push(registrar);
    let site = world.site(&services);
    votes.push(voter(&world, &site, 1).await);
    assert_eq!(site.cast(&votes[1]).await.0, 200);

    // The heads log's own: its spare signs the checkpoint that holds the notice, so it starts with that key alone.
    let anchor = find(&services, Role::Anchor);
    let said = world.notice(anchor, &["switch", "--heads"]);
    assert!(
        said.code == 1 && said.stderr.contains("start it again with the spare"),
        "{said:#?}"
    );
    let (rest, anchor) = but(services, |service| service.role == Role::Anchor);
    services = rest;
    assert_eq!(anchor.stop().0, 0);
    uncover(&world);
    let whole = world.configuration(Role::Anchor);
    world.configure(Role::Anchor, &whole.replace("main = \"main.key\"\n", ""));
    let mut anchor = world.start(Role::Anchor);
    anchor.wait_for("active");
    services.push(anchor);
    let anchor = find(&services, Role::Anchor);
    let said = world.notice(anchor, &["switch", "--heads"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    // The main key is of no use any more.
    world.configure(Role::Anchor, &whole.replace("spare = \"spare.key\"\n", ""));
    let said = world.check(Role::Anchor);
    assert!(
        said.code == 1 && said.stdout.contains("to its spare key at size"),
        "{said:#?}"
    );

    assert_eq!(world.notice(anchor, &["close"]).code, 0);
    let said = world.election(&["finalize"]);
    assert_eq!(said.code, 0, "{} {}", said.stdout, said.stderr);
    let (exit, verdict) = world.audit();
    assert_eq!((exit, findings(&verdict)), (0, vec![]), "{verdict:#}");
    assert_eq!(
        (&verdict["votes"], &verdict["issued"][0]["issued"]),
        (&json!(2), &json!(2))
    );
}
