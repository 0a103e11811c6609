//! Registrars' keys in every wrong encoding, and signatures of every wrong kind.

use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA384, RsaPssSaltLength, UnparsedPublicKey};
use openssl::bn::{BigNum, BigNumContext};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::Verifier;
use proptest::prelude::*;
use protocol::rsa::{RegistrarKey, RsaError};
use serde::{Deserialize, Serialize};

use crate::support::{
    REGISTRAR_2048, REGISTRAR_2056, REGISTRAR_4096, Registrar, bytes, prime, vector_file,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    about: String,
    keys: Vec<KeyCase>,
    signatures: Vec<SignatureCase>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyCase {
    name: String,
    why: String,
    spki: String,
    valid: bool,
    error: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureCase {
    name: String,
    why: String,
    spki: String,
    message: String,
    signature: String,
    valid: bool,
    error: Option<String>,
}

/// The error's name without its fields, which are this implementation's own.
fn error_name(error: &RsaError) -> String {
    format!("{error:?}").split(' ').next().unwrap().to_owned()
}

// --- keys -----------------------------------------------------------------------------------------------------------------

/// One DER element, with the shortest length. Written for the tests alone, and able to write what is wrong.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let head = match len {
        0..=0x7f => vec![tag, len as u8],
        0x80..=0xff => vec![tag, 0x81, len as u8],
        _ => vec![tag, 0x82, (len >> 8) as u8, len as u8],
    };
    [head, content.to_vec()].concat()
}

const NULL: &[u8] = &[5, 0];
const RSA_ENCRYPTION: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const RSASSA_PSS: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];

/// The parts of an SPKI, each of which a test may replace.
struct Spki {
    algorithm: Vec<u8>,
    unused_bits: u8,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    after_exponent: Vec<u8>,
    after_key: Vec<u8>,
}

impl Spki {
    /// With a modulus given big-endian without leading zeroes, encoded as DER asks.
    fn new(modulus: &[u8]) -> Self {
        let zero: &[u8] = if modulus[0] >= 0x80 { &[0] } else { &[] };
        Self {
            algorithm: [RSA_ENCRYPTION, NULL].concat(),
            unused_bits: 0,
            modulus: [zero, modulus].concat(),
            exponent: vec![1, 0, 1],
            after_exponent: vec![],
            after_key: vec![],
        }
    }

    fn encode(&self) -> Vec<u8> {
        let key = der(
            0x30,
            &[
                der(2, &self.modulus),
                der(2, &self.exponent),
                self.after_exponent.clone(),
            ]
            .concat(),
        );
        let bits = der(3, &[vec![self.unused_bits], key].concat());
        der(
            0x30,
            &[der(0x30, &self.algorithm), bits, self.after_key.clone()].concat(),
        )
    }
}

fn product(a: &BigNum, b: &BigNum) -> Vec<u8> {
    let mut out = BigNum::new().unwrap();
    out.checked_mul(a, b, &mut BigNumContext::new().unwrap())
        .unwrap();
    out.to_vec()
}

/// A number of exactly 2048 bits that is `factor` times two large primes.
fn with_factor(factor: u32) -> Vec<u8> {
    let factor = BigNum::from_u32(factor).unwrap();
    let p = BigNum::from_slice(&product(&prime("cofactor p", 1024), &factor)).unwrap();
    // Two top bits set in each prime: within three lengths one product fits.
    let lengths = (1022 - factor.num_bits()..=1026 - factor.num_bits()).rev();
    let mut products = lengths.map(|bits| product(&p, &prime("cofactor q", bits)));
    products.find(|n| n.len() == 256 && n[0] >= 0x80).unwrap()
}

/// An odd number of exactly `bits` bits. Its factors do not matter: its size is judged first.
fn of_size(bits: usize) -> Vec<u8> {
    let mut number = bytes("of size", bits.div_ceil(8));
    let top = (bits - 1) % 8;
    number[0] = number[0] & ((1 << top) - 1) | 1 << top;
    *number.last_mut().unwrap() |= 1;
    number
}

