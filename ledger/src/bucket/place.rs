//! Which bucket, and which part of it.

use std::fmt;

use aws::Aws;

/// A bucket's name, a prefix in it, and how AWS is reached for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    bucket: String,
    prefix: String,
    aws: Aws,
}

/// Why something names no bucket or no part of one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not a bucket's name.
    #[error(
        "{0:?} is no bucket's name: 3 to 63 of a-z, 0-9 and -, without a - at its ends (names with dots fit no certificate)"
    )]
    Bucket(String),
    /// Not a prefix.
    #[error(
        "{0:?} is no prefix: give parts of a-z, A-Z, 0-9, -, _ and . with / between them, 200 characters at most, and no part of dots alone"
    )]
    Prefix(String),
}

impl Place {
    /// The part of `bucket` below `prefix` (`""`: all of it).
    ///
    /// # Errors
    /// A name or a prefix that cannot be one.
    pub fn new(bucket: &str, prefix: &str, aws: Aws) -> Result<Self, PlaceError> {
        let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = (3..=63).contains(&bucket.len())
            && bucket.chars().all(|c| is_end(c) || c == '-')
            && bucket.starts_with(is_end)
            && bucket.ends_with(is_end);
        if !fits {
            return Err(PlaceError::Bucket(bucket.to_owned()));
        }
        let parts = prefix.trim_end_matches('/');
        let is_part = |part: &str| {
            !part.chars().all(|c| c == '.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        if parts.len() > 200 || !(parts.is_empty() || parts.split('/').all(is_part)) {
            return Err(PlaceError::Prefix(prefix.to_owned()));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: match parts {
                "" => String::new(),
                parts => format!("{parts}/"),
            },
            aws,
        })
    }

    /// The bucket's name.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all keys begin with: empty, or with a slash at its end.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How AWS is reached for it.
    #[must_use]
    pub const fn aws(&self) -> &Aws {
        &self.aws
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.prefix)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self}, {:?})", self.aws)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bucket: &str, prefix: &str) -> Result<String, PlaceError> {
        Place::new(bucket, prefix, Aws::default()).map(|place| place.to_string())
    }

    #[test]
    fn a_bucket_s_name_makes_a_host_s_name() {
        assert_eq!(place("votes-2026", ""), Ok("s3://votes-2026/".to_owned()));
        for name in [
            "",
            "ab",
            "-ab",
            "ab-",
            "a.b",
            "Votes",
            "a/b",
            "a b",
            &"a".repeat(64),
        ] {
            assert_eq!(place(name, ""), Err(PlaceError::Bucket(name.to_owned())));
        }
    }

    #[test]
    fn a_prefix_cannot_lead_elsewhere() {
        for prefix in ["a", "a/", "a/b.c/D_e-f"] {
            let shown = format!("s3://bucket/{}/", prefix.trim_end_matches('/'));
            assert_eq!(place("bucket", prefix), Ok(shown));
        }
        for prefix in [
            "/a",
            "a//b",
            "..",
            "a/../b",
            ".",
            "a?b",
            "a b",
            "ä",
            &"a".repeat(201),
        ] {
            let refused = Err(PlaceError::Prefix(prefix.to_owned()));
            assert_eq!(place("bucket", prefix), refused);
        }
    }
}
