//! Who may do what: tables of callers, bindings and answers.

use iam::{
    Binding, Caller, Decision, Member, NearMiss, Principal, Resource, Workload, allowed_permissions,
};

use crate::world::{
    GSA, NOW, NUMBER, PROJECT, World, account, bucket, gives, gsa, object, only_if, pod, project,
    user, workload,
};

const MEMBER: &str = "serviceAccount:mlflow@mlflow-dev.iam.gserviceaccount.com";

/// What MLflow does to its artifacts, and what else a bucket and its objects know.
const STORAGE: [&str; 8] = [
    "storage.objects.create",
    "storage.objects.get",
    "storage.objects.list",
    "storage.objects.delete",
    "storage.objects.update",
    "storage.objects.setIamPolicy",
    "storage.buckets.get",
    "storage.buckets.getIamPolicy",
];

#[test]
fn a_role_on_the_bucket_gives_mlflow_what_google_says() {
    let table: [(&str, &[&str]); 8] = [
        (
            "objectUser",
            &["objects.create", "objects.get", "objects.list", "objects.delete", "objects.update"],
        ),
        ("objectViewer", &["objects.get", "objects.list"]),
        ("objectCreator", &["objects.create"]),
        (
            "objectAdmin",
            &[
                "objects.create",
                "objects.get",
                "objects.list",
                "objects.delete",
                "objects.update",
                "objects.setIamPolicy",
            ],
        ),
        ("legacyBucketReader", &["objects.list", "buckets.get"]),
        (
            "legacyBucketWriter",
            &["objects.create", "objects.list", "objects.delete", "buckets.get"],
        ),
        ("legacyObjectReader", &["objects.get"]),
        (
            "admin",
            &[
                "objects.create",
                "objects.get",
                "objects.list",
                "objects.delete",
                "objects.update",
                "objects.setIamPolicy",
                "buckets.get",
                "buckets.getIamPolicy",
            ],
        ),
    ];
    for (role, expected) in table {
        let role = format!("roles/storage.{role}");
        let world = World::default().with(&bucket(), vec![gives(&role, MEMBER)]);
        let allowed = allowed_permissions(&world, &gsa(), &object(), &STORAGE, NOW);
        let expected: Vec<String> = expected.iter().map(|it| format!("storage.{it}")).collect();
        assert_eq!(allowed, expected, "{role}");
    }
}

#[test]
fn a_creator_can_neither_list_nor_overwrite() {
    let world =
        World::default().with(&bucket(), vec![gives("roles/storage.objectCreator", MEMBER)]);
    assert!(world.ask(&gsa(), "storage.objects.create", &object()).is_allowed());
    // To overwrite an object is to delete it.
    for permission in ["storage.objects.list", "storage.objects.delete", "storage.objects.get"] {
        let lack = world.lack(&gsa(), permission, &object());
        assert!(matches!(&lack.near[..], [NearMiss::OtherRole(_)]), "{permission}: {lack}");
    }
}

#[test]
fn what_the_project_gives_holds_for_everything_in_it() {
    let table = [
        ("roles/storage.objectViewer", "storage.objects.get", object()),
        ("roles/storage.admin", "storage.buckets.delete", bucket()),
        ("roles/cloudsql.client", "cloudsql.instances.connect", Resource::instance(PROJECT, "db")),
        (
            "roles/cloudsql.instanceUser",
            "cloudsql.instances.login",
            Resource::instance(PROJECT, "db"),
        ),
        (
            "roles/cloudsql.admin",
            "cloudsql.databases.delete",
            Resource::database(PROJECT, "db", "mlflow"),
        ),
        ("roles/iam.serviceAccountTokenCreator", "iam.serviceAccounts.signBlob", account()),
        (
            "roles/container.clusterViewer",
            "container.clusters.get",
            Resource::cluster(PROJECT, "europe-north1", "mlflow"),
        ),
        (
            "roles/artifactregistry.reader",
            "artifactregistry.repositories.downloadArtifacts",
            Resource::repository(PROJECT, "europe-north1", "mlflow"),
        ),
        (
            "roles/serviceusage.serviceUsageAdmin",
            "serviceusage.services.enable",
            Resource::service(PROJECT, "storage.googleapis.com"),
        ),
        (
            "roles/resourcemanager.projectIamAdmin",
            "resourcemanager.projects.setIamPolicy",
            project(),
        ),
    ];
    for (role, permission, resource) in table {
        let world = World::default().with(&project(), vec![gives(role, MEMBER)]);
        let Decision::Allowed(grant) = world.ask(&gsa(), permission, &resource) else {
            panic!("{role} does not give {permission} on {resource}");
        };
        assert_eq!((grant.resource, grant.role.as_str()), (project(), role));
        let nobody = World::default();
        assert!(!nobody.ask(&gsa(), permission, &resource).is_allowed(), "{permission}");
    }
}

