//! The name of a key in KMS.

use std::fmt;
use std::str::FromStr;

/// AWS takes no longer ones.
const LEN_MAX: usize = 2_048;

/// A key's ARN (`arn:aws:kms:eu-central-1:111122223333:key/…`), its id alone, or an alias (`alias/…`, or its ARN).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef(String);

/// It is none of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no KMS key: give its ARN, such as arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab, its id, or alias/NAME"
)]
pub struct KeyRefError(String);

impl KeyRef {
    /// As KMS takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The region, where the name says it.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        let mut parts = self.0.split(':');
        (parts.next() == Some("arn")).then(|| parts.nth(2))?
    }
}

impl FromStr for KeyRef {
    type Err = KeyRefError;

    fn from_str(text: &str) -> Result<Self, KeyRefError> {
        let id =
            |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let alias = |name: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/');
            !name.is_empty() && name.chars().all(fits)
        };
        let resource = |resource: &str| match resource.split_once('/') {
            Some(("key", name)) => id(name),
            Some(("alias", name)) => alias(name),
            _ => false,
        };
        let parts: Vec<&str> = text.split(':').collect();
        let names_one = match parts.as_slice() {
            ["arn", partition, "kms", region, account, rest] => {
                id(partition)
                    && id(region)
                    && !account.is_empty()
                    && account.bytes().all(|byte| byte.is_ascii_digit())
                    && resource(rest)
            }
            [name] => id(name) || name.strip_prefix("alias/").is_some_and(alias),
            _ => false,
        };
        if !names_one || text.len() > LEN_MAX {
            return Err(KeyRefError(text.chars().take(200).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_told_from_others() {
        for (name, region) in [
            (
                "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                Some("eu-central-1"),
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/election/cell-0",
                Some("us-gov-west-1"),
            ),
            ("1234abcd-12ab-34cd-56ef-1234567890ab", None),
            ("mrk-1234abcd12ab34cd56ef1234567890ab", None),
            ("alias/election_1/cell-0", None),
        ] {
            let key: KeyRef = name.parse().unwrap();
            assert_eq!((key.as_str(), key.region()), (name, region));
        }
        for other in [
            "",
            "main.key",
            "keys/main",
            "alias/",
            "alias/a b",
            "arn:aws:kms:eu-central-1:111122223333:key/",
            "arn:aws:s3:eu-central-1:111122223333:key/1234",
            "arn:aws:kms::111122223333:key/1234",
            "arn:aws:kms:eu-central-1::key/1234",
            "arn:aws:kms:eu-central-1:111122223333:key/1234:5",
            &"a".repeat(LEN_MAX + 1),
        ] {
            assert!(other.parse::<KeyRef>().is_err(), "{other}");
        }
    }
}
