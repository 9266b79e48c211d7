//! Makes the real PostgreSQL hold what the state says: roles, users and databases.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::statement::{self, Name};
use super::upstream::{Server, SqlError};
use super::{authority, disk, login, upstream_of};
use crate::cloud::Cloud;
use crate::error::Error;
use crate::log::Entry;
use crate::state::sql::User;

/// A PostgreSQL that starts beside the emulator is there within seconds.
const AGAIN: Duration = Duration::from_secs(1);

/// Brings every instance up to date, each as soon as its PostgreSQL answers.
pub(crate) async fn all(cloud: Arc<Cloud>) {
    let keys: Vec<String> = cloud.state().instances.iter().map(|(key, _)| key.to_owned()).collect();
    let each = keys.into_iter().map(|key| until_done(Arc::clone(&cloud), key));
    futures::future::join_all(each).await;
}

async fn until_done(cloud: Arc<Cloud>, key: String) {
    let mut said = String::new();
    while cloud.state().instances.contains(&key) {
        let Err(why) = renew(&cloud, &key).await else { return };
        // One line per reason, not one per second.
        if why != said {
            let resource = &key;
            cloud.log(&Entry {
                surface: "cloudsql",
                resource,
                decision: "error",
                why: &why,
                ..Entry::default()
            });
            said = why;
        }
        sleep_until(Instant::now() + AGAIN).await;
    }
}

/// Faults are of memory: whoever begins anew has none.
async fn renew(cloud: &Cloud, key: &str) -> Result<(), String> {
    instance(cloud, key, None).await.map_err(|error| error.to_string())?;
    disk::set_full(cloud, key, false).await.map_err(|error| error.message.clone())
}

/// Brings one instance up to date; `root` is the password of its user `postgres`.
pub(crate) async fn instance(cloud: &Cloud, key: &str, root: Option<&str>) -> Result<(), SqlError> {
    let state = cloud.state();
    let Some(row) = state.instances.get(key) else { return Ok(()) };
    let broken = |error: Error| SqlError::Broken(error.message.clone());
    let server = upstream_of(cloud, row).map_err(broken)?;
    let below = format!("{key}/");
    let mut sql = statement::own_roles();
    for (_, user) in state.users.prefix(&below) {
        let password = root.filter(|_| user.name == "postgres");
        sql.extend(user_statement(cloud, key, user, password).map_err(broken)?);
    }
    server.run("postgres", &sql).await?;
    let there = server.run("postgres", "SELECT datname FROM pg_database").await?;
    for (_, database) in state.databases.prefix(&below) {
        let Some(name) = Name::new(&database.name).filter(|_| database.name != "postgres") else {
            continue;
        };
        let sql = if there.contains(&database.name) {
            statement::adopt_database(name)
        } else {
            statement::create_database(name, &database.charset, None)
        };
        server.run("postgres", &sql).await?;
    }
    cloud.sql.gates.of(key).set_furnished(true);
    Ok(())
}

/// The role that a user of the API is; none for a name that no role can have.
pub(crate) fn user_statement(
    cloud: &Cloud,
    key: &str,
    user: &User,
    password: Option<&str>,
) -> Result<Option<String>, Error> {
    let Some(name) = Name::new(&user.name) else { return Ok(None) };
    let own = match user.kind.as_str() {
        "CLOUD_IAM_SERVICE_ACCOUNT" => statement::IAM_SERVICE_ACCOUNT,
        "CLOUD_IAM_USER" => statement::IAM_USER,
        _ => statement::SUPERUSER,
    };
    // The emulator's own superuser stays what it is, whatever the API calls it.
    if user.name == cloud.upstreams.sql_superuser.name {
        return match password {
            None => Ok(Some(String::new())),
            Some(_) => {
                let what = format!("A password of `{}`, the emulator's own superuser,", user.name);
                Err(Error::not_emulated(&what))
            }
        };
    }
    let roles = [own].into_iter().chain(user.database_roles.iter().map(String::as_str));
    let roles: Option<Vec<Name<'_>>> = roles.map(Name::new).collect();
    let Some(roles) = roles else { return Ok(None) };
    let derived = if is_iam(user) { Some(iam_password(cloud, key, &user.name)?) } else { None };
    let sql = statement::ensure_user(name, derived.as_deref().or(password), &roles);
    Ok(Some(statement::own_roles() + &sql))
}

/// Whether a user logs in through IAM alone.
pub(crate) fn is_iam(user: &User) -> bool {
    user.kind.starts_with("CLOUD_IAM_")
}

/// What the emulator itself logs an IAM user in with.
pub(crate) fn iam_password(cloud: &Cloud, key: &str, role: &str) -> Result<String, Error> {
    let at = authority::record_key(key, "client");
    if !cloud.state().authorities.contains(&at) {
        authority::client(cloud, key)?;
    }
    let state = cloud.state();
    let record = state.authorities.get(&at).ok_or_else(|| Error::internal("The key is gone."))?;
    Ok(login::role_password(record.key_pem.as_bytes(), role))
}

/// Takes everything away that an instance put into its PostgreSQL.
pub(crate) async fn clear(cloud: &Cloud, key: &str) -> Result<(), SqlError> {
    let state = cloud.state();
    let Some(row) = state.instances.get(key) else { return Ok(()) };
    let server =
        upstream_of(cloud, row).map_err(|error| SqlError::Broken(error.message.clone()))?;
    let below = format!("{key}/");
    let there = server.run("postgres", "SELECT datname FROM pg_database").await?;
    for (_, database) in state.databases.prefix(&below) {
        if database.name == "postgres" || !there.contains(&database.name) {
            continue;
        }
        if let Some(name) = Name::new(&database.name) {
            server.run("postgres", &statement::drop_database(name, true)).await?;
        }
    }
    let own = &cloud.upstreams.sql_superuser.name;
    let users = state.users.prefix(&below).map(|(_, it)| &it.name).filter(|it| *it != own);
    let sql: String = users.filter_map(|it| Name::new(it)).map(statement::purge_user).collect();
    server.run("postgres", &sql).await.map(drop)
}

/// Lets PostgreSQL end the sessions of all clients in its own words.
pub(crate) async fn end_sessions(server: &Server) -> Result<(), SqlError> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \
               backend_type = 'client backend' AND usename <> current_user";
    server.run("postgres", sql).await.map(drop)
}
