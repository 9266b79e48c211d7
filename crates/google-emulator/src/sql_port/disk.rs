//! The full disk of an instance, on demand: PostgreSQL itself refuses what would need space.
//!
//! Whether clients use the simple or the extended protocol, and whatever transaction they are in,
//! it is the server that raises the error, so both sides agree on what has happened.

use super::statement::Name;
use super::upstream::{Server, SqlError};
use super::upstream_of;
use crate::cloud::Cloud;
use crate::error::Error;

/// Raises what PostgreSQL raises when a file cannot grow: SQLSTATE 53100, the words and the hint
/// (`mdextend` in PostgreSQL's `src/backend/storage/smgr/md.c`). Reading and deleting go on.
const FILL: &str = r#"
CREATE OR REPLACE FUNCTION public.google_emulator_full_disk() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION 'could not extend file "%": No space left on device', pg_relation_filepath(TG_RELID)
    USING ERRCODE = 'disk_full', HINT = 'Check free disk space.';
END $body$;
CREATE OR REPLACE FUNCTION public.google_emulator_full_disk_event() RETURNS event_trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION 'could not create file "base/%": No space left on device',
      (SELECT oid FROM pg_database WHERE datname = current_database())
    USING ERRCODE = 'disk_full';
END $body$;
DO $body$
DECLARE grows regclass;
BEGIN
  FOR grows IN
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
      AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
  LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER google_emulator_full_disk BEFORE INSERT OR UPDATE ON %s '
      'FOR EACH STATEMENT EXECUTE FUNCTION public.google_emulator_full_disk()', grows);
  END LOOP;
END $body$;
DROP EVENT TRIGGER IF EXISTS google_emulator_full_disk;
CREATE EVENT TRIGGER google_emulator_full_disk ON ddl_command_start
  WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE INDEX', 'CREATE SEQUENCE')
  EXECUTE FUNCTION public.google_emulator_full_disk_event();
"#;

/// Takes all of it away; what was never there is no error.
const FREE: &str = "
DROP EVENT TRIGGER IF EXISTS google_emulator_full_disk;
DROP FUNCTION IF EXISTS public.google_emulator_full_disk_event();
DROP FUNCTION IF EXISTS public.google_emulator_full_disk() CASCADE;
";

/// The disk of an instance is full, or has space again.
///
/// # Errors
/// 503 when PostgreSQL is away or does not do it.
pub(crate) async fn set_full(cloud: &Cloud, key: &str, is_full: bool) -> Result<(), Error> {
    let state = cloud.state();
    let Some(row) = state.instances.get(key) else { return Ok(()) };
    let server = upstream_of(cloud, row)?;
    let unavailable = |error: SqlError| Error::unavailable(&error.to_string());
    let sql = if is_full { FILL } else { FREE };
    for database in databases(&server, cloud, key).await.map_err(unavailable)? {
        server.run(&database, sql).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Those of the instance that are there. Several instances may share one PostgreSQL.
async fn databases(server: &Server, cloud: &Cloud, key: &str) -> Result<Vec<String>, SqlError> {
    let there = server.run("postgres", "SELECT datname FROM pg_database").await?;
    let state = cloud.state();
    let below = format!("{key}/");
    let known = state.databases.prefix(&below);
    let own = known.map(|(_, it)| it.name.clone()).filter(|it| it != "postgres");
    Ok(own.filter(|it| Name::new(it).is_some() && there.contains(it)).collect())
}
