//! What KMS refuses or fails at, and what to do about it.

use std::fmt;

use aws::{AwsError, Fault, FaultKind};

use crate::SignError;

/// What is asked of KMS, by the name of its permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `kms:GetPublicKey`
    GetPublicKey,
    /// `kms:Sign`
    Sign,
    /// `kms:Encrypt`
    Encrypt,
    /// `kms:Decrypt`
    Decrypt,
    /// `kms:CreateKey`
    CreateKey,
    /// `kms:TagResource`
    TagResource,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a key in KMS cannot be used. Holds nothing of what was signed or wrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// AWS cannot be asked at all.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// KMS was not reached, failed, or asked for patience.
    #[error(
        "KMS did not {operation} with the key {key} ({fault}): {}", again(*.operation)
    )]
    Unavailable {
        /// The key.
        key: String,
        /// What was asked.
        operation: Operation,
        /// What came back.
        fault: Fault,
    },
    /// KMS refused, and will until somebody changes something.
    #[error("KMS refuses {operation} with the key {key} ({fault}): {}", advice(*.operation, .fault))]
    Refused {
        /// The key.
        key: String,
        /// What was asked.
        operation: Operation,
        /// What came back.
        fault: Fault,
    },
    /// The key is there, and is of another kind.
    #[error(
        "the key {key} is {found}: give one of the spec ECC_NIST_EDWARDS25519 with the usage SIGN_VERIFY"
    )]
    OtherKind {
        /// The key.
        key: String,
        /// Its spec and usage.
        found: String,
    },
    /// KMS answered what cannot be.
    #[error("KMS answered for the key {key} what it never should: {what}")]
    Answer {
        /// The key.
        key: String,
        /// What it was.
        what: &'static str,
    },
    /// KMS encrypts at most 4,096 bytes at once.
    #[error("{0} bytes are more than KMS wraps at once (4,096)")]
    TooLong(usize),
}

impl KmsError {
    pub(super) fn of(key: &str, operation: Operation, fault: Fault) -> Self {
        let key = key.to_owned();
        // KMS says of both that the request can be repeated.
        let again = fault.is("KeyUnavailableException") || fault.is("DependencyTimeoutException");
        if fault.passes() || again {
            return Self::Unavailable {
                key,
                operation,
                fault,
            };
        }
        Self::Refused {
            key,
            operation,
            fault,
        }
    }

    /// Whether the same may succeed later, without anybody changing anything.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

impl From<KmsError> for SignError {
    fn from(error: KmsError) -> Self {
        match error {
            KmsError::Unavailable { .. } => Self::Unavailable(error.to_string()),
            other => Self::Refused(other.to_string()),
        }
    }
}

/// Whether trying again is safe.
const fn again(operation: Operation) -> &'static str {
    match operation {
        // Making one more is no repetition of the first.
        Operation::CreateKey => {
            "a key may have been made all the same: look for it by its tag tallyroot-base before you try again"
        }
        _ => "nothing is known to be wrong with it; trying again is safe",
    }
}

/// What to do.
fn advice(operation: Operation, fault: &Fault) -> String {
    let by_code = match fault.code.as_deref() {
        Some("NotFoundException") => {
            "there is no such key in this account and region; check its name, and the region"
        }
        Some("DisabledException") => {
            "the key is disabled; if that was not done on purpose, enable it (aws kms enable-key), else have the log switched to its spare key (tallyroot election switch)"
        }
        Some("KMSInvalidStateException") => {
            "the key is not in a state to be used; if it is pending deletion, and not on purpose, keep it (aws kms cancel-key-deletion, then enable-key), else have the log switched to its spare key (tallyroot election switch)"
        }
        Some("InvalidKeyUsageException" | "UnsupportedOperationException") => {
            "the key is for another purpose; give one that was made for this"
        }
        Some("InvalidCiphertextException" | "IncorrectKeyException") => {
            "what was wrapped is damaged, or was wrapped by another key, for another election or for another registrar"
        }
        _ => "",
    };
    match (by_code, fault.kind) {
        ("", FaultKind::NotAllowed) => format!(
            "give this process credentials (a role) whose policy, and the key's, allow kms:{operation}"
        ),
        ("", _) => "see what it says".to_owned(),
        (advice, _) => advice.to_owned(),
    }
}
