//! The first messages of a PostgreSQL connection, as a client sends them before it is anybody.
//!
//! The limits and answers are PostgreSQL's own (`src/backend/tcop/backend_startup.c`).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// `MAX_STARTUP_PACKET_LENGTH`.
const LONGEST: usize = 10_000;
const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// What a client wants first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum First {
    /// Encryption, which inside of the tunnel is there already.
    Encryption,
    /// To cancel a query that another connection runs.
    Cancel,
    /// To log in.
    Startup(Startup),
}

/// Whom a client logs in as, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Startup {
    pub(crate) user: String,
    pub(crate) database: String,
}

/// Why a first message is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum StartupError {
    #[error("invalid length of startup packet")]
    Length,
    #[error("unsupported frontend protocol {0}.{1}: server supports 3.0 to 3.0")]
    Protocol(u32, u32),
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// No server answers it twice.
    #[error("encryption was asked for more than once in each way")]
    Again,
}

impl StartupError {
    /// PostgreSQL's SQLSTATE for it.
    pub(crate) fn sqlstate(&self) -> &'static str {
        match self {
            Self::Protocol(..) => "0A000",
            Self::NoUser => "28000",
            Self::Length | Self::Layout | Self::Again => "08P01",
        }
    }
}

/// What to make of the body of a first message: all after its length.
pub(crate) fn parse(body: &[u8]) -> Result<First, StartupError> {
    let (code, rest) = body.split_first_chunk::<4>().ok_or(StartupError::Length)?;
    match u32::from_be_bytes(*code) {
        SSL_REQUEST | GSSENC_REQUEST if rest.is_empty() => Ok(First::Encryption),
        CANCEL_REQUEST => Ok(First::Cancel),
        version if version >> 16 == 3 => parameters(rest).map(First::Startup),
        version => Err(StartupError::Protocol(version >> 16, version & 0xffff)),
    }
}

fn parameters(rest: &[u8]) -> Result<Startup, StartupError> {
    let text = rest.strip_suffix(&[0, 0]).ok_or(StartupError::Layout)?;
    let mut parts = text.split(|&byte| byte == 0);
    let (mut user, mut database) = (None, None);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        let value = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"user" => user = Some(value()),
            b"database" => database = Some(value()),
            _ => {}
        }
    }
    let user = user.filter(|it| !it.is_empty()).ok_or(StartupError::NoUser)?;
    Ok(Startup { database: database.unwrap_or_else(|| user.clone()), user })
}

/// A first message with its bytes, which go on to PostgreSQL as they came.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) first: First,
    pub(crate) bytes: Vec<u8>,
}

/// Reads until the client says who it is. None when it left before it said anything.
pub(crate) async fn read<S>(client: &mut S) -> io::Result<Option<Result<Opening, StartupError>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // PostgreSQL answers one request for TLS and one for GSSAPI.
    for _ in 0..3 {
        let mut head = [0; 4];
        match client.read_exact(&mut head).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            outcome => outcome.map(drop)?,
        }
        let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
        if !(8..=LONGEST + 4).contains(&length) {
            return Ok(Some(Err(StartupError::Length)));
        }
        let mut bytes = vec![0; length];
        bytes[..4].copy_from_slice(&head);
        client.read_exact(&mut bytes[4..]).await?;
        match parse(&bytes[4..]) {
            Ok(First::Encryption) => {
                client.write_all(b"N").await?;
                client.flush().await?;
            }
            Ok(first) => return Ok(Some(Ok(Opening { first, bytes }))),
            Err(error) => return Ok(Some(Err(error))),
        }
    }
    Ok(Some(Err(StartupError::Again)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn startup(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for (name, value) in pairs {
            body.extend(name.bytes().chain([0]).chain(value.bytes()).chain([0]));
        }
        body.push(0);
        body
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut out = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
        out.extend(body);
        out
    }

    #[test]
    fn the_database_is_the_users_name_when_none_is_said() {
        let named = parse(&startup(&[("user", "ann@p.iam"), ("database", "mlflow")]));
        let expected = |database: &str| {
            Ok(First::Startup(Startup { user: "ann@p.iam".into(), database: database.into() }))
        };
        assert_eq!(named, expected("mlflow"));
        assert_eq!(parse(&startup(&[("user", "ann@p.iam")])), expected("ann@p.iam"));
    }

    #[test]
    fn a_message_that_is_none_is_told_in_postgresqls_words() {
        assert_eq!(parse(&[0, 2, 0, 0]), Err(StartupError::Protocol(2, 0)));
        assert_eq!(parse(&startup(&[("database", "x")])), Err(StartupError::NoUser));
        assert_eq!(parse(&[0, 3, 0, 0, b'u']), Err(StartupError::Layout));
        assert_eq!(parse(&[0, 3]), Err(StartupError::Length));
    }

    #[tokio::test]
    async fn a_client_that_asks_for_tls_inside_the_tunnel_hears_no_and_goes_on() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(&framed(&SSL_REQUEST.to_be_bytes())).await.unwrap();
        client.write_all(&framed(&startup(&[("user", "ann")]))).await.unwrap();
        let opening = read(&mut server).await.unwrap().unwrap().unwrap();
        assert!(matches!(opening.first, First::Startup(it) if it.user == "ann"));
        assert_eq!(client.read_u8().await.unwrap(), b'N');
    }

    #[tokio::test]
    async fn a_length_beyond_postgresqls_is_refused_before_it_is_allocated() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        client.write_all(&[0xff, 0xff, 0xff, 0xff]).await.unwrap();
        assert_eq!(read(&mut server).await.unwrap().unwrap().unwrap_err(), StartupError::Length);
    }

    #[tokio::test]
    async fn a_client_that_asks_for_tls_forever_is_turned_away() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        for _ in 0..3 {
            client.write_all(&framed(&SSL_REQUEST.to_be_bytes())).await.unwrap();
        }
        assert_eq!(read(&mut server).await.unwrap().unwrap().unwrap_err(), StartupError::Again);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[&[0, 3, 0, 0][..], &bytes].concat());
        }
    }
}
