//! What the overlays say: settings, rendered objects, references, findings and differences.
//!
//! Pure: no process, clock, network or environment variable. Callers read the files and run
//! Kustomize; every function here takes text or values, and checks return all they find.

mod environment;
mod nearest;

pub mod env_file;
pub mod overrides;
pub mod settings;
pub mod yaml;

pub mod bundle;
pub mod difference;
pub mod findings;
pub mod graph;
pub mod pods;

pub use bundle::{Bundle, Object, ObjectId};
pub use env_file::{EnvFile, Problem};
pub use environment::{Environment, UnknownEnvironment};
pub use findings::{Code, Finding};
pub use settings::Settings;
