//! Canonical requests as Google's documentation and its Python client make them, and what is
//! refused.

use proptest::prelude::*;

use super::*;

fn query(text: &str) -> Query {
    Query::parse(text).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

const V4: &str = "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=signer%40p.iam.gserviceaccount.com%2F\
                  20261122%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date=20261122T100000Z&X-Goog-Expires=900&\
                  X-Goog-SignedHeaders=host&X-Goog-Signature=00ff";
const SIGNED_AT: u64 = 1_795_341_600;

#[test]
fn dates_are_read_and_printed() {
    assert_eq!(parse_date("19700101T000000Z"), Some(0));
    assert_eq!(parse_date("20261122T100000Z"), Some(SIGNED_AT));
    assert_eq!(parse_date("20240229T235959Z"), Some(1_709_251_199));
    for text in [
        "",
        "20261122",
        "20261122T100000",
        "2026112aT100000Z",
        "20261322T100000Z",
        "20261122T250000Z",
    ] {
        assert_eq!(parse_date(text), None, "{text}");
    }
    assert_eq!(rfc3339(SIGNED_AT), "2026-11-22T10:00:00+00:00");
    assert_eq!(rfc3339(1_709_251_199), "2024-02-29T23:59:59+00:00");
    assert!(rfc3339(u64::MAX).starts_with("9999-12-30T"));
}

#[test]
fn the_canonical_request_is_the_documented_one() {
    // The example of the documentation of canonical requests, with its spaces and its order.
    let url = read(&query(V4), SIGNED_AT + 899).unwrap().unwrap();
    assert_eq!(url.signer, "signer@p.iam.gserviceaccount.com");
    let sent = headers(&[("host", "storage.googleapis.com"), ("accept", "*/*")]);
    let signed = Signed {
        method: "GET",
        path: "/example-bucket/cat's%20pics/t%c3%a4st.jpeg",
        query: &query(&format!("z=1&{V4}&a=b c")),
        headers: &sent,
        bucket: "example-bucket",
        object: "",
    };
    let (string, request) = url.string_to_sign(&signed).unwrap();
    assert_eq!(
        request,
        "GET\n/example-bucket/cat%27s%20pics/t%C3%A4st.jpeg\nX-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=\
         signer%40p.iam.gserviceaccount.com%2F20261122%2Fauto%2Fstorage%2Fgoog4_request&X-Goog-Date=\
         20261122T100000Z&X-Goog-Expires=900&X-Goog-SignedHeaders=host&a=b%20c&z=1\n\
         host:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD"
    );
    assert!(
        string.starts_with(
            "GOOG4-RSA-SHA256\n20261122T100000Z\n20261122/auto/storage/goog4_request\n"
        )
    );
}

#[test]
fn headers_are_folded_and_joined() {
    let sent = headers(&[
        ("host", "h"),
        ("x-goog-meta-a", "  one \t two "),
        ("x-goog-meta-a", "three"),
        ("x-goog-content-sha256", "abc"),
    ]);
    let names = ["host", "x-goog-content-sha256", "x-goog-meta-a"].map(str::to_owned);
    let signed = Signed {
        method: "PUT",
        path: "/b/o",
        query: &query(""),
        headers: &sent,
        bucket: "b",
        object: "o",
    };
    let request = canonical_request(&signed, &names).unwrap();
    let lines: Vec<&str> = request.lines().collect();
    assert_eq!(lines[3..6], ["host:h", "x-goog-content-sha256:abc", "x-goog-meta-a:one two,three"]);
    assert_eq!(lines.last(), Some(&"abc"));
}

#[test]
fn a_header_is_signed_and_sent_or_neither() {
    let sent = headers(&[("host", "h"), ("x-goog-acl", "public-read")]);
    let signed = Signed {
        method: "PUT",
        path: "/b/o",
        query: &query(""),
        headers: &sent,
        bucket: "b",
        object: "o",
    };
    let failure = canonical_request(&signed, &["host".to_owned()]).unwrap_err();
    assert_eq!(failure.xml.0, "MalformedSecurityHeader");
    let names = ["content-type", "host", "x-goog-acl"].map(str::to_owned);
    let failure = canonical_request(&signed, &names).unwrap_err();
    assert_eq!(failure.message, "Header was included in signedheaders, but not in the request.");
}

#[test]
fn a_signature_that_is_over_or_broken_is_refused() {
    let at = |text: &str, now| read(&query(text), now).unwrap_err();
    let over = at(V4, SIGNED_AT + 900);
    assert_eq!((over.status, over.xml.0), (400, "ExpiredToken"));
    assert_eq!(over.message, "Request signature expired at: 2026-11-22T10:15:00+00:00");
    assert_eq!(at(V4, SIGNED_AT - 901).status, 400);
    for (from, to) in [
        ("20261122%2Fauto", "20261123%2Fauto"),
        ("%2Fstorage%2Fgoog4_request", "%2Fiam%2Fgoog4_request"),
        ("%2Fauto%2F", "%2Fa%2Fb%2F"),
        ("Expires=900", "Expires=604801"),
        ("Expires=900", "Expires=0"),
        ("Expires=900", "Expires=-1"),
        ("20261122T100000Z", "today"),
        ("Signature=00ff", "Signature=0"),
        ("Signature=00ff", "Signature=zz"),
        ("SignedHeaders=host", "SignedHeaders=accept"),
        ("X-Goog-Credential=", "X="),
    ] {
        let text = V4.replacen(from, to, 1);
        assert_ne!(text, V4, "{from}");
        assert_eq!(at(&text, SIGNED_AT).status, 400, "{to}");
    }
    for text in [V4.replace("RSA", "HMAC"), "X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned()] {
        let failure = at(&text, SIGNED_AT);
        assert_eq!((failure.status, failure.message.contains("HMAC")), (501, true));
    }
    assert_eq!(read(&query("alt=media"), SIGNED_AT), Ok(None));
}

#[test]
fn version_two_signs_the_resource() {
    let url =
        read(&query("GoogleAccessId=a%40b&Expires=99&Signature=AP8%3D"), 98).unwrap().unwrap();
    assert_eq!((url.signer.as_str(), url.signature.as_slice()), ("a@b", &[0, 255][..]));
    let sent =
        headers(&[("host", "h"), ("content-type", "text/plain"), ("x-goog-resumable", "start")]);
    let signed = Signed {
        method: "POST",
        path: "/b/o",
        query: &query(""),
        headers: &sent,
        bucket: "b",
        object: "a b/c",
    };
    let (string, _) = url.string_to_sign(&signed).unwrap();
    assert_eq!(string, "POST\n\ntext/plain\n99\nx-goog-resumable:start\n/b/a%20b/c");
}

proptest! {
    #[test]
    fn no_query_makes_it_panic(
        algorithm in "GOOG4-RSA-SHA256|GOOG4-HMAC|\\PC{0,8}",
        credential in "\\PC{0,40}|a@b/20261122/auto/storage/goog4_request",
        date in "\\PC{0,20}|20261122T100000Z|[0-9T]{15}Z", expires in "[0-9-]{0,22}",
        signed in "\\PC{0,20}|host", signature in "\\PC{0,20}|[0-9a-f]{0,20}", now in any::<u64>(),
    ) {
        let mut query = Query::default();
        for (name, value) in [
            ("X-Goog-Algorithm", algorithm), ("X-Goog-Credential", credential), ("X-Goog-Date", date),
            ("X-Goog-Expires", expires), ("X-Goog-SignedHeaders", signed), ("X-Goog-Signature", signature),
        ] {
            query.set(name, &value);
        }
        let _ = read(&query, now / 2);
    }

    #[test]
    fn equal_requests_have_one_canonical_form(
        object in "[^%\r\n]{1,30}",
        pairs in proptest::collection::vec(("[a-z~ ü]{1,5}", "\\PC{0,6}"), 0..5),
        seed in any::<prop::sample::Index>(),
    ) {
        // A client may encode more than it must, and order the query as it likes.
        let lower: String = object.bytes().map(|it| format!("%{it:02x}")).collect();
        let mut other = pairs.clone();
        if !other.is_empty() {
            other.rotate_left(seed.index(pairs.len()));
        }
        let text = |pairs: &[(String, String)]| {
            let pair = |(name, value): &(String, String)| format!("{}={}", percent_encode(name), percent_encode(value));
            pairs.iter().map(pair).collect::<Vec<_>>().join("&")
        };
        let one = Signed {
            method: "GET", path: &format!("/b/{}", percent_encode_path(&object)), query: &query(&text(&pairs)),
            headers: &[], bucket: "b", object: &object,
        };
        let two = Signed { path: &format!("/b/{lower}"), query: &query(&text(&other)), ..one };
        prop_assert_eq!(canonical_request(&one, &[]).unwrap(), canonical_request(&two, &[]).unwrap());
    }
}
