//! What `setIamPolicy` accepts, and what `getIamPolicy` shows.

use iam::{Binding, Policy, PolicyError, ResourceKind};

use crate::world::{gives, only_if};

const ADA: &str = "user:ada@example.com";
const VIEWER: &str = "roles/storage.objectViewer";
const SIGN: &str = "resource.type == 'storage.googleapis.com/Object'";

fn set(current: &Policy, proposed: &Policy, kind: ResourceKind) -> Result<Policy, PolicyError> {
    current.replaced_by(proposed, "next", kind)
}

/// Sets one binding on a resource that has none.
fn set_one(binding: Binding, kind: ResourceKind) -> Result<Policy, PolicyError> {
    set(&Policy::default(), &Policy::proposed(3, "", vec![binding]), kind)
}

#[test]
fn a_policy_has_googles_json_shape() {
    let text = r#"{"version":3,"etag":"BwX=","bindings":[{"role":"roles/storage.objectViewer","members":["user:ada@example.com"],"condition":{"title":"t","expression":"resource.type == 'a'"}}]}"#;
    let policy: Policy = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&policy).unwrap(), text);
    assert_eq!((policy.version(), policy.etag()), (3, "BwX="));

    let empty = serde_json::to_string(&Policy::default()).unwrap();
    assert_eq!(empty, r#"{"etag":"ACAB"}"#);
    let bare: Policy = serde_json::from_str("{}").unwrap();
    assert_eq!(bare, Policy::proposed(0, "", Vec::new()));
}

#[test]
fn a_read_modify_write_with_the_right_etag_replaces_the_policy() {
    let current = Policy::new("one", vec![gives(VIEWER, ADA)]);
    let proposed = Policy::proposed(1, "one", vec![gives("roles/storage.admin", ADA)]);
    let next = set(&current, &proposed, ResourceKind::Bucket).unwrap();
    assert_eq!((next.etag(), next.version()), ("next", 1));
    assert_eq!(next.bindings(), [gives("roles/storage.admin", ADA)]);
}

#[test]
fn a_stale_etag_is_a_conflict_in_googles_words() {
    let current = Policy::new("two", vec![gives(VIEWER, ADA)]);
    let error = set(&current, &Policy::proposed(1, "one", Vec::new()), ResourceKind::Bucket);
    let error = error.unwrap_err();
    assert_eq!((error.code(), error.status()), (409, "ABORTED"));
    assert_eq!(
        error.to_string(),
        "There were concurrent policy changes. Please retry the whole read-modify-write with \
         exponential backoff."
    );
}

#[test]
fn without_an_etag_the_policy_is_overwritten_conditions_and_all() {
    let conditional = gives(VIEWER, ADA).when(only_if(SIGN));
    let current = Policy::new("two", vec![conditional]);
    let next = set(&current, &Policy::proposed(1, "", Vec::new()), ResourceKind::Bucket).unwrap();
    assert_eq!(next.bindings(), []);
}

#[test]
fn conditions_are_touched_with_version_three_only() {
    let conditional = gives(VIEWER, ADA).when(only_if(SIGN));
    let with = Policy::new("one", vec![conditional.clone()]);
    let without = Policy::new("one", vec![gives(VIEWER, ADA)]);
    let plain = vec![gives(VIEWER, ADA)];
    for version in [0, 1] {
        for (current, etag, bindings) in [
            (&with, "one", plain.clone()),
            (&with, "one", Vec::new()),
            (&without, "one", vec![conditional.clone()]),
            (&without, "", vec![conditional.clone()]),
        ] {
            let proposed = Policy::proposed(version, etag, bindings);
            let error = set(current, &proposed, ResourceKind::Bucket).unwrap_err();
            assert_eq!((error.code(), error.status()), (400, "INVALID_ARGUMENT"));
            assert_eq!(
                error.to_string(),
                "Specified policy version (1) cannot be less than the existing policy version \
                 (3). For more information, please refer to \
                 https://cloud.google.com/iam/docs/policies#versions"
            );
        }
    }
    let proposed = Policy::proposed(3, "one", vec![conditional]);
    assert_eq!(set(&without, &proposed, ResourceKind::Bucket).unwrap().version(), 3);
    let proposed = Policy::proposed(3, "one", plain);
    assert_eq!(set(&with, &proposed, ResourceKind::Bucket).unwrap().version(), 1);
    for version in [-1, 2, 4] {
        let error =
            set(&without, &Policy::proposed(version, "one", Vec::new()), ResourceKind::Bucket);
        assert_eq!(error, Err(PolicyError::InvalidArgument));
    }
}

