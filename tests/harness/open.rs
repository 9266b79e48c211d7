//! `open` in the background: MLflow on a free port of this machine for as long as the value lives.

use anyhow::Context as _;

use crate::{Background, LIMIT, Mlflow, Scene, Signal};

/// A running `open`.
pub struct Open {
    process: Background,
    /// MLflow behind it.
    pub mlflow: Mlflow,
}

impl Open {
    /// Starts it on a free port, and reads the port from what it prints.
    ///
    /// # Errors
    /// It ended, or printed no address.
    pub fn start(scene: &Scene) -> anyhow::Result<Self> {
        let mut process =
            Background::start(scene.xtask(&["open", "--env", "kind", "--port", "0"]))?;
        let line = process.line(LIMIT, |it| it.starts_with("http://localhost:"))?;
        let port = line.rsplit(':').next().and_then(|it| it.parse().ok());
        let port = port.with_context(|| format!("`{line}` has no port"))?;
        Ok(Self { process, mlflow: Mlflow { port } })
    }

    /// Ends it by Ctrl-C.
    ///
    /// # Errors
    /// It had ended before, or does not end.
    pub fn interrupt(mut self) -> anyhow::Result<crate::Run> {
        self.process.signal(Signal::INT)?;
        self.process.finish(LIMIT)
    }
}
