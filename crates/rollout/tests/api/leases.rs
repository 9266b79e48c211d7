//! Two deploys at once.

use rollout::{Error, Holder, Rollout};
use serde_json::json;

use crate::{
    bundle::{config_map, namespace},
    fixture::{Recorder, holder, with_cluster},
};

const LEASES: &str = "/apis/coordination.k8s.io/v1";

#[test]
fn the_second_of_two_is_told_who_is_first() {
    with_cluster("contention", async |it| {
        let objects = [namespace(it.ns()), config_map("a", it.ns(), "1")];
        let plan = it.plan(&objects).await.unwrap();
        let first = Rollout::begin(&it.server, &plan, &holder("ann@desk 1")).await.unwrap();
        let Err(error) = Rollout::begin(&it.server, &plan, &holder("bob@ci 2")).await else {
            panic!("both hold the lease");
        };
        assert!(
            matches!(&error, Error::Busy { holder, expires_s: 55..=60, .. } if holder == "ann@desk 1")
        );
        assert!(error.to_string().contains("`ann@desk 1` is deploying"), "{error}");
        first.end().await.unwrap();
        // The first one wrote its intent, so the second one's plan no longer holds.
        let second = Rollout::begin(&it.server, &plan, &holder("bob@ci 2")).await;
        assert!(matches!(second, Err(Error::Stale)));
        assert!(it.deploy(&objects).await.is_ok(), "the lease was given back after the refusal");
    });
}

#[test]
fn a_lease_whose_holder_is_gone_is_taken_over() {
    with_cluster("gone", async |it| {
        let objects = [namespace(it.ns()), config_map("a", it.ns(), "1")];
        let plan = it.plan(&objects).await.unwrap();
        let crashed = Rollout::begin(&it.server, &plan, &holder("desk 1")).await.unwrap();
        drop(crashed);
        let plan = it.plan(&objects).await.unwrap();
        let busy = Rollout::begin(&it.server, &plan, &holder("desk 2")).await;
        assert!(matches!(busy, Err(Error::Busy { .. })));
        let knows = Holder { identity: "desk 2".to_owned(), is_gone: |other| other == "desk 1" };
        let mut next = Rollout::begin(&it.server, &plan, &knows).await.unwrap();
        next.apply(&mut Recorder::default(), &mut |_| {}).await.unwrap();
        next.end().await.unwrap();
    });
}

#[test]
fn a_lease_that_was_not_renewed_ends_by_itself() {
    with_cluster("expired", async |it| {
        let objects = [namespace(it.ns()), config_map("a", it.ns(), "1")];
        it.deploy(&objects).await.unwrap();
        let old = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": "mlflow-xtask-deploy", "namespace": it.ns() },
            "spec": {
                "holderIdentity": "ghost",
                "leaseDurationSeconds": 60,
                "renewTime": "2020-01-01T00:00:00.000000Z",
            },
        });
        it.send("POST", &it.path(LEASES, "leases"), old).await;
        let changed = [namespace(it.ns()), config_map("a", it.ns(), "2")];
        assert_eq!(it.deploy(&changed).await.unwrap().applied.written.len(), 1);
        let left = it.get(&it.path(LEASES, "leases/mlflow-xtask-deploy")).await;
        assert_eq!(left["code"], 404);
    });
}

#[test]
fn a_deploy_with_nothing_to_write_needs_no_lease() {
    with_cluster("noop", async |it| {
        let objects = [namespace(it.ns()), config_map("a", it.ns(), "1")];
        it.deploy(&objects).await.unwrap();
        let changed = [namespace(it.ns()), config_map("a", it.ns(), "2")];
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": "mlflow-xtask-deploy", "namespace": it.ns() },
            "spec": {
                "holderIdentity": "ann",
                "leaseDurationSeconds": 60,
                "renewTime": "2100-01-01T00:00:00.000000Z",
            },
        });
        it.send("POST", &it.path(LEASES, "leases"), lease).await;
        assert!(matches!(it.deploy(&changed).await, Err(Error::Busy { .. })));
        let before = it.versions().await;
        assert!(it.deploy(&objects).await.unwrap().plan.is_noop());
        assert_eq!(it.versions().await, before);
    });
}
