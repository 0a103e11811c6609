//! What an anchor's bucket holds.

use std::collections::BTreeMap;

use protocol::anchor::{ANCHOR_LEN_MAX, AnchorError, AnchorObject};
use protocol::merkle::{Hash, leaf_hash};

use super::AnchorAsked;
use crate::audit::context::Context;
use crate::finding::{Code, Place, Votes};
use crate::source::{Bucket, Fetched, Lock, SourceError, Version};

/// Bytes that are kept of an anchor's objects: hashes of entries, and notes. The heads log of four weeks, a head every ten seconds, takes 70 MB.
const KEPT_MAX: usize = 1 << 30;

/// An anchor, with what its objects say.
pub(super) struct Held {
    pub(super) asked: AnchorAsked,
    pub(super) objects: Vec<Object>,
}

/// The earliest version of an object.
pub(super) struct Object {
    pub(super) n: u64,
    pub(super) old_size: u64,
    pub(super) new_size: u64,
    /// Of its entries.
    pub(super) leaves: Vec<Hash>,
    pub(super) note: Vec<u8>,
    /// When it was stored, by the store's clock (ms since 1970).
    pub(super) stored: i64,
}

impl Held {
    pub(super) fn path(&self, n: u64) -> String {
        path(&self.asked.name, n)
    }
}

fn path(name: &str, n: u64) -> String {
    format!("anchors/{name}/{n}")
}

/// Reads every object's earliest version; what is wrong with versions, locks and bytes is a finding.
pub(super) fn read(
    context: &Context<'_>,
    name: &str,
    bucket: &Bucket,
) -> Result<Held, SourceError> {
    let folder = format!("anchors/{name}");
    let mut of_objects: BTreeMap<u64, Vec<Version>> = BTreeMap::new();
    for version in bucket.versions(&folder)? {
        let number = version.path.strip_prefix(&format!("{folder}/"));
        let number = number.and_then(|text| Some((text, text.parse::<u64>().ok()?)));
        match number.filter(|(text, n)| n.to_string() == *text) {
            Some((_, n)) => of_objects.entry(n).or_default().push(version),
            None => context.add(
                Code::ForeignFile,
                Place::file(&version.path),
                Votes::AtMost(0),
                "the anchor's bucket holds it, and it is no object of the anchor",
            ),
        }
    }
    let mut held = Held {
        asked: AnchorAsked {
            name: name.to_owned(),
            bucket: bucket.place(),
            objects: 0,
            versions: 0,
            delete_markers: 0,
            size: 0,
            locked_until: Some(i64::MAX),
        },
        objects: Vec::new(),
    };
    let (mut next, mut room) = (0, KEPT_MAX);
    for (n, versions) in of_objects {
        let place = Place::at(path(name, n), n);
        let (markers, versions): (Vec<Version>, Vec<Version>) =
            versions.into_iter().partition(|version| version.is_marker);
        held.asked.delete_markers += markers.len() as u64;
        held.asked.versions += versions.len() as u64;
        for marker in &markers {
            context.add(
                Code::AnchorHidden,
                place.clone(),
                Votes::AtMost(0),
                format!("a delete marker was put there at {}", marker.modified),
            );
        }
        let Some((earliest, later)) = versions.split_last() else {
            // Only markers: as if it had never been.
            continue;
        };
        for version in later {
            context.add(
                Code::AnchorRewritten,
                place.clone(),
                Votes::AtMost(0),
                format!(
                    "a version was stored at {}, over the one of {}",
                    version.modified, earliest.modified
                ),
            );
        }
        for missing in next..n.min(next + 1_000) {
            context.add(
                Code::AnchorMissing,
                Place::at(path(name, missing), missing),
                Votes::AtMost(0),
                format!("there is no version of it, and there is one of object {n}"),
            );
        }
        next = n + 1;
        held.asked.objects += 1;
        if let Some(object) = read_object(context, &mut held.asked, bucket, n, earliest)? {
            room = left(room, &object).ok_or_else(|| SourceError {
                path: path(name, n),
                problem: "its objects hold more than any heads log would; it was not read further"
                    .to_owned(),
            })?;
            held.objects.push(object);
        }
    }
    if held.asked.objects == 0 {
        held.asked.locked_until = None;
    }
    Ok(held)
}

