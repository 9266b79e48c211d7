//! A plan as text for people.

use std::fmt::Write;

use crate::{Action, Plan};

/// Renders what a plan changes, one line for each field, and what it leaves alone as a count.
///
/// Empty for a plan that changes nothing and has nothing to note.
pub fn diff(plan: &Plan) -> String {
    let mut text = String::new();
    let mut unchanged = 0;
    for change in &plan.changes {
        let id = &change.id;
        match &change.action {
            Action::Create => line(&mut text, format_args!("+ {id}: create")),
            Action::Update { leaves } => {
                for leaf in leaves {
                    line(&mut text, format_args!("~ {id} {leaf}"));
                }
            }
            Action::Recreate { why, leaves } => {
                line(&mut text, format_args!("± {id}: delete and create again ({why})"));
                for leaf in leaves {
                    line(&mut text, format_args!("± {id} {leaf}"));
                }
            }
            Action::Prune => {
                line(&mut text, format_args!("- {id}: delete once the rollout is proven"));
            }
            Action::Keep { why } => {
                line(&mut text, format_args!("  {id}: no longer wanted but stays, {why}"));
            }
            Action::Unchanged => unchanged += 1,
        }
    }
    for note in &plan.notes {
        line(&mut text, format_args!("! {note}"));
    }
    if !text.is_empty() && unchanged > 0 {
        line(&mut text, format_args!("= {unchanged} unchanged"));
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
