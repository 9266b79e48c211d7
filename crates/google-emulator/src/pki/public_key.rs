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
        let (exponent, end) = element(exponent, 0x02)?;
        // 2048 bits and a sign byte: what Cloud SQL takes; 1 KiB is more than anybody has.
        let plausible = (256..=1024).contains(&modulus.len()) && (1..=8).contains(&exponent.len());
        let plausible = plausible && is_positive(modulus) && is_positive(exponent);
        (plausible && rest.is_empty() && end.is_empty()).then(|| Self { rsa: rsa.to_vec() })
    }
}

/// Whether the content of an INTEGER is a number above zero, written as DER writes it.
fn is_positive(number: &[u8]) -> bool {
    match number {
        [0, next, ..] => *next >= 0x80,
        [first, ..] => (1..0x80).contains(first),
        [] => false,
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

/// The content of a DER element with this tag, and what follows it. DER has one way to write a
/// length, the shortest; what is written in another is none.
pub(crate) fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest, shortest) = match first {
        0..=0x7f => (usize::from(first), rest, 0),
        0x81 => rest.split_first().map(|(it, rest)| (usize::from(*it), rest, 0x80))?,
        0x82 => {
            let (it, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*it)), rest, 0x100)
        }
        _ => return None,
    };
    (length >= shortest).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A `SubjectPublicKeyInfo` with a modulus of this many bytes.
    fn spki(modulus: usize) -> Vec<u8> {
        key(&vec![0x55; modulus], &[1, 0, 1], written)
    }

    /// A `SubjectPublicKeyInfo` of two numbers, by a way to write an element.
    fn key(modulus: &[u8], exponent: &[u8], write: fn(u8, &[u8]) -> Vec<u8>) -> Vec<u8> {
        let numbers = [write(2, modulus), write(2, exponent)].concat();
        let bits = [vec![0], write(0x30, &numbers)].concat();
        let rsa = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        write(0x30, &[write(0x30, &rsa), write(3, &bits)].concat())
    }

    /// An element with the shortest length.
    fn written(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        let head = match content.len() {
            0..0x80 => vec![tag, low],
            0x80..0x100 => vec![tag, 0x81, low],
            _ => vec![tag, 0x82, high, low],
        };
        [&head, content].concat()
    }

    /// An element as BER may write it and DER may not.
    fn written_long(tag: u8, content: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, high, low], content].concat()
    }

    /// What is signed as it came must be what every other reader reads.
    #[test]
    fn only_positive_numbers_in_der_make_a_key() {
        let modulus = [0x55; 257];
        assert!(PublicKey::from_der(&key(&modulus, &[3], written)).is_some());
        assert_eq!(PublicKey::from_der(&key(&modulus, &[1, 0, 1], written_long)), None);
        let zero = [&[0], &modulus[..]].concat();
        let negative = [&[0x80], &modulus[..]].concat();
        for (modulus, exponent) in [
            (&modulus[..], &[][..]),
            (&modulus, &[0]),
            (&modulus, &[0x81]),
            (&modulus, &[0, 3]),
            (&modulus, &[1; 9]),
            (&zero, &[3]),
            (&negative, &[3]),
        ] {
            assert_eq!(PublicKey::from_der(&key(modulus, exponent, written)), None, "{exponent:?}");
        }
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
