//! The one encoding: paths, headers, sums.

use std::io::{self, Write};

/// The first file: the digest of every other, as `b3sum --check` reads it.
pub(super) const SUMS: &str = "BLAKE3SUMS";

pub(super) const BLOCK: usize = 512;
/// Two empty blocks end a tar.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

pub(super) fn bad(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// A line of the sums.
pub(super) fn write_sum(out: &mut impl Write, path: &str, digest: &blake3::Hash) -> io::Result<()> {
    writeln!(out, "{}  {path}", digest.to_hex())
}

/// Zeroes behind a file of this length.
pub(super) const fn padding(len: u64) -> u64 {
    (BLOCK as u64 - len % BLOCK as u64) % BLOCK as u64
}

/// Whether a part of this path is a file already: nobody could unpack both.
pub(super) fn is_below_a_file(path: &str, is_file: impl Fn(&str) -> bool) -> bool {
    path.match_indices('/')
        .filter_map(|(at, _)| path.get(..at))
        .any(is_file)
}

/// A path as packages hold it: parts of `[A-Za-z0-9._-]`, none of them empty, `.` or `..`.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    })
}

/// The one header of a file.
pub(super) fn header(path: &str, len: u64) -> io::Result<[u8; BLOCK]> {
    // "elections/<id>" goes into the prefix, where there is more than a name holds.
    let (prefix, name) = if path.len() <= 100 {
        ("", path)
    } else {
        path.match_indices('/')
            .map(|(at, _)| (path.get(..at), path.get(at + 1..)))
            .find_map(|(prefix, name)| {
                let (prefix, name) = (prefix?, name?);
                (prefix.len() <= 155 && name.len() <= 100).then_some((prefix, name))
            })
            .ok_or_else(|| bad(format!("{path} is too long for a tar")))?
    };
    if !is_plain(path) || len >= 1 << 33 {
        return Err(bad(format!(
            "{path} is no path of a package, or too long a file"
        )));
    }
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{len:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    Ok(block)
}

/// Reads a header: what [`header`] makes, and nothing else.
pub(super) fn parse_header(block: &[u8; BLOCK]) -> io::Result<(String, u64)> {
    let text = |from: usize, to: usize| {
        let field = block.get(from..to).unwrap_or_default();
        let end = field
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(field.len());
        std::str::from_utf8(field.get(..end).unwrap_or_default())
            .map_err(|_| bad("a name is not text"))
    };
    let (name, prefix) = (text(0, 100)?, text(345, 500)?);
    let path = if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}/{name}")
    };
    let len = u64::from_str_radix(text(124, 136)?, 8)
        .map_err(|_| bad(format!("the length of {path:?} is no number")))?;
    if header(&path, len)? != *block {
        return Err(bad(format!(
            "{path:?} is not a plain file with the metadata of a package"
        )));
    }
    Ok((path, len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_lead_elsewhere_is_none_of_a_package() {
        for good in ["a", "elections/0a/cells/0/tile/x001/067.p/1", "a_b-c.d"] {
            assert_eq!(
                parse_header(&header(good, 7).unwrap()).unwrap(),
                (good.to_owned(), 7)
            );
        }
        for bad in [
            "", ".", "..", "a/../b", "a//b", "/a", "a/", "a b", "a\\b", "\u{e9}",
        ] {
            assert!(header(bad, 7).is_err(), "{bad:?}");
        }
        assert!(header("a", (1 << 33) - 1).is_ok());
        assert!(header("a", 1 << 33).is_err());
    }
}