fn key_cases() -> Vec<KeyCase> {
    let mut cases = Vec::new();
    let mut add = |name: &str, why: &str, spki: Vec<u8>| {
        let result = RegistrarKey::from_spki(&spki);
        cases.push(KeyCase {
            name: name.to_owned(),
            why: why.to_owned(),
            spki: hex::encode(&spki),
            valid: result.is_ok(),
            error: result.err().as_ref().map(error_name),
        });
    };
    let modulus = REGISTRAR_2048.modulus();
    let good = || Spki::new(&modulus);
    let encoded = good().encode();
    assert_eq!(encoded, REGISTRAR_2048.spki);

    add("2048 bits", "the one encoding", encoded.clone());
    add(
        "2056 bits",
        "a multiple of 8 is enough",
        REGISTRAR_2056.spki.clone(),
    );
    add("4096 bits", "the longest", REGISTRAR_4096.spki.clone());
    add(
        "factor 65537",
        "only primes below 65,536 are tried",
        Spki::new(&with_factor(65_537)).encode(),
    );

    // Encodings.
    add("empty", "no DER at all", vec![]);
    add(
        "trailing byte",
        "nothing may follow",
        [&encoded[..], &[0]].concat(),
    );
    add(
        "last byte missing",
        "lengths must hold",
        encoded[..encoded.len() - 1].to_vec(),
    );
    add(
        "long length form",
        "the outer length in three bytes: BER, not DER",
        [&[0x30, 0x83, 0], &encoded[2..]].concat(),
    );
    add(
        "indefinite length",
        "BER, not DER",
        [&[0x30, 0x80], &encoded[4..], &[0, 0]].concat(),
    );
    add(
        "another tag",
        "SET instead of SEQUENCE",
        [&[0x31], &encoded[1..]].concat(),
    );
    add(
        "PKCS #1",
        "an RSAPublicKey without the SubjectPublicKeyInfo around it",
        REGISTRAR_2048.private.public_key_to_der_pkcs1().unwrap(),
    );
    add(
        "PEM",
        "text instead of DER",
        REGISTRAR_2048.private.public_key_to_pem().unwrap(),
    );
    add(
        "private key",
        "not a public key",
        PKey::from_rsa(REGISTRAR_2048.private.clone())
            .unwrap()
            .private_key_to_der()
            .unwrap(),
    );
    add(
        "unused bits",
        "the BIT STRING holds whole bytes",
        Spki {
            unused_bits: 1,
            ..good()
        }
        .encode(),
    );
    add(
        "third integer",
        "nothing may follow the exponent",
        Spki {
            after_exponent: vec![2, 1, 1],
            ..good()
        }
        .encode(),
    );
    add(
        "third member",
        "nothing may follow the key",
        Spki {
            after_key: NULL.to_vec(),
            ..good()
        }
        .encode(),
    );
    add(
        "modulus with two leading zeroes",
        "INTEGERs are minimal",
        Spki {
            modulus: [&[0, 0], &modulus[..]].concat(),
            ..good()
        }
        .encode(),
    );
    add(
        "modulus without its leading zero",
        "a negative INTEGER",
        Spki {
            modulus: modulus.clone(),
            ..good()
        }
        .encode(),
    );
    add(
        "modulus empty",
        "no INTEGER",
        Spki {
            modulus: vec![],
            ..good()
        }
        .encode(),
    );
    add(
        "modulus zero",
        "no RSA key",
        Spki {
            modulus: vec![0],
            ..good()
        }
        .encode(),
    );
    add("Ed25519 key", "another kind of key", ed25519_spki());

    // Algorithm.
    add(
        "id-RSASSA-PSS",
        "browsers cannot import it; rsaEncryption is used for RSASSA-PSS keys too",
        Spki {
            algorithm: RSASSA_PSS.to_vec(),
            ..good()
        }
        .encode(),
    );
    add(
        "id-RSASSA-PSS with NULL",
        "browsers cannot import it",
        Spki {
            algorithm: [RSASSA_PSS, NULL].concat(),
            ..good()
        }
        .encode(),
    );
    let pss_parameters = pss_algorithm();
    add(
        "id-RSASSA-PSS with SHA-384 and salt 48",
        "browsers cannot import it",
        Spki {
            algorithm: pss_parameters,
            ..good()
        }
        .encode(),
    );
    add(
        "no NULL",
        "rsaEncryption has NULL parameters (RFC 3279)",
        Spki {
            algorithm: RSA_ENCRYPTION.to_vec(),
            ..good()
        }
        .encode(),
    );

    // Exponents.
    for (name, exponent) in [
        ("exponent 3", &[3][..]),
        ("exponent 1", &[1]),
        ("exponent 17", &[17]),
        ("exponent 65536", &[1, 0, 0]),
        ("exponent 65539", &[1, 0, 3]),
        ("exponent 65537 with a leading zero", &[0, 1, 0, 1]),
        ("exponent of 2048 bits", &modulus[..]),
    ] {
        add(
            name,
            "the exponent is 65537, in three bytes",
            Spki {
                exponent: exponent.to_vec(),
                ..good()
            }
            .encode(),
        );
    }

    // Moduli.
    let one = BigNum::from_u32(1).unwrap();
    let n = BigNum::from_slice(&modulus).unwrap();
    add(
        "even modulus",
        "2 divides it",
        Spki::new(&(&n - &one).to_vec()).encode(),
    );
    for factor in [3, 5, 251, 65_521] {
        add(
            &format!("factor {factor}"),
            "a prime below 65,536 divides the modulus",
            Spki::new(&with_factor(factor)).encode(),
        );
    }
    let p = prime("square", 1024);
    add(
        "perfect square",
        "its root is its factor",
        Spki::new(&product(&p, &p)).encode(),
    );
    for bits in [1024, 2040, 2047, 2049, 2052, 4104] {
        add(
            &format!("{bits} bits"),
            "2048 to 4096 bits, a multiple of 8",
            Spki::new(&of_size(bits)).encode(),
        );
    }
    cases
}

