//! The election under attack, what people kept of it, and the auditor's program.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Signer};
use protocol::ballot::{Ballot, ballot_message};
use protocol::credential::credential_message;
use protocol::ed25519::SigningKey;
use protocol::entry::Vote;
use protocol::manifest::Election;
use serde_json::Value;
use tempfile::TempDir;
use tests::demo::Demo;
use tests::files;
use tests::forge::{Files, History, Operator};
use tests::published::Published;
use tests::{arg, folder, run};

/// Who vote; three more on the roll do not.
pub(crate) const VOTERS: u32 = 60;
pub(crate) const CELLS: u32 = 2;
pub(crate) const REGISTRARS: u16 = 2;

/// A finished election, and who holds what of it.
pub(crate) struct Stage {
    _folder: TempDir,
    data: PathBuf,
    pub(crate) published: Published,
    pub(crate) operator: Operator,
    pub(crate) history: History,
    /// What the operator published.
    pub(crate) files: Files,
    registrars: Vec<PKey<Private>>,
}

/// The same for all cases; nobody changes it.
pub(crate) fn stage() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        // A few voters keep receipts, and chance decides about their cells: one of cell 0 is wanted.
        (0..20)
            .map(|_| Stage::hold(REGISTRARS))
            .find(|stage| stage.receipt_of_cell_0().is_some())
            .expect("a voter of cell 0 who keeps her receipt")
    })
}

/// Another election, of the same shape.
pub(crate) fn elsewhere() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| Stage::hold(REGISTRARS))
}

impl Stage {
    fn hold(registrars: u16) -> Self {
        let folder = folder();
        let data = folder.path().join("election");
        let demo = Demo::new(&data, VOTERS, CELLS, registrars);
        // Made apart from being played, it keeps places on the roll for guests, who stay away.
        let mut arguments = vec!["demo", "--prepare", "--data", arg(&data)];
        arguments.extend(demo.options.iter().map(String::as_str));
        let said = run("tallyroot", &arguments);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let said = demo.run_to_the_end();
        assert_eq!(said.code, 0, "{}", said.stderr);
        let published = Published::of(&data);
        let registrars = (0..registrars)
            .map(|r| {
                let pem = fs::read(data.join(format!("registrars/{r}/rsa.pem"))).unwrap();
                PKey::private_key_from_pem(&pem).unwrap()
            })
            .collect();
        Self {
            operator: Operator::of(&data),
            history: History::of(&published),
            files: files::contents(&published.folder),
            published,
            registrars,
            data,
            _folder: folder,
        }
    }

    pub(crate) fn election(&self) -> &Election {
        &self.published.election
    }

    /// What somebody kept of the honest election: one file each, of every kind.
    pub(crate) fn kept(&self) -> Vec<(&'static str, PathBuf)> {
        let file = |path: &str| self.published.folder.join(path);
        let anchor = &self.election().manifest().anchors[0].name;
        let last = self.history.anchors[anchor].len() - 1;
        vec![
            ("a voter's receipt", self.receipt()),
            ("a cell's checkpoint", file("cells/0/checkpoint")),
            ("the heads log's checkpoint", file("heads/checkpoint")),
            ("the published results", file("results.json")),
            ("an anchor", file(&format!("anchors/{anchor}/{last}"))),
        ]
    }

    /// Those of them that cover the whole ledger: its last anchor, and the heads log's checkpoint.
    pub(crate) fn kept_of_all(&self) -> Vec<PathBuf> {
        let kept = self.kept().into_iter();
        kept.filter(|(what, _)| ["the heads log's checkpoint", "an anchor"].contains(what))
            .map(|(_, path)| path)
            .collect()
    }

    /// A voter's receipt for a vote in cell 0, final.
    pub(crate) fn receipt(&self) -> PathBuf {
        self.receipt_of_cell_0().expect("a receipt of cell 0")
    }

    fn receipt_of_cell_0(&self) -> Option<PathBuf> {
        files::list(&self.data.join("receipts"))
            .into_iter()
            .map(|name| self.data.join("receipts").join(name))
            .find(|path| {
                let receipt: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
                receipt["cell"] == 0
            })
    }

    /// A registrar's signature, with its key in hand: no device asked for it, and no log knows.
    pub(crate) fn registrar_signs(&self, registrar: usize, credential: &[u8; 32]) -> Vec<u8> {
        let mut signer = Signer::new(MessageDigest::sha384(), &self.registrars[registrar]).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer
            .set_rsa_pss_saltlen(RsaPssSaltlen::custom(48))
            .unwrap();
        signer.set_rsa_mgf1_md(MessageDigest::sha384()).unwrap();
        signer
            .update(&credential_message(&self.election().id(), credential))
            .unwrap();
        signer.sign_to_vec().unwrap()
    }

