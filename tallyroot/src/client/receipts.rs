//! Receipts: made when a vote is recorded, upgraded when it is sealed, from the published files alone.

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use ledger::heads::name_of;
use ledger::publisher::{ReadError, Reader};
use ledger::read::LogClient;
use protocol::anchor::{ANCHOR_LEN_MAX, AnchorObject};
use protocol::checkpoint::Checkpoint;
use protocol::cosignature::WitnessKey;
use protocol::entry::{Entry, Head};
use protocol::ids::LogId;
use protocol::manifest::Election;
use protocol::merkle::leaf_hash;
use protocol::note::NOTE_BYTES_MAX;
use protocol::receipt::{RECEIPT_FORMAT, Receipt, Seal};
use protocol::tlog_proof::TlogProof;

use super::in_force::InForce;
use super::site::Site;
use super::voter::InLog;

/// How far back a cosigned checkpoint is looked for, in milliseconds of heads. Anchoring waits 30 s for a quorum before it asks for a newer checkpoint in place of
/// the one that waits; witnesses that are away for longer are waited for.
const COSIGNED_BACK_MS: u64 = 45_000;
/// And at least so many sizes, where heads are far apart and notices stand between them.
const COSIGNED_BACK_MIN: u64 = 64;
/// So many of them are asked for at once.
const COSIGNED_AT_ONCE: usize = 4;
/// Notices between two heads are few: a run longer than this is not an election's.
const NOTICES_IN_A_ROW_MAX: u64 = 4_096;

#[async_trait]
impl Reader for Site {
    async fn read(&self, path: &str, len_max: usize) -> Result<Option<Bytes>, ReadError> {
        Self::read(self, path, len_max)
            .await
            .map(|found| found.map(Bytes::from))
            .map_err(|error| ReadError::Unavailable {
                path: path.to_owned(),
                reason: format!("{error:#}"),
            })
    }
}

/// The receipt of a vote that is recorded.
///
/// # Errors
/// The cell was switched to its spare key, and the notice cannot be read or does not verify.
pub async fn provisional(site: &Site, election: &Election, in_log: &InLog) -> Result<Receipt> {
    let cell = LogId::Cell(in_log.cell);
    let in_force = InForce::find(site, election, &[cell]).await?;
    let mut receipt = bare(election, in_log);
    receipt.switches = in_force.proofs(site, cell, &[in_log.size], &[]).await?;
    Ok(receipt)
}

fn bare(election: &Election, in_log: &InLog) -> Receipt {
    Receipt {
        cell: in_log.cell,
        election: election.id(),
        sealed: None,
        format: RECEIPT_FORMAT.to_owned(),
        manifest: String::from_utf8_lossy(election.manifest_bytes()).into_owned(),
        switches: Vec::new(),
        vote: in_log.proof.clone(),
    }
}

/// The sealed receipt, once a head that the witnesses' quorum has cosigned, or without witnesses one that every anchor holds, covers the vote; `None` before that.
///
/// # Errors
/// The site cannot be read, or shows something that does not verify.
pub async fn sealed(site: &Site, election: &Election, in_log: &InLog) -> Result<Option<Receipt>> {
    let cell = LogId::Cell(in_log.cell);
    let in_force = InForce::find(site, election, &[cell, LogId::Heads]).await?;
    let Some(heads_checkpoint) = newest_sealing(site, election, &in_force).await? else {
        return Ok(None);
    };
    let heads = in_force.client(site, LogId::Heads)?;
    let Some((head_index, head_entry, head)) =
        newest_head(&heads, election, &heads_checkpoint).await?
    else {
        return Ok(None);
    };
    let named = head
        .log(election, cell)
        .context("the head does not list this cell")?;
    if named.size <= in_log.index {
        return Ok(None);
    }

    let votes = in_force.client(site, cell)?;
    let (cell_checkpoint, cell_note) = votes.at(named.size).await?.with_context(|| {
        format!(
            "{}/checkpoints/{} is missing, though a head names it",
            cell.prefix(),
            named.size
        )
    })?;
    anyhow::ensure!(
        cell_checkpoint.root() == named.root,
        "the cell's checkpoint at size {} has another root than the head: keep both, the log forked",
        named.size
    );
    let vote = votes.inclusion(in_log.index, &cell_checkpoint).await?;
    anyhow::ensure!(
        leaf_hash(&vote.entry) == in_log.leaf,
        "index {} of the cell holds another entry than the receipt: keep the receipt, the vote was changed",
        in_log.index
    );
    let head_proof = heads.inclusion(head_index, &heads_checkpoint.0).await?;
    let mut receipt = bare(election, in_log);
    receipt.switches = in_force
        .proofs(
            site,
            cell,
            &[in_log.size, cell_checkpoint.size()],
            &[heads_checkpoint.0.size()],
        )
        .await?;
    receipt.sealed = Some(Seal {
        vote: text(&TlogProof::new(
            Some(in_log.entry.clone()),
            in_log.index,
            vote.proof,
            cell_note.to_vec(),
        )?)?,
        head: text(&TlogProof::new(
            Some(head_entry),
            head_index,
            head_proof.proof,
            heads_checkpoint.1,
        )?)?,
    });
    // What is called sealed must be so for whoever checks it later, by the same rules.
    receipt
        .verify(&election.id())
        .context("the sealed receipt does not verify")?;
    Ok(Some(receipt))
}

