//! Service accounts: made, changed, taken away, and who may use them.

use hyper::{Method, Response};
use iam::{Policy, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ok;
use crate::authorize::{Context, require};
use crate::body::{self, Body};
use crate::cloud::Cloud;
use crate::error::Error;
use crate::state::{ServiceAccount, State, etag, fresh};
use crate::surface::paging::Page;
use crate::surface::policy;

/// How a request goes on behind the name of an account.
pub(super) struct Call<'a> {
    pub(super) method: &'a Method,
    pub(super) query: Option<&'a str>,
    pub(super) rest: &'a [&'a str],
    pub(super) verb: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Create {
    #[serde(default)]
    account_id: String,
    #[serde(default)]
    service_account: Texts,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Texts {
    display_name: Option<String>,
    description: Option<String>,
    etag: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Patch {
    service_account: Texts,
    update_mask: Option<String>,
}

/// `GET …/serviceAccounts`.
pub(super) fn list(context: &Context, project: &str, query: Option<&str>) -> Result<Value, Error> {
    require(context, "iam.serviceAccounts.list", &Resource::project(project))?;
    let state = context.cloud.state();
    let rows = state.accounts.iter().filter(|(_, it)| it.project == project);
    let rows = rows.map(|(email, it)| (email.to_owned(), json(it)));
    Ok(Page::of(query, 100, rows)?.answer("accounts"))
}

/// `POST …/serviceAccounts`.
pub(super) async fn create(context: &Context, project: &str, body: Body) -> Result<Value, Error> {
    require(context, "iam.serviceAccounts.create", &Resource::project(project))?;
    let asked: Create = body::request(body).await?;
    let id = asked.account_id;
    if !is_account_id(&id) {
        // The pattern is that of the reference of projects.serviceAccounts.create.
        return Err(Error::invalid_argument("Request contains an invalid argument.").detail(
            json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [{
                    "field": "account_id",
                    "description": "must match [a-z]([-a-z0-9]*[a-z0-9]), 6 to 30 characters",
                }],
            }),
        ));
    }
    let email = context.cloud.world.email(&id);
    let number = context.cloud.world.project.number;
    context.cloud.state.change(|state| {
        if state.accounts.contains(&email) {
            // Public logs of gcloud and Terraform.
            return Err(Error::already_exists(format!(
                "Service account {id} already exists within project projects/{project}."
            )));
        }
        let next = state.next_number();
        let account = ServiceAccount {
            project: project.to_owned(),
            email: email.clone(),
            unique_id: fresh::unique_id(number, next),
            display_name: asked.service_account.display_name.unwrap_or_default(),
            description: asked.service_account.description.unwrap_or_default(),
            disabled: false,
            etag: next,
        };
        let answer = json(&account);
        state.accounts.insert(email.clone(), account);
        Ok(answer)
    })
}

/// Everything about one account. The caller's permission comes first: who has none is not told
/// whether the account exists.
pub(super) async fn one(
    context: &Context,
    project: &str,
    name: &str,
    call: Call<'_>,
    body: Body,
) -> Result<Response<Body>, Error> {
    let cloud = &context.cloud;
    let found = find(&cloud.state(), project, name);
    let email = found.as_ref().map_or(name, |it| it.email.as_str());
    let owner = if project == "-" { cloud.world.project.id.as_str() } else { project };
    let resource = Resource::service_account(owner, email);
    let allowed = |permission: &str| {
        require(context, permission, &resource)?;
        // Public logs of gcloud.
        found.clone().ok_or_else(|| Error::not_found("Unknown service account"))
    };
    match (call.method, call.rest, call.verb) {
        (&Method::GET, [], "") => ok(&json(&allowed("iam.serviceAccounts.get")?)),
        (&Method::DELETE, [], "") => delete(cloud, &allowed("iam.serviceAccounts.delete")?),
        (&Method::PATCH, [], "") => {
            let account = allowed("iam.serviceAccounts.update")?;
            let patch: Patch = body::request(body).await?;
            let mask = patch.update_mask.unwrap_or_default();
            change(cloud, &account, patch.service_account, Some(&mask))
        }
        (&Method::PUT, [], "") => {
            let account = allowed("iam.serviceAccounts.update")?;
            change(cloud, &account, body::request(body).await?, None)
        }
        (&Method::POST, [], "enable") => {
            disable(cloud, &allowed("iam.serviceAccounts.enable")?, false)
        }
        (&Method::POST, [], "disable") => {
            disable(cloud, &allowed("iam.serviceAccounts.disable")?, true)
        }
        (&Method::POST | &Method::GET, [], "getIamPolicy") => {
            allowed("iam.serviceAccounts.getIamPolicy")?;
            let version = policy::requested_version(call.query, body).await?;
            ok(&policy::get(cloud, &resource, version)?)
        }
        (&Method::POST, [], "setIamPolicy") => {
            allowed("iam.serviceAccounts.setIamPolicy")?;
            ok(&policy::set(context, &resource, body).await?)
        }
        (&Method::POST, [], "testIamPermissions") => {
            ok(&policy::test(context, &resource, body).await?)
        }
        (&Method::GET, ["keys"], "") => {
            // No key can be made here, so there is none to list.
            allowed("iam.serviceAccountKeys.list")?;
            ok(&json!({}))
        }
        _ => Err(Error::not_emulated(&context.method)),
    }
}