#[test]
fn a_role_is_granted_where_google_grants_it() {
    use ResourceKind::{Bucket, Instance, Project, Repository, ServiceAccount};
    for (role, kinds) in [
        ("roles/storage.objectUser", vec![Project, Bucket]),
        ("roles/storage.legacyBucketReader", vec![Bucket]),
        ("roles/cloudsql.client", vec![Project]),
        ("roles/iam.workloadIdentityUser", vec![Project, ServiceAccount]),
        ("roles/artifactregistry.reader", vec![Project, Repository]),
        ("roles/viewer", vec![Project, ServiceAccount]),
        ("roles/storage.objectGod", vec![]),
        ("storage.objectUser", vec![]),
        ("", vec![]),
    ] {
        for kind in [Project, Bucket, ServiceAccount, Repository, Instance] {
            let answer = set_one(gives(role, ADA), kind);
            if kinds.contains(&kind) {
                assert!(answer.is_ok(), "{role} on {kind:?}: {answer:?}");
            } else {
                let error = answer.unwrap_err();
                assert_eq!(error.code(), 400);
                let words = format!("Role {role} is not supported for this resource.");
                assert_eq!(error.to_string(), words);
            }
        }
    }
    let error = set_one(gives("projects/p/roles/own", ADA), ResourceKind::Project).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Role (projects/p/roles/own) does not exist in the resource's hierarchy."
    );
}

#[test]
fn members_are_checked() {
    use ResourceKind::{Bucket, Project};
    for (member, kind, code, words) in [
        (
            "ada@example.com",
            Bucket,
            400,
            "The member ada@example.com is of an unknown type. Please set a valid type prefix for the member.",
        ),
        ("serviceAccount:mlflow", Bucket, 400, "Invalid service account (mlflow)."),
        ("group:Team@example.com", Bucket, 400, "Group team@example.com does not exist."),
        ("allUsers", Project, 400, "Request contains an invalid argument."),
        ("allAuthenticatedUsers", Project, 400, "Request contains an invalid argument."),
        ("projectOwner:p", Project, 400, "Request contains an invalid argument."),
        (
            "deleted:user:ada@example.com?uid=1",
            Bucket,
            400,
            "Request contains an invalid argument.",
        ),
        (
            "principal://iam.googleapis.com/x",
            Bucket,
            501,
            "The member principal://iam.googleapis.com/x is of a form that is not supported here.",
        ),
    ] {
        let error = set_one(gives(VIEWER, member), kind).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, words), "{member}");
    }
    assert!(set_one(gives(VIEWER, "allUsers"), Bucket).is_ok());
    assert!(set_one(gives(VIEWER, "projectOwner:p"), Bucket).is_ok());
}

#[test]
fn a_deleted_member_may_stay_but_not_come() {
    let gone = "deleted:user:ada@example.com?uid=1";
    let current = Policy::new("one", vec![gives(VIEWER, gone)]);
    let keep = Policy::proposed(1, "one", vec![gives(VIEWER, gone), gives(VIEWER, ADA)]);
    assert!(set(&current, &keep, ResourceKind::Bucket).is_ok());
    let more = Policy::proposed(1, "one", vec![gives("roles/storage.admin", gone)]);
    assert_eq!(set(&current, &more, ResourceKind::Bucket), Err(PolicyError::InvalidArgument));
}