/// AlgorithmIdentifier content for id-RSASSA-PSS, SHA-384, MGF1 with SHA-384, salt 48 (RFC 8017 appendix A.2.3).
fn pss_algorithm() -> Vec<u8> {
    let sha384 = der(
        0x30,
        &[&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], NULL].concat(),
    );
    let mgf1 = der(
        0x30,
        &[
            &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8][..],
            &sha384,
        ]
        .concat(),
    );
    let parameters = [
        der(0xa0, &sha384),
        der(0xa1, &mgf1),
        der(0xa2, &der(2, &[48])),
    ]
    .concat();
    [RSASSA_PSS, &der(0x30, &parameters)].concat()
}

/// An Ed25519 SubjectPublicKeyInfo.
fn ed25519_spki() -> Vec<u8> {
    let seed = bytes("ed25519 spki", 32);
    PKey::private_key_from_raw_bytes(&seed, openssl::pkey::Id::ED25519)
        .unwrap()
        .public_key_to_der()
        .unwrap()
}

// --- signatures -----------------------------------------------------------------------------------------------------------

/// How an encoded message is made; `ours` is the right way.
pub(crate) struct Pss {
    digest: MessageDigest,
    mgf: MessageDigest,
    salt: Vec<u8>,
    separator: u8,
    padding: u8,
    trailer: u8,
    top_bit: u8,
}

impl Pss {
    pub(crate) fn ours(salt: Vec<u8>) -> Self {
        let sha384 = MessageDigest::sha384();
        Self {
            digest: sha384,
            mgf: sha384,
            salt,
            separator: 1,
            padding: 0,
            trailer: 0xbc,
            top_bit: 0,
        }
    }

    /// EMSA-PSS-ENCODE of RFC 8017 section 9.1.1, by OpenSSL's hashes.
    pub(crate) fn encode(&self, message: &[u8], len: usize) -> Vec<u8> {
        let message_hash = hash(self.digest, message).unwrap();
        let h = hash(
            self.digest,
            &[&[0; 8], &message_hash[..], &self.salt].concat(),
        )
        .unwrap();
        let mut db = vec![self.padding; len - h.len() - 1 - 1 - self.salt.len()];
        db.push(self.separator);
        db.extend(&self.salt);
        let mut mask = Vec::new();
        for counter in 0u32.. {
            if mask.len() >= db.len() {
                break;
            }
            mask.extend_from_slice(
                &hash(self.mgf, &[&h[..], &counter.to_be_bytes()].concat()).unwrap(),
            );
        }
        for (byte, mask) in db.iter_mut().zip(mask) {
            *byte ^= mask;
        }
        db[0] = db[0] & 0x7f | self.top_bit;
        [&db[..], &h, &[self.trailer]].concat()
    }

    fn sign(&self, registrar: &Registrar, message: &[u8]) -> Vec<u8> {
        registrar.power_of_d(&self.encode(message, registrar.len()))
    }
}

fn ours(label: &str) -> Pss {
    Pss::ours(bytes(label, 48))
}

fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    (&BigNum::from_slice(a).unwrap() + &BigNum::from_slice(b).unwrap()).to_vec()
}

