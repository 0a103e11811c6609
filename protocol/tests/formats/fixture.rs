//! One small election whose every secret follows from a label: two cells, two registrars (one with two shards), two witnesses.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use protocol::ballot::{Ballot, ballot_message};
use protocol::credential::{self, CredentialKey, DeviceSecret};
use protocol::ed25519::SigningKey;
use protocol::entry::{AuthorityKey, Notice, NoticeAction, NoticeBody, Vote};
use protocol::ids::{ElectionId, LogId};
use protocol::manifest::{
    Anchor, AnchorKind, Contest, Election, FORMAT, KeyPair, Manifest, Method, Registrar, Roll,
    TieRule, Times, Witnesses,
};
use protocol::note::{KeyType, VerifierKey};

use crate::keys::{REGISTRAR_2048, REGISTRAR_2056, array};

pub(crate) const OPENING: u64 = 2_000_000;
pub(crate) const CLOSING: u64 = 3_000_000;
pub(crate) const GRACE: u64 = 60_000;
pub(crate) const GRAIN: u64 = 1_000;

pub(crate) static ELECTION: LazyLock<Election> =
    LazyLock::new(|| Election::new(&manifest()).unwrap());

pub(crate) fn manifest() -> Manifest {
    Manifest {
        format: FORMAT.to_owned(),
        title: "Gemeinderat Königsdorf".to_owned(),
        base: "votes.example/2026".to_owned(),
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
                "Projects",
                &["Bridge", "Library", "Pool", "Park"],
                TieRule::ListedOrder,
            ),
            contest(
                Method::Ranked,
                "Emblem",
                &["Oak", "Heron", "Mill", "Sun"],
                TieRule::PriorRounds,
            ),
        ],
        times: Times {
            registration: 1_000_000,
            opening: OPENING,
            closing: CLOSING,
            grace: GRACE,
        },
        retention: 9_000_000,
        cells: vec![pair("cells/0"), pair("cells/1")],
        registrars: vec![
            Registrar {
                name: "Town hall".to_owned(),
                rsa: REGISTRAR_2048.spki.clone(),
                shards: vec![pair("registrars/0/0"), pair("registrars/0/1")],
            },
            Registrar {
                name: "District court".to_owned(),
                rsa: REGISTRAR_2056.spki.clone(),
                shards: vec![pair("registrars/1/0")],
            },
        ],
        heads: pair("heads"),
        authority: pair("authority"),
        roll: Roll {
            size: 1_000,
            root: array("roll root"),
        },
        batch_min: 2,
        batch_wait_ms: GRAIN,
        cast_delay_s: 60,
        head_interval_ms: 1_000,
        anchors: ["north", "south"]
            .map(|name| Anchor {
                kind: AnchorKind::Directory,
                name: name.to_owned(),
            })
            .to_vec(),
        witnesses: Witnesses {
            keys: ["w1.example", "w2.example"].map(witness).to_vec(),
            quorum: 1,
        },
    }
}

pub(crate) fn contest(method: Method, name: &str, options: &[&str], tie_rule: TieRule) -> Contest {
    Contest {
        method,
        name: name.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        tie_rule,
    }
}

/// The key of this label: `cells/0 main`, `heads spare`, `witness w1.example`.
pub(crate) fn key(label: &str) -> SigningKey {
    SigningKey::from_seed(&array(&format!("tallyroot test key {label}")))
}

pub(crate) fn pair(label: &str) -> KeyPair {
    KeyPair {
        main: key(&format!("{label} main")).public(),
        spare: key(&format!("{label} spare")).public(),
    }
}

pub(crate) fn witness(name: &str) -> String {
    let public = key(&format!("witness {name}")).public();
    VerifierKey::new(name, KeyType::Cosignature, public)
        .unwrap()
        .encode()
}

fn secret(voter: u32) -> DeviceSecret {
    DeviceSecret::from_bytes(array(&format!("tallyroot test device {voter}")))
}

pub(crate) fn credential(election: &Election, voter: u32) -> [u8; 32] {
    CredentialKey::derive(&secret(voter), &election.id()).public()
}

/// The `count` first voters, from `from` on, whose votes belong to this cell.
pub(crate) fn voters(election: &Election, cell: u32, from: u32, count: usize) -> Vec<u32> {
    (from..)
        .filter(|voter| election.cell_of(&credential(election, *voter)) == cell)
        .take(count)
        .collect()
}

/// A valid vote. The registrars' signatures take a while, so they are kept.
pub(crate) fn vote(election: &Election, voter: u32, choices: &[&[u16]]) -> Vote {
    type Made = HashMap<(ElectionId, u32), Vec<Vec<u8>>>;
    static SIGNATURES: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);
    let id = election.id();
    let signatures = SIGNATURES
        .lock()
        .unwrap()
        .entry((id, voter))
        .or_insert_with(|| {
            let registrars = [&REGISTRAR_2048, &REGISTRAR_2056];
            (0u16..)
                .zip(election.registrar_keys())
                .zip(registrars)
                .map(|((r, key), registrar)| {
                    let blinded = credential::blind(&secret(voter), &id, r, key).unwrap();
                    let answer = registrar.power_of_d(blinded.message());
                    credential::finalize(&blinded, &answer).unwrap()
                })
                .collect()
        })
        .clone();
    let ballot = Ballot::new(choices, election.contests()).unwrap();
    let key = CredentialKey::derive(&secret(voter), &id);
    let signature = key.sign(&ballot_message(&id, &ballot.encode()));
    Vote {
        credential: key.public(),
        signatures,
        ballot,
        signature,
    }
}

/// As [`vote`], with signatures that only look like some: for the grammar, which does not check them.
pub(crate) fn unsigned_vote(election: &Election, voter: u32, choices: &[&[u16]]) -> Vote {
    Vote {
        credential: credential(election, voter),
        signatures: election
            .registrar_keys()
            .iter()
            .map(|key| vec![7; key.signature_len()])
            .collect(),
        ballot: Ballot::new(choices, election.contests()).unwrap(),
        signature: [9; 64],
    }
}

pub(crate) fn notice(
    election: &Election,
    key_used: AuthorityKey,
    sequence: u32,
    action: NoticeAction,
) -> Notice {
    let body = NoticeBody { sequence, action };
    let label = match key_used {
        AuthorityKey::Main => "authority main",
        AuthorityKey::Spare => "authority spare",
    };
    Notice {
        key: key_used,
        signature: key(label).sign(&body.message(&election.id(), key_used)),
        body,
    }
}

pub(crate) const ISSUANCE: LogId = LogId::Issuance {
    registrar: 0,
    shard: 0,
};
