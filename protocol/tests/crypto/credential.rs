//! Credentials against two independent implementations: every step once more with OpenSSL's numbers and HMAC, and the whole
//! exchange with the `blind-rsa-signatures` crate on either side.

use std::process::Command;

use blind_rsa_signatures::{
    BlindMessage, BlindSignature, DefaultRng, KeyPairSha384PSSDeterministic, Signature,
};
use blind_rsa_signatures::{PublicKeySha384PSSDeterministic, SecretKeySha384PSSDeterministic};
use openssl::bn::{BigNum, BigNumContext};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use openssl::sign::Signer;
use proptest::prelude::*;
use protocol::credential::{
    CredentialError, CredentialKey, DeviceSecret, blind, blinded_digest, check_blinded_message,
    credential_message, finalize,
};
use protocol::ids::ElectionId;
use protocol::rsa::{RegistrarKey, RsaError};
use serde::{Deserialize, Serialize};

use crate::rsa::Pss;
use crate::support::{
    REGISTRAR_2048, REGISTRAR_2056, REGISTRAR_4096, Registrar, array, vector_file,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    about: String,
    credentials: Vec<Credential>,
    refused_by_registrar: Vec<BlindedCase>,
    refused_by_device: Vec<AnswerCase>,
}

/// One device at one registrar, from the secret to the signature.
#[derive(Serialize, Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct Credential {
    name: String,
    election: String,
    device_secret: String,
    registrar: u16,
    spki: String,
    prk: String,
    credential_seed: String,
    credential_key: String,
    credential_message: String,
    pss_salt: String,
    encoded_message: String,
    blinding_counter: u32,
    blinding_factor: String,
    blinded: String,
    blinded_digest: String,
    blind_signature: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlindedCase {
    name: String,
    why: String,
    spki: String,
    blinded: String,
    valid: bool,
}

/// An answer to the first credential of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerCase {
    name: String,
    why: String,
    blind_signature: String,
    valid: bool,
}

// --- the same once more, by OpenSSL ---------------------------------------------------------------------------------------

fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    for part in parts {
        signer.update(part).unwrap();
    }
    signer.sign_to_vec().unwrap()
}

/// HKDF-Expand, RFC 5869 section 2.3.
fn expand(prk: &[u8], info: &[u8], len: usize) -> Vec<u8> {
    let mut okm = Vec::new();
    let mut block = Vec::new();
    for counter in 1..=len.div_ceil(32) {
        block = hmac(prk, &[&block, info, &[counter as u8]]);
        okm.extend_from_slice(&block);
    }
    okm.truncate(len);
    okm
}

fn number(bytes: &[u8]) -> BigNum {
    BigNum::from_slice(bytes).unwrap()
}

/// A credential computed from the specification's words, without the code under test.
fn by_openssl(
    name: &str,
    election: &ElectionId,
    secret: &[u8; 32],
    registrar: u16,
    pair: &Registrar,
) -> Credential {
    let prk = hmac(election.as_bytes(), &[secret]);
    let r = registrar.to_be_bytes();
    let seed = expand(&prk, b"tallyroot/v1/credential-key", 32);
    let key = PKey::private_key_from_raw_bytes(&seed, openssl::pkey::Id::ED25519).unwrap();
    let key = key.raw_public_key().unwrap();
    let message = [b"tallyroot/v1/credential\0", &election.as_bytes()[..], &key].concat();
    let salt = expand(&prk, &[b"tallyroot/v1/pss-salt", &r[..]].concat(), 48);
    let encoded = Pss::ours(salt.clone()).encode(&message, pair.len());

    let mut context = BigNumContext::new().unwrap();
    let n = number(&pair.modulus());
    let one = BigNum::from_u32(1).unwrap();
    let (counter, factor) = (0u32..)
        .map(|c| {
            (
                c,
                number(&expand(
                    &prk,
                    &[b"tallyroot/v1/blind", &r[..], &c.to_be_bytes()].concat(),
                    pair.len(),
                )),
            )
        })
        .find(|(_, x)| {
            let mut gcd = BigNum::new().unwrap();
            gcd.gcd(x, &n, &mut context).unwrap();
            *x > one && *x < n && gcd == one
        })
        .unwrap();
    let mut power = BigNum::new().unwrap();
    power
        .mod_exp(&factor, pair.private.e(), &n, &mut context)
        .unwrap();
    let mut blinded = BigNum::new().unwrap();
    blinded
        .mod_mul(&number(&encoded), &power, &n, &mut context)
        .unwrap();
    let len = pair.len() as i32;
    let blinded = blinded.to_vec_padded(len).unwrap();
    let blind_signature = pair.power_of_d(&blinded);
    Credential {
        name: name.to_owned(),
        election: election.to_string(),
        device_secret: hex::encode(secret),
        registrar,
        spki: hex::encode(&pair.spki),
        prk: hex::encode(&prk),
        credential_seed: hex::encode(&seed),
        credential_key: hex::encode(key),
        credential_message: hex::encode(message),
        pss_salt: hex::encode(salt),
        blinding_counter: counter,
        blinding_factor: hex::encode(factor.to_vec_padded(len).unwrap()),
        blinded_digest: hex::encode(hash(MessageDigest::sha256(), &blinded).unwrap()),
        blinded: hex::encode(blinded),
        blind_signature: hex::encode(blind_signature),
        // No unblinding: the private key signs the encoded message itself, which must come to the same.
        signature: hex::encode(pair.power_of_d(&encoded)),
        encoded_message: hex::encode(encoded),
    }
}