/// What is left of this room once the object is kept; `None` where it does not fit.
fn left(room: usize, object: &Object) -> Option<usize> {
    room.checked_sub(object.leaves.len().checked_mul(size_of::<Hash>())?)?
        .checked_sub(object.note.len())
}

fn read_object(
    context: &Context<'_>,
    asked: &mut AnchorAsked,
    bucket: &Bucket,
    n: u64,
    version: &Version,
) -> Result<Option<Object>, SourceError> {
    let path = path(&asked.name, n);
    let place = Place::at(path.clone(), n);
    let stored = bucket.version(&path, &version.id, ANCHOR_LEN_MAX)?;
    let until = locked(context, &place, stored.lock.as_ref());
    asked.locked_until = match (asked.locked_until, until) {
        (Some(so_far), Some(until)) => Some(so_far.min(until)),
        _ => None,
    };
    let malformed = |what: String| {
        context.add(Code::AnchorMalformed, place.clone(), Votes::AtMost(0), what);
    };
    let bytes = match stored.content {
        Fetched::File(bytes) => bytes,
        Fetched::TooLarge => {
            malformed("it has more bytes than an anchored object may have".to_owned());
            return Ok(None);
        }
        Fetched::Missing | Fetched::NotAFile => {
            return Err(SourceError {
                path,
                problem: "its earliest version is listed, and is not there".to_owned(),
            });
        }
    };
    let object = match AnchorObject::decode(&bytes, &context.election.id()) {
        Ok(object) if object.n == n => object,
        Ok(object) => {
            malformed(format!("it is object {}", object.n));
            return Ok(None);
        }
        Err(AnchorError::Label) => {
            malformed("it is another election's, or no anchored object".to_owned());
            return Ok(None);
        }
        Err(error) => {
            malformed(error.to_string());
            return Ok(None);
        }
    };
    let modified: jiff::Timestamp = version.modified.parse().map_err(|_| SourceError {
        path,
        problem: "the store does not say when it was stored".to_owned(),
    })?;
    Ok(Some(Object {
        n,
        old_size: object.old_size,
        new_size: object.new_size,
        leaves: object
            .entries
            .iter()
            .map(|entry| leaf_hash(entry))
            .collect(),
        note: object.note.to_vec(),
        stored: modified.as_millisecond(),
    }))
}

/// Until when it is locked, if it is; anything but COMPLIANCE mode until the manifest's retention is a finding.
fn locked(context: &Context<'_>, place: &Place, lock: Option<&Lock>) -> Option<i64> {
    let wrong = |evidence: String| {
        context.add(
            Code::AnchorUnlocked,
            place.clone(),
            Votes::AtMost(0),
            evidence,
        );
    };
    let Some(lock) = lock else {
        wrong("it is not locked at all".to_owned());
        return None;
    };
    if lock.mode != "COMPLIANCE" {
        wrong(format!(
            "it is locked in {} mode, which whoever has the permission can lift",
            lock.mode
        ));
        return None;
    }
    let Ok(until) = lock.until.parse::<jiff::Timestamp>() else {
        wrong(format!("its lock has no date: {:?}", lock.until));
        return None;
    };
    let wanted = context.election.manifest().retention / 1_000;
    if u64::try_from(until.as_second()).unwrap_or(0) < wanted {
        wrong(format!(
            "it is locked until {until}, and the manifest says {wanted} (seconds since 1970)"
        ));
    }
    Some(until.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_objects_has_an_end() {
        let object = Object {
            n: 0,
            old_size: 0,
            new_size: 2,
            leaves: vec![Hash([0; 32]); 2],
            note: vec![b'x'; 10],
            stored: 0,
        };
        assert_eq!(left(100, &object), Some(26));
        assert_eq!(left(74, &object), Some(0));
        assert_eq!(left(73, &object), None);
        assert_eq!(left(63, &object), None);
    }
}
