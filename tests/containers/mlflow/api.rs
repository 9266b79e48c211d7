//! The REST interface and the page, as far as clients and people use them every day: what the image
//! leaves out may not be missed by any of it.

use crate::{
    http::Http,
    scene::play,
    stack::{self, psql},
};
use anyhow::Context as _;
use hyper::StatusCode;
use serde_json::{Value, json};

/// A call of version 2.0.
async fn call(http: &Http, method: &str, path: &str, body: Value) -> anyhow::Result<Value> {
    let path = format!("/api/2.0/mlflow/{path}");
    http.json(method, &path, &body).await.with_context(|| format!("{method} {path} {body}"))
}

async fn get(http: &Http, path: &str) -> anyhow::Result<Value> {
    http.get(&format!("/api/2.0/mlflow/{path}")).await?.json().with_context(|| path.to_owned())
}

fn string(value: &Value) -> anyhow::Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is no string"))?.to_owned())
}

#[test]
fn client_writes_experiments_and_runs_and_finds_them() {
    play(async |scene| {
        let stack = stack::served(scene).await?;
        let http = &stack.http;
        let made = call(http, "POST", "experiments/create", json!({"name": "wine"})).await?;
        let experiment = string(&made["experiment_id"])?;
        let run = json!({"experiment_id": experiment, "run_name": "first", "start_time": 1});
        let run = call(http, "POST", "runs/create", run).await?["run"]["info"].clone();
        let run_id = string(&run["run_id"])?;
        let root = format!("mlflow-artifacts:/{experiment}/{run_id}/artifacts");
        assert_eq!(run["artifact_uri"], root);

        for (step, value) in [(1, 0.5), (2, 0.25)] {
            let metric = json!({"run_id": run_id, "key": "loss", "value": value, "timestamp": 1, "step": step});
            call(http, "POST", "runs/log-metric", metric).await?;
        }
        let parameter = json!({"run_id": run_id, "key": "alpha", "value": "0.1"});
        call(http, "POST", "runs/log-parameter", parameter).await?;
        let tag = json!({"run_id": run_id, "key": "team", "value": "küche"});
        call(http, "POST", "runs/set-tag", tag).await?;
        let batch = json!({"run_id": run_id,
            "metrics": [{"key": "accuracy", "value": 0.9, "timestamp": 2, "step": 0}],
            "params": [{"key": "depth", "value": "3"}], "tags": [{"key": "kind", "value": "tree"}]});
        call(http, "POST", "runs/log-batch", batch).await?;
        let end = json!({"run_id": run_id, "status": "FINISHED", "end_time": 2});
        call(http, "POST", "runs/update", end).await?;

        let filter = "metrics.loss < 0.3 and params.alpha = '0.1' and tags.team = 'küche'";
        let search = json!({"experiment_ids": [experiment], "filter": filter});
        let found = call(http, "POST", "runs/search", search).await?;
        assert_eq!(found["runs"].as_array().map(Vec::len), Some(1), "{found}");
        assert_eq!(found["runs"][0]["info"]["status"], "FINISHED");
        let search = json!({"experiment_ids": [experiment], "filter": "metrics.loss > 0.3"});
        assert_eq!(call(http, "POST", "runs/search", search).await?["runs"], Value::Null);

        let history = format!("metrics/get-history?run_id={run_id}&metric_key=loss");
        let history = get(http, &history).await?;
        assert_eq!(history["metrics"].as_array().map(Vec::len), Some(2), "{history}");
        let rows = format!("select count(*) from metrics where run_uuid = '{run_id}'");
        assert_eq!(psql(&stack.postgres, &rows).await?, "3");

        call(http, "POST", "runs/delete", json!({"run_id": run_id})).await?;
        let gone = get(http, &format!("runs/get?run_id={run_id}")).await?;
        assert_eq!(gone["run"]["info"]["lifecycle_stage"], "deleted");
        let twice = http.send(
            "POST",
            "/api/2.0/mlflow/experiments/create",
            "application/json",
            r#"{"name": "wine"}"#,
        );
        let twice = twice.await?;
        assert_eq!(twice.status, StatusCode::BAD_REQUEST);
        assert!(twice.text().contains("RESOURCE_ALREADY_EXISTS"), "{}", twice.text());
        Ok(())
    });
}

