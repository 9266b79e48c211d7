//! PostgreSQL: the first start, the password, and what becomes of the data.

use crate::{
    container::{Container, Image, Pod},
    scene::{Scene, play},
    stack::{self, PASSWORD, START, psql, psql_with},
};
use anyhow::ensure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What the server asks a client for before anything else: the mechanism of its password exchange.
async fn mechanism(address: &str) -> anyhow::Result<String> {
    let parameters = b"user\0mlflow\0database\0mlflow\0\0";
    let length = u32::try_from(8 + parameters.len())?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&length.to_be_bytes()).await?;
    // Version 3.0 of the protocol.
    stream.write_all(&[0, 3, 0, 0]).await?;
    stream.write_all(parameters).await?;
    ensure!(stream.read_u8().await? == b'R', "no request for authentication");
    let length = stream.read_u32().await?;
    ensure!(stream.read_u32().await? == 10, "another authentication than SASL");
    let mut mechanisms = vec![0; length as usize - 8];
    stream.read_exact(&mut mechanisms).await?;
    Ok(String::from_utf8(mechanisms)?.trim_end_matches('\0').to_owned())
}

#[test]
fn fresh_volume_becomes_a_database_that_wants_the_password_by_scram() {
    play(async |scene| {
        let volumes = stack::database_volumes(scene).await?;
        let postgres = stack::started_postgres(scene, &volumes).await?;
        assert_eq!(mechanism(&postgres.address().await?).await?, "SCRAM-SHA-256");
        let session = "select current_user || ' in ' || current_database()";
        assert_eq!(psql(&postgres, session).await?, "mlflow in mlflow");
        let stored = "select bool_and(rolpassword like 'SCRAM-SHA-256$%') from pg_authid
            where rolcanlogin";
        assert_eq!(psql(&postgres, stored).await?, "t");
        assert!(!postgres.log().contains(PASSWORD));
        Ok(())
    });
}

#[test]
fn wrong_password_is_refused_and_so_is_none() {
    play(async |scene| {
        let volumes = stack::database_volumes(scene).await?;
        let postgres = stack::started_postgres(scene, &volumes).await?;
        let wrong = psql_with(&postgres, "wrong", "select 1").await?;
        assert_eq!((wrong.status, wrong.stdout.as_str()), (2, ""));
        assert!(wrong.stderr.contains("password authentication failed for user \"mlflow\""));
        let none = postgres
            .run(["psql", "-w", "-h", postgres.host(), "-U", "mlflow", "-c", "select 1"], &[])
            .await?;
        assert_eq!((none.status, none.stdout.as_str()), (2, ""));
        assert!(none.stderr.contains("no password supplied"), "{}", none.stderr);
        Ok(())
    });
}

#[test]
fn server_is_user_10002_and_writes_to_its_volumes_alone() {
    play(async |scene| {
        let volumes = stack::database_volumes(scene).await?;
        let postgres = stack::started_postgres(scene, &volumes).await?;
        let who = postgres.run(["stat", "-c", "%u:%g", "/proc/1"], &[]).await?;
        assert_eq!(who.stdout.trim(), "10002:10002");
        let capabilities = postgres.run(["grep", "CapEff", "/proc/1/status"], &[]).await?;
        assert_eq!(capabilities.stdout.trim(), "CapEff:\t0000000000000000");
        for folder in ["/", "/etc", "/usr/local/bin", "/var/lib/postgresql"] {
            let touched = postgres.run(["touch", &format!("{folder}/x")], &[]).await?;
            assert_ne!(touched.status, 0, "could write to {folder}");
        }
        Ok(())
    });
}

#[test]
fn rows_outlive_the_container_however_it_ends() {
    play(async |scene| {
        let volumes = stack::database_volumes(scene).await?;
        let first = stack::started_postgres(scene, &volumes).await?;
        psql(&first, "create table kept (word text); insert into kept values ('stopped')").await?;
        assert_eq!(first.stop(60).await?, 0);
        assert!(first.log().contains("database system is shut down"));
        first.remove().await?;

        let second = stack::started_postgres(scene, &volumes).await?;
        assert!(!second.log().contains("making one for role"), "the database was made anew");
        psql(&second, "insert into kept values ('killed')").await?;
        second.kill().await?;
        second.remove().await?;

        let third = stack::started_postgres(scene, &volumes).await?;
        assert!(third.log().contains("automatic recovery in progress"));
        let rows = psql(&third, "select string_agg(word, ' ' order by word) from kept").await?;
        assert_eq!(rows, "killed stopped");
        Ok(())
    });
}

#[test]
fn data_of_another_major_version_is_refused_and_left_alone() {
    play(async |scene| {
        let old = "mkdir pgdata && echo 14 >pgdata/PG_VERSION && echo kept >pgdata/data";
        let old = format!("{old} && chown -R 10002 pgdata && chmod 0700 pgdata;");
        let volumes = stack::database_volumes_with(scene, &old).await?;
        let postgres = stack::postgres(&volumes).start(scene).await?;
        assert_eq!(postgres.exits(START).await?, 1);
        let log = postgres.log();
        assert!(log.contains("was written by PostgreSQL 14, this image is PostgreSQL 15"), "{log}");
        assert!(log.contains("hint: deploy the image of PostgreSQL 14"), "{log}");
        assert_eq!(files(scene, &volumes).await?, "PG_VERSION data");
        Ok(())
    });
}

#[test]
fn files_that_are_no_database_are_refused_and_left_alone() {
    play(async |scene| {
        let strange = "mkdir pgdata && echo kept >pgdata/data && chown -R 10002 pgdata;";
        let volumes = stack::database_volumes_with(scene, strange).await?;
        let postgres = stack::postgres(&volumes).start(scene).await?;
        assert_eq!(postgres.exits(START).await?, 1);
        let log = postgres.log();
        assert!(log.contains("holds files and yet no database"), "{log}");
        assert_eq!(files(scene, &volumes).await?, "data");
        Ok(())
    });
}

#[test]
fn first_start_cut_off_half_way_is_done_again() {
    play(async |scene| {
        let volumes = stack::database_volumes(scene).await?;
        // Slow enough for the signal to come in the middle.
        let cut_off = stack::postgres(&volumes).millicpus(100).start(scene).await?;
        cut_off.says("making one for role mlflow", START).await?;
        cut_off.kill().await?;
        assert!(!cut_off.log().contains("is made"), "the signal came too late to test anything");
        cut_off.remove().await?;

        let postgres = stack::started_postgres(scene, &volumes).await?;
        assert!(postgres.log().contains("database mlflow is made"));
        assert_eq!(psql(&postgres, "select 1").await?, "1");
        let left = postgres.run(["ls", "/var/lib/postgresql/data"], &[]).await?;
        assert_eq!(left.stdout.trim(), "pgdata");
        Ok(())
    });
}

/// What is in the data folder of a server that does not run.
async fn files(scene: &Scene, volumes: &Container) -> anyhow::Result<String> {
    let list = "cd /var/lib/postgresql/data/pgdata && echo *";
    let pod = Pod::new(Image::Postgres, "files");
    let list = pod.root().volumes_of(volumes).command(["sh", "-c", list]).start(scene).await?;
    ensure!(list.exits(START).await? == 0, "the folder cannot be listed");
    Ok(list.log().trim().to_owned())
}
