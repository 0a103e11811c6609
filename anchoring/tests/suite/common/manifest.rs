//! The manifest of a small election: two cells, one registrar with two shards, one plurality and one ranked contest.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests; and each uses its part"
)]

use base64::Engine as _;
use protocol::ed25519::SigningKey;
use protocol::manifest::{
    Anchor, AnchorKind, Contest, KeyPair, Manifest, Method, Registrar, Roll, TieRule, Times,
    Witnesses,
};
use sha2::{Digest as _, Sha256};

/// A public key of 2048 bits whose private half nobody has.
const RSA: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAna6ihwfZ8vi+Ib+5LWZJip+WrR7CloUCofs02i41dY25fBfMVkaWEFIzC/8XEgylcdhdy6yDhpI5GXDKCQYoLlsBRYCIFi5ANL95spx2ejfcUVySjBgmDUvac7ga5ZEJXZSl/sk5j5ZcxM04P8YtvJ/w6s3/kB2XQZj76IYb6s7eltQW033/PUwx4guJyKTmfEy7Vseouwpczbar4CuOGGmNsRlJqlbhgJsL4I3wAXggcZOv+EW6QFBQmdndIZYSCTPXd+jhemQ2ZtJ4nnBAkeqILwX2seVVOydPJGI/fweBykZh+pSJs8Hox1SgjgEbmR1di+3lyPRkBC4Dl5NDCQIDAQAB";

pub(crate) const OPENING: u64 = 1_000_000;
pub(crate) const CLOSING: u64 = 2_000_000;
pub(crate) const GRACE: u64 = 100_000;
pub(crate) const VOTERS: u64 = 40;

pub(crate) fn seed(what: &str, spare: bool) -> [u8; 32] {
    Sha256::digest(format!("test key {what} {spare}")).into()
}

pub(crate) fn key(what: &str, spare: bool) -> SigningKey {
    SigningKey::from_seed(&seed(what, spare))
}

pub(crate) fn pair(what: &str) -> KeyPair {
    KeyPair {
        main: key(what, false).public(),
        spare: key(what, true).public(),
    }
}

/// Two cells, one registrar with two shards; one plurality and one ranked contest.
pub(crate) fn manifest() -> Manifest {
    let contest = |method, name: &str, options: &[&str]| Contest {
        method,
        name: name.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        tie_rule: TieRule::ListedOrder,
    };
    Manifest {
        format: protocol::manifest::FORMAT.to_owned(),
        title: "Board of the allotment society".to_owned(),
        base: "votes.example".to_owned(),
        demo: true,
        contests: vec![
            contest(
                Method::Plurality,
                "Treasurer",
                &["Ines Álvarez", "Bo", "محمد علي"],
            ),
            contest(
                Method::Ranked,
                "Colour of the shed",
                &["Red", "Green", "Blue"],
            ),
        ],
        times: Times {
            registration: OPENING - 500_000,
            opening: OPENING,
            closing: CLOSING,
            grace: GRACE,
        },
        retention: CLOSING + 10 * GRACE,
        cells: vec![pair("cells/0"), pair("cells/1")],
        registrars: vec![Registrar {
            name: "Society".to_owned(),
            rsa: base64::engine::general_purpose::STANDARD
                .decode(RSA)
                .unwrap(),
            shards: vec![pair("registrars/0/0"), pair("registrars/0/1")],
        }],
        heads: pair("heads"),
        authority: pair("authority"),
        roll: Roll {
            size: VOTERS,
            root: [7; 32],
        },
        batch_min: 1,
        batch_wait_ms: 100,
        cast_delay_s: 0,
        head_interval_ms: 100,
        anchors: ["one", "two"]
            .map(|name| Anchor {
                kind: AnchorKind::Directory,
                name: name.to_owned(),
            })
            .to_vec(),
        witnesses: Witnesses {
            keys: Vec::new(),
            quorum: 0,
        },
    }
}

/// Another such key.
pub(crate) fn other_rsa() -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA51aODoWRJgz7lmcf6posWGkE89DG1dOhVgDe+4oXQLl1VsjOJkMqfmYFR+92OqINGi+q69J++R0KzESdZjYV50emYG1Fmbnddot1R6ZRGWBzZhlmJR4qX9rPTe2FTMsLOu2UmQgDtabArHA1W2fGtLJE6bVD2QzSnmzqqoYkQvXbkcHUHt1NUuFJB66/EzElNTGRvh+8sf6UIRxLoaAGmX57FY2z3Da3htQmHr8u4SyQ4m6UpVWyqbS6XdsNig23BqVTBh8HqVrLFcsOT1pdpbRuljRM59Cq4Io5Mk5BEi6L5vi7xxV3c1xPiWx5yrS418m49Tz3Rx0gyKuXGeHG9QIDAQAB")
        .unwrap()
}
