//! Calls that real clients make, tricks with paths, and properties of the classifier.

use proptest::prelude::*;

use super::*;

fn call(method: &str, url: &str) -> Result<Call, (Form, Failure)> {
    let (host, rest) = url.split_once('/').unwrap();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    classify(method, host, &format!("/{path}"), query)
}

const HOST: &str = "storage.googleapis.com";

#[test]
fn what_clients_call() {
    use Operation::*;
    let to = |bucket: &str, object: &str| (bucket.to_owned(), object.to_owned());
    let (to_bucket, to_object) = to("other", "c/d");
    let rows = [
        ("GET", "/storage/v1/b?project=p", Api::Json, ListBuckets, "", ""),
        ("POST", "/storage/v1/b?project=p", Api::Json, InsertBucket, "", ""),
        ("GET", "/storage/v1/b/box?projection=noAcl", Api::Json, GetBucket, "box", ""),
        (
            "GET",
            "/storage/v1/b/box/iam?optionsRequestedPolicyVersion=3",
            Api::Json,
            GetBucketPolicy,
            "box",
            "",
        ),
        ("PUT", "/storage/v1/b/box/iam", Api::Json, SetBucketPolicy, "box", ""),
        (
            "GET",
            "/storage/v1/b/box/iam/testPermissions?permissions=a",
            Api::Json,
            TestBucketPermissions,
            "box",
            "",
        ),
        ("GET", "/storage/v1/b/box/o?prefix=a%2F", Api::Json, ListObjects, "box", ""),
        ("GET", "/storage/v1/b/box/o/a%2Fb", Api::Json, GetObject, "box", "a/b"),
        ("GET", "/storage/v1/b/box/o/a%2Fb?alt=media", Api::Download, Download, "box", "a/b"),
        (
            "GET",
            "/download/storage/v1/b/box/o/a%2Fb?alt=media",
            Api::Download,
            Download,
            "box",
            "a/b",
        ),
        (
            "POST",
            "/upload/storage/v1/b/box/o?uploadType=multipart",
            Api::Upload,
            InsertMultipart,
            "box",
            "",
        ),
        (
            "POST",
            "/upload/storage/v1/b/box/o?uploadType=media&name=x",
            Api::Upload,
            InsertMedia,
            "box",
            "",
        ),
        (
            "POST",
            "/upload/storage/v1/b/box/o?uploadType=resumable",
            Api::Upload,
            StartResumable,
            "box",
            "",
        ),
        (
            "PUT",
            "/upload/storage/v1/b/box/o?uploadType=resumable&upload_id=u",
            Api::Upload,
            ContinueResumable { upload_id: "u".into() },
            "box",
            "",
        ),
        (
            "DELETE",
            "/upload/storage/v1/b/box/o?uploadType=resumable&upload_id=u",
            Api::Upload,
            CancelResumable { upload_id: "u".into() },
            "box",
            "",
        ),
        ("POST", "/storage/v1/b/box/o/a/compose", Api::Json, Compose, "box", "a"),
        (
            "POST",
            "/storage/v1/b/box/o/a%2Fb/rewriteTo/b/other/o/c%2Fd",
            Api::Json,
            Rewrite { to_bucket: to_bucket.clone(), to_object: to_object.clone() },
            "box",
            "a/b",
        ),
        (
            "POST",
            "/storage/v1/b/box/o/a%2Fb/copyTo/b/other/o/c%2Fd",
            Api::Json,
            Copy { to_bucket, to_object },
            "box",
            "a/b",
        ),
        ("DELETE", "/storage/v1/b/box/o/x?generation=1", Api::Json, DeleteObject, "box", "x"),
        ("POST", "/batch/storage/v1", Api::Json, Batch, "", ""),
        (
            "GET",
            "/storage/v1/projects/p/serviceAccount",
            Api::Json,
            GetServiceAccount { project: "p".into() },
            "",
            "",
        ),
        ("GET", "/storage/v1/b/box/acl", Api::Json, LegacyAcl { verb: "get" }, "box", ""),
        ("GET", "/box/a/b", Api::Xml, Download, "box", "a/b"),
        ("HEAD", "/box/a%2Fb", Api::Xml, Download, "box", "a/b"),
        ("PUT", "/box/a", Api::Xml, InsertMedia, "box", "a"),
        ("POST", "/box/a", Api::Xml, StartResumable, "box", "a"),
        ("DELETE", "/box/a", Api::Xml, DeleteObject, "box", "a"),
        ("GET", "/box?prefix=a", Api::Xml, ListObjects, "box", ""),
    ];
    for (method, url, api, operation, bucket, object) in rows {
        let seen = call(method, &format!("{HOST}{url}")).unwrap();
        let seen = (seen.api, seen.operation, seen.bucket, seen.object);
        assert_eq!(seen, (api, operation, bucket.to_owned(), object.to_owned()), "{method} {url}");
    }
}

