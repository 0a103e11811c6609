//! The election id: SHA-256 of the manifest's bytes, and the one value that everything else hangs on.

mod log;

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use log::{LogId, LogIdError, cell_of, shard_of, voters_of_shard};

/// `SHA-256(manifest bytes)`. Shown, parsed and serialised as 64 lowercase hexadecimal digits, and in no other way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElectionId(pub [u8; 32]);

/// The text is not an election id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an election id is exactly 64 lowercase hexadecimal digits; copy it again from a source that you trust"
)]
pub struct ElectionIdError;

impl ElectionId {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ElectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ElectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ElectionId({self})")
    }
}

impl FromStr for ElectionId {
    type Err = ElectionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One encoding for one id: `hex` would also take upper case, and an id that can be written in two ways is two keys in
        // somebody's cache or path.
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ElectionIdError);
        }
        let mut id = [0u8; 32];
        hex::decode_to_slice(text, &mut id).map_err(|_| ElectionIdError)?;
        Ok(Self(id))
    }
}

impl Serialize for ElectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ElectionId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ElectionId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 lowercase hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ElectionId, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_the_only_text_form() {
        let id = ElectionId(core::array::from_fn(|i| u8::try_from(i * 7 % 256).unwrap()));
        let text = id.to_string();
        assert_eq!(text.len(), 64);
        assert_eq!(text.parse::<ElectionId>(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<ElectionId>(&format!("\"{text}\"")).unwrap(),
            id
        );

        for wrong in [
            text.to_uppercase(),
            text[1..].to_owned(),
            format!("{text}0"),
            format!(" {text}"),
            format!("0x{}", &text[2..]),
            format!("g{}", &text[1..]),
            String::new(),
        ] {
            assert_eq!(wrong.parse::<ElectionId>(), Err(ElectionIdError), "{wrong}");
            assert!(serde_json::from_str::<ElectionId>(&format!("\"{wrong}\"")).is_err());
        }
        assert!(serde_json::from_str::<ElectionId>("[1,2]").is_err());
    }
}
