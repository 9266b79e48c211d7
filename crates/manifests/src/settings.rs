//! The settings that depend on who deploys, with their types, their files and what is refused.

use std::{fmt, str::FromStr};

use crate::{EnvFile, Environment, Problem, nearest::nearest};

mod values;

pub use values::{
    Bucket, ImageTag, InstanceName, ProjectId, Refusal, Region, ServiceAccountId, placeholder,
};
pub(crate) use values::{foreign_bucket, undotted};

/// A setting that somebody who deploys decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// `DEFAULT_ARTIFACT_ROOT`: the bucket of models and artifacts.
    ArtifactRoot,
    /// `PROJECT_ID`: the Google Cloud project.
    ProjectId,
    /// `REGION`: where the images are kept.
    Region,
    /// `MLFLOW_SERVICE_ACCOUNT_ID`: the Google service account of the server.
    MlflowServiceAccount,
    /// `MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID`: the Google service account of the proxy.
    CloudsqlServiceAccount,
    /// `GCP_CLOUDSQL_INSTANCE_NAME`: the Cloud SQL instance.
    CloudsqlInstance,
    /// `MLFLOW_IMAGE_TAG`: the tag of image `mlflow`.
    MlflowImageTag,
    /// `POSTGRES_IMAGE_TAG`: the tag of image `postgres`.
    PostgresImageTag,
}

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 8] = [
        Setting::ArtifactRoot,
        Setting::ProjectId,
        Setting::Region,
        Setting::MlflowServiceAccount,
        Setting::CloudsqlServiceAccount,
        Setting::CloudsqlInstance,
        Setting::MlflowImageTag,
        Setting::PostgresImageTag,
    ];

    /// The key in the `.env` file.
    pub fn key(self) -> &'static str {
        match self {
            Setting::ArtifactRoot => "DEFAULT_ARTIFACT_ROOT",
            Setting::ProjectId => "PROJECT_ID",
            Setting::Region => "REGION",
            Setting::MlflowServiceAccount => "MLFLOW_SERVICE_ACCOUNT_ID",
            Setting::CloudsqlServiceAccount => "MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID",
            Setting::CloudsqlInstance => "GCP_CLOUDSQL_INSTANCE_NAME",
            Setting::MlflowImageTag => "MLFLOW_IMAGE_TAG",
            Setting::PostgresImageTag => "POSTGRES_IMAGE_TAG",
        }
    }

    /// The guide's shell variable for it, where that has another name than the key.
    pub fn shell_variable(self) -> &'static str {
        match self {
            Setting::ArtifactRoot => "BUCKET_NAME_MLFLOW",
            Setting::CloudsqlInstance => "CLOUDSQL_INSTANCE_NAME",
            other => other.key(),
        }
    }

    /// The file it is in, from the top of the repository; none where it has no meaning.
    pub fn file(self, environment: Environment) -> Option<&'static str> {
        let [config, params] = files(environment);
        match self {
            Setting::ArtifactRoot => Some(config),
            Setting::CloudsqlServiceAccount | Setting::CloudsqlInstance => {
                environment.has_cloudsql().then_some(params)
            }
            Setting::PostgresImageTag => (!environment.has_cloudsql()).then_some(params),
            _ => Some(params),
        }
    }

    /// Why a value cannot be.
    pub fn check(self, value: &str) -> Result<(), Refusal> {
        match self {
            Setting::ArtifactRoot => Bucket::from_str(value).map(drop),
            Setting::ProjectId => ProjectId::from_str(value).map(drop),
            Setting::Region => Region::from_str(value).map(drop),
            Setting::MlflowServiceAccount | Setting::CloudsqlServiceAccount => {
                ServiceAccountId::from_str(value).map(drop)
            }
            Setting::CloudsqlInstance => InstanceName::from_str(value).map(drop),
            Setting::MlflowImageTag | Setting::PostgresImageTag => {
                ImageTag::from_str(value).map(drop)
            }
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// The files with an environment's settings, from the top of the repository.
pub fn files(environment: Environment) -> [&'static str; 2] {
    match environment {
        Environment::Gcp => ["deploy/mlflow/base/config.env", "deploy/mlflow/env/gcp/params.env"],
        Environment::GcpCloudsql => {
            ["deploy/mlflow/base/config.env", "deploy/mlflow/env/gcp-cloudsql/params.env"]
        }
        Environment::Kind => {
            ["deploy/mlflow/env/kind/config.env", "deploy/mlflow/env/kind/params.env"]
        }
        Environment::KindCloudsql => [
            "deploy/mlflow/env/kind-cloudsql/config.env",
            "deploy/mlflow/env/kind-cloudsql/params.env",
        ],
    }
}

/// An environment's settings, every one of them well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where models and artifacts are kept.
    pub bucket: Bucket,
    /// The Google Cloud project.
    pub project: ProjectId,
    /// Where the images are kept.
    pub region: Region,
    /// The Google service account that may use the bucket.
    pub mlflow_service_account: ServiceAccountId,
    /// Cloud SQL, where that is the database.
    pub cloudsql: Option<Cloudsql>,
    /// The tag of image `mlflow`.
    pub mlflow_image_tag: ImageTag,
    /// The tag of image `postgres`, where the database is in the cluster.
    pub postgres_image_tag: Option<ImageTag>,
}

/// The settings of a Cloud SQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloudsql {
    /// The Google service account that may sign in.
    pub service_account: ServiceAccountId,
    /// The instance.
    pub instance: InstanceName,
}

