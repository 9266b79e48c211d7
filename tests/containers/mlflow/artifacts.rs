//! Artifacts go through the server into the bucket and come back the same way.

use crate::{
    fake_gcs_server::objects,
    http::Http,
    scene::play,
    stack::{self, BUCKET},
};
use hyper::StatusCode;

const ARTIFACTS: &str = "/api/2.0/mlflow-artifacts/artifacts";

#[test]
fn artifact_lands_in_the_bucket_and_comes_back() {
    play(async |scene| {
        let volume = stack::bucket_volume(scene).await?;
        let storage = stack::started_fake_gcs_server(scene, &volume).await?;
        let gcs = Http::new(storage.address().await?);
        let stack = stack::served_with(scene, |pod| {
            pod.env("DEFAULT_ARTIFACT_ROOT", format!("gs://{BUCKET}"))
                .env("STORAGE_EMULATOR_HOST", format!("http://{}:4443", storage.host()))
        });
        let stack = stack.await?;
        let http = &stack.http;

        let file = format!("{ARTIFACTS}/0/run/artifacts/notes.txt");
        let put = http.send("PUT", &file, "text/plain", "content").await?;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text());
        assert_eq!(objects(&gcs, "").await?, ["0/run/artifacts/notes.txt"]);
        let object = "0%2Frun%2Fartifacts%2Fnotes.txt";
        let stored = gcs.get(&format!("/storage/v1/b/{BUCKET}/o/{object}?alt=media")).await?;
        assert_eq!(stored.text(), "content");

        let list = http.get(&format!("{ARTIFACTS}?path=0/run/artifacts")).await?.json()?;
        assert_eq!(list["files"][0]["path"], "notes.txt", "{list}");
        assert_eq!(list["files"][0]["file_size"], 7, "{list}");
        let read = http.get(&file).await?;
        assert_eq!((read.status, read.text().as_str()), (StatusCode::OK, "content"));

        let deleted = http.send("DELETE", &file, "text/plain", "").await?;
        assert_eq!(deleted.status, StatusCode::OK, "{}", deleted.text());
        assert_eq!(objects(&gcs, "").await?, Vec::<String>::new());
        assert_ne!(http.get(&file).await?.status, StatusCode::OK);

        // Google's client sends more than 8 MiB in pieces, to an address that the storage names.
        let large: Vec<u8> = (0..20_000_000_u32).map(|it| (it % 251) as u8).collect();
        let file = format!("{ARTIFACTS}/0/run/artifacts/model.bin");
        let put = http.send("PUT", &file, "application/octet-stream", large.clone()).await?;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text());
        let read = http.get(&file).await?;
        assert_eq!(read.status, StatusCode::OK);
        assert!(read.body == large, "came back other than it went, {} bytes", read.body.len());
        Ok(())
    });
}
