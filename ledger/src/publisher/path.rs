//! The paths of the published tree (specs/protocol.md, section 15), below the election's folder.
//!
//! SPEC: "per log prefix `checkpoint`, `checkpoints/<size>`, `batches/<n>`, `tile/…`, `heads/cosigned/<size>`; `anchors/<name>/<n>`. Nothing else belongs there."

use protocol::merkle::tile::{BundleId, TileId};

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `manifest.json`
    Manifest,
    /// `results.json`
    Results,
    /// `<prefix>/checkpoint`
    Checkpoint,
    /// `<prefix>/checkpoints/<size>`
    CheckpointAt,
    /// `<prefix>/batches/<n>`
    Batch,
    /// `<prefix>/tile/<L>/<N>[.p/<W>]`
    Tile,
    /// `<prefix>/tile/entries/<N>[.p/<W>]`
    Bundle,
    /// `heads/cosigned/<size>`
    Cosigned,
    /// `anchors/<name>/<n>`
    Anchor,
}

impl Kind {
    /// What may stand at `path`; `None` if nothing may. Such a path is relative, and has no empty part, no `.` and no `..`.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "manifest.json" => return Some(Self::Manifest),
            "results.json" => return Some(Self::Results),
            _ => {}
        }
        let (folder, rest) = path.split_once('/')?;
        match folder {
            "heads" => match rest.strip_prefix("cosigned/") {
                Some(size) => is_decimal(size).then_some(Self::Cosigned),
                None => Self::of_file(rest),
            },
            "cells" => {
                let (cell, file) = rest.split_once('/')?;
                if is_decimal(cell) {
                    Self::of_file(file)
                } else {
                    None
                }
            }
            "registrars" => {
                let (registrar, rest) = rest.split_once('/')?;
                let (shard, file) = rest.split_once('/')?;
                if is_decimal(registrar) && is_decimal(shard) {
                    Self::of_file(file)
                } else {
                    None
                }
            }
            "anchors" => {
                let (name, number) = rest.split_once('/')?;
                (is_anchor_name(name) && is_decimal(number)).then_some(Self::Anchor)
            }
            _ => None,
        }
    }

    /// What stands at a path below a log's prefix.
    fn of_file(file: &str) -> Option<Self> {
        if file == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        let (folder, rest) = file.split_once('/')?;
        match folder {
            "checkpoints" => is_decimal(rest).then_some(Self::CheckpointAt),
            "batches" => is_decimal(rest).then_some(Self::Batch),
            "tile" if rest.starts_with("entries/") => {
                BundleId::parse_path(file).ok().map(|_| Self::Bundle)
            }
            "tile" => TileId::parse_path(file).ok().map(|_| Self::Tile),
            _ => None,
        }
    }

    /// Whether what stands there is created once and never replaced.
    #[must_use]
    pub const fn is_immutable(self) -> bool {
        !matches!(self, Self::Results | Self::Checkpoint)
    }

    /// What a web server says it is.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Manifest | Self::Results => "application/json",
            Self::Checkpoint | Self::CheckpointAt | Self::Cosigned => "text/plain; charset=utf-8",
            Self::Batch | Self::Tile | Self::Bundle | Self::Anchor => "application/octet-stream",
        }
    }
}

/// SPEC: "A decimal in a path or a note is ASCII without leading zeroes (`0` is `0`)."
fn is_decimal(text: &str) -> bool {
    text.parse::<u64>()
        .is_ok_and(|number| number.to_string() == text)
}

/// SPEC: "names match `[a-z0-9-]{1,64}`"
fn is_anchor_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_of_the_tree_has_its_kind() {
        for (path, kind) in [
            ("manifest.json", Kind::Manifest),
            ("results.json", Kind::Results),
            ("cells/0/checkpoint", Kind::Checkpoint),
            ("heads/checkpoint", Kind::Checkpoint),
            ("registrars/0/12/checkpoint", Kind::Checkpoint),
            ("cells/31/checkpoints/0", Kind::CheckpointAt),
            ("cells/31/batches/18446744073709551615", Kind::Batch),
            ("registrars/3/0/tile/0/000", Kind::Tile),
            ("cells/0/tile/1/x001/234.p/7", Kind::Tile),
            ("cells/0/tile/entries/x001/234", Kind::Bundle),
            ("heads/cosigned/99", Kind::Cosigned),
            ("anchors/a-0/7", Kind::Anchor),
        ] {
            assert_eq!(Kind::of(path), Some(kind), "{path}");
        }
    }

    #[test]
    fn nothing_else_is_a_path() {
        for path in [
            "",
            "/",
            ".",
            "..",
            "/manifest.json",
            "manifest.json/",
            "Manifest.json",
            "manifest.json\0",
            "../manifest.json",
            "cells",
            "cells/",
            "cells/0",
            "cells/0/",
            "cells/00/checkpoint",
            "cells/+1/checkpoint",
            "cells//checkpoint",
            "cells/../checkpoint",
            "cells/0/../0/checkpoint",
            "cells/0/checkpoint/",
            "cells/0//checkpoint",
            "cells/0/checkpoints",
            "cells/0/checkpoints/01",
            "cells/0/checkpoints/1/2",
            "cells/0/checkpoints/-1",
            "cells/0/batches/18446744073709551616",
            "cells/0/batches/1.p/2",
            "cells/0/tile/8/000",
            "cells/0/tile/00/000",
            "cells/0/tile/0/0",
            "cells/0/tile/0/000.p/0",
            "cells/0/tile/0/000.p/256",
            "cells/0/tile/0/../000",
            "cells/0/cosigned/1",
            "cells/0/0/checkpoint",
            "registrars/0/checkpoint",
            "registrars/0/0/0/checkpoint",
            "heads/0/checkpoint",
            "heads/cosigned/",
            "anchors/a/00",
            "anchors/A/0",
            "anchors//0",
            "anchors/../0",
            "anchors/a/0/0",
            "anchors/./0",
            "tmp/x",
            "cells\\0\\checkpoint",
        ] {
            assert_eq!(Kind::of(path), None, "{path:?}");
        }
    }
}
