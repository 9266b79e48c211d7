//! Base systems of images: Debian packages, unpacked by mmdebstrap.

use std::path::{Path, PathBuf};
use std::time::Duration;

use process::{Call, Line, cmd};

use crate::builder::Builder;
use crate::cache::Recipe;
use crate::digest::Digest;
use crate::error::Error;
use crate::program::shell;

/// The Debian release of every image; its systemd still boots on cgroup v1.
const SUITE: &str = "bookworm";

/// A slow mirror may take a quarter of an hour.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// A base system: the archive of its files, and the hash that names it.
pub struct Base {
    /// The tar archive.
    pub archive: PathBuf,
    /// The hash over the recipe.
    pub key: String,
}

/// The base system of the image in `folder`, whose `base.packages` lists the packages.
///
/// # Errors
/// A list cannot be read, or mmdebstrap failed.
pub fn obtain(builder: &Builder, name: &str, folder: &Path) -> Result<Base, Error> {
    let list = folder.join("base.packages");
    let excludes = builder.root.join("deploy/images/base.excludes");
    let packages = lines_of(&list)?.join(",");
    let dpkg_options = lines_of(&excludes)?;
    let key = {
        let mut digest = Digest::default();
        digest.add("recipe", "mmdebstrap-1");
        digest.add("suite", SUITE);
        digest.add("architecture", std::env::consts::ARCH);
        digest.add("packages", &packages);
        digest.add("dpkg options", dpkg_options.join("\n"));
        digest.finish()
    };
    let title = format!("unpack the Debian packages below the {name} image");
    let recipe = Recipe { kind: "base", name, key: &key, title };
    let result = builder.cache.obtain(&builder.log, &recipe, |out, step| {
        builder.need_space(out, 2 * 1024)?;
        let sh = shell()?;
        let archive = out.join("base.tar");
        let options = dpkg_options.iter().map(|it| format!("--dpkgopt={it}"));
        let include = format!("--include={packages}");
        let call =
            cmd!(sh, "mmdebstrap --variant=minbase {options...} {include} {SUITE} {archive}");
        let mut on_line = |line: Line<'_>| step.progress(line.text);
        Call::new(call, LIMIT).lines(&mut on_line).run()?;
        Ok(())
    })?;
    Ok(Base { archive: result.join("base.tar"), key })
}

/// The lines of a list, without comments and blank ones.
fn lines_of(path: &Path) -> Result<Vec<String>, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    let lines = text.lines().map(str::trim).filter(|it| !it.is_empty() && !it.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
