//! `cargo xtask`: MLflow on Google Kubernetes Engine, and its rehearsal on a local cluster.
//!
//! A command is a file; a group is a folder. This file parses, makes one [`Context`], matches once
//! and turns the error into an exit code.

mod bench;
mod ci;
mod clock;
mod cluster;
mod cluster_events;
mod completions;
mod context;
mod deploy;
mod diff;
mod doctor;
mod e2e;
mod exit;
mod fuzz;
mod google;
mod images;
mod logs;
mod open;
mod output;
mod overlay;
mod render;
mod status;
mod suite;
mod target;
mod test;
mod validate;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use context::{Common, Context};

/// MLflow on Google Kubernetes Engine, rehearsed on a local cluster.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, arg_required_else_help = true)]
#[command(after_help = "Examples:
  cargo xtask deploy --env kind    MLflow on this machine, from nothing
  cargo xtask open --env kind      its page at http://localhost:5000
  cargo xtask test                 every test there is

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a dry run found changes, 10 a prerequisite is missing,
20 a tool failed, 30 not healthy in time, 31 never going to be healthy, 40 refused, 130 interrupted.")]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Doctor(doctor::Arguments),
    Render(render::Arguments),
    Validate(validate::Arguments),
    Diff(diff::Arguments),
    Deploy(deploy::Arguments),
    Status(status::Arguments),
    Logs(logs::Arguments),
    Events(cluster_events::Arguments),
    Open(open::Arguments),
    #[command(subcommand)]
    Google(google::Command),
    #[command(subcommand)]
    Cluster(cluster::Command),
    #[command(subcommand)]
    Images(images::Command),
    Test(test::Arguments),
    E2e(e2e::Arguments),
    Ci(ci::Arguments),
    Bench(bench::Arguments),
    Fuzz(fuzz::Arguments),
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let context = match Context::new(arguments.common) {
        Ok(context) => context,
        Err(error) => return output::early_error(&error),
    };
    let result = match arguments.command {
        Command::Doctor(arguments) => doctor::run(&context, &arguments),
        Command::Render(arguments) => render::run(&context, &arguments),
        Command::Validate(arguments) => validate::run(&context, &arguments),
        Command::Diff(arguments) => diff::run(&context, &arguments),
        Command::Deploy(arguments) => deploy::run(&context, &arguments),
        Command::Status(arguments) => status::run(&context, &arguments),
        Command::Logs(arguments) => logs::run(&context, &arguments),
        Command::Events(arguments) => cluster_events::run(&context, &arguments),
        Command::Open(arguments) => open::run(&context, &arguments),
        Command::Google(command) => google::run(&context, &command),
        Command::Cluster(command) => cluster::run(&context, command),
        Command::Images(command) => images::run(&context, &command),
        Command::E2e(arguments) => e2e::run(&context, &arguments),
        Command::Test(arguments) => test::run(&context, &arguments),
        Command::Bench(arguments) => bench::run(&context, &arguments),
        Command::Fuzz(arguments) => fuzz::run(&context, &arguments),
        Command::Ci(arguments) => ci::run(&context, &arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = clock::explain(error);
            let code = exit::code(&error);
            context.log.error(&format!("{error:#}"), code);
            ExitCode::from(code)
        }
    }
}
