//! Signing in at an OpenID provider from a program without a page of its own (RFC 8252): the voter's browser goes to the provider, and comes back to a port of this machine.
//!
//! Authorization code with PKCE (RFC 7636), as a public client; with a nonce over this device's own blinded message and the registrar's ticket. What the ID token says is the registrar's to check: it goes there, and nowhere else.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::site::{SignIn, bounded};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// A voter takes this long to sign in, at most, whatever the registrar says.
const PATIENCE_S: u64 = 3_600;

/// An ID token, and whose it says that it is.
pub(crate) struct SignedIn {
    pub(crate) id_token: Zeroizing<String>,
    /// `issuer#sub`: nothing here has proven it. It tells accounts apart on this device.
    pub(crate) account: String,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: String,
}

#[derive(Deserialize)]
struct Subject {
    sub: String,
}

/// What the browser comes back with.
#[derive(Deserialize)]
struct Back {
    state: String,
    code: Option<String>,
    iss: Option<String>,
    error: Option<String>,
}

/// Signs in; `show` tells the voter which page to open.
///
/// # Errors
/// The provider cannot be reached or is another one, the voter does not sign in in time, or is refused.
pub(crate) async fn sign_in(at: &SignIn, nonce: &str, show: impl FnOnce(&str)) -> Result<SignedIn> {
    let issuer = Url::parse(&at.issuer).context("the registrar's issuer is no address")?;
    let loopback = is_loopback(&issuer);
    let http = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .context("cannot set up the HTTP client")?;
    let place = |url: &str| -> Result<Url> {
        let url = Url::parse(url).with_context(|| format!("{url} is no address"))?;
        // http is for tries on one machine: anywhere else, whoever is between could take the code and the token.
        let is_allowed =
            url.scheme() == "https" || (loopback && url.scheme() == "http" && is_loopback(&url));
        ensure!(is_allowed, "{url} is not https");
        Ok(url)
    };
    let well_known = format!(
        "{}/.well-known/openid-configuration",
        at.issuer.trim_end_matches('/')
    );
    let configuration: Configuration = read(http.get(place(&well_known)?))
        .await
        .context("the provider's configuration")?;
    // Discovery, section 4.3: "The issuer value returned MUST be identical to the Issuer URL that was used".
    ensure!(
        configuration.issuer == at.issuer,
        "the provider at {} calls itself {}",
        at.issuer,
        configuration.issuer
    );
    let token_endpoint = place(&configuration.token_endpoint)?;
    let mut page = place(&configuration.authorization_endpoint)?;

    // RFC 8252, section 7.3: "loopback redirect URIs use the 'http' scheme and are constructed with the loopback IP literal and whatever port the client is listening on."
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("cannot listen on a port of 127.0.0.1")?;
    let redirect = format!("http://{}/callback", listener.local_addr()?);
    let random = || Zeroizing::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let (state, verifier) = (random(), random());
    page.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &at.client_id)
        .append_pair("redirect_uri", &redirect)
        .append_pair("scope", &at.scope)
        .append_pair("state", &state)
        .append_pair("nonce", nonce)
        .append_pair(
            "code_challenge",
            &URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())),
        )
        .append_pair("code_challenge_method", "S256");
    show(page.as_str());

    let waited = Duration::from_secs(at.expires_in.min(PATIENCE_S));
    let back = tokio::time::timeout(waited, come_back(listener, &state))
        .await
        .map_err(|_| {
            anyhow!(
                "nobody signed in within {} s: run the same command again",
                waited.as_secs()
            )
        })??;
    // RFC 9207, section 2.4: "If the value does not match the expected issuer identifier, clients MUST reject the authorization response".
    match &back.iss {
        Some(iss) => ensure!(*iss == at.issuer, "the answer is from another provider"),
        None => ensure!(
            !configuration.authorization_response_iss_parameter_supported,
            "the answer does not say which provider it is from"
        ),
    }
    let code = match (back.code, back.error) {
        (Some(code), None) => code,
        (_, Some(error)) => {
            bail!("the provider did not sign you in ({error}): run the same command again")
        }
        (None, None) => bail!("the provider's answer holds no code"),
    };

    // The body is made as a query is: RFC 6749, appendix B.
    let mut form = token_endpoint.clone();
    form.set_query(None);
    form.query_pairs_mut()
        .append_pair("grant_type", "authorization_code")
        .append_pair("client_id", &at.client_id)
        .append_pair("redirect_uri", &redirect)
        .append_pair("code_verifier", &verifier)
        .append_pair("code", &code);
    let form = form.query().unwrap_or_default().to_owned();
    let ask = http
        .post(token_endpoint)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let TokenAnswer { id_token } = read(ask)
        .await
        .context("the provider's answer to the code")?;
    let id_token = Zeroizing::new(id_token);
    let account = account(&at.issuer, &id_token).context("the ID token cannot be read")?;
    Ok(SignedIn { id_token, account })
}

fn account(issuer: &str, token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Subject { sub } = serde_json::from_slice(&claims).ok()?;
    Some(registrar::oidc::subject_on_roll(issuer, &sub))
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"))
}

async fn read<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T> {
    let answer = request.send().await.map_err(reqwest::Error::without_url)?;
    let status = answer.status();
    ensure!(status.is_success(), "status {status}");
    let bytes = Zeroizing::new(bounded(answer, ANSWER_BYTES_MAX).await?);
    // Without the parser's words, which quote: an answer may hold tokens.
    serde_json::from_slice(&bytes).map_err(|_| anyhow!("it is not what the standard says"))
}

struct Waiting {
    state: Zeroizing<String>,
    came: Mutex<Option<oneshot::Sender<Back>>>,
}

/// Serves one page, until the browser comes with this state.
async fn come_back(listener: TcpListener, state: &str) -> Result<Back> {
    let (came, comes) = oneshot::channel();
    let waiting = Arc::new(Waiting {
        state: Zeroizing::new(state.to_owned()),
        came: Mutex::new(Some(came)),
    });
    let router = Router::new()
        .route("/callback", get(callback))
        .fallback(listener::not_found)
        .with_state(waiting);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(listener::serve(
        listener,
        router,
        listener::Limits::default(),
        async {
            let _ = stopped.await;
        },
    ));
    let back = comes.await.context("the page was closed")?;
    let _ = stop.send(());
    let _ = server.await;
    Ok(back)
}

async fn callback(
    State(waiting): State<Arc<Waiting>>,
    Query(back): Query<Back>,
) -> (StatusCode, &'static str) {
    // RFC 9700, section 4.7: a page elsewhere could send the voter's browser here with a code of its own.
    if back.state != *waiting.state {
        return (
            StatusCode::BAD_REQUEST,
            "This is not the sign-in that is waited for.",
        );
    }
    let came = waiting
        .came
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match came.map(|came| came.send(back)) {
        Some(Ok(())) => (
            StatusCode::OK,
            "You can close this page: the rest happens where you vote.",
        ),
        _ => (StatusCode::CONFLICT, "This sign-in was answered already."),
    }
}
