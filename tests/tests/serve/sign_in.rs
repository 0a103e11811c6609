//! `tallyroot vote` without a code: the voter's browser signs in at a real provider, and comes back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::Value;
use tests::serve::{Plan, Role, Service, World};
use tests::{arg, folder, start_with};
use throwaway_provider::{CLIENT, Provider, browse, new_key};

/// A site in front of the services: one request a connection. It lives as long as the test's process.
fn site(services: &[Service]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let place = |role: Role| {
        let service = services.iter().find(|service| service.role == role);
        let url = service.unwrap().url.clone();
        url.strip_prefix("http://").unwrap().to_owned()
    };
    let posts = [
        ("/registrars/0/", place(Role::Registrar(0))),
        ("/cells/0/", place(Role::Cell(0))),
    ];
    let files = place(Role::Tally);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (posts, files) = (posts.clone(), files.clone());
            std::thread::spawn(move || pass_on(stream, &posts, &files));
        }
    });
    url
}

fn pass_on(mut client: TcpStream, posts: &[(&str, String)], files: &str) -> Option<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        request.extend_from_slice(&byte);
    }
    let head = String::from_utf8(request).ok()?;
    let (first, rest) = head.split_once("\r\n")?;
    let to = posts
        .iter()
        .find(|(path, _)| first.starts_with("POST") && first.contains(path))
        .map_or(files, |(_, service)| service.as_str());
    let len = rest.to_lowercase();
    let len = len
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .map_or(0, |len| len.trim().parse().unwrap());
    let mut body = vec![0; len];
    client.read_exact(&mut body).ok()?;
    let mut service = TcpStream::connect(to).ok()?;
    let head = format!("{first}\r\nConnection: close\r\n{rest}");
    service.write_all(head.as_bytes()).ok()?;
    service.write_all(&body).ok()?;
    std::io::copy(&mut service, &mut client).ok()?;
    Some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_without_a_code_signs_in_at_the_provider() {
    let provider = Provider::start(0, &[new_key("RS256", "one", "sig")]);
    let folder = folder();
    let world = World::new(folder.path(), &Plan::default());
    let registrar = Role::Registrar(0);
    let oidc = |issuer: &str| {
        format!(
            "{}\n[oidc]\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\nclaim = \"name\"\nscope = \"openid profile\"\nallow_http_loopback = true\n",
            world.configuration(registrar),
        )
    };
    // What is wrong is said at start; a provider that is away is none of that.
    for (issuer, code, words) in [
        ("http://id.example.org", 1, "the issuer is no https address"),
        ("http://127.0.0.1:9", 0, "NOT REACHED"),
        (provider.issuer(), 0, "1 keys for signatures"),
    ] {
        world.configure(registrar, &oidc(issuer));
        let said = world.check(registrar);
        assert_eq!(said.code, code, "{said:#?}");
        assert!(said.stdout.contains(words), "{said:#?}");
    }

    let services = world.start_all();
    let (secret, receipt) = (folder.path().join("secret"), folder.path().join("receipt"));
    let mut voting = start_with(
        "tallyroot",
        &[
            "vote",
            &site(&services),
            "--election",
            &world.published.id().to_string(),
            "--choose",
            "Colour=Blue",
            "--secret",
            arg(&secret),
            "--receipt",
            arg(&receipt),
            "--no-delay",
            "--json",
        ],
        &[],
        Stdio::piped(),
        Stdio::piped(),
    );
    let mut said = BufReader::new(voting.stderr.take().unwrap()).lines();
    let mut heard = String::new();
    let page = loop {
        let line = said.next().unwrap_or_else(|| panic!("{heard}")).unwrap();
        if let Some(at) = line.find("http://").filter(|_| line.contains("/auth?")) {
            break line[at..].to_owned();
        }
        heard.push_str(&line);
    };
    let back = browse(&page, "voter+7").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // A page elsewhere that sends the browser here knows no state.
    let other = back.replace("state=", "state=x");
    assert_eq!(client.get(other).send().await.unwrap().status(), 400);
    assert_eq!(client.get(back).send().await.unwrap().status(), 200);

    let rest: Vec<String> = said.map(Result::unwrap).collect();
    let rest = rest.join("\n");
    let done = voting.wait_with_output().unwrap();
    assert!(done.status.success(), "{rest}");
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(json["status"], "sealed", "{rest}");
    assert!(rest.contains("in the name of voter 7 "), "{rest}");
    // What the registrar saw is in no log, not even what a token begins with.
    for service in services {
        let role = service.role;
        let (code, said) = service.stop();
        assert_eq!(code, 0, "{role:?}: {said}");
        assert!(
            !said.contains("eyJ") && !said.contains("voter 7"),
            "{role:?}: {said}"
        );
    }
}
