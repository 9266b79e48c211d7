//! Signed URLs: what was signed, by whom, until when, and the bytes that the signature must fit.
//!
//! V4 with RSA (the documentation of canonical requests), and V2, which Python's
//! `generate_signed_url` still makes when it isn't told a version. Keys are looked up by the caller
//! of this module; here is no cryptography but a hash.

use std::{borrow::Cow, fmt::Write as _};

use super::{
    failure::Failure,
    text::{Query, percent_decode, percent_encode, percent_encode_path},
};

/// The longest life of a V4 signature: seven days.
const EXPIRES_MAX_S: u64 = 604_800;
/// How far a signer's clock may be ahead.
const AHEAD_MAX_S: u64 = 15 * 60;

/// What a signed URL says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedUrl {
    /// The service account that signed.
    pub signer: String,
    /// The signature that is to be checked.
    pub signature: Vec<u8>,
    /// Seconds since the epoch, from when on it isn't valid any more.
    pub expires_at: u64,
    version: Version,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    V2 { expires: String },
    V4 { date: String, scope: String, headers: Vec<String> },
}

/// The request that a signature is for.
pub struct Signed<'a> {
    /// The method as it was sent.
    pub method: &'a str,
    /// The path as it was sent.
    pub path: &'a str,
    /// The query, decoded.
    pub query: &'a Query,
    /// The headers: lower-case name and value, in their order; `host` among them.
    pub headers: &'a [(String, String)],
    /// The bucket, which V2 signs even if it is in the host.
    pub bucket: &'a str,
    /// The object.
    pub object: &'a str,
}

/// Reads the signature of a URL, if it has one.
///
/// # Errors
/// In Google's words when the signature isn't complete, is over, or is of a kind that the emulator
/// can't check.
pub fn read(query: &Query, now: u64) -> Result<Option<SignedUrl>, Failure> {
    let url = match (query.get("X-Goog-Algorithm"), query.get("GoogleAccessId")) {
        (Some("GOOG4-RSA-SHA256"), _) => read_v4(query)?,
        (Some(other), _) => {
            return Err(Failure::not_implemented(format!("signatures by `{other}` (HMAC keys)")));
        }
        (None, Some(signer)) => read_v2(query, signer)?,
        (None, None) if query.has("X-Amz-Algorithm") => {
            return Err(Failure::not_implemented("signatures by HMAC keys (`X-Amz-Algorithm`)"));
        }
        (None, None) => return Ok(None),
    };
    if now >= url.expires_at {
        let at = rfc3339(url.expires_at);
        let text = format!("Request signature expired at: {at}");
        return Err(Failure::new(
            400,
            "invalid",
            ("ExpiredToken", "The provided token has expired."),
            text,
        ));
    }
    if let Version::V4 { date, .. } = &url.version
        && parse_date(date).is_some_and(|signed_at| signed_at > now + AHEAD_MAX_S)
    {
        return Err(invalid("The request's date is in the future."));
    }
    Ok(Some(url))
}

fn read_v4(query: &Query) -> Result<SignedUrl, Failure> {
    let get = |name: &'static str| {
        query.get(name).ok_or_else(|| invalid(&format!("Missing query parameter: {name}")))
    };
    let credential = get("X-Goog-Credential")?;
    let (signer, scope) =
        credential.split_once('/').ok_or_else(|| invalid("Invalid credential"))?;
    let date = get("X-Goog-Date")?;
    let signed_at = parse_date(date).ok_or_else(|| invalid("Invalid date"))?;
    let place =
        scope.strip_prefix(&date[..8]).and_then(|it| it.strip_suffix("/storage/goog4_request"));
    if place.is_none_or(|it| it.len() < 2 || it[1..].contains('/')) {
        return Err(invalid("Invalid credential scope"));
    }
    let expires: u64 = get("X-Goog-Expires")?.parse().map_err(|_| invalid("Invalid expires"))?;
    if !(1..=EXPIRES_MAX_S).contains(&expires) {
        let text = "X-Goog-Expires must be between 1 and 604800 seconds.";
        return Err(invalid(text));
    }
    let signature =
        from_hex(get("X-Goog-Signature")?).ok_or_else(|| invalid("Invalid signature"))?;
    let headers: Vec<String> = get("X-Goog-SignedHeaders")?.split(';').map(str::to_owned).collect();
    if !headers.iter().any(|it| it == "host") {
        return Err(malformed_header("host", "Header was not included in signedheaders."));
    }
    Ok(SignedUrl {
        signer: signer.to_owned(),
        signature,
        expires_at: signed_at + expires,
        version: Version::V4 { date: date.to_owned(), scope: scope.to_owned(), headers },
    })
}

fn read_v2(query: &Query, signer: &str) -> Result<SignedUrl, Failure> {
    let expires =
        query.get("Expires").ok_or_else(|| invalid("Missing query parameter: Expires"))?;
    let expires_at = expires.parse().map_err(|_| invalid("Invalid expires"))?;
    let signature = query.get("Signature").and_then(from_base64);
    Ok(SignedUrl {
        signer: signer.to_owned(),
        signature: signature.ok_or_else(|| invalid("Invalid signature"))?,
        expires_at,
        version: Version::V2 { expires: expires.to_owned() },
    })
}

