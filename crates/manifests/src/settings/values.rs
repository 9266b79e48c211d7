//! The types of the settings. A value that exists is well formed.

use std::{fmt, str::FromStr};

/// The words that stand for a value in the overlays until somebody writes one.
const PLACEHOLDERS: &[&str] = &[
    "PROJECT_ID",
    "REGION",
    "BUCKET_NAME_MLFLOW",
    "MLFLOW_SERVICE_ACCOUNT_ID",
    "MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID",
    "CLOUDSQL_INSTANCE_NAME",
    "MLFLOW_IMAGE_TAG",
    "POSTGRES_IMAGE_TAG",
];

/// The bucket in the repository of the original guide; forgetting to change it sent models there.
const FOREIGN_BUCKET: &str = "mlflow-mlops-platform";

/// Why a value is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}\nhint: {hint}")]
pub struct Refusal {
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub hint: String,
}

fn refuse<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { message: message.into(), hint: hint.into() })
}

/// The placeholder a text still holds as a word.
pub fn placeholder(text: &str) -> Option<&str> {
    text.split(|it: char| !it.is_ascii_alphanumeric() && it != '_')
        .find(|it| PLACEHOLDERS.contains(it))
        .or_else(|| unexpanded(text))
}

/// `<PROJECT_ID>` or `$PROJECT_ID`, copied from a text that somebody was meant to fill in.
fn unexpanded(text: &str) -> Option<&str> {
    let start = text.find(['<', '$'])?;
    let rest = &text[start..];
    let end = rest.find('>').map_or(rest.len(), |it| it + 1);
    let inner = rest[..end].trim_matches(['<', '>', '$', '{', '}']);
    let is_word = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
    (!inner.is_empty() && inner.chars().all(is_word)).then_some(&rest[..end])
}

/// Whether a bucket is the one of the original guide's repository.
pub(crate) fn foreign_bucket(text: &str) -> bool {
    text.split(['/', '@', ',', ' ']).any(|it| it == FOREIGN_BUCKET)
}

macro_rules! value {
    ($(#[$doc:meta])* $name:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The value as it is written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Refusal;

            fn from_str(text: &str) -> Result<$name, Refusal> {
                if text.is_empty() {
                    return refuse("is empty", "write a value after the =");
                }
                if let Some(word) = placeholder(text) {
                    return refuse(
                        format!("still holds the placeholder `{word}`"),
                        "write your own value over it",
                    );
                }
                $check(text)?;
                Ok($name(text.to_owned()))
            }
        }
    };
}

value!(
    /// A place in Cloud Storage, `gs://BUCKET` or `gs://BUCKET/PREFIX`.
    Bucket,
    check_bucket
);
value!(
    /// The id of a Google Cloud project, such as `our-project`.
    ProjectId,
    check_project
);
value!(
    /// A Google Cloud region, such as `europe-north1`.
    Region,
    check_region
);
value!(
    /// The part of a Google service account's address before the `@`.
    ServiceAccountId,
    check_service_account
);
value!(
    /// A Cloud SQL instance, `PROJECT:REGION:NAME`.
    InstanceName,
    check_instance
);
value!(
    /// An image's tag, which also ends the names of the Jobs that run the image.
    ImageTag,
    check_tag
);

impl Bucket {
    /// The bucket alone, without `gs://` and prefix.
    pub fn name(&self) -> &str {
        let path = self.0.trim_start_matches("gs://");
        path.split_once('/').map_or(path, |it| it.0)
    }
}

impl ServiceAccountId {
    /// The account's address in a project.
    pub fn email(&self, project: &ProjectId) -> String {
        format!("{}@{project}.iam.gserviceaccount.com", self.0)
    }
}

impl InstanceName {
    /// The project, the region and the instance's own name.
    pub fn parts(&self) -> (&str, &str, &str) {
        let (rest, name) = self.0.rsplit_once(':').unwrap_or(("", &self.0));
        let (project, region) = rest.rsplit_once(':').unwrap_or((rest, ""));
        (project, region, name)
    }
}