fn signature_cases() -> Vec<SignatureCase> {
    let mut cases = Vec::new();
    let mut add =
        |name: &str, why: &str, registrar: &Registrar, message: &[u8], signature: Vec<u8>| {
            let result = RegistrarKey::from_spki(&registrar.spki)
                .unwrap()
                .verify(message, &signature);
            cases.push(SignatureCase {
                name: name.to_owned(),
                why: why.to_owned(),
                spki: hex::encode(&registrar.spki),
                message: hex::encode(message),
                signature: hex::encode(signature),
                valid: result.is_ok(),
                error: result.err().as_ref().map(error_name),
            });
        };
    let registrar = &*REGISTRAR_2048;
    let message = b"a credential message";
    let good = ours("salt").sign(registrar, message);

    add(
        "2048 bits",
        "SHA-384, MGF1 with SHA-384, salt of 48 bytes",
        registrar,
        message,
        good.clone(),
    );
    add(
        "2056 bits",
        "likewise",
        &REGISTRAR_2056,
        message,
        ours("salt").sign(&REGISTRAR_2056, message),
    );
    add(
        "4096 bits",
        "likewise",
        &REGISTRAR_4096,
        message,
        ours("salt").sign(&REGISTRAR_4096, message),
    );
    add(
        "empty message",
        "likewise",
        registrar,
        b"",
        ours("salt").sign(registrar, b""),
    );
    add(
        "zero salt",
        "a salt is not judged, only its length",
        registrar,
        message,
        Pss::ours(vec![0; 48]).sign(registrar, message),
    );

    add(
        "another message",
        "the message is signed",
        registrar,
        b"b credential message",
        good.clone(),
    );
    add(
        "another key",
        "the signature is another registrar's",
        &REGISTRAR_2056,
        message,
        [&[0], &good[..]].concat(),
    );
    for place in [0, 100, 255] {
        let mut flipped = good.clone();
        flipped[place] ^= 1;
        add(
            &format!("byte {place} changed"),
            "no bit may differ",
            registrar,
            message,
            flipped,
        );
    }

    for len in [0, 1, 20, 32, 47, 49, 64, 256 - 48 - 2] {
        let pss = Pss::ours(bytes("salt", len));
        add(
            &format!("salt of {len} bytes"),
            "the salt has exactly 48 bytes",
            registrar,
            message,
            pss.sign(registrar, message),
        );
    }
    let (sha256, sha512) = (MessageDigest::sha256(), MessageDigest::sha512());
    for (name, pss) in [
        (
            "SHA-256",
            Pss {
                digest: sha256,
                mgf: sha256,
                ..ours("salt")
            },
        ),
        (
            "SHA-512",
            Pss {
                digest: sha512,
                mgf: sha512,
                ..ours("salt")
            },
        ),
        (
            "MGF1 with SHA-256",
            Pss {
                mgf: sha256,
                ..ours("salt")
            },
        ),
        (
            "MGF1 with SHA-1",
            Pss {
                mgf: MessageDigest::sha1(),
                ..ours("salt")
            },
        ),
        (
            "trailer cc",
            Pss {
                trailer: 0xcc,
                ..ours("salt")
            },
        ),
        (
            "separator 02",
            Pss {
                separator: 2,
                ..ours("salt")
            },
        ),
        (
            "padding not zero",
            Pss {
                padding: 4,
                ..ours("salt")
            },
        ),
    ] {
        add(
            name,
            "the encoding is EMSA-PSS with SHA-384 throughout",
            registrar,
            message,
            pss.sign(registrar, message),
        );
    }
    // With its top bit set, an encoded message is still below this modulus for the right salt.
    let mut top = (0..).map(|i| Pss {
        top_bit: 0x80,
        ..ours(&format!("top {i}"))
    });
    let top = top
        .find(|pss| pss.encode(message, registrar.len()) < registrar.modulus())
        .unwrap();
    add(
        "top bit of the encoded message",
        "it must be zero",
        registrar,
        message,
        top.sign(registrar, message),
    );

    let mut pkcs1 = vec![0; registrar.len()];
    let digest_info = [
        der(
            0x30,
            &[&[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], NULL].concat(),
        ),
        der(4, &hash(MessageDigest::sha384(), message).unwrap()),
    ]
    .concat();
    registrar
        .private
        .private_encrypt(&der(0x30, &digest_info), &mut pkcs1, Padding::PKCS1)
        .unwrap();
    add("PKCS #1 v1.5", "RSASSA-PSS only", registrar, message, pkcs1);

    // Numbers that are the same signature modulo n, and lengths.
    let n = registrar.modulus();
    let small = (0u32..)
        .map(|i| ours(&format!("small {i}")).sign(registrar, message))
        .find(|s| plus(s, &n).len() == n.len())
        .unwrap();
    add(
        "small signature",
        "the next one without n added",
        registrar,
        message,
        small.clone(),
    );
    add(
        "signature plus n",
        "the same number modulo n, a second time",
        registrar,
        message,
        plus(&small, &n),
    );
    add(
        "zero byte in front",
        "the length is the modulus length",
        registrar,
        message,
        [&[0], &good[..]].concat(),
    );
    add(
        "zero byte behind",
        "the length is the modulus length",
        registrar,
        message,
        [&good[..], &[0]].concat(),
    );
    let short = (0u32..)
        .map(|i| ours(&format!("short {i}")).sign(registrar, message))
        .find(|s| s[0] == 0)
        .unwrap();
    add(
        "leading zero",
        "leading zeroes are kept",
        registrar,
        message,
        short.clone(),
    );
    add(
        "leading zero dropped",
        "the length is the modulus length",
        registrar,
        message,
        short[1..].to_vec(),
    );
    add(
        "empty",
        "the length is the modulus length",
        registrar,
        message,
        vec![],
    );
    let one = [vec![0; n.len() - 1], vec![1]].concat();
    let mut n_minus_1 = n.clone();
    *n_minus_1.last_mut().unwrap() -= 1;
    add(
        "zero",
        "no signature of anything",
        registrar,
        message,
        vec![0; n.len()],
    );
    add("one", "no signature of anything", registrar, message, one);
    add(
        "n - 1",
        "in range, no signature",
        registrar,
        message,
        n_minus_1,
    );
    add("n", "out of range", registrar, message, n.clone());
    add(
        "all ones",
        "out of range",
        registrar,
        message,
        vec![0xff; n.len()],
    );
    let minus = &BigNum::from_slice(&n).unwrap() - &BigNum::from_slice(&good).unwrap();
    add(
        "n minus the signature",
        "the negative of a signature is none",
        registrar,
        message,
        minus.to_vec_padded(256).unwrap(),
    );
    cases
}