    /// A credential key that belongs to this cell, made by whoever invents votes.
    pub(crate) fn credential_in(&self, cell: u32) -> SigningKey {
        loop {
            let key = SigningKey::from_seed(&rand::random());
            if self.election().cell_of(&key.public()) == cell {
                return key;
            }
        }
    }

    /// A vote with all signatures, by whoever holds all registrars' keys.
    pub(crate) fn invented(&self, key: &SigningKey) -> Vote {
        let signatures = (0..self.registrars.len())
            .map(|registrar| self.registrar_signs(registrar, &key.public()))
            .collect();
        self.signed(key, signatures)
    }

    /// A vote for the first option of every contest.
    pub(crate) fn signed(&self, key: &SigningKey, signatures: Vec<Vec<u8>>) -> Vote {
        let contests = self.election().contests();
        let ballot = Ballot::new(&vec![vec![0]; contests.len()], contests).unwrap();
        Vote {
            credential: key.public(),
            signatures,
            signature: key.sign(&ballot_message(&self.election().id(), &ballot.encode())),
            ballot,
        }
    }

    /// The honest history, changed; published with every key that its logs have.
    pub(crate) fn forged(&self, change: impl FnOnce(&mut History)) -> Files {
        let mut history = self.history.clone();
        change(&mut history);
        self.operator.publish(&history)
    }

    /// An audit of these files by the program, with what somebody kept.
    pub(crate) fn audit(&self, files: &Files, evidence: &[&Path]) -> Found {
        let folder = folder();
        files::write(folder.path(), files);
        let id = self.published.id();
        let mut arguments = vec![
            "audit",
            arg(folder.path()),
            "--election",
            &id,
            "--json",
            "--settle",
            "0",
        ];
        for path in evidence {
            arguments.extend(["--evidence", arg(path)]);
        }
        let said = run("tallyroot-verify", &arguments);
        let verdict: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", said.stdout, said.stderr));
        Found {
            exit: said.code,
            verdict,
        }
    }

    /// Nothing in the files themselves shows it; every single thing that was kept from before does.
    pub(crate) fn only_evidence_shows(&self, files: &Files) {
        let alone = self.audit(files, &[]);
        alone.is_clean();
        for (what, path) in self.kept() {
            let found = self.audit(files, &[&path]);
            assert_eq!(found.exit, 1, "{what}");
            let named = found.at(arg(&path));
            assert!(
                named.iter().any(|code| matches!(
                    code.as_str(),
                    "equivocation" | "fork" | "checkpoint-rollback" | "dropped"
                )),
                "{what}: {named:?}"
            );
        }
    }
}

/// What the audit said.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) exit: i32,
    pub(crate) verdict: Value,
}

impl Found {
    fn findings(&self) -> &[Value] {
        self.verdict["findings"].as_array().unwrap()
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        let codes = self.findings().iter();
        codes
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The codes of what was found in a file.
    pub(crate) fn at(&self, file: &str) -> Vec<String> {
        self.findings()
            .iter()
            .filter(|finding| finding["place"]["file"] == file)
            .map(|finding| finding["code"].as_str().unwrap().to_owned())
            .collect()
    }

    /// This finding in this file, with words of evidence; how many votes it can affect at most.
    pub(crate) fn names(&self, code: &str, file: &str) -> u64 {
        assert_eq!(self.exit, 1, "{:#}", self.verdict);
        let finding = self
            .findings()
            .iter()
            .find(|finding| finding["code"] == code && finding["place"]["file"] == file)
            .unwrap_or_else(|| panic!("no {code} in {file}: {:#}", self.verdict["findings"]));
        assert_ne!(finding["evidence"], "");
        finding["votes_at_most"].as_u64().unwrap()
    }

    pub(crate) fn is_clean(&self) {
        assert_eq!(self.exit, 0, "{:#}", self.verdict["findings"]);
        assert_eq!(self.verdict["verdict"], "verified");
    }
}

#[test]
fn the_honest_election_verifies_and_so_does_its_own_copy_signed_anew() {
    let stage = stage();
    let kept = stage.kept();
    let evidence: Vec<&Path> = kept.iter().map(|(_, path)| path.as_path()).collect();
    stage.audit(&stage.files, &evidence).is_clean();
    // The forger's press makes, of an unchanged history, the very files: whatever is found below is found for what was changed.
    let anew = stage.forged(|_| ());
    stage.audit(&anew, &evidence).is_clean();
    for (path, bytes) in &anew {
        if let Some(published) = stage.files.get(path) {
            assert_eq!(published, bytes, "{path}");
        }
    }
}
