//! An OpenID provider for tests: `oidc-provider` (npm) under Node, on a free port of 127.0.0.1, with its own pages for login and consent. And a voter's browser that walks through them.
//!
//! It ends with the test, however that ends: it reads a pipe that only the test holds open.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test without its provider must fail"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The client that a registrar is configured with.
pub const CLIENT: &str = "tallyroot";
/// Another client of the same provider.
pub const OTHER_CLIENT: &str = "other";
/// Where devices wait for the code; nobody listens there in these tests but `tallyroot vote`, at a port of its own.
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// A running provider. Dropping it ends it.
#[derive(Debug)]
pub struct Provider {
    child: Child,
    lines: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    issuer: String,
    keys: Vec<Value>,
}

/// A key that the provider is to make: for RS256 as `RS256`, for use `sig` or `enc`.
#[must_use]
pub fn new_key(algorithm: &str, kid: &str, used_for: &str) -> Value {
    json!({"alg": algorithm, "kid": kid, "use": used_for})
}

impl Provider {
    /// Starts one with these keys (JWK, or from [`new_key`]), at a port (0: any), and waits until it answers. The first key for signatures signs.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    #[must_use]
    pub fn start(port: u16, keys: &[Value]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let config = json!({"port": port, "keys": keys, "clients": [CLIENT, OTHER_CLIENT]});
        let mut child = Command::new("node")
            .arg(folder.join("provider.mjs"))
            .arg(config.to_string())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node: run scripts/setup.sh test");
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line)
            .expect("the provider did not start: run scripts/setup.sh test");
        Self {
            child,
            lines: Mutex::new((input, output)),
            issuer: said["issuer"].as_str().unwrap().to_owned(),
            keys: said["keys"].as_array().unwrap().clone(),
        }
    }

    /// Ends it: nobody answers any more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Its port.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn port(&self) -> u16 {
        Url::parse(&self.issuer).unwrap().port().unwrap()
    }

    /// Its keys with their private parts.
    #[must_use]
    pub fn keys(&self) -> &[Value] {
        &self.keys
    }

    /// Anything, signed with its key `kid`.
    ///
    /// # Panics
    /// It has no such key.
    #[must_use]
    pub fn sign(&self, header: &Value, claims: &Value, kid: &str) -> String {
        let (input, output) = &mut *self.lines.lock().unwrap();
        let ask = json!({"sign": {"header": header, "claims": claims, "kid": kid}});
        writeln!(input, "{ask}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).expect("nothing was signed");
        said["token"].as_str().unwrap().to_owned()
    }

    /// The authorization-code flow with PKCE, as a device and its browser do it: the ID token of who logs in as `login`.
    ///
    /// # Panics
    /// The provider refuses.
    pub async fn sign_in(&self, client: &str, login: &str, scope: &str, nonce: &str) -> String {
        let verifier = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let mut url = Url::parse(&format!("{}/auth", self.issuer)).unwrap();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", client)
            .append_pair("redirect_uri", CALLBACK)
            .append_pair("scope", scope)
            .append_pair("state", "state")
            .append_pair("nonce", nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let back = browse(url.as_str(), login).await;
        let back = Url::parse(&back).unwrap();
        let (_, code) = back
            .query_pairs()
            .find(|(name, _)| name == "code")
            .unwrap_or_else(|| panic!("no code: {back}"));
        let mut form = Url::parse(&self.issuer).unwrap();
        form.query_pairs_mut()
            .append_pair("grant_type", "authorization_code")
            .append_pair("client_id", client)
            .append_pair("redirect_uri", CALLBACK)
            .append_pair("code_verifier", &verifier)
            .append_pair("code", &code);
        let answer = client_of_browser()
            .post(format!("{}/token", self.issuer))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap().to_owned())
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let token = answer["id_token"].as_str();
        token
            .unwrap_or_else(|| panic!("no ID token: {answer}"))
            .to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

fn client_of_browser() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// A browser, from an authorization URL through the provider's pages for login and consent: where it is sent at last, outside of the provider. It does not go there.
///
/// # Panics
/// The pages are not as expected.
pub async fn browse(url: &str, login: &str) -> String {
    let http = client_of_browser();
    let mut cookies: BTreeMap<String, String> = BTreeMap::new();
    let mut at = Url::parse(url).unwrap();
    let origin = at.origin();
    let mut form: Option<String> = None;
    for _ in 0..20 {
        let sent: Vec<String> = cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let request = match form.take() {
            Some(form) => http
                .post(at.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form),
            None => http.get(at.clone()),
        };
        let answer = request
            .header("cookie", sent.join("; "))
            .send()
            .await
            .unwrap();
        for cookie in answer.headers().get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            if value.is_empty() {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        if let Some(to) = answer.headers().get("location") {
            at = at.join(to.to_str().unwrap()).unwrap();
            if at.origin() != origin {
                return at.into();
            }
            continue;
        }
        let page = answer.text().await.unwrap();
        form = Some(if page.contains(r#"name="prompt" value="login""#) {
            format!("prompt=login&login={login}&password=any")
        } else if page.contains(r#"name="prompt" value="consent""#) {
            "prompt=consent".to_owned()
        } else {
            panic!("neither login nor consent: {page}");
        });
    }
    panic!("the provider sends the browser in circles");
}
