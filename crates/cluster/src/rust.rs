//! The programs of this project itself that run inside the node: linked statically, so that they run anywhere.

use std::path::PathBuf;
use std::time::Duration;

use process::{Call, Line, cmd};

use crate::builder::Builder;
use crate::cache::Recipe;
use crate::digest::Digest;
use crate::error::Error;
use crate::program::shell;

/// The emulator and its dependencies take three minutes on two cores; this is for a busy machine.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// A package of the workspace whose binary has the same name.
#[derive(Debug)]
pub struct RustProgram {
    /// The package's and the file's name.
    pub name: &'static str,
    /// What the user is told while it compiles.
    title: &'static str,
    /// It and what it uses of this workspace.
    packages: &'static [&'static str],
    /// The files and folders that decide on the result.
    sources: &'static [&'static str],
}

/// The OCI runtime for hosts that withhold CAP_SYS_RESOURCE: on the host and in the node.
pub const RUNTIME_WRAPPER: RustProgram = RustProgram {
    name: "runtime-wrapper",
    title: "compile the container runtime's wrapper",
    packages: &["runtime-wrapper"],
    sources: &["crates/runtime-wrapper"],
};

/// The emulated Google Cloud.
pub const GOOGLE_EMULATOR: RustProgram = RustProgram {
    name: "google-emulator",
    title: "compile the emulated Google Cloud",
    packages: &["google-emulator", "iam", "watch"],
    sources: &[
        "Cargo.lock",
        "crates/google-emulator/Cargo.toml",
        "crates/google-emulator/src",
        "crates/iam/Cargo.toml",
        "crates/iam/roles",
        "crates/iam/src",
        "crates/watch/Cargo.toml",
        "crates/watch/src",
    ],
};

impl RustProgram {
    /// The hash of what the program is made from.
    ///
    /// # Errors
    /// A file of the checkout cannot be read.
    pub(crate) fn key(&self, builder: &Builder) -> Result<String, Error> {
        let mut digest = Digest::default();
        digest.add("recipe", "rust-static-2");
        self.add_to(&mut digest, &builder.root)?;
        Ok(digest.finish())
    }

    /// Adds the sources to the hash of what contains the program.
    ///
    /// # Errors
    /// A file of the checkout cannot be read.
    pub(crate) fn add_to(&self, digest: &mut Digest, root: &std::path::Path) -> Result<(), Error> {
        for source in self.sources {
            let path = root.join(source);
            if path.is_dir() {
                digest.add_folder(&path)?;
            } else {
                digest.add_file(source, &path)?;
            }
        }
        Ok(())
    }

    /// The program's file, compiled when the cache lacks it.
    ///
    /// # Errors
    /// The compiler failed.
    pub fn obtain(&self, builder: &Builder) -> Result<PathBuf, Error> {
        let name = self.name;
        let key = self.key(builder)?;
        let recipe = Recipe { kind: "program", name, key: &key, title: self.title.to_owned() };
        let result = builder.cache.obtain(&builder.log, &recipe, |out, step| {
            let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
            let target = builder.cache.root().join("target-static");
            let sh = shell()?;
            sh.change_dir(&builder.root);
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            // Cargo knows our packages by name and by the time of their files: without this, what another
            // checkout has built here later would pass for this one's. Dependencies stay.
            for package in self.packages {
                let call = cmd!(
                    sh,
                    "{cargo} clean --quiet --locked --release --package {package} --target {triple} --target-dir {target}"
                );
                Call::new(call, LIMIT).run()?;
            }
            let call = cmd!(
                sh,
                "{cargo} build --locked --release --package {name} --target {triple} --target-dir {target}"
            )
            .env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
            let mut on_line = |line: Line<'_>| step.progress(line.text.trim());
            Call::new(call, LIMIT).lines(&mut on_line).run()?;
            let built = target.join(triple).join("release").join(name);
            std::fs::copy(&built, out.join(name)).map_err(Error::file("copy", built))?;
            Ok(())
        })?;
        Ok(result.join(name))
    }
}