fn check_bucket(text: &str) -> Result<(), Refusal> {
    if foreign_bucket(text) {
        let message = format!("is `{FOREIGN_BUCKET}`, a bucket of somebody else");
        return refuse(message, "write gs:// and the name of your own bucket");
    }
    let Some(path) = text.strip_prefix("gs://") else {
        let name = text.rsplit("://").next().unwrap_or(text);
        return refuse(
            format!("is `{text}`, not the URL of a bucket"),
            format!("write gs://{name}"),
        );
    };
    let name = path.split_once('/').map_or(path, |it| it.0);
    let is_allowed =
        |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_.".contains(it);
    let ends_well = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    let well = (3..=222).contains(&name.len())
        && name.chars().all(is_allowed)
        && name.starts_with(ends_well)
        && name.ends_with(ends_well);
    if !well {
        return refuse(
            format!("names `{name}`, which cannot be a bucket"),
            "a bucket has 3 to 63 lower-case letters, digits, - and _",
        );
    }
    Ok(())
}

fn check_project(text: &str) -> Result<(), Refusal> {
    if !is_id(text, 6, 30) {
        return refuse(
            format!("is `{text}`, which cannot be the id of a project"),
            "an id has 6 to 30 lower-case letters, digits and -; a project's name or number is not it",
        );
    }
    Ok(())
}

fn check_region(text: &str) -> Result<(), Refusal> {
    if is_region(text) {
        return Ok(());
    }
    if let Some((region, zone)) = text.rsplit_once('-')
        && is_region(region)
        && zone.len() == 1
    {
        return refuse(format!("is `{text}`, a zone"), format!("write the region, {region}"));
    }
    refuse(format!("is `{text}`, which cannot be a region"), "write one such as europe-north1")
}

fn check_service_account(text: &str) -> Result<(), Refusal> {
    if let Some((id, _)) = text.split_once('@') {
        return refuse(format!("is `{text}`, a whole address"), format!("write {id} alone"));
    }
    if !is_id(text, 6, 30) {
        return refuse(
            format!("is `{text}`, which cannot be the id of a service account"),
            "an id has 6 to 30 lower-case letters, digits and -",
        );
    }
    Ok(())
}

fn check_instance(text: &str) -> Result<(), Refusal> {
    if let Some(fixed) = undotted(text) {
        return refuse(
            format!("is `{text}`, with dots, which the proxy takes for a host name"),
            format!("write {fixed}"),
        );
    }
    // The id of a project may begin with `DOMAIN:`.
    let parts: Vec<&str> = text.split(':').collect();
    let (domain, parts) = if parts.len() == 4 { parts.split_at(1) } else { parts.split_at(0) };
    let well = match parts {
        [project, region, name] => {
            domain.iter().all(|it| it.contains('.'))
                && is_id(project, 6, 30)
                && is_region(region)
                && is_id(name, 1, 98)
        }
        _ => false,
    };
    if !well {
        return refuse(
            format!("is `{text}`, which cannot be an instance"),
            "write PROJECT:REGION:NAME, as `gcloud sql instances describe` prints under connectionName",
        );
    }
    Ok(())
}

/// `P:R:N` for `P.R.N`, the form in the original guide.
pub(crate) fn undotted(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    match parts[..] {
        [project, region, name] if !text.contains(':') && is_region(region) => {
            Some(format!("{project}:{region}:{name}"))
        }
        _ => None,
    }
}

fn check_tag(text: &str) -> Result<(), Refusal> {
    if text == "latest" {
        return refuse(
            "is `latest`, which means another image tomorrow",
            "write the tag of one build, such as a version",
        );
    }
    let ends_well = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit();
    // 63 characters are a label's limit, and `mlflow-migrate-` precedes the tag in a Job's name.
    let well = text.len() <= 48
        && text.split('.').all(|part| {
            part.starts_with(ends_well)
                && part.ends_with(ends_well)
                && part.chars().all(|it| ends_well(it) || it == '-')
        });
    if !well {
        return refuse(
            format!("is `{text}`, which cannot be a tag here"),
            "a tag has at most 48 lower-case letters, digits, - and ., since it ends a Job's name",
        );
    }
    Ok(())
}

fn is_id(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.len())
        && text.starts_with(|it: char| it.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
}

