//! RFC 9474 appendix A.3, RSABSSA-SHA384-PSS-Deterministic: each step against the published bytes.

use super::*;

const VECTOR: &str = include_str!("../../tests/data/rfc9474_a3.txt");

/// A field of the appendix: `name = hex`.
fn field(name: &str) -> Vec<u8> {
    let line = VECTOR
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    hex::decode(line.unwrap()).unwrap()
}

fn key() -> RegistrarKey {
    let n = openssl::bn::BigNum::from_slice(&field("n")).unwrap();
    let e = openssl::bn::BigNum::from_slice(&field("e")).unwrap();
    let key = openssl::rsa::Rsa::from_public_components(n, e).unwrap();
    RegistrarKey::from_spki(&key.public_key_to_der().unwrap()).unwrap()
}

#[test]
fn encoding_blinding_and_finalizing_give_the_published_bytes() {
    let key = key();
    let message = field("msg");
    let salt = field("salt");
    assert_eq!(salt.len(), HASH_LEN);
    assert_eq!(
        *emsa_pss_encode(&message, &salt, key.signature_len()),
        field("encoded_msg")
    );

    // The appendix gives the inverse of the blinding factor; the factor is its inverse.
    let inverse = BlindingFactor::new(&field("inv"), &key).unwrap().unwrap();
    let factor = BlindingFactor {
        x: inverse.inverse,
        inverse: inverse.x,
    };
    let blinded = blind_with(&key, message.clone(), &salt, &factor).unwrap();
    assert_eq!(blinded.message(), field("blinded_msg"));

    let blind_signature = field("blind_sig");
    assert_eq!(finalize(&blinded, &blind_signature).unwrap(), field("sig"));
    assert_eq!(key.verify(&message, &field("sig")), Ok(()));

    let mut tampered = blind_signature.clone();
    tampered[100] ^= 1;
    assert_eq!(
        finalize(&blinded, &tampered),
        Err(CredentialError::BadSignature(RsaError::BadSignature))
    );
    assert_eq!(
        finalize(&blinded, &field("sig")),
        Err(CredentialError::BadSignature(RsaError::BadSignature))
    );
    assert_eq!(
        finalize(&blinded, key.modulus()),
        Err(CredentialError::Range)
    );
    assert_eq!(
        finalize(&blinded, &blind_signature[1..]),
        Err(CredentialError::Length {
            len: 511,
            expected: 512
        })
    );
}

#[test]
fn a_factor_must_be_invertible_and_neither_0_nor_1_nor_too_large() {
    let key = key();
    let wide = |bytes: &[u8]| [&vec![0; key.signature_len() - bytes.len()], bytes].concat();
    let accepted = |bytes: &[u8]| BlindingFactor::new(bytes, &key).unwrap().is_some();
    assert!(accepted(&wide(&[2])));
    let n_minus_1 = {
        let mut n = key.modulus().to_vec();
        *n.last_mut().unwrap() -= 1;
        n
    };
    assert!(accepted(&n_minus_1));
    for refused in [
        wide(&[0]),
        wide(&[1]),
        key.modulus().to_vec(),
        vec![0xff; key.signature_len()],
    ] {
        assert!(!accepted(&refused));
    }
    // The secret primes of the appendix: not coprime to n.
    assert!(!accepted(&wide(&field("p"))));
    assert!(!accepted(&wide(&field("q"))));
}