#[test]
fn conditions_are_refused_where_google_refuses_them() {
    let on = |role, member: &str, expression, kind| {
        set_one(gives(role, member).when(only_if(expression)), kind)
    };
    let error = on("roles/viewer", ADA, SIGN, ResourceKind::Project).unwrap_err();
    assert_eq!(
        error.to_string(),
        "LintValidationUnits/BindingRoleAllowConditionCheck Error: Conditions can't be set on \
         primitive roles"
    );
    assert!(on(VIEWER, ADA, SIGN, ResourceKind::Bucket).is_ok());
    let public = on(VIEWER, "allUsers", SIGN, ResourceKind::Bucket);
    assert_eq!(public, Err(PolicyError::InvalidArgument));
    let broken = on(VIEWER, ADA, "resource.name ==", ResourceKind::Bucket).unwrap_err();
    assert_eq!((broken.code(), broken.status()), (400, "INVALID_ARGUMENT"));
    let beyond = on(VIEWER, ADA, "resource.matchTag('a', 'b')", ResourceKind::Bucket).unwrap_err();
    assert_eq!((beyond.code(), beyond.status()), (501, "UNIMPLEMENTED"));
}

#[test]
fn googles_quotas_are_kept() {
    let members = |count: usize| (0..count).map(|it| format!("user:u{it}@example.com"));
    assert!(set_one(Binding::new(VIEWER, members(1500)), ResourceKind::Bucket).is_ok());
    let error = set_one(Binding::new(VIEWER, members(1501)), ResourceKind::Bucket);
    assert!(matches!(error, Err(PolicyError::TooMany { limit: 1500, .. })));

    let bindings = |count: usize| {
        let binding = |it| gives(VIEWER, ADA).when(only_if(&format!("resource.name == 'b{it}'")));
        Policy::proposed(3, "", (0..count).map(binding).collect())
    };
    assert!(set(&Policy::default(), &bindings(20), ResourceKind::Bucket).is_ok());
    let error = set(&Policy::default(), &bindings(21), ResourceKind::Bucket);
    assert!(matches!(error, Err(PolicyError::TooMany { limit: 20, .. })));
}

#[test]
fn what_was_set_is_given_back_tidy() {
    let conditional = gives(VIEWER, ADA).when(only_if(SIGN));
    let bindings = vec![
        conditional.clone(),
        Binding::new(VIEWER, ["user:bob@example.com", "user:Ada@Example.com"]),
        Binding::new("roles/storage.admin", [] as [&str; 0]),
        gives(VIEWER, ADA),
        gives("roles/storage.legacyBucketReader", ADA),
    ];
    let set = set(&Policy::default(), &Policy::proposed(3, "", bindings), ResourceKind::Bucket);
    assert_eq!(
        set.unwrap().bindings(),
        [
            gives("roles/storage.legacyBucketReader", ADA),
            Binding::new(VIEWER, [ADA, "user:bob@example.com"]),
            conditional,
        ]
    );
}

#[test]
fn a_caller_of_version_one_sees_marked_roles_and_cannot_write_them_back() {
    let conditional = gives(VIEWER, ADA).when(only_if(SIGN));
    let policy = Policy::new("one", vec![conditional, gives("roles/storage.admin", ADA)]);
    assert_eq!(policy.for_version(3).unwrap(), policy);
    for version in [0, 1] {
        let shown = policy.for_version(version).unwrap();
        assert_eq!((shown.version(), shown.etag()), (1, "one"));
        let role = &shown.bindings()[0].role;
        let hash = role.strip_prefix("roles/storage.objectViewer_withcond_").unwrap();
        assert!(hash.len() == 20 && hash.bytes().all(|it| it.is_ascii_hexdigit()), "{role}");
        assert_eq!(shown.bindings()[0].condition, None);

        let error = set(&policy, &shown, ResourceKind::Bucket).unwrap_err();
        assert!(matches!(error, PolicyError::OldVersion { .. }), "{error}");
        let forced = Policy::proposed(3, "one", shown.bindings().to_vec());
        let error = set(&policy, &forced, ResourceKind::Bucket).unwrap_err();
        assert_eq!(error, PolicyError::ConditionHash);
    }
    assert_eq!(policy.for_version(2), Err(PolicyError::InvalidArgument));
    let plain = Policy::new("one", vec![gives(VIEWER, ADA)]);
    assert_eq!(plain.for_version(0).unwrap(), plain);
}
