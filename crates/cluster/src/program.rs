//! The programs that are compiled here from Go modules pinned in `tools/`, and the one in C.

use std::path::{Path, PathBuf};
use std::time::Duration;

use events::Step;
use process::{Call, Line, Shell, cmd};

use crate::builder::Builder;
use crate::cache::Recipe;
use crate::digest::Digest;
use crate::error::Error;

/// The slowest, Kubernetes, takes eight to ten minutes on two cores; this is for a busy machine.
const LIMIT: Duration = Duration::from_secs(45 * 60);

/// A program compiled from a Go module.
#[derive(Debug, PartialEq, Eq)]
pub struct GoProgram {
    /// The file's name.
    pub name: &'static str,
    /// The folder, from `tools/`, whose `go.mod` pins it.
    module: &'static str,
    /// The package to compile.
    package: &'static str,
    /// Build tags: what is left out.
    tags: &'static str,
}

/// containerd's snapshotters for file systems that a node never has.
const CONTAINERD_TAGS: &str = "no_btrfs,no_devmapper,no_zfs";

/// All Go programs, in the order in which their shared parts are best compiled.
pub const GO_PROGRAMS: [GoProgram; 9] = [
    GoProgram { name: "kind", module: "kind", package: "sigs.k8s.io/kind", tags: "" },
    GoProgram { name: "kubernetes", module: "kubernetes", package: ".", tags: "" },
    GoProgram { name: "etcd", module: "etcd", package: "go.etcd.io/etcd/server/v3", tags: "" },
    GoProgram {
        name: "containerd",
        module: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/containerd",
        tags: CONTAINERD_TAGS,
    },
    GoProgram {
        name: "containerd-shim-runc-v2",
        module: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        tags: CONTAINERD_TAGS,
    },
    GoProgram {
        name: "ctr",
        module: "containerd",
        package: "github.com/containerd/containerd/v2/cmd/ctr",
        tags: CONTAINERD_TAGS,
    },
    GoProgram { name: "coredns", module: "coredns", package: ".", tags: "" },
    GoProgram {
        name: "fake-gcs-server",
        module: "fake-gcs-server",
        package: "github.com/fsouza/fake-gcs-server",
        tags: "",
    },
    GoProgram {
        name: "cloud-sql-proxy",
        module: "cloud-sql-proxy",
        package: "github.com/GoogleCloudPlatform/cloud-sql-proxy/v2",
        tags: "",
    },
];

/// Google's Go libraries as a client of the metadata server, for the tests alone.
pub const GO_METADATA: GoProgram = GoProgram {
    name: "go-metadata",
    module: "../tests/google/clients/go-metadata",
    package: ".",
    tags: "",
};

/// The Go program called `name`.
///
/// # Errors
/// There is none of that name.
pub fn go_program(name: &str) -> Result<&'static GoProgram, Error> {
    GO_PROGRAMS
        .iter()
        .find(|it| it.name == name)
        .ok_or_else(|| Error::Other(format!("`{name}` is not a program of this project")))
}

/// The version of Kubernetes, as `tools/kubernetes/go.mod` pins it: `v1.36.3`.
///
/// # Errors
/// The file is missing or names no version.
pub fn kubernetes_version(root: &Path) -> Result<String, Error> {
    let path = root.join("tools/kubernetes/go.mod");
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("k8s.io/kubernetes "))
        .find_map(|version| version.split_whitespace().next().map(str::to_owned))
        .ok_or_else(|| Error::Other(format!("`{}` requires no k8s.io/kubernetes", path.display())))
}

/// The program's file, compiled when the cache lacks it.
///
/// # Errors
/// The compiler failed, or is not there.
pub fn obtain_go(builder: &Builder, program: &GoProgram) -> Result<PathBuf, Error> {
    let folder = builder.root.join("tools").join(program.module);
    let ldflags = ldflags(builder, program)?;
    let key = go_key(builder, program)?;
    let title = format!("compile {} from its Go module", program.name);
    let recipe = Recipe { kind: "program", name: program.name, key: &key, title };
    let result = builder.cache.obtain(&builder.log, &recipe, |out, step| {
        builder.need_space(out, 3 * 1024)?;
        compile_go(program, &folder, &ldflags, &out.join(program.name), step)
    })?;
    Ok(result.join(program.name))
}