fn is_region(text: &str) -> bool {
    let Some((area, place)) = text.split_once('-') else { return false };
    let letters = place.trim_end_matches(|it: char| it.is_ascii_digit());
    let is_word = |it: &str| !it.is_empty() && it.chars().all(|it| it.is_ascii_lowercase());
    is_word(area) && is_word(letters) && letters.len() < place.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal<T: FromStr<Err = Refusal> + fmt::Debug>(text: &str) -> String {
        text.parse::<T>().unwrap_err().to_string()
    }

    #[test]
    fn the_dotted_instance_of_the_original_guide_is_refused_with_the_fix() {
        assert_eq!(
            refusal::<InstanceName>("our-project.europe-north1.mlflow"),
            "is `our-project.europe-north1.mlflow`, with dots, which the proxy takes for a host \
             name\nhint: write our-project:europe-north1:mlflow"
        );
    }

    #[test]
    fn an_instance_has_three_parts() {
        let instance: InstanceName = "our-project:europe-north1:mlflow".parse().unwrap();
        assert_eq!(instance.parts(), ("our-project", "europe-north1", "mlflow"));
        let scoped: InstanceName = "example.com:our-project:europe-north1:db".parse().unwrap();
        assert_eq!(scoped.parts(), ("example.com:our-project", "europe-north1", "db"));
        for wrong in ["mlflow", "our-project:mlflow", "our-project:europe-north1:", "a:b:c:d"] {
            assert!(refusal::<InstanceName>(wrong).contains("PROJECT:REGION:NAME"), "{wrong}");
        }
    }

    #[test]
    fn the_foreign_bucket_of_the_original_guide_is_refused() {
        for text in ["gs://mlflow-mlops-platform", "gs://mlflow-mlops-platform/x"] {
            assert!(refusal::<Bucket>(text).contains("somebody else"), "{text}");
        }
        assert!("gs://mlflow-mlops-platform-2".parse::<Bucket>().is_ok());
    }

    #[test]
    fn a_bucket_is_a_url() {
        assert!(refusal::<Bucket>("our-models").ends_with("hint: write gs://our-models"));
        assert!(refusal::<Bucket>("s3://our-models").ends_with("hint: write gs://our-models"));
        assert!(refusal::<Bucket>("gs://Our Models").contains("cannot be a bucket"));
        assert_eq!("gs://our-models/a/b".parse::<Bucket>().unwrap().name(), "our-models");
    }

    #[test]
    fn a_zone_and_an_address_are_answered_with_the_part_that_is_meant() {
        assert!(refusal::<Region>("europe-north1-a").ends_with("write the region, europe-north1"));
        assert!(
            refusal::<ServiceAccountId>("mlflow@p.iam.gserviceaccount.com")
                .ends_with("hint: write mlflow alone")
        );
    }

    #[test]
    fn placeholders_are_found_as_words_only() {
        assert_eq!(placeholder("gs://BUCKET_NAME_MLFLOW/x"), Some("BUCKET_NAME_MLFLOW"));
        assert_eq!(placeholder("REGION-docker.pkg.dev/p/mlflow"), Some("REGION"));
        assert_eq!(placeholder("<MY_PROJECT>:r:n"), Some("<MY_PROJECT>"));
        assert_eq!(placeholder("$PROJECT"), Some("$PROJECT"));
        assert_eq!(placeholder("MY_REGION_X"), None);
        assert_eq!(placeholder("gs://our-models"), None);
    }

    #[test]
    fn a_tag_fits_into_the_name_of_a_job() {
        for tag in ["3.17.2", "dev", "0f3a9c", "3.17.2-1"] {
            assert!(tag.parse::<ImageTag>().is_ok(), "{tag}");
        }
        for tag in ["latest", "A", "a_b", "-a", "a..b", &"a".repeat(49)] {
            assert!(tag.parse::<ImageTag>().is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn a_dotted_instance_is_never_taken_and_its_fix_always(
            project in "[a-z][a-z0-9-]{4,20}[a-z0-9]",
            region in "[a-z]{2,8}-[a-z]{3,9}[0-9]{1,2}",
            name in "[a-z][a-z0-9]{0,20}",
        ) {
            let dotted = format!("{project}.{region}.{name}");
            prop_assert!(dotted.parse::<InstanceName>().is_err());
            let fixed = undotted(&dotted).expect("has the dotted form");
            prop_assert!(fixed.parse::<InstanceName>().is_ok());
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "(?s).{0,60}") {
            let _ = (text.parse::<Bucket>(), text.parse::<InstanceName>(), text.parse::<ImageTag>());
            let _ = (text.parse::<Region>(), text.parse::<ProjectId>(), placeholder(&text));
        }
    }
}