fn make() -> Vectors {
    Vectors {
        format: "tallyroot/v1/vectors/rsa".to_owned(),
        about: "Registrars' keys and signatures, specs/protocol.md section 5. Byte strings are hex; messages are signed as they stand. A verifier \
                must answer `valid`; `error` is the Rust implementation's name for the first broken rule. The private keys are not secret."
            .to_owned(),
        keys: key_cases(),
        signatures: signature_cases(),
    }
}

#[test]
fn the_vector_file_holds() {
    let vectors: Vectors = serde_json::from_str(&vector_file("rsa.json", &make())).unwrap();
    let mut errors = Vec::new();
    for case in &vectors.keys {
        let result = RegistrarKey::from_spki(&hex::decode(&case.spki).unwrap());
        assert_eq!(result.is_ok(), case.valid, "{}", case.name);
        assert_eq!(
            result.as_ref().err().map(error_name),
            case.error,
            "{}",
            case.name
        );
        errors.extend(result.err().as_ref().map(error_name));
    }
    for case in &vectors.signatures {
        let decode = |text: &str| hex::decode(text).unwrap();
        let key = RegistrarKey::from_spki(&decode(&case.spki)).unwrap();
        let result = key.verify(&decode(&case.message), &decode(&case.signature));
        assert_eq!(result.is_ok(), case.valid, "{}", case.name);
        assert_eq!(
            result.as_ref().err().map(error_name),
            case.error,
            "{}",
            case.name
        );
        errors.extend(result.err().as_ref().map(error_name));
    }
    for error in [
        "Malformed",
        "Algorithm",
        "ModulusSize",
        "EvenModulus",
        "SmallFactor",
        "PerfectSquare",
        "Exponent",
        "SignatureLength",
        "SignatureRange",
        "BadSignature",
    ] {
        assert!(
            errors.iter().any(|found| found == error),
            "{error} never occurs"
        );
    }
    let valid = |names: &[&str], found: Vec<&str>| assert_eq!(found, names);
    valid(
        &["2048 bits", "2056 bits", "4096 bits", "factor 65537"],
        vectors
            .keys
            .iter()
            .filter(|case| case.valid)
            .map(|case| case.name.as_str())
            .collect(),
    );
    valid(
        &[
            "2048 bits",
            "2056 bits",
            "4096 bits",
            "empty message",
            "zero salt",
            "small signature",
            "leading zero",
        ],
        vectors
            .signatures
            .iter()
            .filter(|case| case.valid)
            .map(|case| case.name.as_str())
            .collect(),
    );
}

