//! Ed25519 signatures over checkpoints: key files now, AWS KMS behind the same trait.
