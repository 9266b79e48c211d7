//! How Cloud Storage refuses, in the three forms that its clients read.
//!
//! The JSON API answers without the `status` field of other Google APIs, a media download answers
//! the bare message as text, and the XML API (signed URLs too) an XML document.

use std::ops::{Deref, DerefMut};

use super::text::percent_encode;

/// A refusal of Cloud Storage, in no form yet. Boxed: it rides in the results of small functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(Box<Details>);

/// What a refusal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The HTTP status.
    pub status: u16,
    /// `errors[0].reason` of the JSON form.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// `locationType` and `location` of the JSON form.
    pub location: Option<(&'static str, &'static str)>,
    /// `Code` of the XML form, with what stands in `Message` there; the message above is the
    /// details then.
    pub xml: (&'static str, &'static str),
    /// More elements of the XML form.
    pub more: Vec<(&'static str, String)>,
    /// The reason is for the log, when the message doesn't tell it.
    pub why: Option<String>,
}

impl Deref for Failure {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// The form that the caller reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The JSON API.
    Json,
    /// The JSON API's media downloads.
    Text,
    /// The XML API.
    Xml,
}

/// The two things that Google names in a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// "the Google Cloud project"
    Project,
    /// "the Google Cloud Storage bucket"
    Bucket,
    /// "the Google Cloud Storage object"
    Object,
}

impl Failure {
    /// A refusal with all its parts.
    pub fn new(
        status: u16,
        reason: &'static str,
        xml: (&'static str, &'static str),
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        let more = Vec::new();
        let details = Details { status, reason, message, location: None, xml, more, why: None };
        Self(Box::new(details))
    }

    /// 403 of a known caller (seen in public logs, 2023 to 2026).
    pub fn denied(caller: &str, permission: &str, kind: Kind) -> Self {
        let thing = match kind {
            Kind::Project => "project",
            Kind::Bucket => "Storage bucket",
            Kind::Object => "Storage object",
        };
        Self::new(
            403,
            "forbidden",
            ("AccessDenied", "Access denied."),
            format!(
                "{caller} does not have {permission} access to the Google Cloud {thing}. \
                 Permission '{permission}' denied on resource (or it may not exist)."
            ),
        )
    }

    /// 401 of a caller without a token in the JSON API; the XML API says 403 (seen in public logs).
    pub fn anonymous(permission: &str, kind: Kind) -> Self {
        let mut denied = Self::denied("Anonymous caller", permission, kind);
        denied.status = 401;
        denied.reason = "required";
        denied.location = Some(AUTHORIZATION);
        denied
    }

    /// 401 of a token that isn't valid (seen in public logs).
    pub fn bad_token() -> Self {
        let xml = ("AuthenticationRequired", "Authentication required.");
        let mut failure = Self::new(401, "authError", xml, "Invalid Credentials");
        failure.location = Some(AUTHORIZATION);
        failure
    }

    /// 404 of a bucket (seen in public logs).
    pub fn no_bucket() -> Self {
        let text = "The specified bucket does not exist.";
        Self::new(404, "notFound", ("NoSuchBucket", text), text)
    }

    /// 404 of an object (seen in public logs).
    pub fn no_object(bucket: &str, object: &str) -> Self {
        let xml = ("NoSuchKey", "The specified key does not exist.");
        Self::new(404, "notFound", xml, format!("No such object: {bucket}/{object}"))
    }

    /// 404 of an upload that nobody opened, or that is over (the documentation of resumable
    /// uploads).
    pub fn no_upload() -> Self {
        let xml = ("NoSuchUpload", "The requested upload was not found.");
        Self::new(404, "notFound", xml, "Upload session not found.")
    }

    /// 404 of a path that is no method of the API.
    pub fn not_found() -> Self {
        Self::new(404, "notFound", ("NotFound", "Not Found"), "Not Found")
    }