#[test]
fn client_registers_a_model_and_serves_it_by_alias() {
    play(async |scene| {
        let stack = stack::served(scene).await?;
        let http = &stack.http;
        call(http, "POST", "registered-models/create", json!({"name": "wine"})).await?;
        let run = json!({"experiment_id": "0", "start_time": 1});
        let run = call(http, "POST", "runs/create", run).await?["run"]["info"].clone();
        let source = format!("{}/model", string(&run["artifact_uri"])?);
        let version = json!({"name": "wine", "source": source, "run_id": run["run_id"]});
        let version = call(http, "POST", "model-versions/create", version).await?;
        assert_eq!(version["model_version"]["version"], "1", "{version}");
        assert_eq!(version["model_version"]["status"], "READY");
        let alias = json!({"name": "wine", "alias": "champion", "version": "1"});
        call(http, "POST", "registered-models/alias", alias).await?;
        let found = get(http, "registered-models/alias?name=wine&alias=champion").await?;
        assert_eq!(found["model_version"]["version"], "1", "{found}");
        let found = get(http, "registered-models/search?filter=name%3D%27wine%27").await?;
        assert_eq!(found["registered_models"][0]["name"], "wine", "{found}");

        let model = json!({"experiment_id": "0", "name": "logged"});
        let model = call(http, "POST", "logged-models", model).await?;
        assert_eq!(model["model"]["info"]["name"], "logged", "{model}");
        Ok(())
    });
}

#[test]
fn client_writes_a_trace_and_finds_it() {
    play(async |scene| {
        let stack = stack::served(scene).await?;
        let place =
            json!({"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}});
        let trace = json!({"trace": {"trace_info": {
            "trace_id": "tr-1", "trace_location": place, "request_time": "2026-01-02T03:04:05Z",
            "execution_duration": "1.5s", "state": "OK", "request_preview": "question",
            "tags": {"team": "kitchen"}}}});
        stack.http.json("POST", "/api/3.0/mlflow/traces", &trace).await?;
        let search = json!({"locations": [place], "filter": "tags.team = 'kitchen'"});
        let found = stack.http.json("POST", "/api/3.0/mlflow/traces/search", &search).await?;
        assert_eq!(found["traces"][0]["trace_id"], "tr-1", "{found}");
        assert_eq!(found["traces"][0]["state"], "OK");
        let search = json!({"locations": [place], "filter": "tags.team = 'garden'"});
        let found = stack.http.json("POST", "/api/3.0/mlflow/traces/search", &search).await?;
        assert_eq!(found["traces"].as_array().map_or(0, Vec::len), 0, "{found}");

        let info = stack.http.get("/api/3.0/mlflow/server-info").await?.json()?;
        assert_eq!(info["store_type"], "SqlStore");
        Ok(())
    });
}

#[test]
fn person_gets_the_page_and_everything_it_names() {
    play(async |scene| {
        let stack = stack::served(scene).await?;
        let page = stack.http.get("/").await?;
        assert_eq!(page.status, StatusCode::OK);
        let page = page.text();
        let named: Vec<&str> = page
            .split(['"', '\''])
            .map(|it| it.trim_start_matches("./").trim_start_matches('/'))
            .filter(|it| it.starts_with("static-files/"))
            .collect();
        assert!(named.iter().any(|it| it.ends_with(".js")), "{page}");
        assert!(named.iter().any(|it| it.ends_with(".css")), "{page}");
        for name in named {
            let file = stack.http.get(&format!("/{name}")).await?;
            assert_eq!(file.status, StatusCode::OK, "{name}");
            assert!(!file.body.is_empty(), "{name}");
            if name.ends_with(".js") {
                let content = file.headers.get("content-type");
                let content = content.and_then(|it| it.to_str().ok()).unwrap_or_default();
                assert!(content.contains("javascript"), "{name} is {content}");
            }
        }
        // What the page asks for when it opens.
        let query = json!({"query": "query { __typename }"});
        let graph = stack.http.json("POST", "/graphql", &query).await?;
        assert_eq!(graph["data"]["__typename"], "Query", "{graph}");
        let search = "/ajax-api/2.0/mlflow/experiments/search?max_results=25";
        assert_eq!(stack.http.get(search).await?.status, StatusCode::OK);
        Ok(())
    });
}
