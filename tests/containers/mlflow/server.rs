//! The server: when it starts, when it refuses to, whom it answers, and how it ends.

use crate::{
    http::Http,
    scene::play,
    stack::{self, PASSWORD, START, migration},
};
use hyper::StatusCode;

const SEARCH: &str = "/api/2.0/mlflow/experiments/search?max_results=1";

#[test]
fn server_waits_for_the_schema_and_serves_when_it_is_there() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let server = stack::server(postgres.host())?.start(scene).await?;
        server.says("schema is at nothing, waiting for mlflow-migrate", START).await?;
        let migration = migration("migrate", &postgres).start(scene).await?;
        assert_eq!(migration.exits(START).await?, 0);
        server.says("Uvicorn running on", START).await?;
        let http = Http::new(server.address().await?);
        let health = http.get("/health").await?;
        assert_eq!((health.status, health.text().as_str()), (StatusCode::OK, "OK"));
        let found = http.get(SEARCH).await?.json()?;
        assert_eq!(found["experiments"][0]["name"], "Default", "{found}");
        Ok(())
    });
}

#[test]
fn server_is_user_10001_and_writes_to_tmp_alone() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let server = stack::server(postgres.host())?.start(scene).await?;
        server.says("waiting for mlflow-migrate", START).await?;
        let who = server.run(["stat", "-c", "%u:%g", "/proc/1"], &[]).await?;
        assert_eq!(who.stdout.trim(), "10001:10001");
        let capabilities = server.run(["grep", "CapEff", "/proc/1/status"], &[]).await?;
        assert_eq!(capabilities.stdout.trim(), "CapEff:\t0000000000000000");
        for folder in ["/", "/etc", "/usr/local/bin", "/usr/local/lib/python3.11/dist-packages"] {
            let touched = server.run(["touch", &format!("{folder}/x")], &[]).await?;
            assert_ne!(touched.status, 0, "could write to {folder}");
        }
        assert!(!server.log().contains(PASSWORD));
        Ok(())
    });
}

#[test]
fn wrong_password_ends_the_server_at_once_and_its_log_says_whose() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let server = stack::server(postgres.host())?.env("PGPASSWORD", "wr0ng-horse");
        let server = server.start(scene).await?;
        // Waiting does not cure it, so the bound for a database that is away (30 s) is not used up.
        let words = format!("database `mlflow` at {}:5432 as user `mlflow`", postgres.host());
        assert_eq!(server.exits(std::time::Duration::from_secs(25)).await?, 1);
        let log = server.log();
        let error = log.lines().find(|it| it.contains("error:")).unwrap_or_default();
        assert!(error.contains(&words), "{log}");
        assert!(error.contains("password authentication failed for user \"mlflow\""), "{log}");
        assert!(log.contains("hint: compare Secret mlflow-database"), "{log}");
        assert!(!log.contains("wr0ng-horse") && !log.contains("Traceback"), "{log}");
        Ok(())
    });
}

#[test]
fn database_out_of_reach_ends_the_server_within_its_bound() {
    play(async |scene| {
        // A name that does not exist, as before the Service does.
        let server = stack::server("nobody")?.env("MLFLOW_DATABASE_TIMEOUT", "2");
        let server = server.start(scene).await?;
        assert_eq!(server.exits(START).await?, 1);
        let log = server.log();
        assert!(log.contains("database `mlflow` at nobody:5432 as user `mlflow`"), "{log}");
        assert!(log.contains("still not reachable after 2 s: "), "{log}");
        assert!(!log.contains("Traceback"), "{log}");
        Ok(())
    });
}

#[test]
fn setting_that_the_image_cannot_honour_ends_the_server() {
    play(async |scene| {
        let server = stack::server("nobody")?.env("MLFLOW_APP_NAME", "basic-auth");
        let server = server.start(scene).await?;
        assert_eq!(server.exits(START).await?, 2);
        let log = server.log();
        assert!(log.contains("error: MLFLOW_APP_NAME is set, but plug-in applications"), "{log}");
        Ok(())
    });
}

#[test]
fn service_names_are_answered_and_foreign_ones_refused() {
    play(async |scene| {
        let stack = stack::served(scene).await?;
        for name in [
            "mlflow",
            "mlflow:5000",
            "mlflow.mlflow",
            "mlflow.mlflow.svc:5000",
            "mlflow.mlflow.svc.cluster.local:5000",
            "localhost:5000",
            "localhost:41234",
            "127.0.0.1:5000",
            "[::1]:5000",
        ] {
            let answer = stack.http.called(name).get(SEARCH).await?;
            assert_eq!(answer.status, StatusCode::OK, "{name}: {}", answer.text());
        }
        for name in [
            "evil.example",
            "mlflow.evil.example",
            "mlflow:5001",
            "localhost.evil.example:5000",
            "10.0.0.1:5000",
        ] {
            let answer = stack.http.called(name).get(SEARCH).await?;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}: {}", answer.text());
        }
        Ok(())
    });
}

#[test]
fn sigterm_ends_the_server_with_success_within_the_grace() {
    play(async |scene| {
        let stack = stack::served(scene).await?;
        assert_eq!(stack.http.get(SEARCH).await?.status, StatusCode::OK);
        // SIGKILL after these seconds would make it 137. The pod has sixty.
        assert_eq!(stack.server.stop(20).await?, 0);
        assert!(!stack.server.log().contains("Traceback"), "{}", stack.server.log());
        Ok(())
    });
}

#[test]
fn sigterm_during_the_start_ends_the_server_too() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let server = stack::server(postgres.host())?.start(scene).await?;
        server.says("waiting for mlflow-migrate", START).await?;
        assert_eq!(server.stop(20).await?, 0);
        Ok(())
    });
}

#[test]
fn server_outlives_a_restart_of_its_database() {
    play(async |scene| {
        let volumes = stack::database_volumes(scene).await?;
        let postgres = stack::started_postgres(scene, &volumes).await?;
        let migration = migration("migrate", &postgres).start(scene).await?;
        let server = stack::server(postgres.host())?.start(scene).await?;
        assert_eq!(migration.exits(START).await?, 0);
        server.says("Uvicorn running on", START).await?;
        let http = Http::new(server.address().await?);
        assert_eq!(http.get(SEARCH).await?.status, StatusCode::OK);

        postgres.kill().await?;
        postgres.remove().await?;
        let without = http.get(SEARCH).await?;
        assert!(without.status.is_server_error(), "{}: {}", without.status, without.text());
        let _postgres = stack::started_postgres(scene, &volumes).await?;
        let with = http.get(SEARCH).await?;
        assert_eq!(with.status, StatusCode::OK, "{}", with.text());
        Ok(())
    });
}