fn find(state: &State, project: &str, name: &str) -> Option<ServiceAccount> {
    let name = name.to_lowercase();
    let by_id = || state.accounts.iter().map(|(_, it)| it).find(|it| it.unique_id == name);
    let found = state.accounts.get(&name).or_else(by_id)?;
    (project == "-" || found.project == project).then(|| found.clone())
}

fn change(
    cloud: &Cloud,
    account: &ServiceAccount,
    texts: Texts,
    mask: Option<&str>,
) -> Result<Response<Body>, Error> {
    let named = |field: &str, snake: &str| {
        mask.is_none_or(|it| it.split(',').any(|it| it.trim() == field || it.trim() == snake))
    };
    let with_name = named("displayName", "display_name");
    let with_description = named("description", "description");
    edit(cloud, account, |row| {
        if texts.etag.is_some_and(|it| it != etag(row.etag)) {
            return Err(policy::refused(iam::PolicyError::StaleEtag));
        }
        if with_name {
            row.display_name = texts.display_name.unwrap_or_default();
        }
        if with_description {
            row.description = texts.description.unwrap_or_default();
        }
        Ok(())
    })
    .map(|row| body::ok(&json(&row)))
}

fn disable(
    cloud: &Cloud,
    account: &ServiceAccount,
    disabled: bool,
) -> Result<Response<Body>, Error> {
    let done = edit(cloud, account, |row| {
        row.disabled = disabled;
        Ok(())
    });
    done.map(|_| body::ok(&json!({})))
}

fn edit(
    cloud: &Cloud,
    account: &ServiceAccount,
    edit: impl FnOnce(&mut ServiceAccount) -> Result<(), Error>,
) -> Result<ServiceAccount, Error> {
    cloud.state.change(|state| {
        let next = state.next_number();
        let row = state.accounts.get_mut(&account.email);
        let row = row.ok_or_else(|| Error::not_found("Unknown service account"))?;
        edit(row)?;
        row.etag = next;
        Ok(row.clone())
    })
}

/// Takes an account away. Bindings keep it as `deleted:serviceAccount:…?uid=…`, so that an
/// account of the same name that is made later does not get its rights.
fn delete(cloud: &Cloud, account: &ServiceAccount) -> Result<Response<Body>, Error> {
    let member = format!("serviceAccount:{}", account.email);
    let tombstone = format!("deleted:{member}?uid={}", account.unique_id);
    cloud.state.change(|state| {
        state.accounts.remove(&account.email);
        state.signing_keys.remove(&account.email);
        state.policies.remove(Resource::service_account(&account.project, &account.email).name());
        let with_member = |policy: &Policy| {
            policy.bindings().iter().any(|it| it.members.iter().any(|it| same(it, &member)))
        };
        let changed: Vec<(String, Policy)> = state
            .policies
            .iter()
            .filter(|(_, policy)| with_member(policy))
            .map(|(name, policy)| (name.to_owned(), renamed(policy, &member, &tombstone)))
            .collect();
        for (name, policy) in changed {
            state.policies.insert(name, policy);
        }
        Ok(body::ok(&json!({})))
    })
}

fn renamed(policy: &Policy, member: &str, tombstone: &str) -> Policy {
    let mut bindings = policy.bindings().to_vec();
    for name in bindings.iter_mut().flat_map(|it| &mut it.members) {
        if same(name, member) {
            tombstone.clone_into(name);
        }
    }
    Policy::new(policy.etag(), bindings)
}

fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// The account as the API writes it; gcloud insists on an etag in base64.
fn json(account: &ServiceAccount) -> Value {
    let ServiceAccount { project, email, unique_id, .. } = account;
    let mut value = json!({
        "name": format!("projects/{project}/serviceAccounts/{email}"),
        "projectId": project,
        "uniqueId": unique_id,
        "email": email,
        "etag": etag(account.etag),
        "oauth2ClientId": unique_id,
    });
    if !account.display_name.is_empty() {
        value["displayName"] = Value::from(account.display_name.as_str());
    }
    if !account.description.is_empty() {
        value["description"] = Value::from(account.description.as_str());
    }
    if account.disabled {
        value["disabled"] = Value::from(true);
    }
    value
}

fn is_account_id(id: &str) -> bool {
    let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    (6..=30).contains(&id.len())
        && id.bytes().all(plain)
        && id.starts_with(|it: char| it.is_ascii_lowercase())
        && !id.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_are_those_that_google_takes() {
        for (id, expected) in [
            ("mlflow", true),
            ("mlflow-cloudsql-proxy", true),
            ("short", false),
            ("1mlflow", false),
            ("mlflow-", false),
            ("Mlflow", false),
            ("a-name-that-is-longer-than-thirty", false),
        ] {
            assert_eq!(is_account_id(id), expected, "{id}");
        }
    }
}