#[test]
fn a_bucket_in_the_host_is_the_only_bucket() {
    // The path looks like the JSON API and names somebody else's bucket; here it is an object's
    // name.
    let seen = call("GET", "storage.storage.googleapis.com/storage/v1/b/other/o/x").unwrap();
    assert_eq!((seen.api, seen.bucket.as_str()), (Api::Xml, "storage"));
    assert_eq!(seen.object, "storage/v1/b/other/o/x");
    let seen = call("GET", "box.storage.googleapis.com:443/upload/x").unwrap();
    assert_eq!((seen.bucket.as_str(), seen.object.as_str()), ("box", "upload/x"));
    assert!(call("GET", "a.b..storage.googleapis.com/x").is_err());
}

#[test]
fn tricks_with_paths_name_no_other_bucket() {
    let rows = [
        ("GET", "/storage/v1/b/box/o/..%2F..%2Fother%2Fx", "box", "../../other/x"),
        ("GET", "/storage/v1/b/box/o/%2E%2E%2Fother", "box", "../other"),
        ("GET", "/box/../other/x", "box", "../other/x"),
        ("GET", "/storage/v1/b/box/o/%252e%252e%252Fother", "box", "%2e%2e%2Fother"),
        ("GET", "/storage/v1/b/box/o/x%00y", "box", "x\0y"),
        ("GET", "/storage/v1/b/box/o/%E6%97%A5%F0%9F%A6%80", "box", "日🦀"),
    ];
    for (method, url, bucket, object) in rows {
        let seen = call(method, &format!("{HOST}{url}")).unwrap();
        assert_eq!((seen.bucket.as_str(), seen.object.as_str()), (bucket, object), "{url}");
    }
    for url in [
        "/storage/v1/b/box%2Fo%2Fx",
        "/storage/v1/b/..%2Fother/o/x",
        "/storage/v1/b/../o/x",
        "/storage/v1/b/box/o/%zz",
        "/storage/v1/b/box/o/%ff",
        "/storage/v1/b/box/o/..",
        "/storage/v1/b/box/o?prefix=%",
        "/%2e%2e/x",
    ] {
        let (_, failure) = call("GET", &format!("{HOST}{url}")).unwrap_err();
        assert_eq!(failure.status, 400, "{url}");
    }
    let long = format!("{HOST}/storage/v1/b/box/o/{}", "a".repeat(1025));
    assert_eq!(call("GET", &long).unwrap_err().1.status, 400);
}

#[test]
fn what_is_not_emulated_is_named_without_names() {
    let rows = [
        ("GET", "/storage/v1/b/box/o/a/b", "GET /storage/v1/b/*/o/*/b"),
        (
            "POST",
            "/storage/v1/b/box/notificationConfigs",
            "POST /storage/v1/b/*/notificationConfigs",
        ),
        ("POST", "/box/a?uploads", "POST with `?uploads`"),
        ("PUT", "/box/a?partNumber=1&uploadId=u", "PUT with `?partNumber`"),
        ("GET", "/", "GET //"),
        ("PUT", "/box", "PUT of the XML API on a bucket"),
    ];
    for (method, url, what) in rows {
        let seen = call(method, &format!("{HOST}{url}")).unwrap().operation;
        assert_eq!(seen, Operation::Unknown(what.to_owned()), "{method} {url}");
    }
}

proptest! {
    #[test]
    fn no_request_makes_it_panic(
        method in "[A-Z]{3,6}", host in "\\PC{0,24}", path in "/\\PC{0,60}", query in "\\PC{0,40}",
    ) {
        let _ = classify(&method, &host, &path, &query);
    }

    #[test]
    fn an_object_keeps_its_name(object in "[^\r\n]{1,60}", bucket in "[a-z][a-z0-9-]{2,20}[a-z0-9]") {
        prop_assume!(check_object(&object).is_ok());
        let name = super::super::text::percent_encode(&object);
        for path in [
            format!("/storage/v1/b/{bucket}/o/{name}"),
            format!("/download/storage/v1/b/{bucket}/o/{name}"),
        ] {
            let seen = classify("GET", HOST, &path, "alt=media").unwrap();
            prop_assert_eq!((&seen.bucket, &seen.object), (&bucket, &object));
            prop_assert_eq!(seen.operation, Operation::Download);
        }
        let host = format!("{bucket}.{HOST}");
        let seen = classify("GET", &host, &format!("/{name}"), "").unwrap();
        prop_assert_eq!((&seen.bucket, &seen.object), (&bucket, &object));
    }
}
