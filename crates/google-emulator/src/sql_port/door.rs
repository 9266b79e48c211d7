//! Lets a client in: by its password, which PostgreSQL checks itself, or by IAM.

use std::io;
use std::sync::Arc;

use iam::{Decision, Principal, Question, Resource, decide};
use tokio::io::AsyncWriteExt as _;

use super::login::{Outcome, log_in};
use super::message::{self, AUTHENTICATION_OK, CLEARTEXT_PASSWORD};
use super::session::{Client, Failure};
use super::startup::{First, Opening, Startup};
use super::upstream::{Duplex, Server};
use super::{LOGIN_SCOPE, iam_email, provision};
use crate::authorize::CLOUD_PLATFORM;
use crate::clock;
use crate::cloud::Cloud;
use crate::state::sql::{ClientCertificate, User};

/// What stands between a client and PostgreSQL.
pub(super) struct Door<'a> {
    pub(super) cloud: &'a Arc<Cloud>,
    pub(super) key: &'a str,
    pub(super) row: &'a ClientCertificate,
    pub(super) server: &'a Server,
}

impl Door<'_> {
    /// The connection to PostgreSQL, as far along as the client thinks it is.
    pub(super) async fn pass(
        &self,
        client: &mut Client,
        opening: &Opening,
    ) -> Result<Box<dyn Duplex>, Failure> {
        let First::Startup(startup) = &opening.first else {
            return self.through(&opening.bytes).await;
        };
        let state = self.cloud.state();
        let user = state.users.get(&format!("{}/{}", self.key, startup.user));
        match user {
            Some(user) if provision::is_iam(user) => {
                self.pass_with_iam(client, opening, user).await
            }
            // The emulator's own superuser is nobody's that comes from outside.
            None if startup.user == self.server.superuser.name => {
                let failure = Failure::new("denied", "the superuser belongs to the emulator");
                Err(failure.answered("28P01", &password_words(startup)))
            }
            _ => self.through(&opening.bytes).await,
        }
    }

    /// PostgreSQL checks the password itself.
    async fn through(&self, bytes: &[u8]) -> Result<Box<dyn Duplex>, Failure> {
        let mut upstream = self.dial().await?;
        upstream.write_all(bytes).await?;
        upstream.flush().await?;
        Ok(upstream)
    }

    async fn dial(&self) -> Result<Box<dyn Duplex>, Failure> {
        let failed = |error: io::Error| {
            Failure::new("error", format!("{} cannot be reached: {error}", self.server.upstream))
        };
        self.server.upstream.dial().await.map_err(failed)
    }

    async fn pass_with_iam(
        &self,
        client: &mut Client,
        opening: &Opening,
        user: &User,
    ) -> Result<Box<dyn Duplex>, Failure> {
        if let Err(why) = self.check(client, user).await? {
            // The words of Cloud SQL (cloud-sql-proxy issues 849 and 1406, cloud-sql-jdbc-socket-
            // factory issue 727); asyncpg users see the class of SQLSTATE 28000.
            let kind = if user.kind == "CLOUD_IAM_USER" { "user" } else { "service account" };
            let text =
                format!("Cloud SQL IAM {kind} authentication failed for user \"{}\"", user.name);
            let why = format!("database user `{}`: {why}", user.name);
            return Err(Failure::new("denied", why).answered("28000", &text));
        }
        let internal = |error: crate::error::Error| Failure::new("error", error);
        let password =
            provision::iam_password(self.cloud, self.key, &user.name).map_err(internal)?;
        let mut upstream = self.dial().await?;
        let mut outcome = log_in(&mut upstream, &opening.bytes, &password).await?;
        if matches!(&outcome, Outcome::Refused(it) if it.field(b'C').as_deref() == Some("28P01")) {
            // The role was made by somebody else, or came back from a backup: it is set right.
            let sql = provision::user_statement(self.cloud, self.key, user, None);
            let sql = sql.map_err(internal)?.unwrap_or_default();
            let run = self.server.run("postgres", &sql).await;
            run.map_err(|error| Failure::new("error", error))?;
            upstream = self.dial().await?;
            outcome = log_in(&mut upstream, &opening.bytes, &password).await?;
        }
        match outcome {
            Outcome::In(said) => {
                client.write_all(&[&said[..], &AUTHENTICATION_OK].concat()).await?;
                client.flush().await?;
                Ok(upstream)
            }
            Outcome::Refused(message) => {
                let why = message.field(b'M').unwrap_or_default();
                let failure = Failure::new("denied", format!("PostgreSQL: {why}"));
                Err(failure.answered_with(message.bytes()))
            }
        }
    }

    /// Whether the client is the principal that the user stands for, and may log in.
    async fn check(&self, client: &mut Client, user: &User) -> io::Result<Result<(), String>> {
        let email = iam_email(user).unwrap_or_default();
        let expected = match user.kind.as_str() {
            "CLOUD_IAM_USER" => Principal::user(email),
            _ => Principal::service_account(email),
        };
        let came = match &self.row.login {
            Some(login) => Ok(login.clone()),
            None => self.ask_for_token(client).await?,
        };
        Ok(came.and_then(|came| {
            if came != expected {
                return Err(format!("the login token is of {came}"));
            }
            self.may_log_in(expected)
        }))
    }

    /// Without `--auto-iam-authn` the client sends an access token as its password.
    async fn ask_for_token(&self, client: &mut Client) -> io::Result<Result<Principal, String>> {
        client.write_all(&CLEARTEXT_PASSWORD).await?;
        client.flush().await?;
        let message = message::read(client).await?;
        let text = String::from_utf8_lossy(message.body.strip_suffix(&[0]).unwrap_or_default());
        if message.tag != b'p' || text.is_empty() {
            return Ok(Err("neither the certificate nor the password is a login token".into()));
        }
        let token = match self.cloud.read_token(&text) {
            Ok(token) => token,
            Err(refusal) => return Ok(Err(refusal.to_string())),
        };
        let login = |it: &String| [LOGIN_SCOPE, CLOUD_PLATFORM].contains(&it.as_str());
        if !token.scopes.iter().any(login) {
            return Ok(Err(format!("the token lacks the scope {LOGIN_SCOPE}")));
        }
        Ok(Ok(token.principal))
    }

    fn may_log_in(&self, principal: Principal) -> Result<(), String> {
        let (project, name) = self.key.split_once('/').unwrap_or_default();
        let state = self.cloud.state();
        let question = Question {
            caller: &principal.into(),
            permission: "cloudsql.instances.login",
            resource: &Resource::instance(project, name),
            now: i64::try_from(clock::seconds(self.cloud.now())).unwrap_or(i64::MAX),
        };
        match decide(&*state, &question) {
            Decision::Allowed(_) => Ok(()),
            denied @ Decision::Denied(_) => Err(denied.to_string()),
        }
    }
}

fn password_words(startup: &Startup) -> String {
    format!("password authentication failed for user \"{}\"", startup.user)
}
