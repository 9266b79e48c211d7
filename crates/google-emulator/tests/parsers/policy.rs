//! Policies as clients write them: in JSON, with members and conditions in text.

use iam::{
    Attributes, Binding, Caller, Expression, Member, Policies, Policy, Principal, Question,
    Resource, ResourceKind, Workload, decide, role,
};

const NOW: i64 = 1_900_000_000;
const PERMISSIONS: [&str; 4] = [
    "storage.objects.get",
    "iam.serviceAccounts.getAccessToken",
    "cloudsql.instances.login",
    "resourcemanager.projects.setIamPolicy",
];

pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    member(&text);
    expression(&text);
    let Ok(policy) = serde_json::from_slice::<Policy>(data) else { return };
    let written = serde_json::to_vec(&policy).unwrap();
    assert_eq!(serde_json::from_slice::<Policy>(&written).unwrap(), policy);
    for binding in policy.bindings() {
        binding.members.iter().for_each(|it| member(it));
        binding.condition.iter().for_each(|it| expression(&it.expression));
    }
    for resource in resources() {
        replaced(&policy, &resource);
    }
}

/// A member that is read is written as something that is the same member.
fn member(text: &str) {
    let Ok(member) = text.parse::<Member>() else { return };
    let written = member.to_string();
    assert_eq!(written.parse(), Ok(member), "{text}");
}

/// An expression and its negation are never both true, nor both false.
fn expression(text: &str) {
    let Ok(read) = text.parse::<Expression>() else { return };
    assert_eq!(format!(" {text}\n").parse(), Ok(read.clone()));
    // One more operator may be one too many.
    let Ok(negated) = format!("!({text})").parse::<Expression>() else { return };
    for resource_name in ["projects/_/buckets/b/objects/runs/1", "", text] {
        let attributes = Attributes {
            resource_name,
            resource_type: "storage.googleapis.com/Object",
            resource_service: "storage.googleapis.com",
            now: NOW,
        };
        assert_ne!(read.holds(&attributes), negated.holds(&attributes), "{text}");
    }
}

/// What `setIamPolicy` makes of it means the same, can be set again, and hides no condition.
fn replaced(policy: &Policy, resource: &Resource) {
    let kind = resource.kind();
    let current = Policy::proposed(3, policy.etag(), Vec::new());
    let Ok(set) = current.replaced_by(policy, "next", kind) else {
        return refused(policy, resource);
    };
    assert_eq!(set.check(kind), Ok(()));
    let again = set.replaced_by(&set, "next", kind).unwrap();
    assert_eq!(again, set);
    let mut reversed: Vec<Binding> = policy.bindings().to_vec();
    reversed.reverse();
    let (one, other) = (One(resource, &set), Policy::proposed(3, "", reversed));
    for caller in callers() {
        for permission in PERMISSIONS {
            let question = Question { caller: &caller, permission, resource, now: NOW };
            let decided = decide(&one, &question);
            assert!(!decided.to_string().is_empty());
            assert_eq!(decided, decide(&One(resource, &other), &question));
        }
    }
    let shown = set.for_version(1).unwrap();
    assert!(shown.bindings().iter().all(|it| it.condition.is_none()));
    assert!(
        shown == set || shown.check(kind).is_err(),
        "a condition can be lost by writing it back"
    );
}

/// A binding whose role, member or condition cannot be read gives nothing, even where a journal had
/// it.
fn refused(policy: &Policy, resource: &Resource) {
    for binding in policy.bindings() {
        let unreadable = role(&binding.role).is_none()
            || binding.condition.as_ref().is_some_and(|it| it.check().is_err());
        for member in &binding.members {
            if !unreadable && member.parse::<Member>().is_ok() {
                continue;
            }
            let alone = Binding { members: vec![member.clone()], ..binding.clone() };
            let alone = Policy::new("", vec![alone]);
            for (caller, permission) in callers().iter().flat_map(|it| PERMISSIONS.map(|p| (it, p)))
            {
                let question = Question { caller, permission, resource, now: NOW };
                assert!(!decide(&One(resource, &alone), &question).is_allowed(), "{alone:?}");
            }
        }
    }
}

struct One<'a>(&'a Resource, &'a Policy);

impl Policies for One<'_> {
    fn policy(&self, resource: &Resource) -> Option<&Policy> {
        (resource == self.0).then_some(self.1)
    }
}

fn resources() -> [Resource; 3] {
    let email = "mlflow@local.iam.gserviceaccount.com";
    let all = [
        Resource::project("local"),
        Resource::bucket("local", "b"),
        Resource::service_account("local", email),
    ];
    let kinds = [ResourceKind::Project, ResourceKind::Bucket, ResourceKind::ServiceAccount];
    assert_eq!(all.clone().map(|it| it.kind()), kinds);
    all
}

fn callers() -> [Caller; 4] {
    let workload = Workload {
        project_id: "local".to_owned(),
        project_number: "123456789012".to_owned(),
        namespace: "mlflow".to_owned(),
        kubernetes_sa: "mlflow".to_owned(),
        cluster: None,
    };
    [
        Caller::Anonymous,
        Principal::user("you@example.com").into(),
        Principal::service_account("mlflow@local.iam.gserviceaccount.com").into(),
        Principal::Workload(workload).into(),
    ]
}
