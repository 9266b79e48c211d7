//! A machine on which every program is a stub: a folder with a PATH, a home, a checkout, a cache.
//!
//! A stub writes its call to a log and behaves well; a test that wants it to misbehave gives it a
//! hook. The folder and whatever still runs in it end with the [`Machine`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::run::Xtask;

/// What is on PATH, and the file in `stubs/` that it is.
const PROGRAMS: [(&str, &str); 28] = [
    ("docker", "docker"),
    ("dockerd", "dockerd"),
    ("go", "go"),
    ("python3", "python3"),
    ("cargo", "cargo"),
    ("cc", "cc"),
    ("mmdebstrap", "mmdebstrap"),
    ("systemctl", "systemctl"),
    ("sudo", "sudo"),
    ("apt-get", "apt-get"),
    // Those are looked for, and never called.
    ("git", "unexpected"),
    ("iptables", "unexpected"),
    ("runc", "unexpected"),
    ("chromium", "unexpected"),
    ("docker-registry", "unexpected"),
    ("unshare", "unexpected"),
    ("setpriv", "unexpected"),
    ("ip", "unexpected"),
    ("openssl", "unexpected"),
    ("python3.11", "unexpected"),
    ("psql", "unexpected"),
    ("postgres", "unexpected"),
    // Those are there to be caught: nothing may call the user's own.
    ("kubectl", "unexpected"),
    ("kind", "unexpected"),
    ("curl", "unexpected"),
    ("gcloud", "unexpected"),
    ("helm", "unexpected"),
    ("podman", "unexpected"),
];

/// What Kustomize renders where a test does not care.
const RENDERED: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: rendered
  namespace: mlflow
data:
  rendered: by the stub
";

/// The parts of the checkout that commands read.
const CHECKOUT: [&str; 8] = [
    "crates/google-emulator",
    "crates/iam",
    "crates/runtime-wrapper",
    "crates/watch",
    "deploy",
    "fake-gcs",
    "tools",
    "Cargo.lock",
];

/// A machine of stubs.
pub(crate) struct Machine {
    folder: PathBuf,
    /// Held open so that nobody who waits at the gate outlives the machine.
    gate: File,
}

