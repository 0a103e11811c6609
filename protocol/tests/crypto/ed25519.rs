//! The Ed25519 rule on crafted keys and signatures, each made to fit the equation as well as it can be.

use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT as B, EIGHT_TORSION};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _};
use proptest::prelude::*;
use protocol::ed25519::{Ed25519Error, PublicKey, SigningKey, check_key, verify};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha512};

use crate::support::{array, bytes, vector_file};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    about: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    why: String,
    public_key: String,
    message: String,
    signature: String,
    valid: bool,
    /// The rule that is broken, by the name that this implementation gives it; other implementations need only refuse.
    error: Option<String>,
    /// What others answer, to show why the rule is needed. `cofactored`: the equation times 8, on decompressed points.
    elsewhere: Elsewhere,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    aws_lc: bool,
    cofactored: bool,
    verify_strict: bool,
}

type Signed = ([u8; 32], Vec<u8>, [u8; 64]);

/// k = SHA-512(R ‖ A ‖ message) mod L.
fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new()
        .chain_update(r)
        .chain_update(a)
        .chain_update(message)
        .finalize();
    Scalar::from_bytes_mod_order_wide(&hash.into())
}

fn scalar(label: &str) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&array(label))
}

fn signature(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    [*r, *s].concat().try_into().unwrap()
}

/// A message for which k mod 8 is as wanted; `nth` gives different ones.
fn message_with(r: &[u8; 32], a: &[u8; 32], nth: usize, wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    let messages = (0u32..).map(|counter| format!("message {counter}").into_bytes());
    messages
        .filter(|message| wanted(challenge(r, a, message).as_bytes()[0] % 8))
        .nth(nth)
        .unwrap()
}

/// Every 32-byte string whose y, reduced or not, is that of a point of small order: eight canonical, six not.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all: Vec<[u8; 32]> = EIGHT_TORSION
        .iter()
        .map(|point| point.compress().0)
        .collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
    // y = 1 and y = -1 (x = 0) with the sign bit set, and y = 0, 1 written as p, p + 1 with either sign.
    for mut negative_zero in [
        low(0x01),
        [vec![0xec], vec![0xff; 30], vec![0x7f]]
            .concat()
            .try_into()
            .unwrap(),
    ] {
        negative_zero[31] |= 0x80;
        all.push(negative_zero);
    }
    for k in [0, 1] {
        all.extend([p_plus(k, false), p_plus(k, true)]);
    }
    all
}

fn low(value: u8) -> [u8; 32] {
    let mut out = [0; 32];
    out[0] = value;
    out
}

/// The encoding of y = p + k, for k from 0 to 18.
fn p_plus(k: u8, sign: bool) -> [u8; 32] {
    let mut out = [0xff; 32];
    out[0] = 0xed + k;
    out[31] = if sign { 0xff } else { 0x7f };
    out
}

/// S + L, which fits into 32 bytes.
fn plus_l(s: &[u8; 32]) -> [u8; 32] {
    let mut l = (Scalar::ZERO - Scalar::ONE).to_bytes();
    l[0] += 1;
    let mut carry = 0u16;
    core::array::from_fn(|i| {
        carry = u16::from(s[i]) + u16::from(l[i]) + (carry >> 8);
        carry.to_le_bytes()[0]
    })
}

fn valid_signature(label: &str, message: &[u8]) -> Signed {
    let key = SigningKey::from_seed(&array(label));
    (key.public(), message.to_vec(), key.sign(message))
}

/// The rule again, from group elements rather than bytes: an encoding is canonical if compressing the point gives it back.
fn oracle(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (r, s) = signature.split_at(32);
    let r = CompressedEdwardsY(r.try_into().unwrap());
    let a = CompressedEdwardsY(*key);
    let (Some(a_point), Some(r_point)) = (a.decompress(), r.decompress()) else {
        return false;
    };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().unwrap()))
    else {
        return false;
    };
    let canonical = a_point.compress() == a && r_point.compress() == r;
    let k = challenge(&r.0, key, message);
    canonical
        && !a_point.is_small_order()
        && !r_point.is_small_order()
        && s * B == r_point + k * a_point
}