#[test]
fn what_a_bucket_gives_holds_for_no_other_bucket_and_not_for_the_project() {
    let world = World::default().with(&bucket(), vec![gives("roles/storage.admin", MEMBER)]);
    let other = Resource::bucket(PROJECT, "other");
    assert!(world.ask(&gsa(), "storage.buckets.get", &bucket()).is_allowed());
    assert!(!world.ask(&gsa(), "storage.buckets.list", &project()).is_allowed());
    let lack = world.lack(&gsa(), "storage.buckets.get", &other);
    let [NearMiss::Elsewhere(grant)] = &lack.near[..] else { panic!("{lack}") };
    assert_eq!((&grant.resource, grant.role.as_str()), (&bucket(), "roles/storage.admin"));
}

#[test]
fn a_pod_becomes_its_service_account_through_any_name_that_means_it() {
    let pool = format!(
        "//iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/{PROJECT}.svc.id.goog"
    );
    let role = "roles/iam.workloadIdentityUser";
    let cluster = pod("mlflow", "mlflow").cluster.unwrap();
    let means = [
        format!("serviceAccount:{PROJECT}.svc.id.goog[mlflow/mlflow]"),
        format!("principal:{pool}/subject/ns/mlflow/sa/mlflow"),
        format!("principalSet:{pool}/namespace/mlflow"),
        format!("principalSet:{pool}/kubernetes.cluster/{cluster}"),
        format!("principalSet:{pool}/*"),
    ];
    let other = pool.replace(PROJECT, "other");
    let does_not = [
        format!("serviceAccount:{PROJECT}.svc.id.goog[mlflow/postgres]"),
        format!("serviceAccount:{PROJECT}.svc.id.goog[default/mlflow]"),
        "serviceAccount:other.svc.id.goog[mlflow/mlflow]".to_owned(),
        format!("principal:{pool}/subject/ns/default/sa/mlflow"),
        format!("principal:{other}/subject/ns/mlflow/sa/mlflow"),
        format!("principalSet:{pool}/namespace/default"),
        format!("principalSet:{pool}/kubernetes.cluster/{cluster}-2"),
        format!("principalSet:{other}/*"),
        format!("serviceAccount:{GSA}"),
        "allAuthenticatedUsers".to_owned(),
    ];
    let becomes = |member: &str| {
        let world = World::default().with(&account(), vec![gives(role, member)]);
        let asked = world.ask(
            &workload("mlflow", "mlflow"),
            "iam.serviceAccounts.getAccessToken",
            &account(),
        );
        asked.is_allowed()
    };
    let covers =
        |member: &str| member.parse::<Member>().unwrap().covers(&workload("mlflow", "mlflow"));
    for member in means {
        assert!(becomes(&member) && covers(&member), "{member}");
    }
    for member in does_not {
        assert!(!becomes(&member) && !covers(&member), "{member}");
    }
}