fn election() -> ElectionId {
    ElectionId(array("an election"))
}

fn credentials() -> Vec<Credential> {
    let secret = array("a device");
    let later = |counter: u32| {
        (0u32..)
            .map(|i| {
                by_openssl(
                    "",
                    &election(),
                    &array(&format!("device {i}")),
                    0,
                    &REGISTRAR_2048,
                )
            })
            .find(|credential| credential.blinding_counter >= counter)
            .unwrap()
    };
    vec![
        by_openssl(
            "registrar 0, 2048 bits",
            &election(),
            &secret,
            0,
            &REGISTRAR_2048,
        ),
        by_openssl(
            "registrar 1, 2056 bits",
            &election(),
            &secret,
            1,
            &REGISTRAR_2056,
        ),
        by_openssl(
            "registrar 258 shows the byte order, 4096 bits",
            &election(),
            &secret,
            258,
            &REGISTRAR_4096,
        ),
        by_openssl(
            "another election",
            &ElectionId(array("another election")),
            &secret,
            0,
            &REGISTRAR_2048,
        ),
        Credential {
            name: "the first candidate for the blinding factor is not below n".to_owned(),
            ..later(1)
        },
        Credential {
            name: "nor the second".to_owned(),
            ..later(2)
        },
    ]
}

// --- the vectors ----------------------------------------------------------------------------------------------------------

/// A number as long as the modulus of 2048 bits.
fn wide(value: &BigNum) -> Vec<u8> {
    value.to_vec_padded(256).unwrap()
}

fn blinded_cases() -> Vec<BlindedCase> {
    let n = number(&REGISTRAR_2048.modulus());
    let small = |value: u32| BigNum::from_u32(value).unwrap();
    let ordinary = hex::decode(&credentials()[0].blinded).unwrap();
    let cases = [
        ("ordinary", "what a device sends", ordinary.clone(), true),
        ("2", "the smallest", wide(&small(2)), true),
        ("256", "low byte zero", wide(&small(256)), true),
        ("n - 2", "the largest", wide(&(&n - &small(2))), true),
        ("0", "its own signature", wide(&small(0)), false),
        ("1", "its own signature", wide(&small(1)), false),
        ("n - 1", "its own signature", wide(&(&n - &small(1))), false),
        ("n", "out of range", wide(&n), false),
        (
            "n + 1",
            "out of range: 1 a second time",
            wide(&(&n + &small(1))),
            false,
        ),
        ("all ones", "out of range", vec![0xff; 256], false),
        ("empty", "length", vec![], false),
        ("one byte short", "length", ordinary[1..].to_vec(), false),
        (
            "a zero byte in front",
            "length",
            [&[0], &ordinary[..]].concat(),
            false,
        ),
    ];
    let case = |(name, why, blinded, valid): (&str, &str, Vec<u8>, bool)| BlindedCase {
        name: name.to_owned(),
        why: why.to_owned(),
        spki: hex::encode(&REGISTRAR_2048.spki),
        blinded: hex::encode(blinded),
        valid,
    };
    cases.map(case).into()
}

