//! A voter's device: from one secret to a credential, a vote and a checked answer.
//!
//! The device trusts nobody. What a registrar answers is verified before it is used; what a cell answers counts only if it is an
//! inclusion proof, under the cell's key from the manifest, of an entry that holds this device's own key and ballot.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::ballot::{Ballot, ballot_message};
use protocol::credential::{self, Blinded, CredentialKey, DeviceSecret};
use protocol::entry::{Entry, Issuance, Vote};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::{Hash, leaf_hash, verify_inclusion};
use protocol::tlog_proof::TlogProof;
use sha2::{Digest as _, Sha256};

use super::in_force::InForce;
use super::site::{Answer, Backoff, Issued, Recorded, Refusal, Shown, SignIn, Site};

/// Why a voter does not get what she asked for.
#[derive(Debug, thiserror::Error)]
pub enum VoterError {
    /// The service refuses; the same again will not help.
    #[error("refused ({}): {}", .0.error.code, .0.error.message)]
    Refused(Box<Refusal>),
    /// Whether it was done is unknown. The same again is safe.
    #[error(
        "outcome unknown: {0}. Try again with the same secret and choices: it can never count twice"
    )]
    Unknown(String),
    /// The service answered with something that does not verify. Keep it: it is evidence.
    #[error(
        "the answer does not verify: {0:#}. Do not trust this site; keep its answer and tell the election's auditors"
    )]
    Dishonest(anyhow::Error),
    /// The choices are not a ballot of this election, or another mistake on this side.
    #[error("{0:#}")]
    Own(#[from] anyhow::Error),
}

/// One voter's device for one election.
#[derive(Debug)]
pub struct Device {
    election: Election,
    secret: DeviceSecret,
    key: CredentialKey,
}

/// A vote that a cell has shown to be in its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InLog {
    /// The cell.
    pub cell: u32,
    /// The leaf's index.
    pub index: u64,
    /// The size of the checkpoint that proved it.
    pub size: u64,
    /// The stored entry's leaf hash.
    pub leaf: Hash,
    /// The stored entry.
    pub entry: Vec<u8>,
    /// The `.tlog-proof` as it came.
    pub proof: String,
}

/// A place on the roll that the registrar has shown to be under the manifest's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnRoll {
    /// In whose name the credential was issued.
    pub identity: String,
    /// The roll index.
    pub index: u64,
}

impl Device {
    /// The device with this secret, which must be stored before the first request.
    #[must_use]
    pub fn new(election: &Election, secret: DeviceSecret) -> Self {
        let key = CredentialKey::derive(&secret, &election.id());
        Self {
            election: election.clone(),
            secret,
            key,
        }
    }

    /// The credential's public key.
    #[must_use]
    pub fn credential(&self) -> [u8; 32] {
        self.key.public()
    }

    /// Where to sign in for one registrar, and the nonce for this device's credential; `None` where it takes codes alone.
    ///
    /// # Errors
    /// See [`VoterError`].
    pub async fn begin_sign_in(
        &self,
        site: &Site,
        registrar: u16,
    ) -> Result<Option<(SignIn, String)>, VoterError> {
        let digest = self.blinded(registrar)?.digest();
        match until_known(|| site.sign_in(usize::from(registrar), &digest)).await {
            Err(VoterError::Refused(refusal)) if refusal.error.code == "not-found" => Ok(None),
            answer => {
                let at = answer?;
                // Over this device's own message, whatever the ticket was made for: a token that it asks for is good for that message alone.
                let id = self.election.id();
                let nonce = registrar::oidc::nonce_of(&id, registrar, &digest, &at.ticket);
                Ok(Some((at, nonce)))
            }
        }
    }

    fn blinded(&self, registrar: u16) -> Result<Blinded> {
        let key = self
            .election
            .registrar_keys()
            .get(usize::from(registrar))
            .with_context(|| format!("the election has no registrar {registrar}"))?;
        credential::blind(&self.secret, &self.election.id(), registrar, key)
            .context("cannot blind the credential")
    }