/// [8][S]B = [8]R + [8][k]A, S reduced, points decompressed leniently: what RFC 8032 also allows.
fn cofactored(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let (r, s) = signature.split_at(32);
    let r: [u8; 32] = r.try_into().unwrap();
    let (Some(a), Some(r_point)) = (
        CompressedEdwardsY(*key).decompress(),
        CompressedEdwardsY(r).decompress(),
    ) else {
        return false;
    };
    let Some(s) = Option::<Scalar>::from(Scalar::from_canonical_bytes(s.try_into().unwrap()))
    else {
        return false;
    };
    (s * B - r_point - challenge(&r, key, message) * a)
        .mul_by_cofactor()
        .is_identity()
}

fn elsewhere(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Elsewhere {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    let strict = ed25519_dalek::VerifyingKey::from_bytes(key).is_ok_and(|parsed| {
        parsed
            .verify_strict(message, &ed25519_dalek::Signature::from_bytes(signature))
            .is_ok()
    });
    Elsewhere {
        aws_lc: UnparsedPublicKey::new(&ED25519, key)
            .verify(message, signature)
            .is_ok(),
        cofactored: cofactored(key, message, signature),
        verify_strict: strict,
    }
}

#[derive(Default)]
struct Maker(Vec<Case>);

impl Maker {
    fn add(&mut self, name: &str, why: &str, (key, message, signature): Signed) {
        let result = verify(&key, &message, &signature);
        assert_eq!(
            result.is_ok(),
            oracle(&key, &message, &signature),
            "{name}: rule and oracle differ"
        );
        self.0.push(Case {
            name: name.to_owned(),
            why: why.to_owned(),
            public_key: hex::encode(key),
            message: hex::encode(&message),
            signature: hex::encode(signature),
            valid: result.is_ok(),
            error: result.err().map(|error| format!("{error:?}")),
            elsewhere: elsewhere(&key, &message, &signature),
        });
    }

    fn rfc8032(&mut self) {
        for (name, seed, key, message, signature) in RFC8032 {
            let signing = SigningKey::from_seed(&hex::decode(seed).unwrap().try_into().unwrap());
            let message = hex::decode(message).unwrap();
            assert_eq!(hex::encode(signing.public()), *key);
            assert_eq!(hex::encode(signing.sign(&message)), *signature);
            self.add(
                name,
                "RFC 8032 section 7.1",
                (signing.public(), message.clone(), signing.sign(&message)),
            );
        }
    }

    fn ordinary_and_damaged(&mut self) {
        let good = valid_signature("ordinary", b"a message");
        self.add(
            "ordinary",
            "made by a signer that follows RFC 8032",
            good.clone(),
        );
        let (key, message, sig) = good;
        self.add(
            "another message",
            "the message is signed too",
            (key, b"a messagf".to_vec(), sig),
        );
        self.add(
            "message cut",
            "the message is signed whole",
            (key, b"a messag".to_vec(), sig),
        );
        let (other, ..) = valid_signature("other", b"");
        self.add(
            "another key",
            "the signature is another key's",
            (other, message.clone(), sig),
        );
        for (bit, part) in [(0, "R"), (255, "the sign of R"), (256, "S"), (400, "S")] {
            let mut flipped = sig;
            flipped[bit / 8] ^= 1 << (bit % 8);
            self.add(
                &format!("bit {bit} flipped"),
                &format!("a bit of {part} differs"),
                (key, message.clone(), flipped),
            );
        }
        self.add(
            "all zero",
            "y = 0 is a point of order 4",
            ([0; 32], vec![], [0; 64]),
        );
        let s: [u8; 32] = sig[32..].try_into().unwrap();
        let off_curve = (2..)
            .map(low)
            .find(|y| CompressedEdwardsY(*y).decompress().is_none())
            .unwrap();
        self.add(
            "key off the curve",
            "no point has this y",
            (off_curve, message.clone(), sig),
        );
        self.add(
            "R off the curve",
            "no point has this y, so it is no [S]B - [k]A",
            (key, message, signature(&off_curve, &s)),
        );
    }

    fn scalars(&mut self) {
        let (key, message, sig) = valid_signature("scalars", b"scalars");
        let r: [u8; 32] = sig[..32].try_into().unwrap();
        let s: [u8; 32] = sig[32..].try_into().unwrap();
        let zero_plus_l = plus_l(&[0; 32]);
        for (name, why, s) in [
            (
                "S plus L",
                "the same signature written a second time: S must be below L",
                plus_l(&s),
            ),
            ("S plus 2L", "S must be below L", plus_l(&plus_l(&s))),
            (
                "S equal to L",
                "S must be below L, and L is not",
                zero_plus_l,
            ),
            (
                "S equal to L minus 1",
                "in range, but the equation fails",
                (Scalar::ZERO - Scalar::ONE).to_bytes(),
            ),
            ("S zero", "in range, but the equation fails", [0; 32]),
            ("S all ones", "S must be below L", [0xff; 32]),
            (
                "S with its top bit set",
                "S must be below L, and no bit of it is ignored",
                {
                    let mut s = s;
                    s[31] |= 0x80;
                    s
                },
            ),
        ] {
            self.add(name, why, (key, message.clone(), signature(&r, &s)));
        }
        let a = scalar("not clamped");
        let a_bytes = (a * B).compress().0;
        let (r_scalar, message) = (scalar("not clamped r"), b"not clamped".to_vec());
        let r = (r_scalar * B).compress().0;
        let s = (r_scalar + challenge(&r, &a_bytes, &message) * a).to_bytes();
        self.add(
            "secret scalar not clamped",
            "the rule says nothing on how secret scalars are made",
            (a_bytes, message, signature(&r, &s)),
        );
    }

    fn small_order_keys(&mut self) {
        for (index, key) in small_order_encodings().into_iter().enumerate() {
            // [k]A vanishes wherever 8 divides k, so R = [S]B "signs" every such message: two different ballots, one signature.
            let s = scalar("small order key");
            let r = (s * B).compress().0;
            for nth in 0..2 {
                let message = message_with(&r, &key, nth, |k| k == 0);
                self.add(
                    &format!("small-order key {index}, message {nth}"),
                    "one signature fits many messages under a key of small order, however it is encoded",
                    (key, message, signature(&r, &s.to_bytes())),
                );
            }
        }
    }

    fn small_order_r(&mut self) {
        // R = 0: the equation holds for S = k a. This is the only R of small order that a prime-order key can be made to fit.
        let a = scalar("small order r");
        let key = (a * B).compress().0;
        for (index, r) in small_order_encodings().into_iter().enumerate() {
            let message = b"R of small order".to_vec();
            let s = (challenge(&r, &key, &message) * a).to_bytes();
            self.add(
                &format!("small-order R {index}"),
                "R of small order: some verifiers refuse it, some take it, some take it up to the cofactor",
                (key, message, signature(&r, &s)),
            );
        }
        // A mixed-order key makes the cofactorless equation hold for R of every small order.
        let torsion = EIGHT_TORSION[1];
        let key = (a * B + torsion).compress().0;
        for (index, r_point) in EIGHT_TORSION.iter().enumerate() {
            let r = r_point.compress().0;
            let message = message_with(&r, &key, 0, |k| {
                (Scalar::from(k) * torsion + r_point).is_identity()
            });
            let s = (challenge(&r, &key, &message) * a).to_bytes();
            self.add(
                &format!("small-order R {index} under a mixed-order key"),
                "the cofactorless equation holds, but R is of small order",
                (key, message, signature(&r, &s)),
            );
        }
    }

    fn mixed_order(&mut self) {
        let (a, r) = (scalar("mixed a"), scalar("mixed r"));
        for (order, torsion) in [
            (8, EIGHT_TORSION[1]),
            (4, EIGHT_TORSION[2]),
            (2, EIGHT_TORSION[4]),
        ] {
            let sign = |a_torsion: EdwardsPoint, r_torsion: EdwardsPoint, fits: bool| -> Signed {
                let key = (a * B + a_torsion).compress().0;
                let r_bytes = (r * B + r_torsion).compress().0;
                let message = message_with(&r_bytes, &key, 0, |k| {
                    (Scalar::from(k) * a_torsion + r_torsion).is_identity() == fits
                });
                let s = (r + challenge(&r_bytes, &key, &message) * a).to_bytes();
                (key, message, signature(&r_bytes, &s))
            };
            let none = EdwardsPoint::identity();
            self.add(
                &format!("key with a part of order {order}, which the challenge removes"),
                "a mixed-order key is not of small order, and the cofactorless equation holds: valid for everybody",
                sign(torsion, none, true),
            );
            self.add(
                &format!("key with a part of order {order}"),
                "holds only after multiplication by the cofactor",
                sign(torsion, none, false),
            );
            self.add(
                &format!("R with a part of order {order}"),
                "holds only after multiplication by the cofactor",
                sign(none, torsion, false),
            );
            self.add(
                &format!("key and R with parts of order {order} that cancel"),
                "the cofactorless equation holds: valid for everybody",
                sign(torsion, torsion, true),
            );
            self.add(
                &format!("key and R with parts of order {order} that do not cancel"),
                "holds only after multiplication by the cofactor",
                sign(torsion, torsion, false),
            );
        }
    }

    fn non_canonical(&mut self) {
        let (key, message, sig) = valid_signature("non-canonical", b"y >= p");
        let s: [u8; 32] = sig[32..].try_into().unwrap();
        for k in [0, 1, 2, 3, 18] {
            for sign in [false, true] {
                let point = p_plus(k, sign);
                let on = if CompressedEdwardsY(point).decompress().is_some() {
                    "a point"
                } else {
                    "no point"
                };
                let why = format!("y = p + {k}, {on} when reduced: y must be below p");
                self.add(
                    &format!("key y = p + {k}, sign {}", u8::from(sign)),
                    &why,
                    (point, message.clone(), sig),
                );
                let forged = (key, message.clone(), signature(&point, &s));
                self.add(
                    &format!("R y = p + {k}, sign {}", u8::from(sign)),
                    &why,
                    forged,
                );
            }
        }
    }
}

const RFC8032: &[(&str, &str, &str, &str, &str)] = &[
    (
        "RFC 8032 test 1",
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "RFC 8032 test 2",
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "RFC 8032 test 3",
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "RFC 8032 test SHA(abc)",
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
];

fn make() -> Vectors {
    let mut maker = Maker::default();
    maker.rfc8032();
    maker.ordinary_and_damaged();
    maker.scalars();
    maker.small_order_keys();
    maker.small_order_r();
    maker.mixed_order();
    maker.non_canonical();
    Vectors {
        format: "tallyroot/v1/vectors/ed25519".to_owned(),
        about: "The Ed25519 rule of specs/protocol.md section 3. All byte strings are hex. A verifier must answer `valid`; `error` names \
                the first broken rule as the Rust implementation sees it; `elsewhere` shows what other checks answer."
            .to_owned(),
        cases: maker.0,
    }
}

#[test]
fn the_vector_file_holds_and_every_kind_of_error_occurs() {
    let vectors: Vectors = serde_json::from_str(&vector_file("ed25519.json", &make())).unwrap();
    let mut errors = Vec::new();
    for case in &vectors.cases {
        let decode = |text: &str| hex::decode(text).unwrap();
        let key = decode(&case.public_key).try_into().unwrap();
        let result = verify(
            &key,
            &decode(&case.message),
            &decode(&case.signature).try_into().unwrap(),
        );
        assert_eq!(result.is_ok(), case.valid, "{}", case.name);
        assert_eq!(
            result.err().map(|error| format!("{error:?}")),
            case.error,
            "{}",
            case.name
        );
        errors.extend(result.err());
    }
    use Ed25519Error::{
        BadSignature, NegativeZero, NonCanonicalKey, NonCanonicalR, NotOnCurve, ScalarTooLarge,
        SmallOrderKey, SmallOrderR,
    };
    for error in [
        NonCanonicalKey,
        SmallOrderKey,
        NegativeZero,
        NonCanonicalR,
        SmallOrderR,
        ScalarTooLarge,
        NotOnCurve,
        BadSignature,
    ] {
        assert!(errors.contains(&error), "{error:?}");
    }
}

/// Why the rule exists: for each, some respectable check says yes.
#[test]
fn others_accept_what_the_rule_refuses() {
    let cases = make().cases;
    let count = |pick: &dyn Fn(&Case) -> bool| cases.iter().filter(|case| pick(case)).count();
    let small_key = |case: &Case| case.name.starts_with("small-order key");
    // One signature, two messages, under all 14 encodings of small order: the equation is satisfied wherever a library looks no further.
    assert_eq!(count(&small_key), 28);
    assert_eq!(
        count(&|case| small_key(case) && case.elsewhere.cofactored),
        28
    );
    assert!(count(&|case| small_key(case) && case.elsewhere.aws_lc) >= 16);
    assert_eq!(count(&|case| small_key(case) && case.valid), 0);
    // Cofactored verification (and so batch verification) accepts what the cofactorless equation refuses.
    assert_eq!(
        count(&|case| case.elsewhere.cofactored && case.error.as_deref() == Some("BadSignature")),
        9
    );
    // Whatever the rule accepts, everybody accepts.
    for case in cases.iter().filter(|case| case.valid) {
        assert_eq!(
            case.elsewhere,
            Elsewhere {
                aws_lc: true,
                cofactored: true,
                verify_strict: true
            },
            "{}",
            case.name
        );
    }
}

#[test]
fn no_encoding_of_a_small_order_or_non_canonical_point_is_a_key() {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14);
    let mut seen = [0; 3];
    for encoding in encodings {
        let point = CompressedEdwardsY(encoding).decompress();
        assert!(point.is_none_or(|point| point.is_small_order()));
        match check_key(&encoding) {
            Err(Ed25519Error::SmallOrderKey) => seen[0] += 1,
            Err(Ed25519Error::NegativeZero) => seen[1] += 1,
            Err(Ed25519Error::NonCanonicalKey) => seen[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, [8, 2, 4]);
    for k in 0..=18 {
        for sign in [false, true] {
            assert_eq!(
                check_key(&p_plus(k, sign)),
                Err(Ed25519Error::NonCanonicalKey)
            );
        }
    }
    // The largest y below p that is a point of large order is a key.
    let near_p = (0xd0..=0xeb).rev().map(|first| {
        let mut y = p_plus(0, false);
        y[0] = first;
        y
    });
    let largest = near_p
        .into_iter()
        .find(|y| CompressedEdwardsY(*y).decompress().is_some())
        .unwrap();
    assert_eq!(PublicKey::parse(&largest).unwrap().as_bytes(), &largest);
}

#[test]
fn secrets_are_not_shown() {
    let seed = array("seed");
    let shown = format!("{:?}", SigningKey::from_seed(&seed));
    assert_eq!(shown, "SigningKey(secret)");
}

proptest! {
    /// Over random keys, messages and damage, with torsion mixed in: the rule on bytes and the rule on points agree.
    #[test]
    fn rule_and_oracle_agree(
        label in any::<u32>(),
        a_torsion in 0usize..8,
        r_torsion in 0usize..8,
        damage in proptest::option::of((0usize..96, 1u8..)),
    ) {
        let a = scalar(&format!("a {label}"));
        let r = scalar(&format!("r {label}"));
        let message = bytes(&format!("m {label}"), (label % 70) as usize);
        let mut key = (a * B + EIGHT_TORSION[a_torsion]).compress().0;
        let r_bytes = (r * B + EIGHT_TORSION[r_torsion]).compress().0;
        let s = r + challenge(&r_bytes, &key, &message) * a;
        let mut sig = signature(&r_bytes, &s.to_bytes());
        match damage {
            Some((place, bits)) if place < 64 => sig[place] ^= bits,
            Some((place, bits)) => key[place - 64] ^= bits,
            None => {}
        }
        prop_assert_eq!(verify(&key, &message, &sig).is_ok(), oracle(&key, &message, &sig));
    }
}