fn answer_cases() -> Vec<AnswerCase> {
    let credential = &credentials()[0];
    let right = hex::decode(&credential.blind_signature).unwrap();
    let mut flipped = right.clone();
    flipped[77] ^= 0x10;
    let n = number(&REGISTRAR_2048.modulus());
    let cases = [
        ("right", "what the registrar answers", right.clone(), true),
        ("one bit changed", "no signature comes out", flipped, false),
        (
            "signature already unblinded",
            "unblinding it once more gives no signature",
            hex::decode(&credential.signature).unwrap(),
            false,
        ),
        (
            "another device's",
            "no signature of this credential",
            hex::decode(&credentials()[4].blind_signature).unwrap(),
            false,
        ),
        (
            "the blinded message itself",
            "nothing was signed",
            hex::decode(&credential.blinded).unwrap(),
            false,
        ),
        ("zero", "no signature", vec![0; 256], false),
        (
            "n minus the right one",
            "the negative of a signature is none",
            wide(&(&n - &number(&right))),
            false,
        ),
        ("n", "out of range", wide(&n), false),
        ("one byte short", "length", right[1..].to_vec(), false),
        (
            "one byte more",
            "length",
            [&[0], &right[..]].concat(),
            false,
        ),
        ("empty", "length", vec![], false),
    ];
    let case = |(name, why, answer, valid): (&str, &str, Vec<u8>, bool)| AnswerCase {
        name: name.to_owned(),
        why: why.to_owned(),
        blind_signature: hex::encode(answer),
        valid,
    };
    cases.map(case).into()
}

fn make() -> Vectors {
    Vectors {
        format: "tallyroot/v1/vectors/credential".to_owned(),
        about: "Credentials, specs/protocol.md section 5. Byte strings are hex. `credentials`: each value follows from `election`, `device_secret`, \
                `registrar`, `spki` and, for `blind_signature`, the private key. `refused_by_registrar`: which blinded messages a registrar \
                signs. `refused_by_device`: answers to the first credential."
            .to_owned(),
        credentials: credentials(),
        refused_by_registrar: blinded_cases(),
        refused_by_device: answer_cases(),
    }
}

fn secret_of(credential: &Credential) -> DeviceSecret {
    DeviceSecret::from_bytes(
        hex::decode(&credential.device_secret)
            .unwrap()
            .try_into()
            .unwrap(),
    )
}

fn key_of(spki: &str) -> RegistrarKey {
    RegistrarKey::from_spki(&hex::decode(spki).unwrap()).unwrap()
}

#[test]
fn the_vector_file_holds() {
    let vectors: Vectors = serde_json::from_str(&vector_file("credential.json", &make())).unwrap();
    for credential in &vectors.credentials {
        let election = credential.election.parse().unwrap();
        let secret = secret_of(credential);
        let key = key_of(&credential.spki);
        let public = CredentialKey::derive(&secret, &election).public();
        assert_eq!(hex::encode(public), credential.credential_key);
        assert_eq!(
            hex::encode(credential_message(&election, &public)),
            credential.credential_message
        );
        let blinded = blind(&secret, &election, credential.registrar, &key).unwrap();
        assert_eq!(
            hex::encode(blinded.message()),
            credential.blinded,
            "{}",
            credential.name
        );
        assert_eq!(hex::encode(blinded.digest()), credential.blinded_digest);
        assert_eq!(blinded.digest(), blinded_digest(blinded.message()));
        assert_eq!(check_blinded_message(&key, blinded.message()), Ok(()));
        let signature =
            finalize(&blinded, &hex::decode(&credential.blind_signature).unwrap()).unwrap();
        assert_eq!(
            hex::encode(signature),
            credential.signature,
            "{}",
            credential.name
        );
    }
    for case in &vectors.refused_by_registrar {
        let result =
            check_blinded_message(&key_of(&case.spki), &hex::decode(&case.blinded).unwrap());
        assert_eq!(result.is_ok(), case.valid, "{}: {result:?}", case.name);
    }
    let first = &vectors.credentials[0];
    let blinded = blind(&secret_of(first), &election(), 0, &key_of(&first.spki)).unwrap();
    for case in &vectors.refused_by_device {
        let result = finalize(&blinded, &hex::decode(&case.blind_signature).unwrap());
        assert_eq!(result.is_ok(), case.valid, "{}: {result:?}", case.name);
    }
}

