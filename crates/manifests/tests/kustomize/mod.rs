//! Renders the overlays with the real Kustomize, in place or in a copy with other settings.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use manifests::{Bundle, EnvFile, Environment, overrides, settings};

/// The top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The overlays as they are committed.
pub(crate) fn committed(environment: Environment) -> &'static Bundle {
    static BUNDLES: [OnceLock<Bundle>; 4] = [const { OnceLock::new() }; 4];
    BUNDLES[environment as usize].get_or_init(|| {
        Bundle::parse(&render(&root().join(environment.folder()))).expect("renders objects")
    })
}

/// A copy of the overlays, gone when dropped.
pub(crate) struct Copy {
    path: PathBuf,
}

impl Copy {
    /// A copy of what is committed.
    pub(crate) fn new() -> Copy {
        static COPIES: AtomicU32 = AtomicU32::new(0);
        let number = COPIES.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("manifests-{}-{number}", process::id()));
        copy(&root().join("deploy/mlflow"), &path.join("deploy/mlflow"));
        Copy { path }
    }

    /// Makes the edits that these shell variables mean.
    pub(crate) fn set(&self, environment: Environment, variables: &[(&str, &str)]) {
        let texts = settings::files(environment).map(|it| (it, self.read(it)));
        let files = texts.clone().map(|(path, text)| EnvFile::parse(path, &text).0);
        let variable =
            |name: &str| variables.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        let edits = overrides::edits(environment, &files, variable);
        assert_eq!(edits.len(), variables.len(), "each variable is an edit: {edits:?}");
        for (path, text) in texts {
            fs::write(self.path.join(path), overrides::apply(path, &text, &edits))
                .expect("the copy is writable");
        }
    }

    /// A file of the copy.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path.join(path)).expect("a file of the overlays")
    }

    /// What an environment of the copy renders.
    pub(crate) fn bundle(&self, environment: Environment) -> Bundle {
        Bundle::parse(&render(&self.path.join(environment.folder()))).expect("renders objects")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Every file under a folder, by its path.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the overlays") {
        let path = entry.expect("an entry of the folder").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("is inside"));
        fs::create_dir_all(target.parent().expect("has a folder")).expect("the copy is writable");
        fs::copy(&file, target).expect("the copy is writable");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the crate is pure, its tests are not; no wait is needed"
)]
fn render(folder: &Path) -> String {
    let output =
        Command::new("kubectl").arg("kustomize").arg(folder).output().unwrap_or_else(|error| {
            panic!("kubectl does not start: {error}\nhint: cargo xtask doctor --fix")
        });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl kustomize {}: {said}", folder.display());
    // Kustomize says here what it will give up.
    assert_eq!(said, "", "kubectl kustomize {} has warnings", folder.display());
    String::from_utf8(output.stdout).expect("YAML is UTF-8")
}
