//! Certificates of one's own, made for one test: an authority, and what it says of a server. Their form is X.509's DER,
//! written out by hand, since nothing else here needs it.

use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
/// ecdsa-with-SHA256.
const SIGNED_BY: &[u8] = &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
/// A public key of an elliptic curve, on P-256.
const KEY: &[u8] =
    &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const COMMON_NAME: &[u8] = &[0x06, 3, 0x55, 4, 3];
const OTHER_NAMES: &[u8] = &[0x06, 3, 0x55, 0x1d, 17];
const IS_AUTHORITY: &[u8] = &[0x06, 3, 0x55, 0x1d, 19, 0x01, 1, 0xff];

/// Somebody who signs certificates.
pub struct Authority {
    name: &'static str,
    key: EcdsaKeyPair,
    /// What whoever trusts it is given, as PEM.
    pub certificate: String,
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match u16::try_from(content.len()).expect("a small thing").to_be_bytes() {
        [0, n] if n < 0x80 => vec![n],
        [0, n] => vec![0x81, n],
        [m, n] => vec![0x82, m, n],
    };
    [&[tag], &length[..], &content].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn new_key() -> (EcdsaKeyPair, String) {
    let random = SystemRandom::new();
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, made.as_ref(), &random);
    (key.expect("it was just made"), pem("PRIVATE KEY", made.as_ref()))
}

fn named(name: &str) -> Vec<u8> {
    let said = der(SEQUENCE, &[COMMON_NAME, &der(0x0c, &[name.as_bytes()])]);
    der(SEQUENCE, &[&der(0x31, &[&said])])
}

/// What `issuer`, with its key, says of somebody else's.
fn certificate(issuer: (&str, &EcdsaKeyPair), of: (&str, &EcdsaKeyPair), extension: &[u8]) -> String {
    let algorithm = der(SEQUENCE, &[SIGNED_BY]);
    let times: Vec<_> =
        ["200101000000Z", "490101000000Z"].iter().map(|t| der(0x17, &[t.as_bytes()])).collect();
    let key = der(SEQUENCE, &[&der(SEQUENCE, &[KEY]), &der(0x03, &[&[0], of.1.public_key().as_ref()])]);
    let version = der(0xa0, &[&der(0x02, &[&[2]])]);
    let extensions = der(0xa3, &[&der(SEQUENCE, &[extension])]);
    let said = der(
        SEQUENCE,
        &[
            &version,
            &der(0x02, &[&[1]]),
            &algorithm,
            &named(issuer.0),
            &der(SEQUENCE, &[&times[0], &times[1]]),
            &named(of.0),
            &key,
            &extensions,
        ],
    );
    let signature = issuer.1.sign(&SystemRandom::new(), &said).expect("a signature");
    pem("CERTIFICATE", &der(SEQUENCE, &[&said, &algorithm, &der(0x03, &[&[0], signature.as_ref()])]))
}

impl Authority {
    pub fn new(name: &'static str) -> Self {
        let (key, _) = new_key();
        let yes = der(OCTETS, &[&der(SEQUENCE, &[&[0x01, 1, 0xff]])]);
        let certificate = certificate((name, &key), (name, &key), &der(SEQUENCE, &[IS_AUTHORITY, &yes]));
        Self { name, key, certificate }
    }

    /// The certificate and the key of a server that is called `host`, as PEM.
    pub fn server(&self, host: &str) -> (String, String) {
        let (key, secret) = new_key();
        let names = der(OCTETS, &[&der(SEQUENCE, &[&der(0x82, &[host.as_bytes()])])]);
        let of = certificate((self.name, &self.key), (host, &key), &der(SEQUENCE, &[OTHER_NAMES, &names]));
        (of, secret)
    }
}