/// OpenSSL, told to insist on a salt of 48 bytes, gives the same answer for every signature vector but one: it takes a signature
/// whose leading zero byte was dropped, and so would accept two spellings.
#[test]
fn openssl_agrees_on_every_signature() {
    for case in signature_cases() {
        let key = PKey::public_key_from_der(&hex::decode(&case.spki).unwrap()).unwrap();
        let mut verifier = Verifier::new(MessageDigest::sha384(), &key).unwrap();
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier.set_rsa_mgf1_md(MessageDigest::sha384()).unwrap();
        verifier
            .set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::custom(48))
            .unwrap();
        let signature = hex::decode(&case.signature).unwrap();
        let answer = verifier
            .verify_oneshot(&signature, &hex::decode(&case.message).unwrap())
            .unwrap_or(false);
        assert_eq!(
            answer,
            case.valid || case.name == "leading zero dropped",
            "{}",
            case.name
        );
    }
}

/// That other salts are refused for their length and nothing else: AWS-LC takes each of them when it is told that length.
#[test]
fn other_salt_lengths_are_signatures_that_only_the_salt_rule_refuses() {
    static SALT_0: aws_lc_rs::signature::RsaParameters =
        RSA_PSS_2048_8192_SHA384.with_pss_salt_length(RsaPssSaltLength::Custom(0));
    static SALT_32: aws_lc_rs::signature::RsaParameters =
        RSA_PSS_2048_8192_SHA384.with_pss_salt_length(RsaPssSaltLength::Custom(32));
    static SALT_MAX: aws_lc_rs::signature::RsaParameters =
        RSA_PSS_2048_8192_SHA384.with_pss_salt_length(RsaPssSaltLength::Max);
    let registrar = &*REGISTRAR_2048;
    let key = RegistrarKey::from_spki(&registrar.spki).unwrap();
    for (len, parameters) in [(0, &SALT_0), (32, &SALT_32), (206, &SALT_MAX)] {
        let signature = Pss::ours(bytes("salt", len)).sign(registrar, b"m");
        assert!(
            UnparsedPublicKey::new(parameters, &registrar.spki)
                .verify(b"m", &signature)
                .is_ok(),
            "{len}"
        );
        assert_eq!(
            key.verify(b"m", &signature),
            Err(RsaError::BadSignature),
            "{len}"
        );
    }
}

#[test]
fn a_parsed_key_shows_what_it_was_made_of() {
    for registrar in [&*REGISTRAR_2048, &*REGISTRAR_2056, &*REGISTRAR_4096] {
        let key = RegistrarKey::from_spki(&registrar.spki).unwrap();
        assert_eq!(key.spki(), registrar.spki);
        assert_eq!(key.modulus(), registrar.modulus());
        assert_eq!(key.signature_len(), registrar.len());
        assert_eq!(key, key.clone());
    }
    let [one, other] = [&*REGISTRAR_2048, &*REGISTRAR_2056]
        .map(|registrar| RegistrarKey::from_spki(&registrar.spki));
    assert_ne!(one.unwrap(), other.unwrap());
}

#[test]
fn keys_that_openssl_makes_are_accepted() {
    let fresh = Rsa::generate(2048).unwrap();
    assert!(RegistrarKey::from_spki(&fresh.public_key_to_der().unwrap()).is_ok());
}

proptest! {
    /// No change of a byte or two outside the modulus leaves a key that parses; within it, the modulus changes with it.
    #[test]
    fn an_altered_encoding_is_another_key_or_none(place in 0usize..294, bits in 1u8.., cut in 0usize..294) {
        let spki = &REGISTRAR_2048.spki;
        prop_assert!(RegistrarKey::from_spki(&spki[..cut]).is_err());
        let mut altered = spki.clone();
        altered[place] ^= bits;
        if let Ok(key) = RegistrarKey::from_spki(&altered) {
            prop_assert!((33..289).contains(&place));
            prop_assert_ne!(key.modulus(), REGISTRAR_2048.modulus());
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(input in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(RegistrarKey::from_spki(&input).is_err());
    }
}
