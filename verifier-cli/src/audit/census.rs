//! The census of a directory: every file that is there must belong to something. "Nothing else belongs there."
//!
//! Files above what was followed so far may be growth that was published while the audit ran. So the census lists first; then the logs are followed
//! further; then what it listed is judged. What the batches do not explain by then belongs to nothing.

use std::collections::BTreeMap;

use protocol::ids::LogId;
use protocol::merkle::tile::{BundleId, TileId};

use super::anchors::Chain;
use super::checkpoint::{Switches, judge_stray};
use super::context::Context;
use super::tiles::strict_decimal;
use super::walk::Walk;
use crate::finding::{Code, Place, Votes};
use crate::source::{Fetched, ListedKind};

/// Files above what was followed, remembered until it was followed further.
const LATER_MAX: usize = 100_000;

/// How far everything was followed.
pub(super) struct Extent<'e> {
    walks: BTreeMap<String, &'e Walk>,
    chains: &'e [Chain],
    /// Whether the manifest names witnesses: without any, `heads/cosigned` belongs to nothing.
    has_witnesses: bool,
}

/// What a file's name says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It belongs to what was followed.
    Belongs,
    /// It would belong to a log that goes further.
    Later,
    /// No election has such a file.
    Foreign,
}

impl<'e> Extent<'e> {
    pub(super) fn new(
        walks: impl Iterator<Item = &'e Walk>,
        chains: &'e [Chain],
        has_witnesses: bool,
    ) -> Self {
        Self {
            walks: walks.map(|walk| (walk.log().prefix(), walk)).collect(),
            chains,
            has_witnesses,
        }
    }

    /// "manifest.json, results.json, and per log prefix checkpoint, checkpoints/<size>, batches/<n>, tile/…, heads/cosigned/<size>; anchors/<name>/<n>."
    fn standing(&self, path: &str) -> Standing {
        if matches!(path, "manifest.json" | "results.json") {
            return Standing::Belongs;
        }
        if let Some(rest) = path.strip_prefix("anchors/") {
            let Some((name, n)) = rest.split_once('/') else {
                return Standing::Foreign;
            };
            let chain = self.chains.iter().find(|chain| chain.name() == name);
            return match (chain, strict_decimal(n)) {
                (Some(chain), Some(n)) => later_unless(n < chain.objects()),
                _ => Standing::Foreign,
            };
        }
        let of_log = self.walks.iter().find_map(|(prefix, walk)| {
            Some((
                *walk,
                path.strip_prefix(prefix.as_str())?.strip_prefix('/')?,
            ))
        });
        match of_log {
            Some((walk, rest)) => in_log(walk, rest),
            None => Standing::Foreign,
        }
    }

    /// The log and the size of a `checkpoints/<size>`.
    fn checkpoint(&self, path: &str) -> Option<(&'e Walk, u64)> {
        let (prefix, size) = path.split_once("/checkpoints/")?;
        Some((self.walks.get(prefix)?, strict_decimal(size)?))
    }

    /// The log was not followed to its end: what lies above is not judged.
    fn is_of_a_broken_log(&self, path: &str) -> bool {
        self.walks.iter().any(|(prefix, walk)| {
            walk.stopped()
                && path
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        }) || self
            .chains
            .iter()
            .any(|chain| chain.stopped() && path.starts_with(&format!("anchors/{}/", chain.name())))
    }

    /// Whether a folder of this name may hold files that belong.
    fn is_folder(&self, path: &str) -> bool {
        let of_a_prefix = |prefix: &str| {
            path == prefix
                || prefix
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        if path.is_empty()
            || path == "anchors"
            || self
                .chains
                .iter()
                .any(|chain| path == format!("anchors/{}", chain.name()))
            || self.walks.keys().any(|prefix| of_a_prefix(prefix))
        {
            return true;
        }
        self.walks.iter().any(|(prefix, walk)| {
            let rest = path
                .strip_prefix(prefix.as_str())
                .and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| {
                matches!(rest, "checkpoints" | "batches" | "tile")
                    || (rest == "cosigned" && walk.log() == LogId::Heads && self.has_witnesses)
                    // Each file below is judged by its whole path.
                    || rest.starts_with("tile/")
            })
        })
    }
}

