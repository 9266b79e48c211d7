//! Names of buckets and objects: what Google allows, and what the store behind the gateway can
//! keep.

use super::failure::Failure;

/// The longest object name that Google takes, in bytes.
const OBJECT_NAME_MAX: usize = 1024;

/// Whether Google allows a bucket of this name (the documentation of bucket names).
///
/// # Errors
/// 400 with Google's words.
pub fn check_bucket(name: &str) -> Result<(), Failure> {
    let dotted = name.contains('.');
    let length = if dotted { 3..=222 } else { 3..=63 };
    let alphanumeric =
        |it: Option<char>| it.is_some_and(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let allowed = name.chars().all(|it| alphanumeric(Some(it)) || "-_.".contains(it));
    let ends = alphanumeric(name.chars().next()) && alphanumeric(name.chars().next_back());
    let parts = name.split('.').all(|part| (1..=63).contains(&part.len()));
    let address = name.parse::<std::net::Ipv4Addr>().is_ok();
    if length.contains(&name.len()) && allowed && ends && parts && !address {
        return Ok(());
    }
    let text = format!("Invalid bucket name: '{name}'");
    Err(Failure::new(
        400,
        "invalid",
        ("InvalidBucketName", "The specified bucket is not valid."),
        text,
    ))
}

/// Whether Google allows an object of this name (the documentation of object names).
///
/// # Errors
/// 400 with Google's words.
pub fn check_object(name: &str) -> Result<(), Failure> {
    let refuse = |code, text: &'static str| Err(Failure::new(400, "invalid", (code, text), text));
    if name.is_empty() {
        return Err(Failure::required("name"));
    }
    if name.len() > OBJECT_NAME_MAX {
        return refuse("KeyTooLong", "The specified object name is too long.");
    }
    let forbidden = name.contains(['\r', '\n'])
        || [".", ".."].contains(&name)
        || name.starts_with(".well-known/acme-challenge/");
    if forbidden {
        return refuse("InvalidObjectName", "The specified object name is not valid.");
    }
    Ok(())
}

/// Refuses a new object of a name that the store behind the gateway can't keep.
///
/// # Errors
/// 501 with what is in the name.
pub fn check_keepable(name: &str) -> Result<(), Failure> {
    let Some(what) = unkeepable(name) else { return Ok(()) };
    Err(Failure::not_implemented(format!("place for an object with {what} in its name")))
}

/// Why the store behind the gateway can't keep an object of a name that Google allows, if it can't.
///
/// fake-gcs-server joins the name to the bucket's folder as a path: `..` would leave the bucket, an
/// empty part would be another object's name, and a name that ends with a slash is a folder that no
/// listing shows. Nothing of that is passed on.
pub fn unkeepable(name: &str) -> Option<&'static str> {
    if name.contains('\0') {
        return Some("a zero byte");
    }
    name.split('/').find_map(|part| match part {
        "" => Some("an empty part between, before or after slashes"),
        "." | ".." => Some("a part that is `.` or `..`"),
        _ if part.len() > 255 => Some("a part of more than 255 bytes"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_are_googles() {
        for name in ["abc", "mlflow-artifacts", "a_b", "my.bucket.example", "0-0"] {
            assert_eq!(check_bucket(name), Ok(()), "{name}");
        }
        let long = "a".repeat(64);
        for name in
            ["", "ab", "Abc", "a/b", "..", "a..b", "-ab", "ab-", "10.0.0.1", "a\0b", "ünder", &long]
        {
            let failure = check_bucket(name).unwrap_err();
            assert_eq!((failure.status, failure.reason), (400, "invalid"), "{name}");
        }
    }

    #[test]
    fn object_names_are_googles() {
        let longest = "é".repeat(512);
        for name in ["a", "a/b", "..a", "../x", "ünder/日本", " ", "a\0b", &longest] {
            assert_eq!(check_object(name), Ok(()), "{name}");
        }
        let long = "é".repeat(513);
        for name in ["", ".", "..", "a\nb", "a\rb", ".well-known/acme-challenge/x", &long] {
            assert_eq!(check_object(name).unwrap_err().status, 400, "{name}");
        }
    }

    #[test]
    fn what_would_leave_the_folder_is_not_keepable() {
        for name in ["../x", "a/../b", "a/..", "./a", "/a", "a//b", "a/", "a\0b", &"x".repeat(256)]
        {
            assert!(unkeepable(name).is_some(), "{name}");
        }
        for name in ["a", "a/b.c", "..a/b..", "...", "a b/%2e%2e/c"] {
            assert_eq!(unkeepable(name), None, "{name}");
        }
    }
}
