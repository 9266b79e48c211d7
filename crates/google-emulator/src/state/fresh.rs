//! The state of a cloud that nobody has used yet.

use std::collections::BTreeMap;
use std::time::SystemTime;

use iam::{Binding, Condition, Policy, Resource};
use serde_json::{Value, json};

use super::{Bucket, ServiceAccount, State, etag, sql};
use crate::clock;
use crate::surface::storage;
use crate::world::{self, World};

/// Makes the state that a world file describes.
///
/// # Errors
/// What is wrong with a binding.
pub fn state(world: &World, now: SystemTime) -> Result<State, String> {
    let mut state = State::default();
    let now = clock::seconds(now);
    let project = &world.project.id;
    for service in &world.services {
        state.services.insert(format!("{project}/{service}"), true);
    }
    for account in &world.service_accounts {
        let number = state.next_number();
        let account = ServiceAccount {
            project: project.clone(),
            email: world.email(&account.id),
            unique_id: unique_id(world.project.number, number),
            display_name: account.display_name.clone(),
            description: String::new(),
            disabled: false,
            etag: number,
        };
        state.accounts.insert(account.email.clone(), account);
    }
    for bucket in &world.buckets {
        state.buckets.insert(bucket.name.clone(), new_bucket(world, bucket, now));
    }
    for instance in &world.instances {
        add_instance(&mut state, world, instance, now);
    }
    for repository in &world.repositories {
        add_repository(&mut state, world, repository, now);
    }
    add_policies(&mut state, world)?;
    Ok(state)
}

/// A unique id as Google gives them: 21 digits.
#[must_use]
pub fn unique_id(project_number: u64, number: u64) -> String {
    format!("1{:012}{number:08}", project_number % 1_000_000_000_000)
}

fn new_bucket(world: &World, bucket: &world::Bucket, now: u64) -> Bucket {
    let location =
        if bucket.location.is_empty() { &world.project.region } else { &bucket.location };
    Bucket {
        project: world.project.id.clone(),
        name: bucket.name.clone(),
        location: location.to_uppercase(),
        created: now,
        updated: now,
        metageneration: 1,
        attributes: bucket.attributes.clone(),
        read_only: false,
    }
}

fn add_instance(state: &mut State, world: &World, instance: &world::Instance, now: u64) {
    let project = &world.project.id;
    let region = if instance.region.is_empty() { &world.project.region } else { &instance.region };
    let key = format!("{project}/{}", instance.name);
    for name in ["postgres"].into_iter().chain(instance.databases.iter().map(String::as_str)) {
        state.databases.insert(format!("{key}/{name}"), sql::Database::utf8(name));
    }
    for user in &instance.users {
        let row = sql::User {
            name: user.name.clone(),
            kind: user.kind.clone(),
            database_roles: user.database_roles.clone(),
        };
        state.users.insert(format!("{key}/{}", user.name), row);
    }
    let row = sql::Instance {
        project: project.clone(),
        name: instance.name.clone(),
        region: region.clone(),
        database_version: instance.database_version.clone(),
        state: "RUNNABLE".to_owned(),
        address: instance.address.clone(),
        listen: instance.listen.clone(),
        upstream: instance.upstream.clone(),
        created: now,
        settings: instance.settings.clone(),
    };
    state.instances.insert(key, row);
}

fn add_repository(state: &mut State, world: &World, repository: &world::Repository, now: u64) {
    let resource = Resource::repository(
        &world.project.id,
        location(world, &repository.location),
        &repository.name,
    );
    let time = clock::rfc3339(clock::at(now));
    let document = json!({
        "name": resource.relative_name(),
        "format": repository.format,
        "createTime": time,
        "updateTime": time,
        "mode": "STANDARD_REPOSITORY",
    });
    let key = format!("artifactregistry/{}", resource.relative_name());
    state.documents.insert(key, document);
}

fn location<'a>(world: &'a World, location: &'a str) -> &'a str {
    if location.is_empty() { &world.project.region } else { location }
}

fn add_policies(state: &mut State, world: &World) -> Result<(), String> {
    let mut bindings: BTreeMap<String, (Resource, Vec<Binding>)> = BTreeMap::new();
    let project = &world.project.id;
    for bucket in &world.buckets {
        let resource = Resource::bucket(project, &bucket.name);
        let name = resource.name().to_owned();
        bindings.insert(name, (resource, storage::fresh_bindings(project)));
    }
    for binding in &world.bindings {
        let resource = target(world, &binding.on)?;
        let condition: Option<Condition> = match &binding.condition {
            None | Some(Value::Null) => None,
            Some(it) => {
                let condition = serde_json::from_value(it.clone());
                Some(condition.map_err(|error| format!("binding on `{}`: {error}", binding.on))?)
            }
        };
        let row =
            Binding { role: binding.role.clone(), members: binding.members.clone(), condition };
        let name = resource.name().to_owned();
        bindings.entry(name).or_insert_with(|| (resource, Vec::new())).1.push(row);
    }
    for (name, (resource, bindings)) in bindings {
        let policy = Policy::new(etag(state.next_number()), bindings);
        policy.check(resource.kind()).map_err(|error| format!("policy of `{name}`: {error}"))?;
        state.policies.insert(name, policy);
    }
    Ok(())
}

fn target(world: &World, on: &str) -> Result<Resource, String> {
    let project = &world.project.id;
    match on.split_once(':') {
        None if on == "project" => Ok(Resource::project(project)),
        Some(("serviceAccount", id)) => Ok(Resource::service_account(project, &world.email(id))),
        Some(("bucket", name)) => Ok(Resource::bucket(project, name)),
        Some(("repository", name)) => {
            let found = world.repositories.iter().find(|it| it.name == name);
            let found = found.ok_or_else(|| format!("binding on `{on}`: no such repository"))?;
            Ok(Resource::repository(project, location(world, &found.location), name))
        }
        _ => Err(format!(
            "binding on `{on}`: expected project, serviceAccount:ID, bucket:NAME or repository:NAME"
        )),
    }
}
