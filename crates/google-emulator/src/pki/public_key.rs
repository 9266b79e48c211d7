//! The public key that a client wants a certificate for.

use rcgen::{PublicKeyData, SignatureAlgorithm};

/// A client's RSA public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// `RSAPublicKey` of PKCS #1.
    rsa: Vec<u8>,
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in PEM, whatever its label says: the proxy writes
    /// `RSA PUBLIC KEY` over one (see `x509.MarshalPKIXPublicKey` in cloud-sql-go-connector).
    #[must_use]
    pub fn from_pem(text: &str) -> Option<Self> {
        use base64::Engine as _;

        let begin = text.find("-----BEGIN ")?;
        let (label, rest) = text[begin + 11..].split_once("-----")?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let body: String = body.chars().filter(|it| !it.is_ascii_whitespace()).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
        Self::from_der(&der)
    }

    /// Reads a `SubjectPublicKeyInfo` of an RSA key in DER.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        // AlgorithmIdentifier of rsaEncryption with its NULL.
        const RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        let (outer, rest) = element(der, 0x30)?;
        if !rest.is_empty() {
            return None;
        }
        let (algorithm, rest) = element(outer, 0x30)?;
        let (bits, rest) = element(rest, 0x03)?;
        let rsa = bits.strip_prefix(&[0])?;
        if algorithm != RSA || !rest.is_empty() {
            return None;
        }
        let (numbers, rest) = element(rsa, 0x30)?;
        let (modulus, exponent) = element(numbers, 0x02)?;
        let (_, end) = element(exponent, 0x02)?;
        // 2048 bits and a sign byte: what Cloud SQL takes; 1 KiB is more than anybody has.
        let plausible = (256..=1024).contains(&modulus.len());
        (plausible && rest.is_empty() && end.is_empty()).then(|| Self { rsa: rsa.to_vec() })
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.rsa
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// The content of a DER element with this tag, and what follows it.
pub(crate) fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => rest.split_first().map(|(it, rest)| (usize::from(*it), rest))?,
        0x82 => {
            let (it, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*it)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A `SubjectPublicKeyInfo` with a modulus of this many bytes.
    fn spki(modulus: usize) -> Vec<u8> {
        let element = |tag: u8, content: &[u8]| {
            let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82, high, low], content].concat()
        };
        let numbers = [element(2, &vec![0x55; modulus]), element(2, &[1, 0, 1])].concat();
        let bits = [vec![0], element(0x30, &numbers)].concat();
        let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        element(0x30, &[element(0x30, &rsa), element(3, &bits)].concat())
    }

    #[test]
    fn keys_of_a_sensible_length_are_taken_whole_and_nothing_else() {
        assert!(PublicKey::from_der(&spki(257)).is_some());
        assert_eq!(PublicKey::from_der(&spki(128)), None);
        assert_eq!(PublicKey::from_der(&spki(2048)), None);
        let good = spki(257);
        for cut in 0..good.len() {
            assert_eq!(PublicKey::from_der(&good[..cut]), None, "cut at {cut}");
        }
        assert_eq!(PublicKey::from_der(&[good, vec![0]].concat()), None);
    }

    #[test]
    fn the_label_of_the_text_does_not_matter() {
        use base64::Engine as _;

        let body = base64::engine::general_purpose::STANDARD.encode(spki(257));
        for label in ["PUBLIC KEY", "RSA PUBLIC KEY"] {
            let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            assert!(PublicKey::from_pem(&text).is_some(), "{label}");
        }
        assert_eq!(PublicKey::from_pem(&body), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, at in 0_usize..300, byte: u8) {
            prop_assert_eq!(PublicKey::from_der(&bytes), None);
            let mut near = spki(257);
            let at = at % near.len();
            near[at] = byte;
            let _ = PublicKey::from_der(&near);
            let _ = PublicKey::from_pem(&String::from_utf8_lossy(&bytes));
        }
    }
}