    /// 400 with Google's `invalid`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", ("InvalidArgument", "Invalid argument."), message)
    }

    /// 400 of a body that isn't JSON (seen in public logs).
    pub fn parse_error() -> Self {
        let xml = ("InvalidArgument", "Invalid argument.");
        Self::new(400, "parseError", xml, "Parse Error")
    }

    /// 400 of a parameter that must be there (seen in public logs: `Required`).
    pub fn required(parameter: &'static str) -> Self {
        let xml = ("InvalidArgument", "Invalid argument.");
        let mut failure =
            Self::new(400, "required", xml, format!("Required parameter: {parameter}"));
        failure.location = Some(("parameter", parameter));
        failure
    }

    /// 400 of an ACL call on a bucket with uniform access (seen in public logs); every bucket here
    /// has it.
    pub fn uniform_access(verb: &str, thing: &str) -> Self {
        Self::invalid(format!(
            "Cannot {verb} legacy ACL for {thing} when uniform bucket-level access is enabled. \
             Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
        ))
    }

    /// 409 of a bucket name that another project has (seen in public logs).
    pub fn bucket_taken() -> Self {
        let text = "The requested bucket name is not available. The bucket namespace is shared by \
                    all users of the system. Please select a different name and try again.";
        Self::new(409, "conflict", ("BucketNameUnavailable", text), text)
    }

    /// 409 of a bucket that the project has already (seen in public logs).
    pub fn bucket_owned() -> Self {
        let text =
            "Your previous request to create the named bucket succeeded and you already own it.";
        Self::new(409, "conflict", ("BucketAlreadyOwnedByYou", text), text)
    }

    /// 409 of a bucket that still has objects (seen in public logs).
    pub fn bucket_not_empty() -> Self {
        let text = "The bucket you tried to delete is not empty.";
        Self::new(409, "conflict", ("BucketNotEmpty", text), text)
    }

    /// 412 (seen in public logs).
    pub fn condition_not_met() -> Self {
        let text = "At least one of the pre-conditions you specified did not hold.";
        let mut failure = Self::new(412, "conditionNotMet", ("PreconditionFailed", text), text);
        failure.location = Some(("header", "If-Match"));
        failure
    }

    /// 413 of a body that is over the limit.
    pub fn too_large() -> Self {
        let text = "Your proposed upload exceeds the maximum allowed size.";
        Self::new(413, "uploadTooLarge", ("EntityTooLarge", text), text)
    }

    /// 501 of what Google has and this emulator hasn't; the message says what it was.
    pub fn not_implemented(what: impl std::fmt::Display) -> Self {
        let xml = (
            "NotImplemented",
            "A header you provided implies functionality that is not implemented.",
        );
        Self::new(501, "notImplemented", xml, format!("The emulated Cloud Storage has no {what}."))
    }

    /// 503 of an upstream that isn't there (the documentation of the JSON API's status codes).
    pub fn backend_error(why: impl std::fmt::Display) -> Self {
        let xml = ("ServiceUnavailable", "We encountered an internal error. Please try again.");
        let mut failure = Self::new(503, "backendError", xml, "Backend Error");
        failure.why = Some(why.to_string());
        failure
    }

    /// The same refusal with a reason for the log.
    #[must_use]
    pub fn because(mut self, why: impl std::fmt::Display) -> Self {
        self.why = Some(why.to_string());
        self
    }

    /// The status in a form: without a token the XML API says 403 where the JSON API says 401.
    pub fn status_in(&self, form: Form) -> u16 {
        match (form, self.reason) {
            (Form::Xml, "required") if self.status == 401 => 403,
            _ => self.status,
        }
    }

    /// The content type of a form, and the body in it.
    pub fn body(&self, form: Form) -> (&'static str, String) {
        match form {
            Form::Json => ("application/json; charset=UTF-8", self.json()),
            Form::Text => ("text/html; charset=UTF-8", self.message.clone()),
            Form::Xml => ("application/xml; charset=UTF-8", self.document()),
        }
    }

    fn json(&self) -> String {
        let mut detail = serde_json::json!({
            "message": self.message, "domain": "global", "reason": self.reason,
        });
        if let Some((kind, location)) = self.location {
            detail["locationType"] = kind.into();
            detail["location"] = location.into();
        }
        let error =
            serde_json::json!({"code": self.status, "message": self.message, "errors": [detail]});
        // Google's is pretty-printed, and clients print it as it is.
        format!("{:#}\n", serde_json::json!({ "error": error }))
    }

    fn document(&self) -> String {
        let (code, message) = self.xml;
        let mut text = format!(
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{}</Message>",
            xml_escape(message)
        );
        let details = (self.message != message).then(|| ("Details", self.message.clone()));
        for (name, value) in details.iter().chain(&self.more) {
            text.push_str(&format!("<{name}>{}</{name}>", xml_escape(value)));
        }
        text + "</Error>"
    }
}

/// Text between XML tags. What XML can't hold at all is percent-encoded.
pub fn xml_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '\n' | '\t' => escaped.push(letter),
            _ if letter.is_control() => escaped.push_str(&percent_encode(&letter.to_string())),
            _ => escaped.push(letter),
        }
    }
    escaped
}

const AUTHORIZATION: (&str, &str) = ("header", "Authorization");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_form_has_no_status_field() {
        let failure =
            Failure::denied("a@p.iam.gserviceaccount.com", "storage.objects.get", Kind::Object);
        let (_, body) = failure.body(Form::Json);
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        let message = "a@p.iam.gserviceaccount.com does not have storage.objects.get access to the \
                       Google Cloud Storage object. Permission 'storage.objects.get' denied on \
                       resource (or it may not exist).";
        assert_eq!(
            json,
            serde_json::json!({"error": {"code": 403, "message": message, "errors": [
                {"message": message, "domain": "global", "reason": "forbidden"}]}})
        );
    }

    #[test]
    fn a_caller_without_a_token_gets_401_in_json_and_403_in_xml() {
        let failure = Failure::anonymous("storage.objects.get", Kind::Object);
        assert_eq!(failure.status_in(Form::Json), 401);
        assert_eq!(failure.status_in(Form::Xml), 403);
        let (kind, body) = failure.body(Form::Xml);
        assert_eq!(kind, "application/xml; charset=UTF-8");
        assert_eq!(
            body,
            "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access \
             denied.</Message><Details>Anonymous caller does not have storage.objects.get access to the \
             Google Cloud Storage object. Permission 'storage.objects.get' denied on resource (or it may \
             not exist).</Details></Error>"
        );
        assert!(failure.body(Form::Json).1.contains("\"location\": \"Authorization\""));
    }

    #[test]
    fn a_download_is_refused_in_plain_text() {
        let (_, body) = Failure::no_object("b", "a/ü").body(Form::Text);
        assert_eq!(body, "No such object: b/a/ü");
    }

    #[test]
    fn names_do_not_break_out_of_xml() {
        let (_, body) = Failure::no_object("b", "</Details><x>&\u{0}").body(Form::Xml);
        assert!(body.contains("b/&lt;/Details&gt;&lt;x&gt;&amp;%00<"), "{body}");
    }
}