impl SignedUrl {
    /// The bytes that the signature must fit, and the canonical request that they are made of.
    ///
    /// # Errors
    /// When a header was signed that wasn't sent, or the other way round for Google's own.
    pub fn string_to_sign(&self, signed: &Signed<'_>) -> Result<(String, String), Failure> {
        match &self.version {
            Version::V2 { expires } => Ok((string_v2(signed, expires), String::new())),
            Version::V4 { date, scope, headers } => {
                let request = canonical_request(signed, headers)?;
                let digest = to_hex(
                    ring::digest::digest(&ring::digest::SHA256, request.as_bytes()).as_ref(),
                );
                Ok((format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{digest}"), request))
            }
        }
    }

    /// 403 of a signature that doesn't fit (seen in public logs).
    pub fn mismatch(&self, string_to_sign: &str, canonical_request: &str) -> Failure {
        let text = "The request signature we calculated does not match the signature you provided. \
                    Check your Google secret key and signing method.";
        let xml = ("SignatureDoesNotMatch", "Access denied.");
        let mut more = vec![("StringToSign", string_to_sign.to_owned())];
        if !canonical_request.is_empty() {
            more.push(("CanonicalRequest", canonical_request.to_owned()));
        }
        let mut failure = Failure::new(403, "forbidden", xml, text);
        failure.more = more;
        failure
    }
}

/// The canonical request of V4.
///
/// # Errors
/// When a header was signed that wasn't sent, or the other way round for Google's own.
pub fn canonical_request(signed: &Signed<'_>, names: &[String]) -> Result<String, Failure> {
    // Only what was signed can't be changed on its way; Google's own headers change what a request
    // does.
    let unsigned = signed
        .headers
        .iter()
        .find(|(name, _)| name.starts_with("x-goog-") && !names.iter().any(|it| it == name));
    if let Some((name, _)) = unsigned {
        let text = "Header was included in the request, but not in signedheaders.";
        return Err(malformed_header(name, text));
    }
    let mut headers = String::new();
    for name in names {
        let values: Vec<String> = values_of(signed.headers, name).map(fold).collect();
        if values.is_empty() {
            let text = "Header was included in signedheaders, but not in the request.";
            return Err(malformed_header(name, text));
        }
        let _ = writeln!(headers, "{name}:{}", values.join(","));
    }
    let payload = values_of(signed.headers, "x-goog-content-sha256").next();
    Ok(format!(
        "{}\n{}\n{}\n{headers}\n{}\n{}",
        signed.method,
        canonical_path(signed.path),
        canonical_query(signed.query),
        names.join(";"),
        payload.unwrap_or("UNSIGNED-PAYLOAD"),
    ))
}

fn canonical_path(path: &str) -> Cow<'_, str> {
    percent_decode(path).map_or(Cow::Borrowed(path), |it| percent_encode_path(&it).into())
}

fn canonical_query(query: &Query) -> String {
    let mut pairs: Vec<String> = query
        .pairs()
        .iter()
        .filter(|(name, _)| name != "X-Goog-Signature")
        .map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value)))
        .collect();
    pairs.sort();
    pairs.join("&")
}

fn string_v2(signed: &Signed<'_>, expires: &str) -> String {
    let header = |name| values_of(signed.headers, name).next().unwrap_or_default();
    let mut own: Vec<String> = signed
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-goog-"))
        .map(|(name, value)| format!("{name}:{}\n", fold(value)))
        .collect();
    own.sort();
    format!(
        "{}\n{}\n{}\n{expires}\n{}/{}/{}",
        signed.method,
        header("content-md5"),
        header("content-type"),
        own.concat(),
        signed.bucket,
        percent_encode_path(signed.object),
    )
}

fn values_of<'a>(headers: &'a [(String, String)], name: &'a str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(it, _)| it == name).map(|(_, value)| value.as_str())
}

/// A header's value with every run of white space as one space, and none around it.
fn fold(value: &str) -> String {
    value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn invalid(details: &str) -> Failure {
    Failure::new(400, "invalid", ("InvalidArgument", "Invalid argument."), details)
}

fn malformed_header(name: &str, details: &'static str) -> Failure {
    let xml = ("MalformedSecurityHeader", "Your request has a malformed header.");
    let mut failure = Failure::new(400, "invalid", xml, details);
    failure.more = vec![("ParameterName", name.to_owned())];
    failure
}

/// Seconds since the epoch of `YYYYMMDDTHHMMSSZ`.
fn parse_date(text: &str) -> Option<u64> {
    let digits = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    if day.len() != 8 || time.len() != 6 || !digits(day) || !digits(time) {
        return None;
    }
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    let seconds = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second();
    u64::try_from(seconds).ok()
}

/// `2026-11-22T10:00:00+00:00`, as Google prints the end of a signature.
fn rfc3339(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|it| jiff::Timestamp::from_second(it).ok());
    let at = at.unwrap_or(jiff::Timestamp::MAX);
    at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// Lower-case hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text.chars().map(|it| it.to_digit(16)).collect::<Option<_>>()?;
    let pair = |it: &[u32]| u8::try_from(it[0] * 16 + it[1]).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks_exact(2).map(pair).collect()).flatten()
}

fn from_base64(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(text).ok()
}

#[cfg(test)]
#[path = "signed_url_tests.rs"]
mod tests;
