//! The proof of a deployment: MLflow's round trip, told step by step.

use health::round_trip::{self, Database, FakeGcs, NoStore, Settings, round_trip};
use health::tunnel::Address;

use crate::context::Context;
use crate::diff::NAMESPACE;
use crate::overlay::Overlay;
use crate::target::Target;

/// What the proof is taken with.
pub(crate) struct Proof<'a> {
    /// Where steps are told.
    pub(crate) context: &'a Context,
    /// What was deployed.
    pub(crate) overlay: &'a Overlay,
    /// Where it was deployed to.
    pub(crate) target: &'a Target,
    /// The client for it.
    pub(crate) client: &'a kube::Client,
}

impl Proof<'_> {
    /// Takes the round trip; the first step that fails is the error.
    pub(crate) async fn take(&self) -> anyhow::Result<round_trip::Proof> {
        let environment = self.overlay.environment;
        let step = self.context.log.step("deploy-proof", "prove it by a round trip");
        let settings = Settings {
            kubectl: self.target.kubectl(NAMESPACE),
            database: (!environment.has_cloudsql()).then(Database::default),
            ..Settings::default()
        };
        let on_step = |done: &round_trip::Step| {
            step.progress(&format!("{} {}", done.name, done.seen));
        };
        let proof = if environment.is_local() {
            let address = Address::new("google-emulation", "fake-gcs-server", 4443);
            let bucket = self.overlay.settings.as_ref().map(|it| it.bucket.to_string());
            let destination = bucket.unwrap_or_default();
            let mut store = FakeGcs::open(self.client.clone(), address, &destination).await?;
            round_trip(self.client, &settings, &mut store, on_step).await?
        } else {
            round_trip(self.client, &settings, &mut NoStore, on_step).await?
        };
        step.done(format!("run {} was written, read back and deleted", proof.run_id));
        Ok(proof)
    }
}
