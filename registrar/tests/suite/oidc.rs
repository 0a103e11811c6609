//! Voters who sign in at an OpenID provider: a real one, through its own pages.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{Options, Place, Served, code};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use ledger::{Clock, SystemClock};
use protocol::credential::{Blinded, finalize};
use registrar::oidc::{Oidc, OidcSettings, OidcSettingsError, nonce_of, subject_on_roll};
use serde_json::{Value, json};
use sha2::Sha256;
use throwaway_provider::{CLIENT, OTHER_CLIENT, Provider, new_key};

/// The machine's clock, so many seconds off: the provider's tokens bear the machine's time.
struct Shifted(AtomicI64);

impl Shifted {
    fn by(&self, seconds: i64) {
        self.0.store(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now_ms(&self) -> u64 {
        SystemClock
            .now_ms()
            .checked_add_signed(self.0.load(Ordering::SeqCst))
            .unwrap()
    }
}

/// A registrar whose voters sign in at a provider.
struct World {
    provider: Provider,
    place: Place,
    served: Served,
    clock: Arc<Shifted>,
    /// The ticket of each nonce.
    tickets: Mutex<HashMap<String, String>>,
}

fn keys() -> [Value; 2] {
    [
        new_key("RS256", "one", "sig"),
        new_key("RSA-OAEP", "enc", "enc"),
    ]
}

impl World {
    async fn new(logins: &[&str], change: impl FnOnce(&mut OidcSettings)) -> Self {
        let provider = Provider::start(0, &keys());
        let mut settings = OidcSettings::new(provider.issuer(), CLIENT);
        settings.allow_http_loopback = true;
        change(&mut settings);
        let roll: Vec<String> = logins
            .iter()
            .map(|login| match settings.claim.as_str() {
                "sub" => subject_on_roll(provider.issuer(), login),
                _ => (*login).to_owned(),
            })
            .collect();
        let roll: Vec<&str> = roll.iter().map(String::as_str).collect();
        let place = Place::new(&roll, 1).await;
        let clock = Arc::new(Shifted(AtomicI64::new(0)));
        let oidc = Oidc::new(settings, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let options = Options {
            oidc: Some(oidc),
            ..Options::default()
        };
        let served = Served::start(&place, 0, options).await;
        Self {
            provider,
            place,
            served,
            clock,
            tickets: Mutex::default(),
        }
    }

    async fn begin(&self, blinded: &Blinded) -> Value {
        let url = self.served.url.replace("/credentials", "/sign-in");
        let body = json!({"digest": STANDARD.encode(blinded.digest())}).to_string();
        let answer = self.served.client.post(url).body(body).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["cache-control"], "no-store");
        answer.json().await.unwrap()
    }

    async fn nonce(&self, blinded: &Blinded) -> String {
        let ticket = self.begin(blinded).await["ticket"].clone();
        self.nonce_of(ticket.as_str().unwrap(), blinded)
    }

    /// As a device makes it.
    fn nonce_of(&self, ticket: &str, blinded: &Blinded) -> String {
        let nonce = nonce_of(&self.place.election.id(), 0, &blinded.digest(), ticket);
        let mut tickets = self.tickets.lock().unwrap();
        tickets.insert(nonce.clone(), ticket.to_owned());
        nonce
    }

    /// The ticket that the token's nonce was made of, if it was of any.
    fn ticket(&self, token: &str) -> Option<String> {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        self.tickets
            .lock()
            .unwrap()
            .get(claims["nonce"].as_str()?)
            .cloned()
    }

    /// What a device does: the token of who logs in so, for this message.
    async fn token(&self, login: &str, blinded: &Blinded) -> String {
        let begun = self.begin(blinded).await;
        let text = |name: &str| begun[name].as_str().unwrap();
        assert_eq!(text("issuer"), self.provider.issuer());
        let (client, scope) = (text("client_id"), text("scope"));
        let nonce = self.nonce_of(text("ticket"), blinded);
        self.provider.sign_in(client, login, scope, &nonce).await
    }

    async fn ask(&self, token: &str, blinded: &Blinded) -> (u16, Value) {
        let ticket = self.ticket(token).unwrap_or_default();
        let blinded = STANDARD.encode(blinded.message());
        let body = json!({"blinded": blinded, "id_token": token, "ticket": ticket});
        self.served.post(body.to_string()).await
    }

    /// Refused for this reason.
    async fn refused(&self, what: &str, token: &str, blinded: &Blinded, reason: &str) {
        let answer = self.ask(token, blinded).await;
        assert_eq!(code(&answer), (401, "bad-token"), "{what}: {answer:?}");
        let message = answer.1["error"]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{what}: {message}");
    }

    fn now_s(&self) -> u64 {
        self.clock.now_ms() / 1_000
    }

    /// A token that is right, signed by the provider's own key, but for what is changed.
    fn forged(&self, nonce: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"alg": "RS256", "kid": "one"});
        let mut claims = json!({
            "iss": self.provider.issuer(), "sub": "ada", "aud": CLIENT, "nonce": nonce,
            "iat": self.now_s(), "exp": self.now_s() + 300,
        });
        change(&mut header, &mut claims);
        self.provider.sign(&header, &claims, "one")
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_gets_one_credential_its_own() {
    let world = World::new(&["ada", "bert"], |_| ()).await;
    let identity = |login| subject_on_roll(world.provider.issuer(), login);
    let first = world.place.blinded(0, 1);
    let token = world.token("ada", &first).await;
    let (status, answer) = world.ask(&token, &first).await;
    assert_eq!(status, 200, "{answer}");
    world
        .place
        .check_answer(0, &identity("ada"), &first, &answer);
    let signature = STANDARD.decode(answer["blind_signature"].as_str().unwrap());
    finalize(&first, &signature.unwrap()).unwrap();

    // An answer that was lost: the same again gets the same, with the same token, with a fresh one, and with the code of the same voter.
    let fresh = world.token("ada", &first).await;
    assert_ne!(fresh, token);
    let by_code = world.place.codes(0)[&identity("ada")].clone();
    for (status, again) in [
        world.ask(&token, &first).await,
        world.ask(&fresh, &first).await,
        world.served.ask(&by_code, first.message()).await,
    ] {
        assert_eq!(status, 200);
        assert_eq!(again["blind_signature"], answer["blind_signature"]);
        assert_eq!(again["roll"], answer["roll"]);
    }

    // Whoever has a used token gets nothing for a message of her own; and the voter no second credential.
    let other = world.place.blinded(0, 2);
    let of_nonce = "its nonce is not one that this registrar gave out for this blinded message";
    world.refused("used", &token, &other, of_nonce).await;
    let second = world.token("ada", &other).await;
    assert_eq!(
        code(&world.ask(&second, &other).await),
        (409, "other-message")
    );

    // A second account's token answers for its own place, whosever message it is with; and one that is not on the roll for none.
    let of_bert = world.token("bert", &first).await;
    let (status, answer) = world.ask(&of_bert, &first).await;
    assert_eq!(status, 200);
    world
        .place
        .check_answer(0, &identity("bert"), &first, &answer);
    let of_eve = world.token("eve", &other).await;
    assert_eq!(
        code(&world.ask(&of_eve, &other).await),
        (401, "not-on-roll")
    );
    assert_eq!(world.place.issued(0).len(), 2);

    // One of the two, and not both.
    let blinded = STANDARD.encode(other.message());
    for body in [
        json!({"blinded": blinded}),
        json!({"blinded": blinded, "code": by_code, "id_token": second}),
        json!({"blinded": blinded, "id_token": 7, "ticket": ""}),
        json!({"blinded": blinded, "id_token": second}),
        json!({"blinded": blinded, "code": by_code, "ticket": ""}),
    ] {
        let answer = world.served.post(body.to_string()).await;
        assert_eq!(code(&answer), (400, "malformed"));
    }
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_a_token_is_kept() {
    let world = World::new(&["ada", "bert"], |_| ()).await;
    let blinded = world.place.blinded(0, 1);
    let nonce = world.nonce(&blinded).await;
    let provider = &world.provider;

    // By the provider's own pages.
    let for_other = provider.sign_in(OTHER_CLIENT, "ada", "openid", &nonce);
    let of_audience = "it is for another audience";
    world
        .refused("audience", &for_other.await, &blinded, of_audience)
        .await;
    let of_nonce = "its nonce is not one";
    let own_nonce = provider.sign_in(CLIENT, "ada", "openid", "mine").await;
    world.refused("nonce", &own_nonce, &blinded, of_nonce).await;
    let good = world.token("ada", &blinded).await;
    for (shift, reason) in [
        // A provider of today, seen by a registrar of then.
        (-3_600, "it is not valid yet"),
        (86_400, "it has expired"),
    ] {
        world.clock.by(shift);
        world.refused("times", &good, &blinded, reason).await;
    }
    world.clock.by(0);
    {
        // Another issuer, with the very same keys.
        let twin = Provider::start(0, provider.keys());
        let token = twin.sign_in(CLIENT, "ada", "openid", &nonce).await;
        let reason = "it is another issuer's";
        world.refused("issuer", &token, &blinded, reason).await;
    }

    // What the provider never signs, signed with its key.
    let now = world.now_s();
    type Change = Box<dyn FnOnce(&mut Value, &mut Value)>;
    let set = |name: &'static str, value: Value| -> Change {
        Box::new(move |_, claims| claims[name] = value)
    };
    let header = |name: &'static str, value: Value| -> Change {
        Box::new(move |header, _| header[name] = value)
    };
    let others: Vec<(&str, Change, &str)> = vec![
        (
            "iss",
            set("iss", json!("https://else.example")),
            "another issuer's",
        ),
        ("aud", set("aud", json!([CLIENT, "else"])), of_audience),
        ("no aud", set("aud", json!([])), of_audience),
        ("azp", set("azp", json!("else")), "given to another client"),
        ("exp", set("exp", json!(now - 61)), "it has expired"),
        (
            "exp in words",
            set("exp", json!("tomorrow")),
            "its claims are not",
        ),
        ("nbf", set("nbf", json!(now + 200)), "it is not valid yet"),
        ("iat", set("iat", json!(now + 200)), "it is not valid yet"),
        ("age", set("iat", json!(now - 700)), "issued too long ago"),
        ("nonce", set("nonce", json!("")), of_nonce),
        ("no nonce", set("nonce", Value::Null), of_nonce),
        ("sub", set("sub", json!("")), "the claim that names a voter"),
        (
            "sub as a number",
            set("sub", json!(7)),
            "its claims are not",
        ),
        (
            "long sub",
            set("sub", json!("a".repeat(200))),
            "the claim that names",
        ),
        (
            "kid",
            header("kid", json!("two")),
            "its key is none of the provider's",
        ),
        (
            "enc",
            header("kid", json!("enc")),
            "its key is not one for signatures with its algorithm",
        ),
        ("crit", header("crit", json!(["b64"])), "must be understood"),
    ];
    // Long enough for the provider to be asked again.
    world.clock.by(31);
    for (what, change, reason) in others {
        let is_crit = what == "crit";
        // The library that signs refuses to write such a header, so it is changed afterwards; the header is judged first.
        let token = if is_crit {
            let token = world.forged(&nonce, |_, _| ());
            let (_, rest) = token.split_once('.').unwrap();
            let header = json!({"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": true});
            format!("{}.{rest}", encoded(&header))
        } else {
            world.forged(&nonce, change)
        };
        world.refused(what, &token, &blinded, reason).await;
    }
    // An unknown key was looked for, a moment ago: nobody can tell whether there is a newer one.
    let token = world.forged(&nonce, header("kid", json!("three")));
    assert_eq!(code(&world.ask(&token, &blinded).await), (503, "busy"));
    // A key for encryption has signed, and says so.
    let claims: Vec<&str> = good.split('.').collect();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims[1]).unwrap()).unwrap();
    let by_enc = provider.sign(&json!({"alg": "RS256", "kid": "enc"}), &claims, "enc");
    let reason = "its key is not one for signatures";
    world.refused("enc", &by_enc, &blinded, reason).await;

    // Without the key.
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        panic!("{good}");
    };
    let mut broken = URL_SAFE_NO_PAD.decode(signature).unwrap();
    broken[7] ^= 1;
    let broken = URL_SAFE_NO_PAD.encode(broken);
    let none = encoded(&json!({"alg": "none", "kid": "one"}));
    let of_signature = "its signature is not the provider's";
    let of_bert = encoded(&json!({
        "iss": provider.issuer(), "sub": "bert", "aud": CLIENT, "nonce": nonce, "iat": now, "exp": now + 300,
    }));
    for (what, token, reason) in [
        (
            "signature",
            format!("{header}.{claims}.{broken}"),
            of_signature,
        ),
        ("no signature", format!("{header}.{claims}."), of_signature),
        (
            "another's claims",
            format!("{header}.{of_bert}.{signature}"),
            of_signature,
        ),
        (
            "none",
            format!("{none}.{claims}."),
            "no signed JSON web token",
        ),
        (
            "none, signed",
            format!("{none}.{claims}.{signature}"),
            "no signed JSON web token",
        ),
        (
            "two parts",
            format!("{header}.{claims}"),
            "no signed JSON web token",
        ),
        (
            "five parts",
            format!("{header}.{claims}.a.b.{signature}"),
            "no signed JSON web token",
        ),
        ("nothing", String::new(), "no signed JSON web token"),
    ] {
        world.refused(what, &token, &blinded, reason).await;
    }
    // The public key as a shared secret, in the forms in which it might be one.
    let jwk = &provider.keys()[0];
    let public = json!({"kty": "RSA", "n": jwk["n"], "e": jwk["e"]}).to_string();
    let n = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [public.as_bytes(), &n, b""] {
        let header = encoded(&json!({"alg": "HS256", "kid": "one"}));
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(format!("{header}.{claims}").as_bytes());
        let mac = URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
        let token = format!("{header}.{claims}.{mac}");
        let reason = "an algorithm that this registrar does not take";
        world.refused("HMAC", &token, &blinded, reason).await;
    }

    assert!(world.place.issued(0).is_empty());
    // After all this, what is right still is.
    world.clock.by(0);
    assert_eq!(world.ask(&good, &blinded).await.0, 200);
    let token = world.forged(&nonce, |_, claims| {
        claims["aud"] = json!([CLIENT]);
        claims["azp"] = json!(CLIENT);
        claims["exp"] = json!(now - 30);
        claims["iat"] = json!(now + 30);
    });
    assert_eq!(world.ask(&token, &blinded).await.0, 200);
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_and_the_provider_goes_away() {
    let mut world = World::new(&["ada", "bert", "cleo"], |_| ()).await;
    let blinded = world.place.blinded(0, 1);
    let of_ada = world.token("ada", &blinded).await;
    assert_eq!(world.ask(&of_ada, &blinded).await.0, 200);

    // The provider has a new key, and keeps the old one for a while.
    let (port, mut keys) = (world.provider.port(), world.provider.keys().to_vec());
    world.provider.stop();
    keys.insert(0, new_key("RS256", "two", "sig"));
    world.provider = Provider::start(port, &keys);
    let other = world.place.blinded(0, 2);
    let of_bert = world.token("bert", &other).await;
    // It was asked for its keys a moment ago: neither yes nor no.
    assert_eq!(code(&world.ask(&of_bert, &other).await), (503, "busy"));
    world.clock.by(31);
    assert_eq!(world.ask(&of_bert, &other).await.0, 200);
    assert_eq!(world.ask(&of_ada, &blinded).await.0, 200);

    // It goes away: who has a token under a key that is known goes on, for an hour. (Its time stands still here, but for the registrar.)
    let third = world.place.blinded(0, 3);
    let of_cleo = world.token("cleo", &third).await;
    let claims = of_cleo.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let unknown = world
        .provider
        .sign(&json!({"alg": "RS256", "kid": "four"}), &claims, "two");
    let keys = world.provider.keys().to_vec();
    world.provider.stop();
    world.clock.by(31 + 500);
    assert_eq!(world.ask(&of_cleo, &third).await.0, 200);
    let (status, answer) = world.ask(&unknown, &third).await;
    assert_eq!(status, 503);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("send the same again"), "{message}");
    // Stale keys will do while nobody answers; keys of an hour ago will not.
    world.clock.by(31 + 601);
    let reason = "its nonce has expired";
    world.refused("late", &of_ada, &blinded, reason).await;
    world.clock.by(31 + 3_601);
    assert_eq!(code(&world.ask(&of_ada, &blinded).await), (503, "busy"));

    // It is back, and has withdrawn the first key.
    world.clock.by(0);
    let keys: Vec<Value> = keys.into_iter().filter(|key| key["kid"] != "one").collect();
    world.provider = Provider::start(port, &keys);
    world.clock.by(31 + 3_701);
    let reason = "its key is none of the provider's";
    world.refused("withdrawn", &of_ada, &blinded, reason).await;
    world.served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_claim_may_name_the_voter() {
    let world = World::new(&["ada@example.org", "7"], |settings| {
        settings.claim = "email".to_owned();
        settings.scope = "openid email".to_owned();
    })
    .await;
    let blinded = world.place.blinded(0, 1);
    let nonce = world.nonce(&blinded).await;
    let with = |email: Value, verified: Value| {
        world.forged(&nonce, |_, claims| {
            claims["email"] = email;
            claims["email_verified"] = verified;
        })
    };
    let address = || json!("ada@example.org");
    for verified in [json!(false), json!("true"), Value::Null] {
        let token = with(address(), verified);
        let reason = "not verified by the provider";
        world.refused("unverified", &token, &blinded, reason).await;
    }
    for none in [json!(7), json!(["ada@example.org"]), json!(""), Value::Null] {
        let token = with(none, json!(true));
        let reason = "the claim that names a voter";
        world.refused("no e-mail", &token, &blinded, reason).await;
    }
    for another in ["Ada@example.org", "ada@example.org ", "ada"] {
        let token = with(json!(another), json!(true));
        let answer = world.ask(&token, &blinded).await;
        assert_eq!(code(&answer), (401, "not-on-roll"), "{another}");
    }
    let token = world.token("ada", &blinded).await;
    let (status, answer) = world.ask(&token, &blinded).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["roll"]["identity"], "ada@example.org");
    world.served.stop().await;
}