    /// Signs in at one registrar with a code or a token and returns its signature over the credential.
    ///
    /// # Errors
    /// See [`VoterError`].
    pub async fn sign_in(
        &self,
        site: &Site,
        registrar: u16,
        shown: Shown<'_>,
    ) -> Result<(Vec<u8>, OnRoll), VoterError> {
        let blinded = self.blinded(registrar)?;
        let issued =
            until_known(|| site.issue(usize::from(registrar), shown, blinded.message())).await?;
        let log = LogId::Issuance {
            registrar,
            shard: issued.issuance.shard,
        };
        let on_roll = self
            .checked(site, log, |in_force| {
                self.check_issued(in_force, log, &issued, &blinded.digest())
            })
            .await?;
        let blind_signature = BASE64
            .decode(&issued.blind_signature)
            .context("the blind signature is not base64")
            .map_err(VoterError::Dishonest)?;
        let signature = credential::finalize(&blinded, &blind_signature)
            .context("the registrar's signature is not one over this credential")
            .map_err(VoterError::Dishonest)?;
        Ok((signature, on_roll))
    }

    /// The issuance stands in the registrar's log for this blinded message, and the roll place is under the manifest's root.
    fn check_issued(
        &self,
        in_force: &InForce,
        log: LogId,
        issued: &Issued,
        digest: &[u8; 32],
    ) -> Result<OnRoll> {
        let proof = TlogProof::parse(issued.issuance.proof.as_bytes())?;
        let entry = proof.extra().context("the issuance proof holds no entry")?;
        self.check_in_log(in_force, log, issued.issuance.index, entry, &proof)?;
        match Entry::decode(entry, &self.election)? {
            Entry::Issuance(Issuance {
                roll_index,
                blinded_digest,
            }) if roll_index == issued.roll.index && blinded_digest == *digest => {}
            _ => anyhow::bail!("the issuance entry is not for this request"),
        }
        let roll = &self.election.manifest().roll;
        let salt: [u8; 32] = hex::decode(&issued.roll.salt)
            .ok()
            .and_then(|salt| salt.try_into().ok())
            .context("the salt of the roll place is not 32 bytes of hex")?;
        let mut commitment = Sha256::new();
        commitment.update(b"tallyroot/v1/roll\0");
        commitment.update(salt);
        commitment.update(issued.roll.identity.as_bytes());
        let path = issued
            .roll
            .proof
            .iter()
            .map(|hash| Hash::from_base64(hash))
            .collect::<Option<Vec<_>>>()
            .context("the roll proof holds something else than hashes")?;
        verify_inclusion(
            &leaf_hash(&commitment.finalize()),
            issued.roll.index,
            roll.size,
            &path,
            &Hash(roll.root),
        )
        .context("the roll place is not under the manifest's root")?;
        Ok(OnRoll {
            identity: issued.roll.identity.clone(),
            index: issued.roll.index,
        })
    }

    /// The vote entry for these choices (for each contest, option indices).
    ///
    /// # Errors
    /// The choices are not a ballot of this election.
    pub fn vote(&self, signatures: &[Vec<u8>], choices: &[Vec<u16>]) -> Result<Vote> {
        let ballot = Ballot::new(choices, self.election.contests())
            .context("these choices are not a ballot of this election")?;
        let signature = self
            .key
            .sign(&ballot_message(&self.election.id(), &ballot.encode()));
        Ok(Vote {
            credential: self.key.public(),
            signatures: signatures.to_vec(),
            ballot,
            signature,
        })
    }

    /// Casts, again and again until the outcome is known, and checks the answer.
    ///
    /// # Errors
    /// See [`VoterError`].
    pub async fn cast(&self, site: &Site, vote: &Vote) -> Result<InLog, VoterError> {
        let cell = self.election.cell_of(&vote.credential);
        let entry = vote.encode();
        let recorded = match until_known(|| site.cast(cell, &entry)).await {
            Err(VoterError::Refused(refusal)) if refusal.error.code == "other-ballot" => {
                // "409 `other-ballot` with `index` and `proof` of the first vote": without it, the refusal is only a claim.
                let check =
                    |in_force: &InForce| self.check_other_ballot(in_force, cell, vote, &refusal);
                return Err(match self.checked(site, LogId::Cell(cell), check).await {
                    Ok(()) => VoterError::Refused(refusal),
                    Err(VoterError::Dishonest(error)) => VoterError::Dishonest(error.context(
                        "the cell says that another ballot was cast with this credential, and does not prove it",
                    )),
                    Err(error) => error,
                });
            }
            answer => answer?,
        };
        self.checked(site, LogId::Cell(cell), |in_force| {
            self.check_recorded(in_force, cell, vote, &recorded)
        })
        .await
    }