fn text(proof: &TlogProof) -> Result<String> {
    String::from_utf8(proof.encode()).context("a proof is not text")
}

/// The newest heads checkpoint that seals, with its note: SPEC: "under `cosigned/<size>` where witnesses are named and `checkpoints/<size>` otherwise". `None` before the first.
///
/// # Errors
/// The site cannot be read, or shows something that does not verify.
pub async fn newest_sealing(
    site: &Site,
    election: &Election,
    in_force: &InForce,
) -> Result<Option<(Checkpoint, Vec<u8>)>> {
    let manifest = election.manifest();
    if manifest.witnesses.keys.is_empty() {
        return newest_anchored(site, election, in_force).await;
    }
    let heads = in_force.client(site, LogId::Heads)?;
    let Some((newest, _)) = heads.newest().await.context("the heads log")? else {
        return Ok(None);
    };
    // Not each one is cosigned: while witnesses were away, heads went on. Those in a row without are few otherwise.
    let back = newest
        .size()
        .min(cosigned_back_max(manifest.head_interval_ms));
    let mut found = futures::stream::iter(0..back)
        .map(|back| cosigned(site, election, in_force, newest.size().saturating_sub(back)))
        // In order, so the first that is there is the newest.
        .buffered(COSIGNED_AT_ONCE);
    while let Some(found) = found.next().await {
        if let Some(found) = found? {
            return Ok(Some(found));
        }
    }
    drop(found);
    if manifest.witnesses.quorum == 0 {
        return newest_anchored(site, election, in_force).await;
    }
    Ok(None)
}

async fn cosigned(
    site: &Site,
    election: &Election,
    in_force: &InForce,
    size: u64,
) -> Result<Option<(Checkpoint, Vec<u8>)>> {
    let path = format!("{}/cosigned/{size}", LogId::Heads.prefix());
    let Some(note) = site.read(&path, NOTE_BYTES_MAX).await? else {
        return Ok(None);
    };
    let origin = election.origin(LogId::Heads);
    let key = in_force.keys(LogId::Heads)?.at(size);
    let quorum = election.manifest().witnesses.quorum as usize;
    let found = with_quorum(&note, (&origin, size), &key, (election.witnesses(), quorum))
        .with_context(|| path.clone())?;
    Ok(found.map(|checkpoint| (checkpoint, note)))
}

/// How many sizes back a cosigned checkpoint is looked for.
const fn cosigned_back_max(head_interval_ms: u64) -> u64 {
    let heads = COSIGNED_BACK_MS
        / if head_interval_ms == 0 {
            1
        } else {
            head_interval_ms
        };
    if heads > COSIGNED_BACK_MIN {
        heads
    } else {
        COSIGNED_BACK_MIN
    }
}

/// The checkpoint of a cosigned note; `None` where fewer than the quorum have cosigned it. That is nothing wrong (SPEC, section 4), and it seals nothing.
fn with_quorum(
    note: &[u8],
    (origin, size): (&str, u64),
    key: &[u8; 32],
    (witnesses, quorum): (&[WitnessKey], usize),
) -> Result<Option<Checkpoint>> {
    let (checkpoint, _, cosigned) = Checkpoint::verify_cosigned(note, origin, &[*key], witnesses)?;
    anyhow::ensure!(
        checkpoint.size() == size,
        "it is of size {}: the site shows another file than the one that was asked for",
        checkpoint.size()
    );
    Ok((cosigned.len() >= quorum).then_some(checkpoint))
}