#[test]
fn settings_that_would_let_anybody_in_are_refused() {
    let refused = |change: fn(&mut OidcSettings)| {
        let mut settings = OidcSettings::new("https://id.example.org/realm", "votes");
        change(&mut settings);
        Oidc::new(settings, Arc::new(SystemClock)).unwrap_err()
    };
    Oidc::new(
        OidcSettings::new("https://id.example.org/realm", "votes"),
        Arc::new(SystemClock),
    )
    .unwrap();
    for issuer in [
        |s: &mut OidcSettings| s.issuer = "http://127.0.0.1:1".into(),
        |s: &mut OidcSettings| {
            s.allow_http_loopback = true;
            s.issuer = "http://id.example.org".into();
        },
        |s: &mut OidcSettings| s.issuer = "https://id.example.org#a".into(),
        |s: &mut OidcSettings| s.issuer = "https://id.example.org?a".into(),
        |s: &mut OidcSettings| s.issuer = "https://a:b@id.example.org".into(),
        |s: &mut OidcSettings| s.issuer = "id.example.org".into(),
    ] {
        assert!(matches!(refused(issuer), OidcSettingsError::Issuer));
    }
    assert_eq!(OidcSettings::algorithm("HS256"), None);
    assert_eq!(OidcSettings::algorithm("none"), None);
    assert!(matches!(
        refused(|s| s.algorithms.push("HS512".parse().unwrap())),
        OidcSettingsError::Algorithms
    ));
    assert!(matches!(
        refused(|s| s.algorithms.clear()),
        OidcSettingsError::Algorithms
    ));
    assert!(matches!(
        refused(|s| s.claim = "aud".into()),
        OidcSettingsError::Claim(_)
    ));
    assert!(matches!(
        refused(|s| s.scope = "email".into()),
        OidcSettingsError::Scope
    ));
    assert!(matches!(
        refused(|s| s.clock_leeway_s = 301),
        OidcSettingsError::Times
    ));
    assert!(matches!(
        refused(|s| s.max_age_s = 0),
        OidcSettingsError::Times
    ));
}
