//! The guide's shell variables, as edits of the `.env` files in a copy of the overlay.

use crate::{EnvFile, Environment, env_file, settings::Setting};

/// One value to write into one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file, from the top of the repository.
    pub file: &'static str,
    /// The key in it.
    pub key: &'static str,
    /// The new value, not yet judged.
    pub value: String,
    /// The variable it comes from.
    pub variable: &'static str,
}

/// What the variables change in an environment.
///
/// `files` are the environment's files as they are, in the order of [`crate::settings::files`]; they
/// complete an instance that is given by its name alone. On a local cluster only the images' tags
/// can be changed: a shell prepared for the guide holds the variables of the real project.
pub fn edits(
    environment: Environment,
    files: &[EnvFile; 2],
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<Edit> {
    let given = |name: &str| variable(name).filter(|it| !it.is_empty());
    let mut edits = Vec::new();
    for setting in Setting::ALL {
        let is_tag = matches!(setting, Setting::MlflowImageTag | Setting::PostgresImageTag);
        let Some(file) = setting.file(environment) else { continue };
        if environment.is_local() && !is_tag {
            continue;
        }
        // The key's own name is the more precise one, where the two differ.
        let found = [setting.key(), setting.shell_variable()]
            .into_iter()
            .find_map(|name| Some((name, given(name)?)));
        let Some((variable, value)) = found else { continue };
        let value = match setting {
            Setting::ArtifactRoot => with_scheme(value),
            Setting::CloudsqlInstance => whole_instance(value, files, &given),
            _ => value,
        };
        edits.push(Edit { file, key: setting.key(), value, variable });
    }
    edits
}

/// The text of `file` with its edits made; comments and everything else stay.
pub fn apply(file: &str, text: &str, edits: &[Edit]) -> String {
    edits
        .iter()
        .filter(|it| it.file == file)
        .fold(text.to_owned(), |text, it| env_file::set(&text, it.key, &it.value))
}

fn with_scheme(bucket: String) -> String {
    if bucket.contains("://") { bucket } else { format!("gs://{bucket}") }
}

fn whole_instance(
    name: String,
    files: &[EnvFile; 2],
    given: &impl Fn(&str) -> Option<String>,
) -> String {
    // A dotted name stays as it is, to be refused with the fix.
    if name.contains([':', '.']) {
        return name;
    }
    let value = |setting: Setting| {
        given(setting.key())
            .or_else(|| {
                files.iter().find_map(|it| it.get(setting.key())).map(|it| it.value.clone())
            })
            .unwrap_or_else(|| setting.key().to_owned())
    };
    format!("{}:{}:{name}", value(Setting::ProjectId), value(Setting::Region))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(environment: Environment, params: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let files = [EnvFile::parse("config.env", "").0, EnvFile::parse("params.env", params).0];
        let variable =
            |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        edits(environment, &files, variable)
            .iter()
            .map(|it| format!("{}: {}={}", it.file, it.key, it.value))
            .collect()
    }

    #[test]
    fn the_guides_variables_reach_their_files() {
        let edits = found(
            Environment::GcpCloudsql,
            "",
            &[
                ("PROJECT_ID", "our-project"),
                ("REGION", "europe-north1"),
                ("BUCKET_NAME_MLFLOW", "our-models"),
                ("MLFLOW_SERVICE_ACCOUNT_ID", "mlflow"),
                ("MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID", "mlflow-sql"),
                ("CLOUDSQL_INSTANCE_NAME", "db"),
            ],
        );
        let params = "deploy/mlflow/env/gcp-cloudsql/params.env";
        assert_eq!(
            edits,
            [
                "deploy/mlflow/base/config.env: DEFAULT_ARTIFACT_ROOT=gs://our-models".to_owned(),
                format!("{params}: PROJECT_ID=our-project"),
                format!("{params}: REGION=europe-north1"),
                format!("{params}: MLFLOW_SERVICE_ACCOUNT_ID=mlflow"),
                format!("{params}: MLFLOW_CLOUDSQL_SERVICE_ACCOUNT_ID=mlflow-sql"),
                format!("{params}: GCP_CLOUDSQL_INSTANCE_NAME=our-project:europe-north1:db"),
            ]
        );
    }

    #[test]
    fn an_instances_name_is_completed_from_the_file() {
        let edits = found(
            Environment::GcpCloudsql,
            "PROJECT_ID=in-the-file\nREGION=us-east1\n",
            &[("CLOUDSQL_INSTANCE_NAME", "db")],
        );
        assert_eq!(
            edits,
            [
                "deploy/mlflow/env/gcp-cloudsql/params.env: GCP_CLOUDSQL_INSTANCE_NAME=in-the-file:us-east1:db"
            ]
        );
    }

    #[test]
    fn a_shell_prepared_for_google_changes_nothing_in_kind_but_the_tags() {
        let edits = found(
            Environment::Kind,
            "",
            &[("PROJECT_ID", "real"), ("BUCKET_NAME_MLFLOW", "real"), ("MLFLOW_IMAGE_TAG", "0a1b")],
        );
        assert_eq!(edits, ["deploy/mlflow/env/kind/params.env: MLFLOW_IMAGE_TAG=0a1b"]);
    }

    #[test]
    fn an_empty_variable_is_no_variable() {
        assert_eq!(found(Environment::Gcp, "", &[("PROJECT_ID", "")]), [""; 0]);
    }

    #[test]
    fn edits_keep_the_comments() {
        let edits = [Edit {
            file: "f",
            key: "PROJECT_ID",
            value: "our-project".to_owned(),
            variable: "PROJECT_ID",
        }];
        assert_eq!(
            apply("f", "# Mine.\nPROJECT_ID=PROJECT_ID\n", &edits),
            "# Mine.\nPROJECT_ID=our-project\n"
        );
        assert_eq!(apply("g", "A=1\n", &edits), "A=1\n");
    }
}