const fn later_unless(belongs: bool) -> Standing {
    if belongs {
        Standing::Belongs
    } else {
        Standing::Later
    }
}

fn in_log(walk: &Walk, path: &str) -> Standing {
    if path == "checkpoint" {
        return Standing::Belongs;
    }
    if let Some(size) = path.strip_prefix("checkpoints/") {
        return strict_decimal(size)
            .map_or(Standing::Foreign, |size| later_unless(size <= walk.size()));
    }
    if let Some(size) = path
        .strip_prefix("cosigned/")
        .filter(|_| walk.log() == LogId::Heads)
    {
        return strict_decimal(size)
            .map_or(Standing::Foreign, |size| later_unless(size <= walk.size()));
    }
    if let Some(n) = path.strip_prefix("batches/") {
        return strict_decimal(n).map_or(Standing::Foreign, |n| later_unless(n < walk.batches()));
    }
    if path.starts_with("tile/entries/") {
        return BundleId::parse_path(path).map_or(Standing::Foreign, |id| {
            later_unless(id.first_leaf() + u64::from(id.width()) <= walk.size())
        });
    }
    TileId::parse_path(path).map_or(Standing::Foreign, |id| {
        let hashes = u128::from(id.index()) * 256 + u128::from(id.width());
        let leaves = hashes << (8 * u32::from(id.level()));
        later_unless(leaves <= u128::from(walk.size()))
    })
}

/// Lists everything. Foreign files are findings at once; returns those that a longer log would explain, or `None` where the source cannot list.
pub(super) fn list(context: &Context<'_>, extent: &Extent<'_>) -> Option<Vec<String>> {
    context.list("")?;
    let mut later = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for listed in context.list(&folder).unwrap_or_default() {
            let path = if folder.is_empty() {
                listed.name
            } else {
                format!("{folder}/{}", listed.name)
            };
            match listed.kind {
                ListedKind::Folder if extent.is_folder(&path) => folders.push(path),
                ListedKind::Folder => {
                    // An empty folder holds nothing that could belong or not.
                    if context.list(&path).is_some_and(|inside| !inside.is_empty()) {
                        foreign(
                            context,
                            path,
                            "a folder that belongs to nothing the election publishes",
                        );
                    }
                }
                ListedKind::File => match extent.standing(&path) {
                    Standing::Belongs => {}
                    Standing::Later if later.len() < LATER_MAX => later.push(path),
                    Standing::Later => {
                        foreign(context, path, "it is far above what the log's batches hold")
                    }
                    Standing::Foreign => {
                        if is_there(context, &path) {
                            foreign(
                                context,
                                path,
                                "it belongs to nothing the election publishes",
                            );
                        }
                    }
                },
                ListedKind::Other => context.add(
                    Code::NotAFile,
                    Place::file(path),
                    Votes::AtMost(0),
                    "a symbolic link, a folder or a device has this name; it was not followed",
                ),
            }
        }
    }
    Some(later)
}

/// Judges what was listed as later, once everything was followed as far as it goes.
pub(super) fn judge_later(
    context: &Context<'_>,
    extent: &Extent<'_>,
    switches: &Switches,
    later: Vec<String>,
) {
    for path in later {
        let is_explained = extent.standing(&path) == Standing::Belongs;
        if is_explained || extent.is_of_a_broken_log(&path) || !is_there(context, &path) {
            continue;
        }
        match extent.checkpoint(&path) {
            Some((walk, size)) => {
                judge_stray(context, walk, &path, size, Votes::AtMost(0), switches)
            }
            None => foreign(
                context,
                path,
                "it lies above what the log's batches, or the anchor's objects, hold",
            ),
        }
    }
}

/// A writer's temporary file may be gone by now.
fn is_there(context: &Context<'_>, path: &str) -> bool {
    !matches!(context.fetch(path, 0), Ok(Fetched::Missing))
}

fn foreign(context: &Context<'_>, path: String, evidence: &str) {
    context.add(
        Code::ForeignFile,
        Place::file(path),
        Votes::AtMost(0),
        evidence,
    );
}