impl Settings {
    /// Reads an environment's two files, given as path and text in the order of [`files`].
    ///
    /// The settings come back only when there is no problem at all.
    pub fn read(
        environment: Environment,
        texts: [(&str, &str); 2],
    ) -> (Option<Settings>, Vec<Problem>) {
        let mut problems = Vec::new();
        let read = texts.map(|(path, text)| {
            let (file, found) = EnvFile::parse(path, text);
            problems.extend(found);
            file
        });
        for (file, of) in read.iter().zip(files(environment)) {
            problems.extend(judge(environment, file, of));
        }
        if !problems.is_empty() {
            return (None, problems);
        }
        (Settings::typed(environment, &read), problems)
    }

    fn typed(environment: Environment, read: &[EnvFile; 2]) -> Option<Settings> {
        let cloudsql = if environment.has_cloudsql() {
            Some(Cloudsql {
                service_account: value(read, Setting::CloudsqlServiceAccount)?,
                instance: value(read, Setting::CloudsqlInstance)?,
            })
        } else {
            None
        };
        Some(Settings {
            bucket: value(read, Setting::ArtifactRoot)?,
            project: value(read, Setting::ProjectId)?,
            region: value(read, Setting::Region)?,
            mlflow_service_account: value(read, Setting::MlflowServiceAccount)?,
            cloudsql,
            mlflow_image_tag: value(read, Setting::MlflowImageTag)?,
            postgres_image_tag: value(read, Setting::PostgresImageTag),
        })
    }
}

fn value<T: FromStr>(read: &[EnvFile; 2], setting: Setting) -> Option<T> {
    read.iter().find_map(|it| it.get(setting.key()))?.value.parse().ok()
}

