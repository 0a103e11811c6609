//! Finds the election's folder behind what the user typed: a site, a data directory, or the folder itself.

use std::path::Path;
use std::sync::Arc;

use protocol::ids::ElectionId;
use protocol::manifest::{Election, MANIFEST_LEN_MAX};
use sha2::{Digest as _, Sha256};

use super::{Bucket, Directory, Fetched, Http, Package, Source, SourceError};
use crate::mirror::is_incomplete;

/// An election's folder, found.
#[derive(Clone)]
pub struct Located {
    /// Its files.
    pub source: Arc<dyn Source>,
    /// Where it is, for people.
    pub place: String,
}

/// Finds the folder of `election` in `given`: a URL, a bucket, a directory, or a package.
///
/// The folder is the first whose `manifest.json` hashes to the id; failing that, the first that holds any election's files, so that the audit can say what is wrong with them.
///
/// # Errors
/// There is nothing like an election, or the source cannot be read.
pub fn locate(given: &str, election: &ElectionId) -> Result<Located, SourceError> {
    let below = format!("elections/{election}");
    let candidates: Vec<Located> = if given.starts_with("s3://") {
        let bucket = Bucket::new(given)?;
        [bucket.below(&below), bucket]
            .into_iter()
            .map(|source| Located {
                place: source.place(),
                source: Arc::new(source),
            })
            .collect()
    } else if given.contains("://") {
        let site = Http::new(given)?;
        [site.below(&below)?, site]
            .into_iter()
            .map(|source| Located {
                place: source.base().to_string(),
                source: Arc::new(source),
            })
            .collect()
    } else if Path::new(given).is_file() {
        let package = Package::open(Path::new(given))?;
        vec![Located {
            place: given.to_owned(),
            source: Arc::new(package.below(&below)?),
        }]
    } else {
        let root = Path::new(given);
        if !root.is_dir() {
            return Err(SourceError::new(
                given,
                "there is no such directory or package (an address starts with https://, http:// or s3://)",
            ));
        }
        [
            root.join(&below),
            root.join("public").join(&below),
            root.to_path_buf(),
        ]
        .into_iter()
        .filter(|folder| folder.is_dir())
        .map(|folder| Located {
            place: folder.display().to_string(),
            source: Arc::new(Directory::new(folder)),
        })
        .collect()
    };

    let is_local = Path::new(given).is_dir();
    let mut fallback = None;
    for candidate in candidates {
        let found = look(candidate.source.as_ref(), election)?;
        if !matches!(found, Look::Nothing) && is_local && is_incomplete(Path::new(&candidate.place))
        {
            return Err(SourceError::new(
                candidate.place,
                "this is an unfinished copy: `mirror` has not come to its end here yet, so nothing in it can be checked or served. Run the same `mirror` again, it goes on; or name another source",
            ));
        }
        match found {
            Look::TheElection => return Ok(candidate),
            // As every election is published: in the folder that its manifest's hash names.
            Look::Another(id) if names(&candidate.place, &id) => {
                return Err(SourceError::new(
                    candidate.place,
                    format!(
                        "this is the election {id}, and you asked for {election}: one of the two is mistaken"
                    ),
                ));
            }
            Look::SomeElection | Look::Another(_) if fallback.is_none() => {
                fallback = Some(candidate)
            }
            Look::SomeElection | Look::Another(_) | Look::Nothing => {}
        }
    }
    fallback.ok_or_else(|| {
        let others = others(Path::new(given));
        let hint = if !others.is_empty() {
            format!("what is here: {}", others.join(", "))
        } else if given.contains("://") {
            "give the address of the site alone, without what stands behind it, such as /vote or #id=…; if it is right, the id is not that of an election that is published there".to_owned()
        } else {
            "give the site's root, a mirror's folder, or the folder with manifest.json".to_owned()
        };
        SourceError::new(
            given,
            format!("no election of this id here: neither manifest.json nor {below}/manifest.json. {hint}"),
        )
    })
}

/// Whether the last part of this place is the id.
fn names(place: &str, id: &str) -> bool {
    place.trim_end_matches('/').rsplit('/').next() == Some(id)
}

/// The elections in a folder, by the names of their folders: a few of them.
fn others(root: &Path) -> Vec<String> {
    let folders = ["elections", "public/elections"].map(|below| root.join(below));
    let entries = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok());
    let mut names: Vec<String> = entries
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.parse::<ElectionId>().is_ok())
        .take(4)
        .collect();
    names.sort();
    names
}

enum Look {
    TheElection,
    /// The manifest of an election with this id.
    Another(String),
    SomeElection,
    Nothing,
}

fn look(source: &dyn Source, election: &ElectionId) -> Result<Look, SourceError> {
    match source.read("manifest.json", MANIFEST_LEN_MAX)? {
        Fetched::File(bytes) if Sha256::digest(&bytes).as_slice() == election.as_bytes() => {
            Ok(Look::TheElection)
        }
        Fetched::File(bytes) => {
            let own = ElectionId(Sha256::digest(&bytes).into());
            Ok(match Election::check_id(&bytes, &own) {
                Ok(_) => Look::Another(own.to_string()),
                Err(_) => Look::SomeElection,
            })
        }
        // A folder or link of that name, or too large a file: a damaged election rather than none.
        Fetched::TooLarge | Fetched::NotAFile => Ok(Look::SomeElection),
        Fetched::Missing => match source.read("heads/checkpoint", 1 << 16)? {
            Fetched::Missing => Ok(Look::Nothing),
            _ => Ok(Look::SomeElection),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_damaged_elections_the_one_in_its_own_folder_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let id = ElectionId([7; 32]);
        let own = root.path().join(format!("elections/{id}"));
        std::fs::create_dir_all(&own).unwrap();
        for folder in [own.as_path(), root.path()] {
            std::fs::write(folder.join("manifest.json"), b"damaged").unwrap();
        }
        let located = locate(root.path().to_str().unwrap(), &id).unwrap();
        assert_eq!(located.place, own.display().to_string());
    }
}
