//! The resources of the API as JSON.

use ring::digest::{SHA256, digest};
use serde_json::{Map, Value, json};

use super::Call;
use crate::clock;
use crate::error::Error;
use crate::sql_port::authority;
use crate::state::sql::{Database, Instance, User};

const BASE: &str = "https://sqladmin.googleapis.com/sql/v1beta4";

/// `…/projects/P/REST`, the address of a resource.
pub(super) fn link(project: &str, rest: &str) -> String {
    format!("{BASE}/projects/{project}/{rest}")
}

/// A value with its `etag`: the hash of what it says.
pub(super) fn tagged(mut value: Value) -> Value {
    let hash = digest(&SHA256, value.to_string().as_bytes());
    value["etag"] = Value::from(hex(hash.as_ref()));
    value
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

/// An instance, as recorded traffic of the real API shows it.
pub(super) fn instance(call: &Call, it: &Instance) -> Result<Value, Error> {
    let world = &call.cloud().world.project;
    let gate = call.cloud().sql.gates.of(&call.key(&it.name));
    let state = if gate.is_open() { it.state.as_str() } else { "MAINTENANCE" };
    Ok(tagged(json!({
        "kind": "sql#instance",
        "name": it.name,
        "project": it.project,
        "region": it.region,
        "gceZone": format!("{}-a", it.region),
        "state": state,
        "backendType": "SECOND_GEN",
        "instanceType": "CLOUD_SQL_INSTANCE",
        "databaseVersion": it.database_version,
        "databaseInstalledVersion": it.database_version,
        "connectionName": format!("{}:{}:{}", it.project, it.region, it.name),
        "createTime": clock::rfc3339_millis(clock::at(it.created)),
        "ipAddresses": addresses(it),
        "serverCaCert": server_ca(call, it)?,
        "serviceAccountEmailAddress":
            format!("p{}-emulated@gcp-sa-cloud-sql.iam.gserviceaccount.com", world.number),
        "selfLink": link(&it.project, &format!("instances/{}", it.name)),
        "sqlNetworkArchitecture": "NEW_NETWORK_ARCHITECTURE",
        "settings": settings(it),
    })))
}

/// The creator's settings, completed by what Google fills in.
fn settings(it: &Instance) -> Value {
    let mut all = Map::new();
    let defaults = json!({
        "kind": "sql#settings",
        "activationPolicy": "ALWAYS",
        "availabilityType": "ZONAL",
        "connectorEnforcement": "NOT_REQUIRED",
        "dataDiskSizeGb": "10",
        "dataDiskType": "PD_SSD",
        "deletionProtectionEnabled": false,
        "edition": "ENTERPRISE",
        "ipConfiguration": { "ipv4Enabled": true, "authorizedNetworks": [] },
        "pricingPlan": "PER_USE",
        "settingsVersion": "1",
        "storageAutoResize": true,
        "tier": "db-custom-1-3840",
    });
    if let Value::Object(defaults) = defaults {
        all.extend(defaults);
    }
    all.extend(it.settings.clone());
    Value::Object(all)
}

pub(super) fn addresses(it: &Instance) -> Value {
    if it.address.is_empty() {
        return json!([]);
    }
    json!([{ "type": "PRIMARY", "ipAddress": it.address }])
}

/// The certificate that clients of the instance trust.
pub(super) fn server_ca(call: &Call, it: &Instance) -> Result<Value, Error> {
    let certificate = authority::server(call.cloud(), &call.key(&it.name))?;
    Ok(json!({
        "kind": "sql#sslCert",
        "certSerialNumber": "0",
        "cert": certificate.certificate_pem(),
        "commonName": format!("C=US,O=Google\\, Inc,CN={}", authority::server_name(it)),
        "createTime": clock::rfc3339_millis(clock::at(it.created)),
        "expirationTime": clock::rfc3339_millis(clock::at(it.created) + authority::LIFE),
        "instance": it.name,
    }))
}

pub(super) fn database(call: &Call, instance: &str, it: &Database) -> Value {
    tagged(json!({
        "kind": "sql#database",
        "name": it.name,
        "charset": it.charset,
        "collation": it.collation,
        "instance": instance,
        "project": call.project,
        "selfLink": link(&call.project, &format!("instances/{instance}/databases/{}", it.name)),
    }))
}

/// A built-in user has no `type` in the answers of the API.
pub(super) fn user(call: &Call, instance: &str, it: &User) -> Value {
    let mut user = json!({
        "kind": "sql#user",
        "name": it.name,
        "host": "",
        "instance": instance,
        "project": call.project,
    });
    if it.kind != "BUILT_IN" {
        user["type"] = Value::from(it.kind.as_str());
        user["iamEmail"] = Value::from(crate::sql_port::iam_email(it).unwrap_or_default());
    }
    if !it.database_roles.is_empty() {
        user["databaseRoles"] = Value::from(it.database_roles.clone());
    }
    tagged(user)
}