#[test]
fn a_workload_is_printed_and_named_as_google_does() {
    let pod = pod("mlflow", "server");
    assert_eq!(pod.to_string(), "mlflow-dev.svc.id.goog[mlflow/server]");
    assert_eq!(
        pod.subject(),
        "principal://iam.googleapis.com/projects/123456789012/locations/global/\
         workloadIdentityPools/mlflow-dev.svc.id.goog/subject/ns/mlflow/sa/server"
    );
    let unknown = Workload { cluster: None, ..pod };
    let caller = Caller::from(Principal::Workload(unknown));
    let member = format!(
        "principalSet://iam.googleapis.com/projects/{NUMBER}/locations/global/\
         workloadIdentityPools/{PROJECT}.svc.id.goog/kubernetes.cluster/\
         https://container.googleapis.com/v1/projects/p/locations/l/clusters/c"
    );
    assert!(!member.parse::<Member>().unwrap().covers(&caller));
}

#[test]
fn everybody_is_everybody_and_the_authenticated_are_googles_accounts() {
    let callers = [Caller::Anonymous, user("ada@example.com"), gsa(), workload("mlflow", "mlflow")];
    for (member, expected) in [
        ("allUsers", [true, true, true, true]),
        ("allAuthenticatedUsers", [false, true, true, false]),
        ("domain:example.com", [false, true, false, false]),
        ("user:Ada@Example.com", [false, true, false, false]),
        ("user:ada@example.org", [false, false, false, false]),
        ("serviceAccount:ada@example.com", [false, false, false, false]),
    ] {
        let world =
            World::default().with(&bucket(), vec![gives("roles/storage.objectViewer", member)]);
        let allowed =
            callers.clone().map(|it| world.ask(&it, "storage.objects.get", &object()).is_allowed());
        assert_eq!(allowed, expected, "{member}");
    }
}

#[test]
fn a_fresh_bucket_belongs_to_the_owners_of_its_project() {
    let fresh = vec![
        Binding::new(
            "roles/storage.legacyBucketOwner",
            ["projectEditor:mlflow-dev", "projectOwner:mlflow-dev"],
        ),
        gives("roles/storage.legacyBucketReader", "projectViewer:mlflow-dev"),
    ];
    let world = World::default().with(&bucket(), fresh).with(
        &project(),
        vec![
            gives("roles/owner", "user:owner@example.com"),
            gives("roles/viewer", "user:viewer@example.com"),
            gives("roles/storage.admin", "user:admin@example.com"),
        ],
    );
    for (who, lists, writes) in [
        ("owner@example.com", true, true),
        ("viewer@example.com", true, false),
        ("admin@example.com", true, true),
        ("stranger@example.com", false, false),
    ] {
        let may = |permission| world.ask(&user(who), permission, &object()).is_allowed();
        assert_eq!(
            (may("storage.objects.list"), may("storage.objects.create")),
            (lists, writes),
            "{who}"
        );
    }
    // The owner of another project's name is nobody here.
    let elsewhere = gives("roles/storage.objectViewer", "projectOwner:other");
    let world = World::default()
        .with(&bucket(), vec![elsewhere])
        .with(&project(), vec![gives("roles/owner", "user:owner@example.com")]);
    assert!(!world.ask(&user("owner@example.com"), "storage.objects.get", &object()).is_allowed());
}

#[test]
fn an_owner_reads_no_objects_without_the_buckets_consent_and_takes_no_tokens() {
    let world =
        World::default().with(&project(), vec![gives("roles/owner", "user:owner@example.com")]);
    let owner = user("owner@example.com");
    assert!(world.ask(&owner, "storage.buckets.create", &project()).is_allowed());
    assert!(!world.ask(&owner, "storage.objects.get", &object()).is_allowed());
    assert!(!world.ask(&owner, "iam.serviceAccounts.getAccessToken", &account()).is_allowed());
}

