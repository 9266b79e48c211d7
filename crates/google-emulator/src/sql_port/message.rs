//! The messages of PostgreSQL's protocol that the gateway itself says and hears while it logs in.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Nothing that is said during a login is longer.
const LONGEST: usize = 64 * 1024;

/// `AuthenticationOk`.
pub(crate) const AUTHENTICATION_OK: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 0];
/// `AuthenticationCleartextPassword`; inside of TLS, as Cloud SQL asks for a token.
pub(crate) const CLEARTEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

/// One message: its letter and its body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        encode(self.tag, &self.body)
    }

    /// A field of an ErrorResponse: `C` is the SQLSTATE, `M` the text.
    pub(crate) fn field(&self, letter: u8) -> Option<String> {
        if self.tag != b'E' {
            return None;
        }
        let field = self.body.split(|&it| it == 0).find(|it| it.first() == Some(&letter))?;
        Some(String::from_utf8_lossy(field.get(1..)?).into_owned())
    }
}

pub(crate) fn encode(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(tag);
    out.extend(u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// An ErrorResponse that ends the connection.
pub(crate) fn fatal(sqlstate: &str, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (letter, value) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', sqlstate), (b'M', text)] {
        body.push(letter);
        body.extend(value.bytes().filter(|&it| it != 0));
        body.push(0);
    }
    body.push(0);
    encode(b'E', &body)
}

/// Reads one message, and not a byte more.
pub(crate) async fn read<S: AsyncRead + Unpin>(from: &mut S) -> io::Result<Message> {
    let tag = from.read_u8().await?;
    let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    if !(4..=LONGEST).contains(&length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message of a wrong length"));
    }
    let mut body = vec![0; length - 4];
    from.read_exact(&mut body).await?;
    Ok(Message { tag, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_is_read_as_it_was_written() {
        let bytes = fatal("28000", "no entry for \"x\"");
        let message = read(&mut bytes.as_slice()).await.unwrap();
        assert_eq!(message.field(b'C').as_deref(), Some("28000"));
        assert_eq!(message.field(b'M').as_deref(), Some("no entry for \"x\""));
        assert_eq!(message.bytes(), bytes);
    }

    #[tokio::test]
    async fn a_length_that_no_login_needs_is_refused() {
        assert!(read(&mut [b'R', 0x7f, 0, 0, 0].as_slice()).await.is_err());
        assert!(read(&mut [b'R', 0, 0, 0, 3].as_slice()).await.is_err());
    }
}
