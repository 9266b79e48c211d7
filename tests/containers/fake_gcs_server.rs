//! fake-gcs-server: the bucket, its objects, and what becomes of them.

use crate::{
    http::Http,
    scene::play,
    stack::{self, BUCKET},
};
use hyper::StatusCode;
use serde_json::Value;

/// The objects of the bucket whose names begin so.
pub(crate) async fn objects(gcs: &Http, prefix: &str) -> anyhow::Result<Vec<String>> {
    let list = gcs.get(&format!("/storage/v1/b/{BUCKET}/o?prefix={prefix}")).await?.json()?;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().filter_map(|it| it["name"].as_str()).map(str::to_owned).collect())
}

async fn upload(gcs: &Http, name: &str, content: &str) -> anyhow::Result<Value> {
    let path = format!("/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}");
    gcs.send("POST", &path, "text/plain", content.to_owned()).await?.json()
}

#[test]
fn bucket_is_there_from_the_start() {
    play(async |scene| {
        let volume = stack::bucket_volume(scene).await?;
        let server = stack::started_fake_gcs_server(scene, &volume).await?;
        let gcs = Http::new(server.address().await?);
        let buckets = gcs.get("/storage/v1/b?project=any").await?.json()?;
        let names: Vec<_> = buckets["items"].as_array().into_iter().flatten().collect();
        assert_eq!(names.len(), 1, "{buckets}");
        assert_eq!(names[0]["name"], BUCKET);
        assert_eq!(objects(&gcs, "").await?, Vec::<String>::new());
        let healthy = gcs.get("/_internal/healthcheck").await?;
        assert_eq!(healthy.status, StatusCode::OK);
        Ok(())
    });
}

#[test]
fn object_is_put_listed_read_and_deleted() {
    play(async |scene| {
        let volume = stack::bucket_volume(scene).await?;
        let server = stack::started_fake_gcs_server(scene, &volume).await?;
        let gcs = Http::new(server.address().await?);
        let put = upload(&gcs, "a/b.txt", "content").await?;
        assert_eq!((put["name"].as_str(), put["size"].as_str()), (Some("a/b.txt"), Some("7")));
        assert_eq!(objects(&gcs, "a/").await?, ["a/b.txt"]);
        assert_eq!(objects(&gcs, "other/").await?, Vec::<String>::new());

        let object = format!("/storage/v1/b/{BUCKET}/o/a%2Fb.txt");
        let read = gcs.get(&format!("{object}?alt=media")).await?;
        assert_eq!((read.status, read.text().as_str()), (StatusCode::OK, "content"));

        let deleted = gcs.send("DELETE", &object, "text/plain", "").await?;
        assert!(deleted.status.is_success(), "{}", deleted.status);
        assert_eq!(gcs.get(&object).await?.status, StatusCode::NOT_FOUND);
        assert_eq!(objects(&gcs, "").await?, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn objects_outlive_the_container_however_it_ends() {
    play(async |scene| {
        let volume = stack::bucket_volume(scene).await?;
        let first = stack::started_fake_gcs_server(scene, &volume).await?;
        upload(&Http::new(first.address().await?), "first.txt", "1").await?;
        first.stop(10).await?;
        first.remove().await?;

        let second = stack::started_fake_gcs_server(scene, &volume).await?;
        upload(&Http::new(second.address().await?), "second.txt", "2").await?;
        second.kill().await?;
        second.remove().await?;

        let third = stack::started_fake_gcs_server(scene, &volume).await?;
        let gcs = Http::new(third.address().await?);
        assert_eq!(objects(&gcs, "").await?, ["first.txt", "second.txt"]);
        let read = gcs.get(&format!("/storage/v1/b/{BUCKET}/o/first.txt?alt=media")).await?;
        assert_eq!(read.text(), "1");
        Ok(())
    });
}
