//! The answer to "is there anything to do at all?", in a fraction of a second.
//!
//! A plan without a change and workloads that are all healthy need no Docker, no prerequisites and
//! no watches. Whatever speaks against that, an unreachable cluster included, is answered by the
//! whole way, which also says what is wrong.

use health::{Kind, Watcher};
use rollout::{Options, Server};

use crate::diff::{self, NAMESPACE};
use crate::overlay::Overlay;
use crate::target::Target;

/// Whether the environment is deployed as it should be, and healthy.
///
/// # Errors
/// None of its own: what goes wrong here is answered by the whole way.
pub(crate) async fn is_done(
    overlay: &Overlay,
    target: &Target,
    options: Options,
) -> anyhow::Result<bool> {
    if !target.kubeconfig.exists() {
        return Ok(false);
    }
    Ok(check(overlay, target, options).await.unwrap_or(false))
}

async fn check(overlay: &Overlay, target: &Target, options: Options) -> anyhow::Result<bool> {
    let client = target.connect().await?;
    let server = Server::new(client.clone());
    let owner = diff::owner(overlay);
    let (plan, watcher) = tokio::join!(
        rollout::plan(&server, &overlay.bundle, &owner, options),
        Watcher::open(client, NAMESPACE),
    );
    let (plan, mut watcher) = (plan?, watcher?);
    if !plan.is_noop() {
        return Ok(false);
    }
    let targets: Vec<health::Target> = plan
        .workloads()
        .filter_map(|id| Some(health::Target::new(Kind::parse(&id.kind)?, id.name.clone())))
        .collect();
    Ok(watcher.verdicts(&targets).iter().all(|(_, verdict)| verdict.is_healthy()))
}
