//! The steps of verifying a receipt, in order.

use super::switches::Switches;
use super::{Choice, Receipt, ReceiptCode, ReceiptError, ReceiptVerdict, Seal, SealVerdict, fail};
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, Head, Vote, VoteError};
use crate::ids::{ElectionId, LogId};
use crate::manifest::Election;
use crate::merkle::leaf_hash;
use crate::note::SignedNote;
use crate::tlog_proof::TlogProof;

pub(super) fn verify(
    receipt: &Receipt,
    expected: &ElectionId,
) -> Result<ReceiptVerdict, ReceiptError> {
    // "`H(manifest) = election` = the id that it was given"
    if receipt.election != *expected {
        return fail(
            ReceiptCode::OtherElection,
            format!(
                "this receipt is of election {}, not {expected}: it proves nothing about this election",
                receipt.election
            ),
        );
    }
    let election = Election::check_id(receipt.manifest.as_bytes(), expected)
        .or_else(|error| fail(ReceiptCode::Manifest, error.to_string()))?;
    let proof = Proof::parse(&receipt.vote, ReceiptCode::VoteProof, "the vote's proof")?;
    let vote = check_vote(receipt, &election, &proof)?;
    let mut switches = Switches::read(receipt, &election)?;

    let cell = LogId::Cell(receipt.cell);
    let key = switches.key(cell, &proof)?;
    let checkpoint = proof.under_log(&election, cell, key.bytes)?;
    let seal = match &receipt.sealed {
        Some(seal) => Some(check_seal(
            seal,
            receipt.cell,
            &election,
            &proof,
            &mut switches,
        )?),
        None => None,
    };
    switches.verify(&election)?;
    Ok(ReceiptVerdict {
        title: election.manifest().title.clone(),
        cell: receipt.cell,
        index: proof.proof.index(),
        credential: vote.credential,
        choices: choices(&vote, &election),
        checkpoint_size: checkpoint.size(),
        key: key.slot,
        seal,
    })
}

/// "the entry in `extra` decodes, is for this cell, and all its signatures verify"
fn check_vote(receipt: &Receipt, election: &Election, proof: &Proof) -> Result<Vote, ReceiptError> {
    let vote = Vote::decode(&proof.entry, election).or_else(|error| {
        fail(
            ReceiptCode::Vote,
            format!("the receipt holds no vote of this election: {error}"),
        )
    })?;
    if receipt.cell >= election.cells() {
        return fail(
            ReceiptCode::WrongCell,
            format!("the election has no cell {}", receipt.cell),
        );
    }
    vote.check_cheap(election, receipt.cell)
        .and_then(|()| vote.verify(election))
        .or_else(|error| match error {
            VoteError::WrongCell { cell } => fail(
                ReceiptCode::WrongCell,
                format!(
                    "the receipt says cell {}, and the vote belongs to cell {cell}",
                    receipt.cell
                ),
            ),
            other => fail(
                ReceiptCode::Vote,
                format!("the vote in the receipt is not valid: {other}"),
            ),
        })?;
    Ok(vote)
}

/// "the head's (size, root) for this cell equals `final.vote`'s checkpoint; the head's proof, with at least `quorum` cosignatures"
fn check_seal(
    seal: &Seal,
    cell: u32,
    election: &Election,
    first: &Proof,
    switches: &mut Switches,
) -> Result<SealVerdict, ReceiptError> {
    let log = LogId::Cell(cell);
    let vote = Proof::parse(
        &seal.vote,
        ReceiptCode::SealProof,
        "the sealed vote's proof",
    )?;
    // "`final.vote` is the same vote's proof"
    if vote.entry != first.entry || vote.proof.index() != first.proof.index() {
        return fail(
            ReceiptCode::SealProof,
            "the sealed proof is of another vote than the receipt's own",
        );
    }
    let cell_key = switches.key(log, &vote)?;
    let checkpoint = vote.under_log(election, log, cell_key.bytes)?;

    let proof = Proof::parse(&seal.head, ReceiptCode::HeadProof, "the head's proof")?;
    let (head, is_final_head) = decode_head(&proof, election)?;
    let heads_key = switches.key(LogId::Heads, &proof)?;
    let (heads_checkpoint, witnesses) = proof.under_heads(election, heads_key.bytes)?;
    let quorum = election.manifest().witnesses.quorum as usize;
    if witnesses.len() < quorum {
        return fail(
            ReceiptCode::Quorum,
            format!(
                "{} of the named witnesses cosigned, and the election asks for {quorum}: the vote is recorded, but not sealed yet; fetch a newer seal",
                witnesses.len()
            ),
        );
    }
    let said = head.log(election, log);
    if said.is_none_or(|said| (said.size, said.root) != (checkpoint.size(), checkpoint.root())) {
        return fail(
            ReceiptCode::HeadMismatch,
            "the head names another size or root of the cell than the vote's proof is for",
        );
    }
    Ok(SealVerdict {
        head_index: proof.proof.index(),
        time: head.time,
        is_final_head,
        heads_size: heads_checkpoint.size(),
        heads_key: heads_key.slot,
        cell_key: cell_key.slot,
        witnesses,
    })
}

