//! The migration of the schema: once, one at a time, forward only.

use crate::{
    container::Container,
    scene::play,
    stack::{self, START, migration, psql},
};
use anyhow::ensure;

/// The key of the lock in mlflow_image/migrate.py. It may never change: a migration of an older
/// image would not see the one of a newer.
const LOCK_KEY: u64 = 0x6D6C_666C_6F77;

/// Makes the schema up to its last revision but one.
const OLDER: &str = "
from alembic import command
from mlflow_image import absent, database
absent.install()
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
Base.metadata.create_all(utils.create_sqlalchemy_engine(database.uri()))
command.upgrade(utils._get_alembic_config(database.uri()), 'head-1')
";

/// A fingerprint of everything in the database.
async fn contents(postgres: &Container) -> anyhow::Result<String> {
    let dump = "set -o pipefail; pg_dump -h \"$0\" -U mlflow mlflow | grep -v '^.\\(un\\)\\?restrict' | sha256sum";
    let env = [("PGPASSWORD", stack::PASSWORD)];
    let dump = postgres.run(["bash", "-c", dump, postgres.host()], &env).await?;
    ensure!(dump.status == 0, "pg_dump failed: {}", dump.stderr);
    Ok(dump.stdout)
}

async fn tables(postgres: &Container) -> anyhow::Result<String> {
    let tables = "select coalesce(string_agg(tablename, ' ' order by tablename), '')
        from pg_tables where schemaname = 'public'";
    psql(postgres, tables).await
}

#[test]
fn empty_database_gets_the_schema_and_a_second_migration_changes_nothing() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let first = migration("migrate", &postgres).start(scene).await?;
        assert_eq!(first.exits(START).await?, 0);
        assert!(first.log().contains("migrating schema from nothing to "));
        let tables = tables(&postgres).await?;
        for table in ["alembic_version", "experiments", "metrics", "registered_models", "runs"] {
            assert!(tables.split(' ').any(|it| it == table), "no {table} in {tables}");
        }
        let default = "select name || ' ' || artifact_location from experiments";
        assert_eq!(psql(&postgres, default).await?, "Default mlflow-artifacts:/0");

        let before = contents(&postgres).await?;
        let second = migration("migrate-again", &postgres).start(scene).await?;
        assert_eq!(second.exits(START).await?, 0);
        assert!(second.log().contains("already, nothing to do"));
        assert_eq!(contents(&postgres).await?, before);
        assert!(!(first.log() + &second.log()).contains(stack::PASSWORD));
        Ok(())
    });
}

#[test]
fn migrations_at_once_wait_for_each_other_and_all_succeed() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        // A third migration, as far as the two can tell, which runs until this test ends it.
        let hold = format!("select pg_advisory_lock({LOCK_KEY}), pg_sleep(600)");
        let one = migration("migrate-one", &postgres).start(scene);
        let other = migration("migrate-other", &postgres).start(scene);
        let both = async {
            let held = "select 1 from pg_locks where locktype = 'advisory' and granted";
            while psql(&postgres, held).await? != "1" {}
            let (one, other) = (one.await?, other.await?);
            one.says("another migration runs, waiting", START).await?;
            other.says("another migration runs, waiting", START).await?;
            assert_eq!(tables(&postgres).await?, "");
            let end = "select pg_terminate_backend(pid) from pg_locks
                where locktype = 'advisory' and granted";
            assert_eq!(psql(&postgres, end).await?, "t");
            let statuses = (one.exits(START).await?, other.exits(START).await?);
            anyhow::Ok((statuses, one.log() + &other.log()))
        };
        let held = stack::psql_with(&postgres, stack::PASSWORD, &hold);
        let (held, both) = futures::future::join(held, both).await;
        let (statuses, log) = both?;
        assert_ne!(held?.status, 0, "the lock was given back before it was taken away");
        assert_eq!(statuses, (0, 0));
        assert_eq!(log.matches("migrating schema from nothing to ").count(), 1, "{log}");
        assert_eq!(log.matches("already, nothing to do").count(), 1, "{log}");
        Ok(())
    });
}

#[test]
fn migration_killed_half_way_is_finished_by_the_next() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let killed = migration("migrate-killed", &postgres).start(scene).await?;
        killed.says("migrating schema from nothing to ", START).await?;
        // Some tables, and no end yet.
        while tables(&postgres).await?.is_empty() {}
        killed.kill().await?;

        let next = migration("migrate-next", &postgres).start(scene).await?;
        assert_eq!(next.exits(START).await?, 0);
        assert_eq!(psql(&postgres, "select count(*) from experiments").await?, "1");
        Ok(())
    });
}

#[test]
fn schema_of_a_newer_mlflow_is_refused_and_left_alone() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        let newer = "create table alembic_version (version_num varchar(32) primary key);
            insert into alembic_version values ('ffffffffffff')";
        psql(&postgres, newer).await?;
        check_refused(migration("migrate", &postgres).start(scene).await?).await?;
        check_refused(stack::server(postgres.host())?.start(scene).await?).await?;
        assert_eq!(tables(&postgres).await?, "alembic_version");
        let revision = psql(&postgres, "select version_num from alembic_version").await?;
        assert_eq!(revision, "ffffffffffff");
        Ok(())
    });
}

#[test]
fn schema_without_its_last_revision_is_brought_forward_with_its_rows() {
    play(async |scene| {
        let postgres = stack::database(scene).await?;
        // The schema of the release before, as MLflow's own history makes it.
        let older = stack::database_client("older", "python3", postgres.host())
            .command(["python3", "-c", OLDER])
            .start(scene)
            .await?;
        assert_eq!(older.exits(START).await?, 0);
        let kept = "insert into experiments (name, artifact_location, lifecycle_stage)
            values ('kept', 'mlflow-artifacts:/9', 'active')";
        psql(&postgres, kept).await?;
        let before = psql(&postgres, "select version_num from alembic_version").await?;

        let migration = migration("migrate", &postgres).start(scene).await?;
        assert_eq!(migration.exits(START).await?, 0);
        assert!(migration.log().contains(&format!("migrating schema from {before} to ")));
        assert_ne!(psql(&postgres, "select version_num from alembic_version").await?, before);
        let names = "select string_agg(name, ' ' order by name) from experiments";
        assert_eq!(psql(&postgres, names).await?, "Default kept");
        Ok(())
    });
}

async fn check_refused(command: Container) -> anyhow::Result<()> {
    assert_eq!(command.exits(START).await?, 3);
    let log = command.log();
    assert!(log.contains("a newer MLflow wrote it. Nothing was changed"), "{log}");
    assert!(log.contains("hint: deploy the image of the newer MLflow"), "{log}");
    Ok(())
}