// --- interoperation -------------------------------------------------------------------------------------------------------

fn secret_key(registrar: &Registrar) -> SecretKeySha384PSSDeterministic {
    SecretKeySha384PSSDeterministic::from_der(
        &PKey::from_rsa(registrar.private.clone())
            .unwrap()
            .private_key_to_pkcs8()
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn our_device_with_their_registrar() {
    for registrar in [&*REGISTRAR_2048, &*REGISTRAR_4096] {
        let theirs = secret_key(registrar);
        let key = RegistrarKey::from_spki(&registrar.spki).unwrap();
        let secret = DeviceSecret::from_bytes(array("interoperation"));
        assert_eq!(secret.as_bytes(), &array("interoperation"));
        let blinded = blind(&secret, &election(), 3, &key).unwrap();
        let answer = theirs
            .blind_sign(BlindMessage(blinded.message().to_vec()))
            .unwrap();
        let signature = finalize(&blinded, &answer.0).unwrap();
        let message = credential_message(
            &election(),
            &CredentialKey::derive(&secret, &election()).public(),
        );
        theirs
            .public_key()
            .unwrap()
            .verify(&Signature(signature), None, message)
            .unwrap();
    }
}

#[test]
fn their_device_with_our_registrar() {
    let registrar = &*REGISTRAR_2048;
    let key = RegistrarKey::from_spki(&registrar.spki).unwrap();
    let theirs: PublicKeySha384PSSDeterministic = secret_key(registrar).public_key().unwrap();
    let message = credential_message(&election(), &array("their credential"));
    let blinded = theirs.blind(&mut DefaultRng, &message).unwrap();
    assert_eq!(
        check_blinded_message(&key, &blinded.blind_message.0),
        Ok(())
    );
    let answer = BlindSignature(registrar.power_of_d(&blinded.blind_message.0));
    let signature = theirs.finalize(&answer, &blinded, &message).unwrap();
    assert_eq!(key.verify(&message, &signature.0), Ok(()));
}

#[test]
fn a_key_that_the_crate_makes_works() {
    let pair = KeyPairSha384PSSDeterministic::generate(&mut DefaultRng, 2048).unwrap();
    // Their `to_spki` writes the PSS OID, which the manifest does not allow; their `to_der` writes rsaEncryption.
    assert_eq!(
        RegistrarKey::from_spki(&pair.pk.to_spki().unwrap()),
        Err(RsaError::Algorithm)
    );
    let key = RegistrarKey::from_spki(&pair.pk.to_der().unwrap()).unwrap();
    let blinded = blind(&DeviceSecret::from_bytes([7; 32]), &election(), 0, &key).unwrap();
    let answer = pair
        .sk
        .blind_sign(BlindMessage(blinded.message().to_vec()))
        .unwrap();
    assert!(finalize(&blinded, &answer.0).is_ok());
}

/// The finished credential is an ordinary RSASSA-PSS signature to the `openssl` command.
#[test]
fn the_openssl_command_verifies_a_credential() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let credential = &credentials()[0];
    let public = file(
        "key.pem",
        &REGISTRAR_2048.private.public_key_to_pem().unwrap(),
    );
    let message = file(
        "message",
        &hex::decode(&credential.credential_message).unwrap(),
    );
    let signature = hex::decode(&credential.signature).unwrap();
    let mut changed = signature.clone();
    changed[0] ^= 1;
    for (signature, salt_len, accepted) in [
        (&signature, "48", true),
        (&signature, "32", false),
        (&changed, "48", false),
    ] {
        let status = Command::new("openssl")
            .args([
                "dgst",
                "-sha384",
                "-sigopt",
                "rsa_padding_mode:pss",
                "-sigopt",
                "rsa_mgf1_md:sha384",
                "-sigopt",
            ])
            .arg(format!("rsa_pss_saltlen:{salt_len}"))
            .arg("-verify")
            .arg(&public)
            .arg("-signature")
            .arg(file("signature", signature))
            .arg(&message)
            .output()
            .expect("the openssl command is needed for this test")
            .status;
        assert_eq!(status.success(), accepted, "salt {salt_len}");
    }
}

// --- what a device can rely on --------------------------------------------------------------------------------------------

#[test]
fn blinding_is_the_same_each_time_and_another_for_each_registrar_election_and_device() {
    let key = RegistrarKey::from_spki(&REGISTRAR_2048.spki).unwrap();
    let make = |secret: u8, election: u8, registrar: u16| {
        let blinded = blind(
            &DeviceSecret::from_bytes([secret; 32]),
            &ElectionId([election; 32]),
            registrar,
            &key,
        )
        .unwrap();
        blinded.message().to_vec()
    };
    let base = make(1, 1, 1);
    assert_eq!(base, make(1, 1, 1));
    for other in [make(2, 1, 1), make(1, 2, 1), make(1, 1, 2), make(1, 1, 256)] {
        assert_ne!(base, other);
    }
    let public = |secret: u8, election: u8| {
        CredentialKey::derive(
            &DeviceSecret::from_bytes([secret; 32]),
            &ElectionId([election; 32]),
        )
        .public()
    };
    assert_eq!(public(1, 1), public(1, 1));
    assert_ne!(public(1, 1), public(1, 2));
    assert_ne!(public(1, 1), public(2, 1));
}

#[test]
fn the_credential_key_signs_as_ed25519() {
    let key = CredentialKey::derive(&DeviceSecret::from_bytes([9; 32]), &election());
    let signature = key.sign(b"bytes with a label");
    assert_eq!(
        protocol::ed25519::verify(&key.public(), b"bytes with a label", &signature),
        Ok(())
    );
    assert!(protocol::ed25519::verify(&key.public(), b"other bytes", &signature).is_err());
}

#[test]
fn nothing_secret_is_shown() {
    let secret = DeviceSecret::from_bytes([0x41; 32]);
    let key = RegistrarKey::from_spki(&REGISTRAR_2048.spki).unwrap();
    let blinded = blind(&secret, &election(), 0, &key).unwrap();
    let shown = format!(
        "{secret:?} {:?} {blinded:?}",
        CredentialKey::derive(&secret, &election())
    );
    assert_eq!(
        shown,
        "DeviceSecret(secret) CredentialKey(secret) Blinded(RegistrarKey(2048 bits))"
    );
}

/// A registrar that answers with the signature of something else is found out before the answer is used.
#[test]
fn an_answer_to_another_request_is_refused() {
    let registrar = &*REGISTRAR_2048;
    let key = RegistrarKey::from_spki(&registrar.spki).unwrap();
    let make = |secret: u8| {
        blind(
            &DeviceSecret::from_bytes([secret; 32]),
            &election(),
            0,
            &key,
        )
        .unwrap()
    };
    let (mine, yours) = (make(1), make(2));
    let answer = registrar.power_of_d(yours.message());
    assert_eq!(
        finalize(&mine, &answer),
        Err(CredentialError::BadSignature(RsaError::BadSignature))
    );
    assert!(finalize(&yours, &answer).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// For any device, election and registrar: the code under test and OpenSSL's numbers agree, whatever the modulus' length.
    #[test]
    fn every_step_agrees_with_openssl(secret: [u8; 32], id: [u8; 32], registrar: u16, wide: bool) {
        let pair = if wide { &*REGISTRAR_2056 } else { &*REGISTRAR_2048 };
        let expected = by_openssl("", &ElectionId(id), &secret, registrar, pair);
        let key = RegistrarKey::from_spki(&pair.spki).unwrap();
        let blinded = blind(&DeviceSecret::from_bytes(secret), &ElectionId(id), registrar, &key).unwrap();
        prop_assert_eq!(hex::encode(blinded.message()), expected.blinded);
        let signature = finalize(&blinded, &hex::decode(&expected.blind_signature).unwrap()).unwrap();
        prop_assert_eq!(hex::encode(signature), expected.signature);
    }
}