/// The newest heads checkpoint that every anchor holds, with its note; `None` before the first.
///
/// # Errors
/// An anchor cannot be read, or does not verify.
pub async fn newest_anchored(
    site: &Site,
    election: &Election,
    in_force: &InForce,
) -> Result<Option<(Checkpoint, Vec<u8>)>> {
    let mut newest: Option<(Checkpoint, Vec<u8>)> = None;
    for anchor in &election.manifest().anchors {
        let Some(held) = newest_of_anchor(site, election, in_force, &anchor.name).await? else {
            return Ok(None);
        };
        if newest
            .as_ref()
            .is_none_or(|(least, _)| held.0.size() < least.size())
        {
            newest = Some(held);
        }
    }
    Ok(newest)
}

/// Objects are numbered without a gap, so the newest is found by doubling and halving.
async fn newest_of_anchor(
    site: &Site,
    election: &Election,
    in_force: &InForce,
    name: &str,
) -> Result<Option<(Checkpoint, Vec<u8>)>> {
    let object = async |n: u64| {
        site.read(&format!("anchors/{name}/{n}"), ANCHOR_LEN_MAX)
            .await
    };
    let Some(mut bytes) = object(0).await? else {
        return Ok(None);
    };
    let (mut there, mut missing) = (0u64, 1u64);
    while let Some(found) = object(missing).await? {
        (there, bytes) = (missing, found);
        missing = missing.checked_mul(2).context("an anchor without end")?;
    }
    while missing - there > 1 {
        let middle = there + (missing - there) / 2;
        match object(middle).await? {
            Some(found) => (there, bytes) = (middle, found),
            None => missing = middle,
        }
    }
    let object = AnchorObject::decode(&bytes, &election.id()).with_context(|| {
        format!("anchors/{name}/{there} is not an anchor object of this election")
    })?;
    let checkpoint = in_force
        .keys(LogId::Heads)?
        .verify(&name_of(election, LogId::Heads), object.note)
        .with_context(|| format!("the checkpoint in anchors/{name}/{there}"))?;
    Ok(Some((checkpoint, object.note.to_vec())))
}

/// The newest head below a heads checkpoint: its index, its entry, and what it says.
///
/// # Errors
/// The heads log cannot be read, or does not verify.
pub async fn newest_head(
    heads: &LogClient,
    election: &Election,
    (checkpoint, _): &(Checkpoint, Vec<u8>),
) -> Result<Option<(u64, Vec<u8>, Head)>> {
    for back in 1..=checkpoint.size().min(NOTICES_IN_A_ROW_MAX) {
        let index = checkpoint.size() - back;
        let entry = heads.inclusion(index, checkpoint).await?.entry;
        match Entry::decode(&entry, election)? {
            Entry::Head(head) | Entry::FinalHead(head) => {
                return Ok(Some((index, entry.to_vec(), head)));
            }
            _ => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use protocol::cosignature;
    use protocol::ed25519::SigningKey;

    use super::*;

    #[test]
    fn a_file_below_the_quorum_is_passed_over() {
        const ORIGIN: &str = "votes.example/heads";
        let log = SigningKey::from_seed(&[1; 32]);
        let secrets = [2, 3, 4].map(|seed| SigningKey::from_seed(&[seed; 32]));
        let witnesses: Vec<_> = secrets
            .iter()
            .zip(["a.example", "b.example", "c.example"])
            .map(|(secret, name)| WitnessKey::new(name, secret.public()).unwrap())
            .collect();
        let checkpoint = Checkpoint::new(ORIGIN, 7, leaf_hash(b"tree")).unwrap();
        let mut note = checkpoint.signed(&log.public(), &log.sign(checkpoint.body().as_bytes()));
        for (cosigned, (secret, witness)) in secrets.iter().zip(&witnesses).enumerate() {
            let judged =
                |size| with_quorum(&note, (ORIGIN, size), &log.public(), (&witnesses, 2)).unwrap();
            let expected = (cosigned >= 2).then(|| checkpoint.clone());
            assert_eq!(judged(7), expected, "{cosigned} cosignatures");
            let signature = secret.sign(&cosignature::message(9, &checkpoint.body()));
            let line = cosignature::line(witness, 9, &signature).unwrap();
            note.extend(line.encode().into_bytes());
        }
        // Of another size, or by another log.
        let quorum = (witnesses.as_slice(), 2);
        assert!(with_quorum(&note, (ORIGIN, 8), &log.public(), quorum).is_err());
        assert!(with_quorum(&note, (ORIGIN, 7), &secrets[0].public(), quorum).is_err());
    }

    #[test]
    fn it_is_looked_back_over_a_round_of_cosigning() {
        assert_eq!(cosigned_back_max(100), 450);
        assert_eq!(cosigned_back_max(1_000), 64);
        assert_eq!(cosigned_back_max(3_600_000), 64);
    }
}
