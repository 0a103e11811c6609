//! Keys, and the manifest that names them.

use std::sync::OnceLock;

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use protocol::cosignature::WitnessKey;
use protocol::ed25519::SigningKey;
use protocol::ids::LogId;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, Election, KeyPair, Manifest, Method, Registrar, Roll, TieRule,
    Times, Witnesses,
};
use protocol::note::{KeyType, VerifierKey};
use sha2::{Digest, Sha256};

pub const OPENING: u64 = 1_800_000_000_000;
pub const CLOSING: u64 = OPENING + 3_600_000;
pub const GRACE: u64 = 600_000;
pub const GRAIN: u64 = 1_000;
/// Voters on the roll, unless more are needed.
pub const ROLL: u64 = 1_000;

/// An election with all of its secrets.
pub struct Keys {
    pub election: Election,
    /// Fixes every Ed25519 key.
    pub seed: &'static str,
}

/// Two registrars' RSA keys, made once.
fn rsa() -> &'static [PKey<Private>; 2] {
    static KEYS: OnceLock<[PKey<Private>; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [0, 1].map(|_| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()))
}

fn secret(seed: &str, of: &str) -> SigningKey {
    SigningKey::from_seed(&Sha256::digest(format!("{seed}/{of}")).into())
}

fn pair(seed: &str, of: &str) -> KeyPair {
    KeyPair {
        main: secret(seed, &format!("{of}/main")).public(),
        spare: secret(seed, &format!("{of}/spare")).public(),
    }
}

impl Keys {
    /// Two cells; two registrars, the second with two shards; a contest of each kind.
    pub fn new(seed: &'static str) -> Self {
        Self::with_roll(seed, ROLL)
    }

    pub fn with_roll(seed: &'static str, roll: u64) -> Self {
        Self::with(seed, roll, 0, 0)
    }

    /// The witness's key, and its name.
    pub fn witness(seed: &'static str, n: usize) -> (WitnessKey, SigningKey) {
        let key = secret(seed, &format!("witness/{n}"));
        let named = WitnessKey::new(&format!("w{n}.example"), key.public()).unwrap();
        (named, key)
    }

    pub fn with(seed: &'static str, roll: u64, witnesses: usize, quorum: u32) -> Self {
        let contest = |method, name: &str, options: &[&str], tie_rule| Contest {
            method,
            name: name.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            tie_rule,
        };
        let registrar = |r: usize, name: &str, shards: usize| Registrar {
            name: name.to_owned(),
            rsa: rsa()[r].public_key_to_der().unwrap(),
            shards: (0..shards)
                .map(|j| pair(seed, &format!("registrars/{r}/{j}")))
                .collect(),
        };
        let manifest = Manifest {
            format: protocol::manifest::FORMAT.to_owned(),
            title: "A small election".to_owned(),
            base: "votes.example".to_owned(),
            demo: true,
            contests: vec![
                contest(
                    Method::Plurality,
                    "Mayor",
                    &["Ada", "Ben", "Cleo"],
                    TieRule::ListedOrder,
                ),
                contest(
                    Method::Approval,
                    "Parks",
                    &["North", "East", "South", "West"],
                    TieRule::ListedOrder,
                ),
                contest(
                    Method::Ranked,
                    "Council",
                    &["Dia", "Eli", "Fay", "Gus"],
                    TieRule::PriorRounds,
                ),
            ],
            times: Times {
                registration: OPENING - 1_000_000,
                opening: OPENING,
                closing: CLOSING,
                grace: GRACE,
            },
            retention: CLOSING + 10 * GRACE,
            cells: vec![pair(seed, "cells/0"), pair(seed, "cells/1")],
            registrars: vec![registrar(0, "Town hall", 1), registrar(1, "Court", 2)],
            heads: pair(seed, "heads"),
            authority: pair(seed, "authority"),
            roll: Roll {
                size: roll,
                root: [7; 32],
            },
            batch_min: 8,
            batch_wait_ms: GRAIN,
            cast_delay_s: 0,
            head_interval_ms: 1_000,
            anchors: ["near", "far"]
                .map(|name| Anchor {
                    kind: AnchorKind::Directory,
                    name: name.to_owned(),
                })
                .to_vec(),
            witnesses: Witnesses {
                keys: (0..witnesses)
                    .map(|n| {
                        let (witness, key) = Self::witness(seed, n);
                        VerifierKey::new(witness.name(), KeyType::Cosignature, key.public())
                            .unwrap()
                            .to_string()
                    })
                    .collect(),
                quorum,
            },
        };
        Self {
            election: Election::new(&manifest).unwrap(),
            seed,
        }
    }

    pub fn log(&self, log: LogId, spare: bool) -> SigningKey {
        secret(
            self.seed,
            &format!("{log}/{}", if spare { "spare" } else { "main" }),
        )
    }

    pub fn authority(&self) -> SigningKey {
        secret(self.seed, "authority/main")
    }

    /// A voter's credential key.
    pub fn voter(&self, voter: usize) -> SigningKey {
        secret(self.seed, &format!("voter/{voter}"))
    }

    /// An ordinary RSASSA-PSS signature by OpenSSL: what blinding comes to in the end.
    pub fn registrar_signature(&self, registrar: usize, message: &[u8]) -> Vec<u8> {
        let mut signer = Signer::new(MessageDigest::sha384(), &rsa()[registrar]).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer
            .set_rsa_pss_saltlen(RsaPssSaltlen::custom(48))
            .unwrap();
        signer.set_rsa_mgf1_md(MessageDigest::sha384()).unwrap();
        signer.update(message).unwrap();
        signer.sign_to_vec().unwrap()
    }
}
