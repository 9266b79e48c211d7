//! Calls that real clients make, tricks with paths, and properties of the classifier.

use proptest::prelude::*;

use super::*;

fn call(method: &str, url: &str) -> Result<Call, (Form, Failure)> {
    let (host, rest) = url.split_once('/').unwrap();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    classify(method, host, &format!("/{path}"), query)
}

const HOST: &str = "storage.googleapis.com";

/// Method and URL, and behind the arrow: API, operation, bucket, object.
const CALLS: &str = r#"
GET /storage/v1/b?project=p -> Json ListBuckets
POST /storage/v1/b?project=p -> Json InsertBucket
GET /storage/v1/b/box?projection=noAcl -> Json GetBucket box
GET /storage/v1/b/box/iam?optionsRequestedPolicyVersion=3 -> Json GetBucketPolicy box
PUT /storage/v1/b/box/iam -> Json SetBucketPolicy box
GET /storage/v1/b/box/iam/testPermissions?permissions=a -> Json TestBucketPermissions box
GET /storage/v1/b/box/o?prefix=a%2F -> Json ListObjects box
GET /storage/v1/b/box/o/a%2Fb -> Json GetObject box a/b
GET /storage/v1/b/box/o/a%2Fb?alt=media -> Download Download box a/b
GET /download/storage/v1/b/box/o/a%2Fb?alt=media -> Download Download box a/b
POST /upload/storage/v1/b/box/o?uploadType=multipart -> Upload InsertMultipart box
POST /upload/storage/v1/b/box/o?uploadType=media&name=x -> Upload InsertMedia box
POST /upload/storage/v1/b/box/o?uploadType=resumable -> Upload StartResumable box
POST /resumable/upload/storage/v1/b/box/o?uploadType=resumable -> Upload StartResumable box
GET /storage/v1/b/box/managedFolders -> Json ListManagedFolders box
PUT /upload/storage/v1/b/box/o?upload_id=u -> Upload ContinueResumable { upload_id: "u" } box
DELETE /upload/storage/v1/b/box/o?upload_id=u -> Upload CancelResumable { upload_id: "u" } box
POST /storage/v1/b/box/o/a/compose -> Json Compose box a
POST /storage/v1/b/box/o/a/rewriteTo/b/off/o/c -> Json Rewrite { to_bucket: "off", to_object: "c" } box a
POST /storage/v1/b/box/o/a/copyTo/b/off/o/c -> Json Copy { to_bucket: "off", to_object: "c" } box a
PATCH /storage/v1/b/box/o/a -> Json PatchObject box a
DELETE /storage/v1/b/box/o/x?generation=1 -> Json DeleteObject box x
POST /batch/storage/v1 -> Json Batch
GET /storage/v1/projects/p/serviceAccount -> Json GetServiceAccount { project: "p" }
GET /storage/v1/b/box/acl -> Json LegacyAcl { verb: "get" } box
GET /box/a/b -> Xml Download box a/b
HEAD /box/a%2Fb -> Xml Download box a/b
PUT /box/a -> Xml InsertMedia box a
POST /box/a -> Xml StartResumable box a
DELETE /box/a -> Xml DeleteObject box a
GET /box?prefix=a -> Xml ListObjects box
POST /box/a?uploads -> Xml InitiateMultipart box a
PUT /box/a?partNumber=7&uploadId=u -> Xml UploadPart { upload_id: "u", number: 7 } box a
POST /box/a?uploadId=u -> Xml CompleteMultipart { upload_id: "u" } box a
DELETE /box/a?uploadId=u -> Xml AbortMultipart { upload_id: "u" } box a
GET /box/a?uploadId=u&max-parts=2 -> Xml ListParts { upload_id: "u" } box a
GET /box?uploads&prefix=a -> Xml ListMultipartUploads box
GET /box/a?partNumber=1 -> Xml Unknown("GET with `?partNumber`") box a
PUT /box/a?uploads -> Xml Unknown("PUT with `?uploads`") box a
POST /box?uploadId=u -> Xml Unknown("POST with `?uploadId`") box
"#;

#[test]
fn what_clients_call() {
    for row in CALLS.trim().lines() {
        let (asked, expected) = row.split_once(" -> ").unwrap();
        let (method, url) = asked.split_once(' ').unwrap();
        let seen = call(method, &format!("{HOST}{url}")).unwrap();
        let names = format!("{} {}", seen.bucket, seen.object);
        let shown = format!("{:?} {:?} {}", seen.api, seen.operation, names.trim());
        assert_eq!(shown.trim(), expected, "{asked}");
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
        ("POST", "/box/a?compose", "POST with `?compose`"),
        ("PUT", "/box/a?acl&partNumber=1&uploadId=u", "PUT with `?acl`"),
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
