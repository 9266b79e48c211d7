//! Logs an IAM database user in at the real PostgreSQL, with a password that nobody else has.
//!
//! Cloud SQL asks an IAM user for no password when the connection's certificate was made with that
//! user's login token (`--auto-iam-authn`). The real PostgreSQL must still be convinced, so every
//! IAM role has a password that is derived from a key of the instance: it is kept nowhere, and no
//! client ever sends or sees it.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use ring::hmac;
use tokio::io::AsyncWriteExt as _;

use super::message::{self, Message};
use super::upstream::Duplex;

/// `AuthenticationXXX` codes of the protocol.
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// The password of an IAM role at the real PostgreSQL; `secret` is the instance's own.
pub(crate) fn role_password(secret: &[u8], role: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let tag = hmac::sign(&key, format!("iam database user {role}").as_bytes());
    URL_SAFE_NO_PAD.encode(tag)
}

/// How a login at the real PostgreSQL ended.
pub(crate) enum Outcome {
    /// It is in; what the server said before belongs to the client, and its next message too.
    In(Vec<u8>),
    /// It is not, and this is why.
    Refused(Message),
}

/// Sends the client's own startup message and answers what the server asks.
pub(crate) async fn log_in(
    server: &mut Box<dyn Duplex>,
    startup: &[u8],
    password: &str,
) -> io::Result<Outcome> {
    server.write_all(startup).await?;
    server.flush().await?;
    let (mut scram, mut said) = (None, Vec::new());
    loop {
        let message = message::read(server).await?;
        match message.tag {
            b'E' => return Ok(Outcome::Refused(message)),
            // NegotiateProtocolVersion and notices are for the client.
            b'v' | b'N' if said.len() < 64 << 10 => {
                said.extend(message.bytes());
                continue;
            }
            b'R' => {}
            tag => return Err(invalid(format!("message `{}` during a login", char::from(tag)))),
        }
        let (code, rest) = message.body.split_first_chunk::<4>().ok_or_else(short)?;
        let answer = match u32::from_be_bytes(*code) {
            OK => return Ok(Outcome::In(said)),
            CLEARTEXT => [password.as_bytes(), &[0]].concat(),
            SASL => first(&mut scram, rest, password)?,
            SASL_CONTINUE => {
                let scram = scram.as_mut().ok_or_else(short)?;
                scram.update(rest)?;
                scram.message().to_vec()
            }
            SASL_FINAL => {
                scram.as_mut().ok_or_else(short)?.finish(rest)?;
                continue;
            }
            code => return Err(invalid(format!("the server asks for authentication {code}"))),
        };
        server.write_all(&message::encode(b'p', &answer)).await?;
        server.flush().await?;
    }
}

fn first(scram: &mut Option<ScramSha256>, offered: &[u8], password: &str) -> io::Result<Vec<u8>> {
    if !offered.split(|&it| it == 0).any(|it| it == SCRAM_SHA_256.as_bytes()) {
        return Err(invalid("the server offers no SCRAM-SHA-256".to_owned()));
    }
    let scram = scram.insert(ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported()));
    let message = scram.message();
    let length = i32::try_from(message.len()).map_err(|_| short())?;
    Ok([SCRAM_SHA_256.as_bytes(), &[0], &length.to_be_bytes(), message].concat())
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn short() -> io::Error {
    invalid("an authentication message that is out of place".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_its_own_password_and_it_is_the_same_tomorrow() {
        let (one, other) = (role_password(b"key", "a@p.iam"), role_password(b"key", "b@p.iam"));
        assert_ne!(one, other);
        assert_ne!(one, role_password(b"another", "a@p.iam"));
        assert_eq!(one, role_password(b"key", "a@p.iam"));
        assert_eq!(one.len(), 43);
    }

    #[tokio::test]
    async fn a_server_that_asks_for_a_broken_thing_is_an_error_not_a_panic() {
        for wrong in [
            &b"R\0\0\0\x05x"[..],
            b"R\0\0\0\x08\0\0\0\x0b",
            b"R\0\0\0\x08\0\0\0\x0c",
            b"R\0\0\0\x0c\0\0\0\x0aMD5\0",
            b"Z\0\0\0\x05I",
        ] {
            let (mut server, gateway) = tokio::io::duplex(4096);
            server.write_all(wrong).await.unwrap();
            let mut gateway: Box<dyn Duplex> = Box::new(gateway);
            assert!(log_in(&mut gateway, b"", "x").await.is_err(), "{wrong:?}");
        }
    }
}
