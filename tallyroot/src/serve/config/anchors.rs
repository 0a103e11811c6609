//! What the anchoring service is told beside its log: where the manifest's anchors and witnesses are.

use std::path::{Path, PathBuf};

use anchoring::Witness;
use aws::Aws;
use ledger::bucket::Place;
use protocol::ids::LogId;
use protocol::manifest::Election;

use super::bucket::bucket;
use super::section::{ConfigError, Section};
use super::{Published, Role, log};

/// Where an anchor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorPlace {
    /// Its name in the manifest.
    pub name: String,
    /// Where its objects are.
    pub objects: Objects,
}

/// Where an anchor's objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// In a folder.
    Directory {
        /// The folder.
        folder: PathBuf,
        /// A folder on the same file system for what is being written.
        unfinished: PathBuf,
    },
    /// In a bucket with Object Lock: `<prefix>/elections/<id>/anchors/<name>/<n>`
    Bucket(Place),
}

impl Objects {
    /// Whether whoever deletes one of the two has the other: one folder by whatever path, one bucket with whatever prefix.
    fn is_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory { folder, .. }, Self::Directory { folder: other, .. }) => {
                let there = |path: &Path| path.canonicalize().ok();
                folder == other || there(folder).is_some_and(|one| there(other) == Some(one))
            }
            (Self::Bucket(place), Self::Bucket(other)) => {
                place.bucket() == other.bucket() && place.aws() == other.aws()
            }
            (Self::Directory { .. }, Self::Bucket(_))
            | (Self::Bucket(_), Self::Directory { .. }) => false,
        }
    }
}

pub(super) fn anchor(
    root: &Section<'_>,
    election: &Election,
    published: &Published,
    aws: &Aws,
) -> Result<Role, ConfigError> {
    let named = &election.manifest().anchors;
    let given = root.sections("anchors")?;
    let names: Vec<&str> = named.iter().map(|anchor| anchor.name.as_str()).collect();
    let anchors = given
        .iter()
        .map(|section| {
            let name = section.text("name", "the anchor's name in the manifest")?;
            let directory = section.path_if_any("directory", "the folder of its objects")?;
            let unfinished = section.path_if_any(
                "unfinished",
                "a folder on the file system of `directory`, for what is being written",
            )?;
            let place = bucket(section, aws)?;
            section.finish()?;
            let objects = match (place, published, directory, unfinished) {
                (Some(place), _, None, None) => Objects::Bucket(place),
                (Some(_), ..) => {
                    return Err(section.error(
                        "bucket",
                        "both a folder and `bucket` are given: an anchor is in one place, so remove one",
                    ));
                }
                (None, Published::Directory(public), folder, unfinished) => {
                    let published = public.join("elections").join(election.id().to_string());
                    Objects::Directory {
                        folder: folder.unwrap_or_else(|| published.join("anchors").join(&name)),
                        unfinished: unfinished.unwrap_or_else(|| public.join("tmp").join("anchors")),
                    }
                }
                (None, Published::Bucket(_), Some(folder), Some(unfinished)) => {
                    Objects::Directory { folder, unfinished }
                }
                (None, Published::Bucket(_), ..) => {
                    return Err(section.error(
                        "bucket",
                        "it is missing: give a bucket with Object Lock, or, for demos, a `directory` and `unfinished`",
                    ));
                }
            };
            // As for the log's own store: what its operator can delete anchors nothing.
            if matches!(objects, Objects::Directory { .. }) && !election.manifest().demo {
                return Err(section.error(
                    "bucket",
                    "it is missing: the anchors of an election that is no rehearsal (`demo` in the manifest) are buckets with Object Lock, since whoever runs this machine can delete a folder",
                ));
            }
            Ok(AnchorPlace { name, objects })
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    for (n, anchor) in anchors.iter().enumerate() {
        let same = anchors
            .iter()
            .take(n)
            .find(|other| other.objects.is_with(&anchor.objects));
        if let Some(other) = same {
            return Err(root.error(
                "anchors",
                format!("{} and {} are in one place: give each a bucket of its own, best in another account", other.name, anchor.name),
            ));
        }
    }
    let given: Vec<&str> = anchors.iter().map(|anchor| anchor.name.as_str()).collect();
    if given != names {
        return Err(root.error(
            "anchors",
            format!(
                "they are {given:?}: give one section [[anchors]] for each of the manifest's, in its order, {names:?}"
            ),
        ));
    }
    Ok(Role::Anchor {
        log: log(root, LogId::Heads, aws)?,
        anchors,
        witnesses: witnesses(root, election)?,
    })
}

/// Where the manifest's witnesses are reached. Their keys are the manifest's: an address is all that is told.
fn witnesses(root: &Section<'_>, election: &Election) -> Result<Vec<Witness>, ConfigError> {
    let mut given = Vec::new();
    for section in root.sections("witnesses")? {
        let name = section.text("name", "the witness's name in the manifest")?;
        let url = section.text(
            "url",
            "where it takes checkpoints (its submission prefix), such as \"https://witness.example\"",
        )?;
        let monitoring = section.text_if_any(
            "monitoring",
            "where it shows what it cosigned (its monitoring prefix), if that is not `url`",
        )?;
        section.finish()?;
        let key = election.witnesses().iter().find(|key| key.name() == name);
        let key = key.ok_or_else(|| {
            section.error("name", format!("the manifest names no witness {name:?}"))
        })?;
        let witness = Witness::new(key.clone(), &url, monitoring.as_deref())
            .map_err(|error| section.error("url", error.to_string()))?;
        given.push(witness);
    }
    let names: Vec<&str> = given.iter().map(|witness| witness.key().name()).collect();
    let named: Vec<&str> = election.witnesses().iter().map(|key| key.name()).collect();
    if names != named {
        return Err(root.error(
            "witnesses",
            format!(
                "they are {names:?}: give one section [[witnesses]] for each of the manifest's, in its order, {named:?}"
            ),
        ));
    }
    Ok(given)
}
