//! Events as lines for a person, and the bar of the step that runs.

use std::time::Duration;

use crate::event::{Event, Outcome};

/// The line that an event leaves on the terminal, if it leaves one.
pub(crate) fn line(event: &Event, title: &str) -> Option<String> {
    match event {
        Event::StepStarted { title, estimate_ms, .. } => {
            let estimate = estimate_ms.filter(|ms| *ms >= 5000).map_or(String::new(), |ms| {
                format!(" (about {})", duration(Duration::from_millis(ms)))
            });
            Some(format!("• {title}{estimate}"))
        }
        Event::StepEnded { outcome, took_ms, message, .. } => {
            let mark = match outcome {
                Outcome::Done => "✓",
                Outcome::Unchanged => "=",
                Outcome::Failed => "✗",
            };
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Some(format!("{mark} {title}{message} [{}]", duration(Duration::from_millis(*took_ms))))
        }
        Event::Note { message, .. } => Some(message.clone()),
        Event::Object { object, state, message, .. } => {
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Some(format!("    {object} {state}{message}"))
        }
        Event::Error { message, .. } => Some(format!("error: {message}")),
        Event::StepProgress { .. } | Event::Result { .. } => None,
    }
}

/// The bar of a running step. Past its estimate it says so instead of standing at 100 %.
pub(crate) fn bar(
    title: &str,
    message: &str,
    spent: Duration,
    estimate: Option<Duration>,
    columns: usize,
) -> String {
    let progress = match estimate {
        Some(estimate) if spent < estimate => {
            let filled =
                usize::try_from(spent.as_millis() * 20 / estimate.as_millis().max(1)).unwrap_or(20);
            format!(
                "[{}{}] about {} left",
                "#".repeat(filled.min(20)),
                "-".repeat(20 - filled.min(20)),
                duration(estimate - spent)
            )
        }
        Some(estimate) => {
            format!("{}, expected {}", duration(spent), duration(estimate))
        }
        None => duration(spent),
    };
    let text = if message.is_empty() {
        format!("  {title} {progress}")
    } else {
        format!("  {title} {progress} {message}")
    };
    text.chars().take(columns.saturating_sub(1)).collect()
}

/// A duration as a person says it: `0.3 s`, `42 s`, `3 min 5 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(duration(Duration::from_millis(312)), "0.3 s");
        assert_eq!(duration(Duration::from_secs(42)), "42 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 5 s");
    }

    #[test]
    fn the_bar_counts_down_and_then_admits_that_it_was_wrong() {
        let half = bar("build", "x", Duration::from_secs(30), Some(Duration::from_secs(60)), 200);
        assert_eq!(half, "  build [##########----------] about 30 s left x");
        let late = bar("build", "", Duration::from_secs(70), Some(Duration::from_secs(60)), 200);
        assert_eq!(late, "  build 70 s, expected 60 s");
    }

    #[test]
    fn the_bar_fits_the_terminal() {
        assert_eq!(bar("a long title", "message", Duration::ZERO, None, 10).chars().count(), 9);
    }
}
