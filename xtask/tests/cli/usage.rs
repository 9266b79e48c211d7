//! Help, completions, and calls that are wrong.

use crate::machine::Machine;

/// Every command that help lists, groups and their commands included.
fn commands(machine: &Machine, group: &str) -> Vec<String> {
    let help = machine.xtask(&format!("{group} --help")).run().good().stdout;
    let listed = help.lines().skip_while(|it| *it != "Commands:").skip(1);
    let names = listed.take_while(|it| !it.is_empty());
    let names = names.filter(|it| it.starts_with("  ") && !it.starts_with("   "));
    let names = names.filter_map(|it| it.split_whitespace().next()).filter(|it| *it != "help");
    let mut found = Vec::new();
    for name in names {
        let command = format!("{group} {name}").trim().to_owned();
        found.extend(commands(machine, &command));
        found.push(command);
    }
    found
}

#[test]
fn the_help_of_every_command_has_an_example_of_it() {
    let machine = Machine::new();
    let commands = commands(&machine, "");
    assert!(commands.len() > 12 && commands.iter().any(|it| it == "cluster up"), "{commands:?}");
    let groups = ["cluster", "google", "google fault", "images"];
    for command in commands.iter().filter(|it| !groups.contains(&it.as_str())) {
        let help = machine.xtask(&format!("{command} --help")).run().good().stdout;
        let has_example = help.contains(&format!("cargo xtask {command}"));
        assert!(help.contains("Example") && has_example, "{command}:\n{help}");
    }
    assert_eq!(machine.read("state/calls"), "", "help calls nobody");
}

#[test]
fn every_exit_code_is_in_the_help() {
    let codes = include_str!("../../src/exit.rs");
    let codes =
        codes.lines().filter_map(|it| it.strip_prefix("pub(crate) const ")?.split_once("u8 = "));
    let codes: Vec<&str> = codes.map(|(_, code)| code.trim_end_matches(';')).collect();
    assert!(codes.contains(&"40"), "{codes:?}");
    let help = Machine::new().xtask("--help").run().good().stdout;
    let (_, listed) = help.split_once("Exit codes:").unwrap();
    let listed: Vec<&str> = listed.split_whitespace().collect();
    for code in codes {
        assert!(listed.contains(&code), "{code} is not in {listed:?}");
    }
}

#[test]
fn wrong_calls_are_answered_with_what_is_right() {
    let cases: [(&str, &[&str]); 12] = [
        ("", &["Usage: cargo xtask"]),
        ("deplyo --env kind", &["deplyo", "deploy"]),
        ("deploy", &["--env <NAME>"]),
        (
            "deploy --env knd",
            &["`gcp`, `gcp-cloudsql`, `kind`, `kind-cloudsql`", "hint: did you mean `--env kind`?"],
        ),
        (
            "render --env production",
            &["production", "hint: an environment is a folder in deploy/mlflow/env"],
        ),
        ("deploy --env kind --timeout soon", &["soon", "--timeout"]),
        ("open --env kind --port 70000", &["70000", "--port"]),
        ("validate --env kind --json --quiet", &["--json", "--quiet"]),
        ("validate --env kind --verbose --quiet", &["--verbose", "--quiet"]),
        ("google fault sql close", &["--seconds"]),
        (
            "google fault sql open --seconds 3",
            &["only `close` lasts for some seconds", "hint: leave out --seconds"],
        ),
        // docs/adr/0007 says why there is none.
        ("status --env kind --namespace other", &["--namespace"]),
    ];
    let machine = Machine::new();
    for (arguments, words) in cases {
        let ended = machine.xtask(arguments).run().says(2, words);
        assert_eq!(ended.stdout, "", "{arguments}");
    }
    assert_eq!(machine.read("state/calls"), "", "a wrong call calls nobody");
}

#[test]
fn completions_are_a_script_that_knows_the_commands() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish"] {
        let ended = machine.xtask(&format!("completions {shell}")).run().good();
        assert!(
            ended.stdout.contains("xtask") && ended.stdout.contains("deploy"),
            "{shell}: {ended}"
        );
        assert_eq!(ended.stderr, "");
    }
    machine.xtask("completions csh").run().says(2, &["bash"]);
}
