//! Vector files, and RSA keys that are the same on every run.

use std::path::PathBuf;
use std::sync::LazyLock;

use openssl::bn::{BigNum, BigNumContext};
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Compares a vector file with what the tests would write now; writes it when asked to. Returns the file's text.
pub(crate) fn vector_file<T: Serialize>(name: &str, made: &T) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../specs/vectors")
        .join(name);
    let made = serde_json::to_string_pretty(made).unwrap() + "\n";
    if std::env::var_os("TALLYROOT_WRITE_VECTORS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text == made,
        "specs/vectors/{name} is not what its generator makes; run with TALLYROOT_WRITE_VECTORS=1 and read the diff"
    );
    text
}

/// `len` bytes that depend on the label only. Nothing made from them is secret.
pub(crate) fn bytes(label: &str, len: usize) -> Vec<u8> {
    (0u32..)
        .flat_map(|counter| Sha256::digest([label.as_bytes(), &counter.to_be_bytes()].concat()))
        .take(len)
        .collect()
}

pub(crate) fn array<const N: usize>(label: &str) -> [u8; N] {
    bytes(label, N).try_into().unwrap()
}

/// The first prime p at or after a number made from the label, with its two top bits set and p - 1 not a multiple of 65537.
pub(crate) fn prime(label: &str, bits: i32) -> BigNum {
    let mut context = BigNumContext::new().unwrap();
    let mut number = bytes(label, (bits as usize).div_ceil(8));
    number[0] &= 0xff >> (number.len() * 8 - bits as usize);
    let mut candidate = BigNum::from_slice(&number).unwrap();
    for bit in [0, bits - 2, bits - 1] {
        candidate.set_bit(bit).unwrap();
    }
    while candidate.mod_word(65_537).unwrap() == 1
        || !candidate.is_prime_fasttest(20, &mut context, true).unwrap()
    {
        candidate.add_word(2).unwrap();
    }
    candidate
}

/// A registrar's key pair. For tests: whoever reads the label can make it again.
pub(crate) struct Registrar {
    pub(crate) private: Rsa<Private>,
    pub(crate) spki: Vec<u8>,
}

impl Registrar {
    fn make(label: &str, bits: i32) -> Self {
        let p = prime(&format!("{label} p"), bits / 2);
        let q = prime(&format!("{label} q"), bits / 2);
        Self::from_primes(p, q)
    }

    fn from_primes(p: BigNum, q: BigNum) -> Self {
        let mut context = BigNumContext::new().unwrap();
        let one = BigNum::from_u32(1).unwrap();
        let e = BigNum::from_u32(65_537).unwrap();
        let mut n = BigNum::new().unwrap();
        n.checked_mul(&p, &q, &mut context).unwrap();
        let (p_1, q_1) = (&p - &one, &q - &one);
        let mut phi = BigNum::new().unwrap();
        phi.checked_mul(&p_1, &q_1, &mut context).unwrap();
        let mut d = BigNum::new().unwrap();
        d.mod_inverse(&e, &phi, &mut context).unwrap();
        let d_p = &d % &p_1;
        let d_q = &d % &q_1;
        let mut q_inverse = BigNum::new().unwrap();
        q_inverse.mod_inverse(&q, &p, &mut context).unwrap();
        let private = Rsa::from_private_components(n, e, d, p, q, d_p, d_q, q_inverse).unwrap();
        assert!(private.check_key().unwrap());
        let spki = private.public_key_to_der().unwrap();
        Self { private, spki }
    }

    pub(crate) fn len(&self) -> usize {
        self.private.size() as usize
    }

    pub(crate) fn modulus(&self) -> Vec<u8> {
        self.private.n().to_vec()
    }

    /// The raw private operation, as a registrar does it.
    pub(crate) fn power_of_d(&self, input: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.len()];
        let len = self
            .private
            .private_decrypt(input, &mut out, Padding::NONE)
            .unwrap();
        assert_eq!(len, self.len());
        out
    }
}

/// 2048 bits.
pub(crate) static REGISTRAR_2048: LazyLock<Registrar> =
    LazyLock::new(|| Registrar::make("tallyroot test rsa 2048", 2048));
/// 2056 bits: a multiple of 8 and of no machine word.
pub(crate) static REGISTRAR_2056: LazyLock<Registrar> =
    LazyLock::new(|| Registrar::make("tallyroot test rsa 2056", 2056));
/// 4096 bits: the key of RFC 9474 appendix A.
pub(crate) static REGISTRAR_4096: LazyLock<Registrar> = LazyLock::new(|| {
    let field = |name: &str| {
        let text = include_str!("../data/rfc9474_a3.txt");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        BigNum::from_hex_str(line.unwrap()).unwrap()
    };
    Registrar::from_primes(field("p"), field("q"))
});