#[test]
fn a_condition_is_evaluated_on_what_is_asked_about() {
    let runs = only_if(r#"resource.name.startsWith("projects/_/buckets/artifacts/objects/runs/")"#);
    let binding = gives("roles/storage.objectUser", MEMBER).when(runs.clone());
    let world = World::default().with(&bucket(), vec![binding]);
    let inside = Resource::object(PROJECT, "artifacts", "runs/1/model.pkl");
    let Decision::Allowed(grant) = world.ask(&gsa(), "storage.objects.get", &inside) else {
        panic!("the condition is true");
    };
    assert_eq!(grant.condition, Some(runs));
    let lack = world.lack(&gsa(), "storage.objects.get", &object());
    let [NearMiss::ConditionFalse(_)] = &lack.near[..] else { panic!("{lack}") };
    assert!(
        lack.to_string().contains("but its condition is false: `resource.name.startsWith"),
        "{lack}"
    );
}

#[test]
fn a_condition_that_cannot_be_read_never_holds() {
    for expression in ["true", "resource.name.extract('x') == 'y'", "", "request.time < now"] {
        let binding = gives("roles/storage.objectUser", MEMBER).when(only_if(expression));
        let world = World::default().with_unchecked(&bucket(), vec![binding]);
        let lack = world.lack(&gsa(), "storage.objects.get", &object());
        assert!(matches!(&lack.near[..], [NearMiss::ConditionFalse(_)]), "{expression}: {lack}");
    }
}

#[test]
fn a_refusal_says_what_comes_close() {
    let world = World::default()
        .with(&bucket(), vec![gives("roles/storage.objectUser", "user:ada@example.com")])
        .with(&project(), vec![gives("roles/cloudsql.client", MEMBER)]);
    let lack = world.lack(&gsa(), "storage.objects.create", &object());
    let [NearMiss::OtherRole(role), NearMiss::OtherMember(member)] = &lack.near[..] else {
        panic!("{lack}");
    };
    assert_eq!((role.role.as_str(), &role.resource), ("roles/cloudsql.client", &project()));
    assert_eq!(member.member.to_string(), "user:ada@example.com");
    assert_eq!(
        lack.to_string(),
        "no binding gives `mlflow@mlflow-dev.iam.gserviceaccount.com` `storage.objects.create` on \
         `//storage.googleapis.com/projects/_/buckets/artifacts/objects/0/run/model.pkl`; \
         `serviceAccount:mlflow@mlflow-dev.iam.gserviceaccount.com` has `roles/cloudsql.client` on \
         `//cloudresourcemanager.googleapis.com/projects/mlflow-dev`, which does not have the \
         permission; `user:ada@example.com` has `roles/storage.objectUser` on \
         `//storage.googleapis.com/projects/_/buckets/artifacts`, which is somebody else"
    );
}

#[test]
fn a_refusal_with_nothing_near_says_what_would_help() {
    let lack = World::default().lack(&gsa(), "storage.objects.get", &object());
    assert!(lack.near.is_empty());
    let (role, on) = lack.remedies()[0];
    assert_eq!((role.name(), on), ("roles/storage.objectViewer", &bucket()));
    let words = "; `roles/storage.objectViewer` on \
                 `//storage.googleapis.com/projects/_/buckets/artifacts` would";
    assert!(lack.to_string().ends_with(words), "{lack}");
    let lack = World::default().lack(
        &gsa(),
        "cloudsql.instances.connect",
        &Resource::instance(PROJECT, "db"),
    );
    let (role, on) = lack.remedies()[0];
    assert_eq!((role.name(), on), ("roles/cloudsql.client", &project()));
}

#[test]
fn a_permission_that_no_role_has_is_denied() {
    let world = World::default().with(&project(), vec![gives("roles/owner", MEMBER)]);
    for permission in ["", "storage.objects.*", "storage.objects.fly", "STORAGE.OBJECTS.GET"] {
        let lack = world.lack(&gsa(), permission, &object());
        assert!(lack.remedies().is_empty(), "{permission}");
        assert!(!iam::is_permission(permission));
    }
}

#[test]
fn near_misses_are_few() {
    let members: Vec<String> = (0..500).map(|it| format!("user:u{it}@example.com")).collect();
    let world = World::default()
        .with(&bucket(), vec![Binding::new("roles/storage.objectUser", &members)])
        .with(&project(), vec![Binding::new("roles/storage.admin", &members)]);
    let lack = world.lack(&gsa(), "storage.objects.get", &object());
    assert_eq!(lack.near.len(), 3, "{lack}");
}
