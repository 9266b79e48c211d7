//! How long a decision takes with a policy of 1,000 bindings, beside a scan of all bindings.
//!
//! `cargo run --release --package iam --example decide`

#![expect(clippy::print_stdout, reason = "the figures are what this example is for")]

#[path = "../tests/it/linear.rs"]
mod linear;

use std::hint::black_box;
use std::time::Instant;

use iam::{
    Binding, Caller, Condition, Policies, Policy, Principal, Question, Resource, decide, roles,
};

const BINDINGS: usize = 1_000;
const MEASURED: u32 = 20_000;
const SCANNED: u32 = 200;

struct Cloud {
    bucket: Resource,
    policy: Policy,
}

impl Policies for Cloud {
    fn policy(&self, resource: &Resource) -> Option<&Policy> {
        (*resource == self.bucket).then_some(&self.policy)
    }
}

fn main() {
    let bucket = Resource::bucket("p", "artifacts");
    let cloud = Cloud { policy: Policy::new("etag", bindings()), bucket };
    let object = Resource::object("p", "artifacts", "0/run/model.pkl");
    let last = format!("u{}@example.com", BINDINGS - 1);
    println!("policy of {BINDINGS} bindings, 3 members each, a tenth with a condition");
    for (name, who, permission) in [
        ("allowed, first binding", "u0@example.com", "storage.objects.get"),
        ("allowed, last binding", &*last, "storage.objects.get"),
        ("allowed, caller in every binding", "everywhere@example.com", "storage.objects.get"),
        ("denied, caller in every binding", "everywhere@example.com", "cloudsql.instances.login"),
        ("denied, caller in none", "nobody@example.com", "storage.objects.get"),
        ("denied, no such permission", "u0@example.com", "storage.objects.fly"),
    ] {
        let caller: Caller = Principal::user(who).into();
        let question = Question { caller: &caller, permission, resource: &object, now: 0 };
        let allowed = decide(&cloud, &question).is_allowed();
        assert_eq!(allowed, linear::allowed(&cloud, &question), "{name}");
        let indexed = time(MEASURED, || decide(&cloud, &question).is_allowed());
        let scanned = time(SCANNED, || linear::allowed(&cloud, &question));
        println!("{name:34} {indexed:>8.0} ns   scan {scanned:>10.0} ns");
    }
    let compiled = time(20, || {
        let policy = Policy::new("etag", cloud.policy.bindings().to_vec());
        let bucket = cloud.bucket.clone();
        let caller = Caller::Anonymous;
        let cloud = Cloud { bucket, policy };
        let question = Question {
            caller: &caller,
            permission: "storage.objects.get",
            resource: &object,
            now: 0,
        };
        decide(&cloud, &question).is_allowed()
    });
    println!("{:34} {:>8.0} us   once for each setIamPolicy", "the index itself", compiled / 1e3);
}

fn bindings() -> Vec<Binding> {
    // Storage roles only, as they would be on a bucket.
    let storage: Vec<_> =
        roles().iter().filter(|it| it.name().contains("storage.object")).collect();
    let binding = |it: usize| {
        let members = [
            format!("user:u{it}@example.com"),
            format!("serviceAccount:s{it}@p.iam.gserviceaccount.com"),
        ];
        let everywhere = "user:everywhere@example.com".to_owned();
        let role = match it {
            0 => "roles/storage.objectUser",
            it if it == BINDINGS - 1 => "roles/storage.objectViewer",
            it => storage[it % storage.len()].name(),
        };
        let binding = Binding::new(role, members.into_iter().chain([everywhere]));
        let conditional = it % 10 == 5;
        if conditional { binding.when(condition(it)) } else { binding }
    };
    (0..BINDINGS).map(binding).collect()
}

fn condition(number: usize) -> Condition {
    Condition {
        title: "a folder".to_owned(),
        description: None,
        expression: format!(
            "resource.name.startsWith('projects/_/buckets/artifacts/objects/{number}/')"
        ),
    }
}

/// Nanoseconds for one call: the best of five rounds, as everything else only adds to it.
fn time(calls: u32, mut call: impl FnMut() -> bool) -> f64 {
    let mut round = || {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(call());
        }
        start.elapsed().as_nanos() as f64 / f64::from(calls)
    };
    (0..5).map(|_| round()).fold(f64::INFINITY, f64::min)
}