fn decode_head(proof: &Proof, election: &Election) -> Result<(Head, bool), ReceiptError> {
    match Entry::decode(&proof.entry, election) {
        Ok(Entry::Head(head)) => Ok((head, false)),
        Ok(Entry::FinalHead(head)) => Ok((head, true)),
        Ok(other) => fail(
            ReceiptCode::HeadProof,
            format!("the head's proof is of a {} entry", other.name()),
        ),
        Err(error) => fail(
            ReceiptCode::HeadProof,
            format!("the head's proof holds no head of this election: {error}"),
        ),
    }
}

fn choices(vote: &Vote, election: &Election) -> Vec<Choice> {
    let contests = election.contests().iter().zip(vote.ballot.choices());
    contests
        .map(|(contest, chosen)| Choice {
            contest: contest.name.clone(),
            options: chosen
                .iter()
                .filter_map(|option| contest.options.get(usize::from(*option)).cloned())
                .collect(),
        })
        .collect()
}

/// A `.tlog-proof` of the receipt, with its entry.
pub(super) struct Proof {
    pub(super) proof: TlogProof,
    pub(super) entry: Vec<u8>,
    /// What to say when it does not verify.
    code: ReceiptCode,
    name: &'static str,
}

impl Proof {
    pub(super) fn parse(
        text: &str,
        code: ReceiptCode,
        name: &'static str,
    ) -> Result<Self, ReceiptError> {
        let proof = TlogProof::parse(text.as_bytes())
            .or_else(|error| fail(code, format!("{name}: {error}")))?;
        let Some(entry) = proof.extra().map(<[u8]>::to_vec) else {
            return fail(code, format!("{name} lacks its entry (the `extra` line)"));
        };
        Ok(Self {
            proof,
            entry,
            code,
            name,
        })
    }

    /// The size of the checkpoint, as it says; not verified.
    pub(super) fn claimed_size(&self) -> Result<u64, ReceiptError> {
        SignedNote::parse(self.proof.checkpoint())
            .map_err(|error| error.to_string())
            .and_then(|note| Checkpoint::parse_body(note.text()).map_err(|error| error.to_string()))
            .map(|checkpoint| checkpoint.size())
            .or_else(|error| fail(self.code, format!("{}: {error}", self.name)))
    }

    /// From the entry's leaf hash to a checkpoint that this key alone signed.
    fn under_log(
        &self,
        election: &Election,
        log: LogId,
        key: [u8; 32],
    ) -> Result<Checkpoint, ReceiptError> {
        self.proof
            .verify(&leaf_hash(&self.entry), &election.origin(log), &[key])
            .map(|(checkpoint, _)| checkpoint)
            .or_else(|error| fail(self.code, format!("{}: {error}", self.name)))
    }

    /// The same for the heads log, whose checkpoints named witnesses may cosign. Returns their names and timestamps too.
    pub(super) fn under_heads(
        &self,
        election: &Election,
        key: [u8; 32],
    ) -> Result<(Checkpoint, Vec<(String, u64)>), ReceiptError> {
        let origin = election.origin(LogId::Heads);
        let witnesses = election.witnesses();
        let (checkpoint, _, cosigned) = self
            .proof
            .verify_cosigned(&leaf_hash(&self.entry), &origin, &[key], witnesses)
            .or_else(|error| fail(self.code, format!("{}: {error}", self.name)))?;
        let named = cosigned
            .into_iter()
            .filter_map(|(w, time)| Some((witnesses.get(w)?.name().to_owned(), time)))
            .collect();
        Ok((checkpoint, named))
    }
}