/// The same, where `take` has a better way to the program than compiling it.
pub(crate) fn take_go(
    builder: &Builder,
    program: &GoProgram,
    title: String,
    take: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let key = go_key(builder, program)?;
    let recipe = Recipe { kind: "program", name: program.name, key: &key, title };
    let step = format!("take-{}", program.name);
    let result = builder
        .cache
        .obtain_by(&builder.log, &recipe, &step, |out, _| take(&out.join(program.name)))?;
    Ok(result.join(program.name))
}

fn go_key(builder: &Builder, program: &GoProgram) -> Result<String, Error> {
    let mut digest = Digest::default();
    digest.add("recipe", "go-1");
    digest.add("architecture", std::env::consts::ARCH);
    digest.add("package", program.package);
    digest.add("tags", program.tags);
    digest.add("ldflags", ldflags(builder, program)?);
    digest.add_folder(&builder.root.join("tools").join(program.module))?;
    Ok(digest.finish())
}

/// The steps that compile what the cache lacks, of the given programs.
///
/// # Errors
/// A file of the checkout cannot be read.
pub fn missing_go(builder: &Builder, names: &[&str]) -> Result<Vec<String>, Error> {
    let mut steps = Vec::new();
    for name in names {
        let program = go_program(name)?;
        let key = go_key(builder, program)?;
        let recipe = Recipe { kind: "program", name, key: &key, title: String::new() };
        if builder.cache.peek(&recipe).is_none() {
            steps.push(recipe.step());
        }
    }
    Ok(steps)
}

/// kubeadm refuses a Kubernetes that does not know its own version.
fn ldflags(builder: &Builder, program: &GoProgram) -> Result<String, Error> {
    if program.name != "kubernetes" {
        return Ok("-s -w".to_owned());
    }
    let version = kubernetes_version(&builder.root)?;
    let mut numbers = version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    let at = "k8s.io/component-base/version";
    Ok(format!(
        "-s -w -X {at}.gitVersion={version} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}"
    ))
}

fn compile_go(
    program: &GoProgram,
    folder: &Path,
    ldflags: &str,
    out: &Path,
    step: &Step,
) -> Result<(), Error> {
    let sh = shell()?;
    let (package, tags) = (program.package, program.tags);
    let call =
        cmd!(sh, "go build -C {folder} -v -tags={tags} -ldflags={ldflags} -o {out} {package}")
            .env("CGO_ENABLED", "0")
            // The compiler has memory to spare here and spends a tenth of its time collecting it.
            .env("GOGC", "400")
            .env("GOFLAGS", "-mod=readonly -trimpath -buildvcs=false")
            .env("GOWORK", "off");
    let mut n_packages = 0;
    let mut on_line = |line: Line<'_>| {
        n_packages += 1;
        step.progress(&format!("{n_packages} packages, {}", line.text));
    };
    Call::new(call, LIMIT).lines(&mut on_line).run()?;
    Ok(())
}

/// The program of the pause image: a page of C, linked statically.
///
/// # Errors
/// The compiler failed, or is not there.
pub fn obtain_pause(builder: &Builder) -> Result<PathBuf, Error> {
    let source = builder.root.join("deploy/cluster/node/pause.c");
    let key = {
        let mut digest = Digest::default();
        digest.add("recipe", "cc-static-1");
        digest.add_file("pause.c", &source)?;
        digest.finish()
    };
    let title = "compile pause".to_owned();
    let recipe = Recipe { kind: "program", name: "pause", key: &key, title };
    let result = builder.cache.obtain(&builder.log, &recipe, |out, _| {
        let sh = shell()?;
        let out = out.join("pause");
        Call::new(cmd!(sh, "cc -static -Os -s -o {out} {source}"), LIMIT).run()?;
        Ok(())
    })?;
    Ok(result.join("pause"))
}

/// A shell in the present folder; making one fails only when that folder is gone.
pub(crate) fn shell() -> Result<Shell, Error> {
    Shell::new().map_err(|error| Error::Other(error.to_string()))
}