    /// Checks an answer under the main keys; and where that fails, and a notice switched the log to its spare key, by that notice.
    async fn checked<T>(
        &self,
        site: &Site,
        log: LogId,
        check: impl Fn(&InForce) -> Result<T>,
    ) -> Result<T, VoterError> {
        let error = match check(&InForce::of_manifest(&self.election)) {
            Ok(checked) => return Ok(checked),
            Err(error) => error,
        };
        let in_force = InForce::find(site, &self.election, &[log])
            .await
            .map_err(|reason| {
                VoterError::Unknown(format!(
                    "the answer does not verify under the manifest's main key ({error:#}), and whether a notice switched keys cannot be read ({reason:#})"
                ))
            })?;
        if in_force.switch(log).is_none() {
            return Err(VoterError::Dishonest(error));
        }
        check(&in_force).map_err(VoterError::Dishonest)
    }

    /// The refusal proves that another ballot under this credential stands in the log.
    fn check_other_ballot(
        &self,
        in_force: &InForce,
        cell: u32,
        vote: &Vote,
        refusal: &Refusal,
    ) -> Result<()> {
        let (Some(index), Some(proof)) = (refusal.index, &refusal.proof) else {
            anyhow::bail!("there is no proof");
        };
        let proof = TlogProof::parse(proof.as_bytes())?;
        let entry = proof.extra().context("the proof holds no entry")?;
        let Entry::Vote(first) = Entry::decode(entry, &self.election)? else {
            anyhow::bail!("the proof is for something else than a vote");
        };
        anyhow::ensure!(
            first.credential == vote.credential,
            "the proof is for another credential"
        );
        anyhow::ensure!(
            first.ballot != vote.ballot,
            "the proof is for this very ballot"
        );
        first
            .verify(&self.election)
            .context("the first vote's signatures")?;
        self.check_in_log(in_force, LogId::Cell(cell), index, entry, &proof)?;
        Ok(())
    }

    fn check_recorded(
        &self,
        in_force: &InForce,
        cell: u32,
        vote: &Vote,
        recorded: &Recorded,
    ) -> Result<InLog> {
        let proof = TlogProof::parse(recorded.proof.as_bytes())?;
        // The entry that was stored first: its signatures may differ from what was sent, its key and ballot may not.
        let entry = proof.extra().context("the proof holds no entry")?;
        let Entry::Vote(stored) = Entry::decode(entry, &self.election)? else {
            anyhow::bail!("the proof is for something else than a vote");
        };
        anyhow::ensure!(
            stored.credential == vote.credential,
            "the stored vote is under another key"
        );
        anyhow::ensure!(
            stored.ballot == vote.ballot,
            "the stored vote holds another ballot"
        );
        if stored != *vote {
            stored
                .verify(&self.election)
                .context("the stored vote's signatures")?;
        }
        let size = self.check_in_log(in_force, LogId::Cell(cell), recorded.index, entry, &proof)?;
        Ok(InLog {
            cell,
            index: recorded.index,
            size,
            leaf: leaf_hash(entry),
            entry: entry.to_vec(),
            proof: recorded.proof.clone(),
        })
    }

    /// Returns the size of the checkpoint that the proof leads to.
    fn check_in_log(
        &self,
        in_force: &InForce,
        log: LogId,
        index: u64,
        entry: &[u8],
        proof: &TlogProof,
    ) -> Result<u64> {
        anyhow::ensure!(proof.index() == index, "the proof is for another index");
        let name = ledger::heads::name_of(&self.election, log);
        // The key that must sign follows from the size, which the checkpoint tells.
        let checkpoint = in_force
            .keys(log)?
            .verify(&name, proof.checkpoint())
            .context("the proof's checkpoint")?;
        let key = in_force.keys(log)?.at(checkpoint.size());
        proof
            .verify(&leaf_hash(entry), name.origin(), &[key])
            .context("the inclusion proof")?;
        Ok(checkpoint.size())
    }
}

/// Does the same again after an unknown outcome, with growing pauses, until it is known or time is up.
async fn until_known<T, F>(mut ask: impl FnMut() -> F) -> Result<T, VoterError>
where
    F: Future<Output = Answer<T>>,
{
    let mut pause = Backoff::new();
    loop {
        let reason = match ask().await {
            Answer::Done(answer) => return Ok(answer),
            Answer::Refused(refusal) => return Err(VoterError::Refused(Box::new(refusal))),
            Answer::Unknown(reason) => reason,
        };
        if !pause.wait().await {
            return Err(VoterError::Unknown(reason));
        }
    }
}
