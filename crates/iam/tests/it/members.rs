//! The text forms of members.

use iam::{Member, MemberError};

const POOL: &str = "//iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/p.svc.id.goog";

#[test]
fn every_form_that_google_prints_is_read_and_printed_back() {
    for text in [
        "allUsers",
        "allAuthenticatedUsers",
        "user:ada@example.com",
        "serviceAccount:mlflow@p.iam.gserviceaccount.com",
        "serviceAccount:123456789012-compute@developer.gserviceaccount.com",
        "serviceAccount:p.svc.id.goog[mlflow/mlflow]",
        "serviceAccount:example.com:p.svc.id.goog[mlflow/mlflow]",
        "group:team@example.com",
        "domain:example.com",
        "projectOwner:p",
        "projectEditor:p",
        "projectViewer:p",
        "deleted:user:ada@example.com?uid=123",
        "deleted:serviceAccount:mlflow@p.iam.gserviceaccount.com?uid=123",
        "deleted:group:team@example.com?uid=123",
        &format!("principal:{POOL}/subject/ns/mlflow/sa/mlflow"),
        &format!("principalSet:{POOL}/namespace/mlflow"),
        &format!(
            "principalSet:{POOL}/kubernetes.cluster/https://container.googleapis.com/v1/projects/\
             p/locations/l/clusters/c"
        ),
        &format!("principalSet:{POOL}/*"),
    ] {
        let member: Member = text.parse().unwrap_or_else(|it| panic!("{text}: {it}"));
        assert_eq!(member.to_string(), text);
        let json = serde_json::to_string(&member).unwrap();
        assert_eq!(serde_json::from_str::<Member>(&json).unwrap(), member);
    }
}

#[test]
fn addresses_are_lower_cased() {
    let member: Member = "user:Ada@Example.COM".parse().unwrap();
    assert_eq!(member.to_string(), "user:ada@example.com");
}

#[test]
fn a_member_without_a_known_type_is_refused_in_googles_words() {
    for text in
        ["", "ada@example.com", "robot:ada@example.com", "allUsers:", "User:a@b.c", "allusers"]
    {
        let error = text.parse::<Member>().unwrap_err();
        assert_eq!(error, MemberError::UnknownType(text.to_owned()));
        assert_eq!(
            error.to_string(),
            format!(
                "The member {text} is of an unknown type. Please set a valid type prefix for the \
                 member."
            )
        );
    }
}

#[test]
fn an_address_that_is_none_is_refused() {
    for text in [
        "user:",
        "user:ada",
        "user:@example.com",
        "user:ada@",
        "user:a@b@c",
        "user: ada@example.com",
        "group:team",
        "domain:",
        "domain:a@b",
        "serviceAccount:p.svc.id.goog[mlflow]",
        "serviceAccount:p.svc.id.goog[/]",
        "serviceAccount:p.svc.id.goog[a/b/c]",
        "serviceAccount:.svc.id.goog[a/b]",
        "serviceAccount:p.svc.id.goog[a/b",
        "projectOwner:",
        "projectOwner:a b",
    ] {
        let error = text.parse::<Member>().unwrap_err();
        assert!(matches!(error, MemberError::Invalid { .. }), "{text}: {error}");
    }
}

#[test]
fn a_form_that_cannot_be_evaluated_is_refused() {
    for rest in [
        "",
        "/subject/ns/mlflow",
        "/subject/ns/mlflow/sa/",
        "/subject/ns//sa/mlflow",
        "/kubernetes.serviceaccount.uid/1234",
        "/attribute.repository/a/b",
        "/namespace/",
        "/namespace/a/b",
        "/kubernetes.cluster/https://example.com",
    ] {
        for kind in ["principal", "principalSet"] {
            let text = format!("{kind}:{POOL}{rest}");
            assert_eq!(text.parse::<Member>(), Err(MemberError::Unsupported(text)));
        }
    }
    let foreign = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/github/*";
    assert!(foreign.parse::<Member>().is_err());
}
