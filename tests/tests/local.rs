//! A deployment of `deploy/local`: every service its own process, every log its own Postgres, nginx in front.

use serde_json::json;
use tests::local::Local;
use tests::published::Published;
use tests::{arg, folder, run};

/// The status and where it leads.
fn leads_to(url: &str) -> (u16, String) {
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answer = runtime.block_on(http.get(url).send()).unwrap();
    let location = answer.headers()["location"].to_str().unwrap();
    (answer.status().as_u16(), location.to_owned())
}

#[test]
fn a_whole_election_over_separate_processes() {
    let folder = folder();
    let data = folder.path().join("election");
    let mut local = Local::of_demo(
        &data,
        &["--voters", "150", "--cells", "2", "--registrars", "2"],
        &[],
    );
    // The page's address, as `up` prints it, does as well as the site's.
    local.url = format!("{}/elections/{}/", local.url, Published::of(&data).id());
    let id = Published::of(&data).id();
    let site = local
        .url
        .strip_suffix(&format!("/elections/{id}/"))
        .unwrap();
    let page = format!("/elections/{id}/");
    assert_eq!(
        leads_to(&format!("{site}/elections/{id}")),
        (308, page.clone())
    );
    assert_eq!(leads_to(site), (307, page));
    let look = run("tallyroot", &["status", site, "--json"]);
    assert_eq!(look.json()["site"]["election_id"], id, "{look:#?}");
    let said = local.play(&["--exit"]);
    assert_eq!(said.code, 0, "{said:#?}");
    let end = said.json();
    assert_eq!(end["audit"]["verified"], true, "{end}");
    assert_eq!(end["audit"]["findings"], json!([]));
    for member in ["issued", "votes"] {
        assert_eq!(end[member], 150, "{member}");
    }
    let id = end["election_id"].as_str().unwrap();
    let audit = run(
        "tallyroot-verify",
        &[
            "audit",
            arg(&data.join("public")),
            "--election",
            id,
            "--json",
        ],
    );
    assert_eq!(audit.code, 0, "{} {}", audit.stdout, audit.stderr);
}