impl Machine {
    /// A machine on which nothing is missing, with a Docker daemon and an empty cache.
    pub(crate) fn new() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// A machine below a folder, for users who may not enter the build's own.
    pub(crate) fn below(parent: &Path) -> Self {
        static MACHINES: AtomicU32 = AtomicU32::new(0);
        let number = MACHINES.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("machine-{}-{number}", std::process::id()));
        for part in ["bin", "home", "state/hooks"] {
            fs::create_dir_all(folder.join(part)).unwrap();
        }
        for part in CHECKOUT {
            copy(&source().join(part), &folder.join("checkout").join(part));
        }
        copy_programs(&source().join("xtask/tests/cli/stubs"), &folder.join("stubs"));
        let gate = make_gate(&folder.join("state/gate"));
        let machine = Self { folder, gate };
        for (name, stub) in PROGRAMS {
            let stub = machine.path(&format!("stubs/{stub}.sh"));
            symlink(stub, machine.path("bin").join(name)).unwrap();
        }
        for name in ["calls", "containers", "images", "loaded", "registry", "daemon"] {
            machine.write_state(name, "");
        }
        machine.write_state("rendered", RENDERED);
        machine
    }

    /// The same, but Kustomize is the real one.
    pub(crate) fn with_kustomize() -> Self {
        let machine = Self::new();
        machine.write_state("real-kubectl", &kubectl().display().to_string());
        machine
    }

    /// A call of xtask on this machine; nothing of the test's own environment reaches it.
    pub(crate) fn xtask(&self, arguments: &str) -> Xtask {
        self.xtask_at(Path::new(env!("CARGO_BIN_EXE_xtask")), arguments)
    }

    /// The same, of a copy of xtask.
    pub(crate) fn xtask_at(&self, xtask: &Path, arguments: &str) -> Xtask {
        Xtask::new(xtask, arguments)
            .env("PATH", self.path("bin"))
            .env("HOME", self.path("home"))
            .env("STUBS", self.path("state"))
            .env("MLFLOW_GKE_ROOT", self.path("checkout"))
            .env("MLFLOW_GKE_CACHE", self.path("cache"))
    }

    /// A path on the machine.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// A file's text; empty when there is none.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Writes a file, with the folders that it needs.
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a file that the stubs read.
    pub(crate) fn write_state(&self, name: &str, content: &str) {
        self.write(&format!("state/{name}"), content);
    }

    /// Replaces a text in a file of the checkout.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let path = format!("checkout/{path}");
        let text = self.read(&path);
        assert!(text.contains(from), "{path} has no {from:?}");
        self.write(&path, &text.replacen(from, to, 1));
    }

    /// Takes a program off the machine.
    pub(crate) fn remove(&self, program: &str) {
        fs::remove_file(self.path("bin").join(program)).unwrap();
    }

    /// Stops the Docker daemon before the test.
    pub(crate) fn without_daemon(self) -> Self {
        fs::remove_file(self.path("state/daemon")).unwrap();
        self
    }

    /// Shell that a stub runs before its own; it may exit.
    pub(crate) fn hook(&self, program: &str, script: &str) {
        self.write_state(&format!("hooks/{program}"), script);
    }

    /// Takes the hook away.
    pub(crate) fn unhook(&self, program: &str) {
        fs::remove_file(self.path("state/hooks").join(program)).unwrap();
    }

    /// Lets one stub that waits at the gate (`read -r _ <"$STUBS/gate"`) pass.
    pub(crate) fn open_gate(&self) {
        writeln!(&self.gate).unwrap();
    }

    /// Every call so far of a program, arguments with blanks between them, in order.
    pub(crate) fn calls(&self, program: &str) -> Vec<String> {
        let calls = self.read("state/calls");
        let calls = calls.lines().map(|it| it.split_once(' ').unwrap_or((it, "")));
        calls.filter(|it| it.0 == program).map(|it| it.1.to_owned()).collect()
    }

    /// The calls of a program that begin with these words.
    pub(crate) fn calls_of(&self, program: &str, words: &str) -> Vec<String> {
        let mut calls = self.calls(program);
        calls.retain(|it| it.starts_with(words));
        calls
    }

    /// What a user would miss: the files of the checkout and of the home folder, with the times at
    /// which they were last written.
    pub(crate) fn belongings(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
        let mut found = BTreeMap::new();
        for folder in ["home", "checkout/deploy", "checkout/fake-gcs", "checkout/tools"] {
            for file in files(&self.path(folder)) {
                let written = file.metadata().unwrap().modified().unwrap();
                found.insert(file.clone(), (fs::read(&file).unwrap(), written));
            }
        }
        found
    }

    /// The whole results in the cache, as `KIND/NAME`.
    pub(crate) fn results(&self) -> Vec<String> {
        let cache = self.path("cache");
        let seals = files(&cache).into_iter().filter(|it| it.ends_with(".seal.json"));
        let folders = seals.filter_map(|it| Some(it.parent()?.to_owned()));
        let whole = folders.filter(|it| it.extension().is_none());
        let names = whole.filter_map(|it| Some(it.parent()?.strip_prefix(&cache).ok()?.to_owned()));
        names.map(|it| it.display().to_string()).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Every file under a folder; none when there is no such folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

/// The top of the checkout under test.
fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The kubectl that `cargo xtask test` names, or the one on PATH.
pub(crate) fn kubectl() -> PathBuf {
    let named = std::env::var_os("MLFLOW_GKE_KUBECTL").map(PathBuf::from);
    named
        .or_else(|| process::find("kubectl"))
        .expect("no kubectl\nhint: cargo xtask test brings its own")
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// Copies executables, by a process of its own: a file that this process has written may still be
/// open for writing in a child that another test has just forked, and then it does not start.
pub(crate) fn copy_programs(from: &Path, to: &Path) {
    let sh = process::Shell::new().unwrap();
    let call = process::cmd!(sh, "cp --recursive {from} {to}");
    process::Call::new(call, std::time::Duration::from_secs(60)).run().unwrap();
}

/// A pipe with a name, open in both directions so that opening it waits for nobody.
fn make_gate(path: &Path) -> File {
    let sh = process::Shell::new().unwrap();
    let call = process::cmd!(sh, "mkfifo {path}");
    process::Call::new(call, std::time::Duration::from_secs(10)).run().unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}
