//! The lists of permissions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use iam::{is_permission, role, roles};

#[test]
fn every_file_is_a_role_and_every_list_is_sorted_and_clean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("roles");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .map(|it| format!("roles/{}", it.strip_suffix(".txt").unwrap()))
        .collect();
    assert_eq!(files, roles().iter().map(|it| it.name().to_owned()).collect());
    for role in roles() {
        let permissions = role.permissions();
        assert!(!role.title().is_empty() && !role.title().contains('.'), "{}", role.name());
        assert!(!permissions.is_empty(), "{}", role.name());
        assert!(permissions.is_sorted_by(|a, b| a < b), "{} is not sorted", role.name());
        for permission in permissions {
            let good = permission.split('.').count() >= 3
                && permission.chars().all(|it| it.is_ascii_alphanumeric() || ".-/".contains(it));
            assert!(good, "{}: {permission}", role.name());
            assert!(role.contains(permission) && is_permission(permission));
        }
        assert_eq!(iam::role(role.name()).unwrap().name(), role.name());
    }
}

#[test]
fn a_role_contains_its_list_and_nothing_else() {
    let all: BTreeSet<&str> = roles().iter().flat_map(|it| it.permissions()).copied().collect();
    assert!(all.len() > 800, "{}", all.len());
    for role in roles() {
        let contained = all.iter().filter(|it| role.contains(it)).count();
        assert_eq!(contained, role.permissions().len(), "{}", role.name());
    }
}

#[test]
fn small_roles_are_as_documented() {
    for (name, title, permissions) in [
        (
            "roles/cloudsql.client",
            "Cloud SQL Client",
            vec!["cloudsql.instances.connect", "cloudsql.instances.get"],
        ),
        (
            "roles/cloudsql.instanceUser",
            "Cloud SQL Instance User",
            vec![
                "cloudsql.instances.executeSql",
                "cloudsql.instances.get",
                "cloudsql.instances.login",
            ],
        ),
        (
            "roles/iam.workloadIdentityUser",
            "Workload Identity User",
            vec![
                "iam.serviceAccounts.get",
                "iam.serviceAccounts.getAccessToken",
                "iam.serviceAccounts.getOpenIdToken",
                "iam.serviceAccounts.list",
            ],
        ),
        (
            "roles/storage.legacyObjectReader",
            "Storage Legacy Object Reader",
            vec!["storage.objects.get"],
        ),
        (
            "roles/storage.objectViewer",
            "Storage Object Viewer",
            vec![
                "resourcemanager.projects.get",
                "resourcemanager.projects.list",
                "storage.folders.get",
                "storage.folders.list",
                "storage.managedFolders.get",
                "storage.managedFolders.list",
                "storage.objects.get",
                "storage.objects.list",
            ],
        ),
    ] {
        let role = role(name).unwrap();
        assert_eq!((role.title(), role.permissions()), (title, &permissions[..]), "{name}");
    }
}

#[test]
fn roles_grow_from_reader_to_administrator() {
    for ladder in [
        &[
            "storage.legacyObjectReader",
            "storage.objectViewer",
            "storage.objectUser",
            "storage.objectAdmin",
            "storage.admin",
        ][..],
        &["storage.objectCreator", "storage.objectUser"],
        &["storage.legacyBucketReader", "storage.legacyBucketWriter"],
        &[
            "artifactregistry.reader",
            "artifactregistry.writer",
            "artifactregistry.repoAdmin",
            "artifactregistry.admin",
        ],
        &[
            "serviceusage.serviceUsageViewer",
            "serviceusage.serviceUsageConsumer",
            "serviceusage.serviceUsageAdmin",
        ],
        &["cloudsql.client", "cloudsql.admin"],
        &["cloudsql.viewer", "cloudsql.editor", "cloudsql.admin"],
        &["iam.serviceAccountUser", "editor"],
        &["iam.workloadIdentityUser", "iam.serviceAccountTokenCreator"],
        &["container.clusterViewer", "container.viewer", "container.admin"],
        &["container.clusterViewer", "container.clusterAdmin", "container.admin"],
        &["viewer", "editor", "owner"],
    ] {
        for pair in ladder.windows(2) {
            let [lesser, greater] =
                [pair[0], pair[1]].map(|it| role(&format!("roles/{it}")).unwrap());
            // What Google adds to one role of a ladder it does not always add to the next, but
            // never a permission of the service itself.
            let service = lesser.permissions().iter().filter(|it| !it.starts_with("recommender."));
            let missing: Vec<_> = service.filter(|it| !greater.contains(it)).collect();
            let known = ["resourcemanager.projects.list", "resourcemanager.projects.get"];
            let missing: Vec<_> = missing.into_iter().filter(|it| !known.contains(it)).collect();
            assert!(missing.is_empty(), "{pair:?}: {missing:?}");
        }
    }
}
