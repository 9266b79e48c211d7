//! The engine against a real API server: what server-side apply, dry-run, admission and optimistic
//! locking really answer.

mod bundle;
mod control_plane;
mod fixture;

mod adoption;
mod deploy;
mod leases;
mod overlays;
mod preflight;
mod prune;
