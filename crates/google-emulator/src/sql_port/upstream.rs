//! The real PostgreSQL behind an instance: how to reach it, and what its superuser does for the API.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_postgres::NoTls;

/// A database on the same cluster answers at once; one that starts is tried again by the caller.
const DIAL: Duration = Duration::from_secs(5);
/// `CREATE DATABASE` copies a template; everything else is much faster.
const STATEMENT: Duration = Duration::from_secs(60);

/// Bytes both ways.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where a PostgreSQL listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// `HOST:PORT`.
    Tcp(String),
    /// A socket, or the folder that has `.s.PGSQL.5432`.
    Unix(PathBuf),
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("tcp", rest)) if rest.rsplit_once(':').is_some() => Ok(Self::Tcp(rest.into())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => Err(format!("upstream `{text}` is neither `tcp:HOST:PORT` nor `unix:/PATH`")),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Upstream {
    /// Opens a connection.
    pub(crate) async fn dial(&self) -> io::Result<Box<dyn Duplex>> {
        let dialled = async {
            match self {
                Self::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    Ok::<Box<dyn Duplex>, io::Error>(Box::new(stream))
                }
                Self::Unix(path) => {
                    let folder = path.is_dir();
                    let path = if folder { path.join(".s.PGSQL.5432") } else { path.clone() };
                    let stream: Box<dyn Duplex> = Box::new(UnixStream::connect(path).await?);
                    Ok(stream)
                }
            }
        };
        timeout(DIAL, dialled).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// A superuser of the real PostgreSQL. It belongs to the emulator; no client logs in as it.
#[derive(Clone)]
pub struct Superuser {
    /// The role.
    pub name: String,
    /// Empty where the server trusts the emulator's socket.
    pub password: String,
}

impl fmt::Debug for Superuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Superuser({})", self.name)
    }
}

impl Default for Superuser {
    fn default() -> Self {
        Self { name: "postgres".into(), password: String::new() }
    }
}

impl Superuser {
    /// From a file with the name in its first line and the password in its second.
    ///
    /// # Errors
    /// It has no first line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim);
        let name = lines.next().filter(|it| !it.is_empty()).ok_or("its first line is no role")?;
        Ok(Self { name: name.into(), password: lines.next().unwrap_or_default().into() })
    }
}

/// Why the real PostgreSQL did not do it.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// Nobody answers.
    #[error("PostgreSQL at {0} cannot be reached: {1}")]
    Unreachable(Upstream, io::Error),
    /// It takes too long.
    #[error("PostgreSQL did not finish within {} seconds", STATEMENT.as_secs())]
    Slow,
    /// It refused. The text is PostgreSQL's own.
    #[error("{message}")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// `database "x" already exists`
        message: String,
        /// `DETAIL`, lines as they are.
        detail: String,
    },
    /// The connection broke, or the login failed.
    #[error("{0}")]
    Broken(String),
}

impl From<tokio_postgres::Error> for SqlError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(refusal) => Self::Refused {
                code: refusal.code().code().to_owned(),
                message: refusal.message().to_owned(),
                detail: refusal.detail().unwrap_or_default().to_owned(),
            },
            None => Self::Broken(error.to_string()),
        }
    }
}

/// A PostgreSQL and its superuser.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) upstream: Upstream,
    pub(crate) superuser: Superuser,
}

impl Server {
    /// Runs statements as the superuser; gives the first column of the rows.
    pub(crate) async fn run(&self, database: &str, sql: &str) -> Result<Vec<String>, SqlError> {
        timeout(STATEMENT, self.run_slowly(database, sql)).await.unwrap_or(Err(SqlError::Slow))
    }

    async fn run_slowly(&self, database: &str, sql: &str) -> Result<Vec<String>, SqlError> {
        let stream = self
            .upstream
            .dial()
            .await
            .map_err(|error| SqlError::Unreachable(self.upstream.clone(), error))?;
        let mut config = tokio_postgres::Config::new();
        config.user(&self.superuser.name).dbname(database).application_name("cloudsqladmin");
        if !self.superuser.password.is_empty() {
            config.password(&self.superuser.password);
        }
        let (client, connection) = config.connect_raw(stream, NoTls).await?;
        // The connection ends when the client is dropped at the end of this function.
        let driver = tokio::spawn(connection);
        let answer = client.simple_query(sql).await;
        drop(client);
        driver.abort();
        let rows = answer?.into_iter().filter_map(|it| match it {
            tokio_postgres::SimpleQueryMessage::Row(row) => {
                row.try_get(0).ok().flatten().map(str::to_owned)
            }
            _ => None,
        });
        Ok(rows.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_with_a_port_or_a_path() {
        assert_eq!("tcp:pg:5432".parse(), Ok(Upstream::Tcp("pg:5432".into())));
        assert_eq!("unix:/run/pg".parse(), Ok(Upstream::Unix("/run/pg".into())));
        for wrong in ["pg:5432", "tcp:pg", "unix:run", ""] {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_superuser_never_shows_its_password() {
        let superuser = Superuser::parse("admin\nhunter2\n").unwrap();
        assert_eq!((superuser.name.as_str(), superuser.password.as_str()), ("admin", "hunter2"));
        assert!(!format!("{superuser:?}").contains("hunter2"));
        assert!(Superuser::parse("\n").is_err());
    }
}
