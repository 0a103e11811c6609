//! A voter's device, written for these tests from the specification: it talks to a running election over HTTP and checks what it is
//! told, and it can do what an honest device never does.
#![allow(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "what a test cannot go on without"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hkdf::Hkdf;
use protocol::ballot::{Ballot, ballot_message};
use protocol::credential::{DeviceSecret, blind, finalize};
use protocol::ed25519::SigningKey;
use protocol::entry::{Entry, Vote};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::leaf_hash;
use protocol::tlog_proof::TlogProof;
use serde_json::{Value, json};
use sha2::Sha256;

/// A running election.
#[derive(Clone, Debug)]
pub struct Site {
    http: reqwest::Client,
    /// For each beginning of a path, who serves it.
    services: Vec<(String, String)>,
    /// Behind the manifest.
    pub election: Election,
}

/// A status and a body.
pub type Answer = (u16, Value);

impl Site {
    /// At an address.
    #[must_use]
    pub fn new(url: &str, election: &Election) -> Self {
        Self::of_services(vec![(String::new(), url.to_owned())], election)
    }

    /// At many: for each beginning of a path, the address of who serves it.
    #[must_use]
    pub fn of_services(services: Vec<(String, String)>, election: &Election) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .build()
            .expect("an HTTP client");
        Self {
            http,
            services,
            election: election.clone(),
        }
    }

    /// Posts JSON below the election.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_post(path, body).await.expect("an answer")
    }

    /// Posts JSON below the election; `None` if there is no answer, as from a process that died.
    pub async fn try_post(&self, path: &str, body: &Value) -> Option<Answer> {
        let (_, url) = self
            .services
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix))
            .expect("somebody serves it");
        let answer = self
            .http
            .post(format!("{url}/elections/{}/{path}", self.election.id()))
            .body(body.to_string())
            .header("content-type", "application/json")
            .send()
            .await
            .ok()?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.ok()?;
        let body = serde_json::from_slice(&body).unwrap_or_else(|error| {
            panic!("{status}: {error}: {}", String::from_utf8_lossy(&body))
        });
        Some((status, body))
    }

    /// Asks a registrar to sign.
    pub async fn issue(&self, registrar: u16, code: &str, blinded: &[u8]) -> Answer {
        let body = json!({"blinded": STANDARD.encode(blinded), "code": code});
        self.post(&format!("registrars/{registrar}/credentials"), &body)
            .await
    }

    /// Casts in the cell where the vote belongs.
    pub async fn cast(&self, vote: &Vote) -> Answer {
        self.cast_in(self.election.cell_of(&vote.credential), vote)
            .await
    }

    /// Casts in some cell.
    pub async fn cast_in(&self, cell: u32, vote: &Vote) -> Answer {
        let body = json!({"vote": STANDARD.encode(vote.encode())});
        self.post(&format!("cells/{cell}/ballots"), &body).await
    }

    /// The vote that an answer proves to stand in the cell's log, with its index.
    #[must_use]
    pub fn proven(&self, cell: u32, answer: &Value) -> (u64, Vote) {
        let text = answer["proof"].as_str().expect("a proof");
        let proof = TlogProof::parse(text.as_bytes()).expect("a .tlog-proof");
        let log = LogId::Cell(cell);
        let keys = self.election.log_keys(log).expect("the cell's keys");
        let entry = proof.extra().expect("the entry");
        proof
            .verify(
                &leaf_hash(entry),
                &self.election.origin(log),
                &[*keys.main.as_bytes()],
            )
            .expect("a proof under the cell's main key");
        assert_eq!(answer["index"], proof.index());
        let Ok(Entry::Vote(vote)) = Entry::decode(entry, &self.election) else {
            panic!("the proven entry is no vote");
        };
        vote.verify(&self.election).expect("valid signatures");
        (proof.index(), vote)
    }
}

/// A voter's device.
#[derive(Debug)]
pub struct Device {
    secret: [u8; 32],
    /// Of the credential key: what no device shows.
    pub seed: [u8; 32],
    /// Each registrar's signature.
    pub signatures: Vec<Vec<u8>>,
}

impl Device {
    /// With a fresh secret.
    #[must_use]
    pub fn new(election: &Election) -> Self {
        let secret: [u8; 32] = rand::random();
        let mut seed = [0; 32];
        Hkdf::<Sha256>::new(Some(election.id().as_bytes()), &secret)
            .expand(b"tallyroot/v1/credential-key", &mut seed)
            .expect("32 bytes");
        Self {
            secret,
            seed,
            signatures: Vec::new(),
        }
    }

    /// The credential.
    #[must_use]
    pub fn credential(&self) -> [u8; 32] {
        SigningKey::from_seed(&self.seed).public()
    }

    /// What goes to a registrar.
    #[must_use]
    pub fn blinded(&self, election: &Election, registrar: u16) -> Vec<u8> {
        self.blind(election, registrar).message().to_vec()
    }

    fn blind(&self, election: &Election, registrar: u16) -> protocol::credential::Blinded {
        let secret = DeviceSecret::from_bytes(self.secret);
        let key = &election.registrar_keys()[usize::from(registrar)];
        blind(&secret, &election.id(), registrar, key).expect("a blinded credential")
    }

    /// Signs in at every registrar.
    pub async fn sign_in(&mut self, site: &Site, codes: &[String]) {
        for (registrar, code) in (0u16..).zip(codes) {
            let blinded = self.blind(&site.election, registrar);
            let (status, answer) = site.issue(registrar, code, blinded.message()).await;
            assert_eq!(status, 200, "{answer}");
            let signature = answer["blind_signature"].as_str().expect("a signature");
            let signature = STANDARD.decode(signature).expect("base64");
            self.signatures
                .push(finalize(&blinded, &signature).expect("a registrar's signature"));
        }
    }

    /// A vote with these choices.
    #[must_use]
    pub fn vote(&self, election: &Election, choices: &[Vec<u16>]) -> Vote {
        let ballot = Ballot::new(choices, election.contests()).expect("a ballot");
        let key = SigningKey::from_seed(&self.seed);
        Vote {
            credential: key.public(),
            signatures: self.signatures.clone(),
            signature: key.sign(&ballot_message(&election.id(), &ballot.encode())),
            ballot,
        }
    }
}

/// An answer's status and error code.
#[must_use]
pub fn code(answer: &Answer) -> (u16, &str) {
    (
        answer.0,
        answer.1["error"]["code"].as_str().unwrap_or_default(),
    )
}
