//! What happens to one wanted object.

use serde_json::{Value, json};

use crate::{
    Action, Change, Code, Error, Options, Owner, Refusal, Server,
    compare::leaves,
    inventory::fingerprint,
    object::{ENVIRONMENT, applied_fields, label, managers},
    observe::Observed,
    plan::Wanted,
    refuse,
    server::Mode,
};

/// The field managers of `kubectl apply`, with and without `--server-side`.
///
/// The guide's commands use them, so what they made may be taken over; anybody else is asked first.
const ADOPTABLE: &[&str] = &["kubectl-client-side-apply", "kubectl"];

/// A change, or the reasons why there can't be one.
pub(crate) enum Verdict {
    Change(Box<Change>),
    Refused(Vec<Refusal>),
}

/// Decides by what is live and by what the server says to a dry-run.
pub(crate) async fn decide(
    server: &Server,
    wanted: Wanted,
    observed: &Observed,
    owner: &Owner,
    options: Options,
) -> Result<Verdict, Error> {
    let live = observed.live(&wanted.id).cloned();
    if let Some(refusal) = place(&wanted, observed) {
        return Ok(Verdict::Refused(vec![refusal]));
    }
    let reachable = !wanted.namespaced
        || wanted.id.namespace.as_deref().is_some_and(|it| observed.namespace(it).is_some());
    if !reachable {
        return Ok(change(wanted, None, Action::Create));
    }
    if let Some(live) = &live {
        if let Some(refusal) = other_environment(&wanted, live, owner).filter(|_| !options.force) {
            return Ok(Verdict::Refused(vec![refusal]));
        }
        let seen = observed.inventory.entry(&wanted.id).and_then(|it| it.seen.as_ref());
        let proven = seen.is_some() && fingerprint(&wanted.object, live).as_ref() == seen;
        if proven && !options.thorough {
            return Ok(change(wanted, Some(live.clone()), Action::Unchanged));
        }
    }
    dry_run(server, wanted, live, options).await
}

async fn dry_run(
    server: &Server,
    wanted: Wanted,
    live: Option<Value>,
    options: Options,
) -> Result<Verdict, Error> {
    let adopted = live.as_ref().map(adoptable).unwrap_or_default();
    let mode = Mode { dry_run: true, force: options.force };
    let mut answer = server.apply(&wanted.object, mode).await;
    let mut force = options.force;
    if let Some(status) =
        answer.as_ref().err().and_then(Error::status).filter(|it| it.is_conflict())
    {
        let conflicts = refuse::conflicts(status);
        let ours = conflicts.iter().all(|it| adopted.contains(&it.manager));
        if conflicts.is_empty() || !ours {
            return Ok(Verdict::Refused(refuse::conflict_refusals(&wanted.id, status)));
        }
        force = true;
        answer = server.apply(&wanted.object, Mode { dry_run: true, force }).await;
    }
    let mut verdict = match answer {
        Ok(after) => {
            let action = match &live {
                None => Action::Create,
                Some(live) => match leaves(live, &after) {
                    none if none.is_empty() => Action::Unchanged,
                    leaves => Action::Update { leaves },
                },
            };
            change(wanted, live, action)
        }
        Err(error) => refused(server, wanted, live, error).await?,
    };
    if let Verdict::Change(change) = &mut verdict {
        change.force = force;
        if change.writes() {
            change.adopted_from = adopted;
        }
    }
    Ok(verdict)
}

/// The server said no: a Job can be made anew, anything else has to be told to the user.
async fn refused(
    server: &Server,
    wanted: Wanted,
    live: Option<Value>,
    error: Error,
) -> Result<Verdict, Error> {
    let Some(status) = error.status() else { return Err(error) };
    let Some(refusals) = refuse::refusals(&wanted.id, status) else { return Err(error) };
    let immutable = refusals.iter().all(|it| it.code == Code::Immutable);
    let Some(live) = live.filter(|_| immutable && wanted.id.kind == "Job") else {
        return Ok(Verdict::Refused(refusals));
    };
    let reasons = refusals.iter().map(|it| match &it.field {
        Some(field) => format!("{field}: {}", it.message),
        None => it.message.clone(),
    });
    let why = reasons.collect::<Vec<_>>().join("; ");
    match successor(server, &wanted).await {
        Ok(after) => {
            let leaves = leaves(&bare(&live), &bare(&after));
            Ok(change(wanted, Some(live), Action::Recreate { why, leaves }))
        }
        // The old Job must not go before it is certain that the new one will be accepted.
        Err(error) => match error.status().and_then(|it| refuse::refusals(&wanted.id, it)) {
            Some(refusals) => Ok(Verdict::Refused(refusals)),
            None => Err(error),
        },
    }
}

/// The Job as the server would make it: a dry-run under another name, as this one is still taken.
async fn successor(server: &Server, wanted: &Wanted) -> Result<Value, Error> {
    let mut probe = wanted.object.clone();
    let stem: String = wanted.id.name.chars().take(50).collect();
    probe["metadata"]["name"] = json!(format!("{stem}-next"));
    server.create(&probe, true).await
}

/// A Job's spec without what every Job gets for itself.
fn bare(job: &Value) -> Value {
    let mut spec = job["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("selector");
    }
    let labels = spec.pointer_mut("/template/metadata/labels").and_then(Value::as_object_mut);
    if let Some(labels) = labels {
        labels.retain(|key, _| !key.ends_with("controller-uid") && !key.ends_with("job-name"));
    }
    json!({ "spec": spec })
}

fn change(wanted: Wanted, live: Option<Value>, action: Action) -> Verdict {
    Verdict::Change(Box::new(Change {
        id: wanted.id,
        wave: wanted.wave,
        action,
        adopted_from: Vec::new(),
        force: false,
        wanted: wanted.object,
        live,
    }))
}

/// The kubectl managers of an object that we never applied ourselves.
fn adoptable(live: &Value) -> Vec<String> {
    if applied_fields(live).is_some() {
        return Vec::new();
    }
    let names = managers(live).filter_map(|it| it["manager"].as_str());
    let mut names: Vec<String> =
        names.filter(|it| ADOPTABLE.contains(it)).map(str::to_owned).collect();
    names.dedup();
    names
}

/// A namespace that is going away takes nothing any more.
fn place(wanted: &Wanted, observed: &Observed) -> Option<Refusal> {
    let name = match wanted.id.kind.as_str() {
        "Namespace" => &wanted.id.name,
        _ => wanted.id.namespace.as_ref()?,
    };
    let namespace = observed.namespace(name)?;
    (namespace["status"]["phase"] == "Terminating").then(|| Refusal {
        object: wanted.id.clone(),
        field: None,
        code: Code::Namespace,
        message: format!("namespace {name} is being deleted"),
        hint: format!("wait until it is gone: kubectl wait --for=delete namespace/{name}"),
    })
}

fn other_environment(wanted: &Wanted, live: &Value, owner: &Owner) -> Option<Refusal> {
    let other = label(live, ENVIRONMENT).filter(|it| *it != owner.environment)?;
    Some(Refusal {
        object: wanted.id.clone(),
        field: None,
        code: Code::OtherEnvironment,
        message: format!("it belongs to environment `{other}`"),
        hint: format!(
            "deploy `{}` to a namespace of its own, or pass --force to take it over",
            owner.environment
        ),
    })
}
