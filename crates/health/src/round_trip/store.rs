//! Whether an object is in the bucket, asked past MLflow.

use super::mlflow::{escape, refused};
use crate::{
    error::Result,
    tunnel::{Address, Tunnel},
};
use hyper::StatusCode;
use kube::Client;
use std::time::Duration;

/// A look into the bucket that MLflow writes to.
pub trait ObjectStore {
    /// Whether it can look at all; without, the steps that look are left out, and not reported.
    const CHECKS: bool = true;

    /// Whether there is an object at this path below the artifact destination.
    fn exists(&mut self, path: &str) -> impl Future<Output = Result<bool>>;
}

/// No look into the bucket.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStore;

impl ObjectStore for NoStore {
    const CHECKS: bool = false;

    async fn exists(&mut self, _path: &str) -> Result<bool> {
        Ok(false)
    }
}

/// fake-gcs-server in the cluster, reached through its Service.
pub struct FakeGcs {
    tunnel: Tunnel,
    bucket: String,
    prefix: String,
}

impl FakeGcs {
    /// The server behind `address`; `destination` is what MLflow writes to, `gs://BUCKET[/PREFIX]`.
    pub async fn open(client: Client, address: Address, destination: &str) -> Result<FakeGcs> {
        let (bucket, prefix) = bucket_and_prefix(destination)
            .ok_or_else(|| refused("the artifact destination is no bucket", destination))?;
        let tunnel = Tunnel::open(client, address, Duration::from_secs(30)).await?;
        Ok(FakeGcs { tunnel, bucket, prefix })
    }
}

impl ObjectStore for FakeGcs {
    async fn exists(&mut self, path: &str) -> Result<bool> {
        let object = escape(&format!("{}{path}", self.prefix));
        let path = format!("/storage/v1/b/{}/o/{object}", self.bucket);
        let answer = self.tunnel.http("GET", &path, &[], "").await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(refused(format!("GET {path} answered {status}"), answer.text())),
        }
    }
}

/// The prefix ends with a slash unless it is empty.
fn bucket_and_prefix(destination: &str) -> Option<(String, String)> {
    let rest = destination.strip_prefix("gs://")?.trim_end_matches('/');
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    (!bucket.is_empty()).then(|| (bucket.to_owned(), prefix))
}

#[cfg(test)]
mod tests {
    use super::bucket_and_prefix;

    #[track_caller]
    fn check(destination: &str, expected: Option<(&str, &str)>) {
        let expected = expected.map(|(bucket, prefix)| (bucket.to_owned(), prefix.to_owned()));
        assert_eq!(bucket_and_prefix(destination), expected);
    }

    #[test]
    fn bucket_alone_has_no_prefix() {
        check("gs://mlflow-artifacts", Some(("mlflow-artifacts", "")));
        check("gs://mlflow-artifacts/", Some(("mlflow-artifacts", "")));
    }

    #[test]
    fn prefix_ends_with_one_slash() {
        check("gs://bucket/a/b/", Some(("bucket", "a/b/")));
    }

    #[test]
    fn what_is_no_bucket_is_refused() {
        check("s3://bucket", None);
        check("gs:///a", None);
    }
}
