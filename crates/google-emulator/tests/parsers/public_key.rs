//! Public keys: text in PEM, or the bytes in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use google_emulator::pki::PublicKey;
use rcgen::PublicKeyData as _;

pub(crate) fn check(data: &[u8]) {
    if let Some(key) = PublicKey::from_der(data) {
        written_again(&key, data);
    }
    let text = String::from_utf8_lossy(data);
    if let Some(key) = PublicKey::from_pem(&text) {
        let der = key.subject_public_key_info();
        assert!(der.len() <= text.len());
        assert_eq!(PublicKey::from_der(&der), Some(key));
    }
    // A mutation of binary data in base64 is rarely base64 again.
    let pem = format!("-----BEGIN X-----\n{}\n-----END X-----\n", STANDARD.encode(data));
    assert_eq!(PublicKey::from_pem(&pem), PublicKey::from_der(data));
}

/// What goes into a certificate is what the client sent: DER can be written in one way only.
fn written_again(key: &PublicKey, der: &[u8]) {
    assert_eq!(key.subject_public_key_info(), der);
    let length = key.der_bytes().len();
    assert!((256 + 4..=1024 + 1024).contains(&length), "{length}");
}