/// Unknown keys, missing keys, empty and malformed values of one file.
fn judge(environment: Environment, file: &EnvFile, of: &str) -> Vec<Problem> {
    let expected: Vec<Setting> =
        Setting::ALL.into_iter().filter(|it| it.file(environment) == Some(of)).collect();
    let mut problems = Vec::new();
    for entry in &file.entries {
        let (line, key) = (Some(entry.line), Some(entry.key.as_str()));
        let Some(setting) = expected.iter().find(|it| it.key() == entry.key) else {
            let hint = match nearest(&entry.key, expected.iter().map(|it| it.key())) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "remove the line: nothing reads it".to_owned(),
            };
            problems.push(file.problem(line, key, "is not a setting of this file", hint));
            continue;
        };
        if let Err(refusal) = setting.check(&entry.value) {
            let hint = with_variable(environment, *setting, refusal.hint);
            problems.push(file.problem(line, key, refusal.message, hint));
        }
    }
    for setting in expected.iter().filter(|it| file.get(it.key()).is_none()) {
        let hint = format!("add a line {}=…", setting.key());
        problems.push(file.problem(None, Some(setting.key()), "is missing", hint));
    }
    problems
}

/// On GKE the guide's shell variable would do as well as an edit.
fn with_variable(environment: Environment, setting: Setting, hint: String) -> String {
    if environment.is_local() {
        return hint;
    }
    format!("{hint}, or set the variable {}", setting.shell_variable())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "DEFAULT_ARTIFACT_ROOT=gs://our-models\n";
    const PARAMS: &str = "PROJECT_ID=our-project\nREGION=europe-north1\n\
        MLFLOW_SERVICE_ACCOUNT_ID=mlflow\nMLFLOW_IMAGE_TAG=3.17.2\n";

    fn read(environment: Environment, config: &str, params: &str) -> (Option<Settings>, String) {
        let (settings, problems) =
            Settings::read(environment, [("config.env", config), ("params.env", params)]);
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        (settings, problems.join("\n"))
    }

    #[test]
    fn well_formed_files_become_typed_settings() {
        let params = format!("{PARAMS}POSTGRES_IMAGE_TAG=3.17.2\n");
        let (settings, problems) = read(Environment::Gcp, CONFIG, &params);
        assert_eq!(problems, "");
        let settings = settings.unwrap();
        assert_eq!(settings.bucket.name(), "our-models");
        assert_eq!(
            settings.mlflow_service_account.email(&settings.project),
            "mlflow@our-project.iam.gserviceaccount.com"
        );
        assert_eq!(settings.cloudsql, None);
    }

    #[test]
    fn the_settings_of_cloud_sql_are_required_where_it_is_the_database() {
        let (settings, problems) = read(Environment::GcpCloudsql, CONFIG, PARAMS);
        assert_eq!(settings, None);
        assert_eq!(
            problems,
            "params.env: `MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID` is missing\n\
             hint: add a line MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID=…\n\
             params.env: `GCP_CLOUDSQL_INSTANCE_NAME` is missing\n\
             hint: add a line GCP_CLOUDSQL_INSTANCE_NAME=…"
        );
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        let params = format!("{PARAMS}POSTGRES_TAG=1\nCOLOUR=red\n");
        let (_, problems) = read(Environment::Gcp, CONFIG, &params);
        assert!(
            problems.contains("params.env:5: `POSTGRES_TAG` is not a setting of this file\nhint: did you mean POSTGRES_IMAGE_TAG?"),
            "{problems}"
        );
        assert!(problems.contains("hint: remove the line: nothing reads it"), "{problems}");
    }

    #[test]
    fn a_placeholder_is_refused_with_file_line_key_and_fix() {
        let config = "# The bucket.\nDEFAULT_ARTIFACT_ROOT=gs://BUCKET_NAME_MLFLOW\n";
        let (_, problems) = read(Environment::Gcp, config, PARAMS);
        assert!(
            problems.starts_with(
                "config.env:2: `DEFAULT_ARTIFACT_ROOT` still holds the placeholder \
                 `BUCKET_NAME_MLFLOW`\nhint: write your own value over it, \
                 or set the variable BUCKET_NAME_MLFLOW"
            ),
            "{problems}"
        );
    }

    #[test]
    fn every_setting_has_a_file_in_some_environment() {
        for setting in Setting::ALL {
            assert!(Environment::ALL.iter().any(|it| setting.file(*it).is_some()), "{setting}");
        }
    }
}
