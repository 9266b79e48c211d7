//! Subcommand: cargo xtask deploy

mod fast_path;
mod proof;
mod waiter;

use std::time::Duration;

use health::{Rules, Watcher};
use rollout::{Applied, Holder, Options, Plan, Pruned, Rollout, Server};

use proof::Proof;
use waiter::RolloutWaiter;

pub(crate) use waiter::describe;

use crate::context::Context;
use crate::diff::{self, NAMESPACE};
use crate::overlay::{Overlay, Source};
use crate::target::{self, Selection, Target};
use crate::{cluster, doctor, exit, output};

/// Deploy MLflow: check, apply what differs, watch it become healthy, prove it, prune.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask deploy --env kind              everything on this machine, the cluster included
  cargo xtask deploy --env kind --dry-run    what would change, field by field
  cargo xtask deploy --env gcp --context gke_my-project_europe-north1_mlflow")]
pub(crate) struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Show what would change and write nothing; exit code 3 when something would.
    #[arg(long)]
    dry_run: bool,
    /// Take over fields that somebody else has set.
    #[arg(long)]
    force: bool,
    /// Compare every object with the server, also those that the inventory knows to be unchanged.
    #[arg(long)]
    thorough: bool,
    /// The longest that a wave of workloads may take, in seconds, whatever their probes grant.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
}

/// What a deploy did.
struct Deployed {
    applied: Applied,
    pruned: Pruned,
    proof: health::round_trip::Proof,
}

/// Deploys an environment.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let environment = arguments.selection.env;
    // To render, kubectl must be there, and the first time it is compiled for minutes: whatever can
    // be refused without it is refused first.
    let source = Source::read(context, environment)?;
    source.refuse_problems(context)?;
    let target = Target::of(context, &arguments.selection)?;
    let is_first = environment.is_local() && !target.kubeconfig.exists();
    if is_first && !arguments.dry_run {
        doctor::ensure(context)?;
    }
    let overlay = source.render(context)?;
    overlay.refuse_faults()?;
    let options = Options { force: arguments.force, thorough: arguments.thorough };
    if environment.is_local() {
        if target::run_briefly(fast_path::is_done(&overlay, &target, options))? {
            return report_unchanged(context, &overlay, &target);
        }
        if arguments.dry_run && is_first {
            return Err(exit::error(
                exit::CHANGES,
                "there is no local cluster yet; everything would be created",
            ));
        }
        match (arguments.dry_run, is_first) {
            (true, _) => {}
            (false, true) => drop(cluster::up_prepared(context)?),
            (false, false) => drop(cluster::up(context)?),
        }
    }
    target::run(deploy(context, arguments, &overlay, &target, options))
}

async fn deploy(
    context: &Context,
    arguments: &Arguments,
    overlay: &Overlay,
    target: &Target,
    options: Options,
) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let server = Server::new(client.clone());
    let step = context.log.step("deploy-plan", "compare with the cluster");
    let plan = rollout::plan(&server, &overlay.bundle, &diff::owner(overlay), options).await?;
    preflight(&server, &plan).await?;
    step.done(format!("{} objects to write", plan.pending().count()));
    if arguments.dry_run {
        return diff::show(context, &plan);
    }
    for note in &plan.notes {
        context.log.note(note.clone());
    }
    let mut waiter = RolloutWaiter {
        watcher: Watcher::open(client.clone(), NAMESPACE)
            .await?
            .with_rules(Rules { kubectl: target.kubectl(NAMESPACE), ..Rules::default() }),
        log: &context.log,
        limit: Duration::from_secs(arguments.timeout),
    };
    let mut rollout = Rollout::begin(&server, &plan, &holder()).await?;
    let proof = Proof { context, overlay, target, client: &client };
    let deployed = carry_out(&mut rollout, &mut waiter, &proof).await;
    // The lease goes back after a failure too, or the next deploy would wait for its end.
    let ended = rollout.end().await;
    let deployed = deployed?;
    ended?;
    report(context, target, &deployed)
}

/// Apply and wait, prove, and only then prune.
async fn carry_out(
    rollout: &mut Rollout<'_>,
    waiter: &mut RolloutWaiter<'_>,
    proof: &Proof<'_>,
) -> anyhow::Result<Deployed> {
    let log = waiter.log.clone();
    let step = log.step("deploy-apply", "apply and watch");
    let mut on_step = |step: rollout::Step| {
        if let rollout::Step::Written { object, how } = step {
            log.object(&object.to_string(), how, "");
        }
    };
    let applied = rollout.apply(waiter, &mut on_step).await?;
    step.done(format!("{} objects written", applied.written.len() + applied.recreated.len()));
    let proved = proof.take().await?;
    let pruned = rollout.prune().await?;
    for id in &pruned.deleted {
        log.object(&id.to_string(), "pruned", "");
    }
    Ok(Deployed { applied, pruned, proof: proved })
}

/// Asks admission about each pod before anything is written.
async fn preflight(server: &Server, plan: &Plan) -> anyhow::Result<()> {
    let preflight = rollout::preflight(server, plan).await?;
    if preflight.refusals.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = preflight.refusals.iter().map(ToString::to_string).collect();
    Err(exit::error(
        exit::REFUSED,
        format!("the cluster would refuse these pods; nothing was written\n{}", lines.join("\n")),
    ))
}

/// Tells one run from every other; a run of this host that has ended has given up its lease.
fn holder() -> Holder {
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Holder { identity: format!("{user}@{}/{}", host.trim(), std::process::id()), is_gone }
}

fn is_gone(identity: &str) -> bool {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let Some((owner, process)) = identity.rsplit_once('/') else { return false };
    let is_here = owner.rsplit_once('@').is_some_and(|(_, at)| at == host.trim());
    is_here && !std::path::Path::new(&format!("/proc/{process}")).exists()
}

fn report(context: &Context, target: &Target, deployed: &Deployed) -> anyhow::Result<()> {
    let n_written = deployed.applied.written.len() + deployed.applied.recreated.len();
    let text = format!(
        "MLflow {} is deployed and proved: {n_written} objects written, {} unchanged, {} pruned, round trip {:.1} s\n{}",
        deployed.proof.version,
        deployed.applied.unchanged.len(),
        deployed.pruned.deleted.len(),
        deployed.proof.took.as_secs_f64(),
        how_to_open(target),
    );
    output::result(
        context,
        &text,
        serde_json::json!({
            "written": deployed.applied.written,
            "recreated": deployed.applied.recreated,
            "unchanged": deployed.applied.unchanged,
            "pruned": deployed.pruned.deleted,
            "run": deployed.proof.run_id,
            "version": deployed.proof.version,
        }),
    );
    Ok(())
}

fn report_unchanged(context: &Context, overlay: &Overlay, target: &Target) -> anyhow::Result<()> {
    let n_objects = overlay.bundle.values().count();
    let text = format!(
        "MLflow is deployed and healthy: {n_objects} objects unchanged, nothing was written\n{}",
        how_to_open(target)
    );
    output::result(context, &text, serde_json::json!({ "written": [], "unchanged": n_objects }));
    Ok(())
}

fn how_to_open(target: &Target) -> String {
    format!("open it with: cargo xtask open {}", target.flags())
}
