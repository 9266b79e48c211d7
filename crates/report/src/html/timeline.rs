//! The time line: steps, objects and tests on one axis, as inline SVG.

use std::time::Duration;

use events::Outcome as StepOutcome;

use super::section;
use crate::markup::Markup;
use crate::run::{Case, Outcome, Run};
use crate::spans::{self, Ending, Phase, Step, Tone, milliseconds};
use crate::text::{clean, duration, shorten};

const WIDTH: f64 = 1160.0;
/// Where the time axis begins, right of the labels.
const LEFT: f64 = 240.0;
/// Where it ends; the room to the right is for what a bar at the end took.
const RIGHT: f64 = 1090.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
/// What a character of a label takes at the most.
const CHARACTER: f64 = 6.6;

/// What a bar is drawn from.
struct Bar<'a> {
    start_ms: u64,
    end_ms: u64,
    class: &'a str,
    hover: String,
    inside: String,
}

/// The scale and the next free row.
struct Chart {
    end_ms: u64,
    y: f64,
}

pub(super) fn write(page: &mut Markup, run: &Run) {
    let end_ms = milliseconds(run.took()).max(1);
    let steps = spans::steps(&run.events);
    let objects = spans::objects(&run.events, end_ms);
    let lanes = spans::lanes(&run.cases);
    let groups = [steps.len(), objects.len(), lanes.len()];
    if groups.iter().sum::<usize>() == 0 {
        return;
    }
    let rows: usize = groups.iter().filter(|it| **it > 0).map(|it| it + 1).sum();
    let height = 30.0 + ROW * rows as f64;
    section(page, "timeline", "Time line", |page| {
        legend(page);
        page.within("div", &[("class", "scroll"), ("tabindex", "0")], |page| {
            let label = format!(
                "{} steps, {} objects and {} tests over {}; the tables below say the same",
                groups[0],
                groups[1],
                run.cases.len(),
                duration(run.took())
            );
            let size = format!("0 0 {WIDTH} {}", number(height));
            let attributes = [("viewBox", size.as_str()), ("role", "img"), ("aria-label", &label)];
            page.within("svg", &attributes, |page| {
                let mut chart = Chart { end_ms, y: 0.0 };
                chart.axis(page, height);
                chart.steps(page, &steps);
                chart.objects(page, &objects);
                chart.tests(page, &lanes);
                page.line();
            });
        });
        untimed(page, &run.cases);
    });
}

fn legend(page: &mut Markup) {
    let all = [
        ("ok", "done, passed, ready"),
        ("wait", "waiting, flaky"),
        ("bad", "failed ✗"),
        ("same", "nothing to do, skipped"),
    ];
    page.within("p", &[("class", "legend")], |page| {
        for (class, text) in all {
            page.element("span", &[("class", &format!("key {class}"))], "");
            page.text(text);
            page.text("  ");
        }
        page.element("span", &[("class", "key last")], "");
        page.text("its end the last time");
    });
}

fn untimed(page: &mut Markup, cases: &[Case]) {
    let count = cases.iter().filter(|it| it.started_at.is_none()).count();
    if count > 0 {
        let text =
            format!("Not drawn, because no time is known: {count} of {} tests.", cases.len());
        page.element("p", &[("class", "soft")], &text);
    }
}

impl Chart {
    fn x(&self, ms: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (ms.min(self.end_ms) as f64 / self.end_ms as f64)
    }

    fn axis(&mut self, page: &mut Markup, height: f64) {
        for ms in ticks(self.end_ms) {
            let x = number(self.x(ms));
            let line = [("class", "grid"), ("x1", &x), ("x2", &x), ("y1", "22")];
            page.empty("line", &[line[0], line[1], line[2], line[3], ("y2", &number(height))]);
            let text = [("class", "tick"), ("x", x.as_str()), ("y", "14")];
            page.element("text", &text, &tick(ms));
        }
        self.y = 24.0;
    }

    /// The heading of a group of rows.
    fn group(&mut self, page: &mut Markup, title: &str) {
        page.line();
        let attributes = [("class", "group"), ("x", "0"), ("y", &number(self.y + 16.0))];
        page.element("text", &attributes, title);
        self.y += ROW;
    }

    fn steps(&mut self, page: &mut Markup, steps: &[Step]) {
        if !steps.is_empty() {
            self.group(page, "Steps");
        }
        for step in steps {
            let class = match step.ending {
                Ending::Ended(StepOutcome::Done) => "bar ok",
                Ending::Ended(StepOutcome::Unchanged) => "bar same",
                Ending::Ended(StepOutcome::Failed) => "bar bad",
                Ending::Open => "bar bad open",
            };
            let took = duration(step.took());
            let hover = hover(&step.title, step.ending.word(), &took, &step.message);
            let bad = if step.ending.is_bad() { "✗ " } else { "" };
            self.label(page, &step.title);
            let (start_ms, end_ms) = (step.start_ms, step.end_ms);
            self.bar(page, &Bar { start_ms, end_ms, class, hover, inside: String::new() });
            let free = self.estimate(page, step).max(self.x(end_ms));
            self.beside(page, free, &format!("{bad}{took}"));
            self.y += ROW;
        }
    }

    /// A mark where the step ended last time. Returns what it takes of the room beside the bar.
    fn estimate(&self, page: &mut Markup, step: &Step) -> f64 {
        let done = step.ending != Ending::Ended(StepOutcome::Unchanged);
        let Some(estimate_ms) = step.estimate_ms.filter(|_| done) else { return 0.0 };
        let at = step.start_ms.saturating_add(estimate_ms);
        if at > self.end_ms {
            return 0.0;
        }
        let (x, y) = (self.x(at), self.y + 2.0);
        let place = [number(x), number(y), number(y + BAR + 4.0)];
        let (x1, x2) = (("x1", place[0].as_str()), ("x2", place[0].as_str()));
        let line = [("class", "estimate"), x1, x2, ("y1", &place[1]), ("y2", &place[2])];
        page.within("line", &line, |page| {
            let text = duration(Duration::from_millis(estimate_ms));
            page.element("title", &[], &format!("last time {text}"));
        });
        let near = x - self.x(step.end_ms) < 60.0;
        if near { x } else { 0.0 }
    }

    fn objects(&mut self, page: &mut Markup, objects: &[(String, Vec<Phase>)]) {
        if !objects.is_empty() {
            self.group(page, "Objects");
        }
        for (object, phases) in objects {
            self.label(page, object);
            for phase in phases {
                let class = match spans::tone(&phase.state) {
                    Tone::Good => "bar ok thin",
                    Tone::Waiting => "bar wait",
                    Tone::Bad => "bar bad",
                };
                let length = Duration::from_millis(phase.end_ms - phase.start_ms);
                let hover = hover(object, &phase.state, &duration(length), &phase.message);
                let inside = match spans::tone(&phase.state) {
                    Tone::Good => String::new(),
                    Tone::Waiting => phase.state.clone(),
                    Tone::Bad => format!("✗ {}", phase.state),
                };
                let (start_ms, end_ms) = (phase.start_ms, phase.end_ms);
                self.bar(page, &Bar { start_ms, end_ms, class, hover, inside });
            }
            self.y += ROW;
        }
    }

    fn tests(&mut self, page: &mut Markup, lanes: &[Vec<(u64, &Case)>]) {
        if !lanes.is_empty() {
            self.group(page, "Tests");
        }
        for (index, lane) in lanes.iter().enumerate() {
            self.label(page, &format!("lane {}", index + 1));
            for (start_ms, case) in lane {
                let class = match case.outcome {
                    Outcome::Passed => "bar ok",
                    Outcome::Failed => "bar bad",
                    Outcome::Flaky => "bar wait",
                    Outcome::Skipped => "bar same",
                };
                let name = format!("{} {}", case.suite, case.name);
                let took = duration(case.took);
                let hover = hover(&name, case.outcome.word(), &took, &case.output);
                let mark = match case.outcome {
                    Outcome::Failed => "✗ ",
                    Outcome::Flaky => "↻ ",
                    Outcome::Passed | Outcome::Skipped => "",
                };
                let inside = format!("{mark}{}", case.name);
                let end_ms = start_ms.saturating_add(milliseconds(case.took));
                self.bar(page, &Bar { start_ms: *start_ms, end_ms, class, hover, inside });
            }
            self.y += ROW;
        }
    }

    /// The name left of a row.
    fn label(&self, page: &mut Markup, text: &str) {
        page.line();
        let y = number(self.y + 15.0);
        page.within("text", &[("class", "label"), ("x", "12"), ("y", &y)], |page| {
            page.text(&shorten(&clean(text), 33));
            page.element("title", &[], text);
        });
    }

    /// A bar, never too thin to be hit with a pointer, with as much of its text as fits.
    fn bar(&self, page: &mut Markup, bar: &Bar<'_>) {
        let (start, y) = (self.x(bar.start_ms), self.y + 4.0);
        let width = (self.x(bar.end_ms) - start).max(2.0);
        let (thick, y) = if bar.class.contains("thin") { (5.0, y + 4.5) } else { (BAR, y) };
        let (x, width_text) = (number(start), number(width));
        page.within("g", &[], |page| {
            page.element("title", &[], &bar.hover);
            let place = [("x", x.as_str()), ("y", &number(y))];
            let size = [("width", width_text.as_str()), ("height", &number(thick))];
            let class = ("class", bar.class);
            page.empty("rect", &[class, place[0], place[1], size[0], size[1], ("rx", "2")]);
            let room = ((width - 8.0) / CHARACTER).max(0.0) as usize;
            if room >= 4 && !bar.inside.is_empty() {
                let place = [("x", number(start + 4.0)), ("y", number(y + 11.0))];
                let text = [("class", "inside"), ("x", &place[0].1), ("y", &place[1].1)];
                page.element("text", &text, &shorten(&clean(&bar.inside), room));
            }
        });
    }

    fn beside(&self, page: &mut Markup, x: f64, text: &str) {
        let place = [number(x + 6.0), number(self.y + 15.0)];
        page.element("text", &[("class", "took"), ("x", &place[0]), ("y", &place[1])], text);
    }
}

fn hover(name: &str, state: &str, took: &str, message: &str) -> String {
    let message = shorten(message.trim(), 400);
    if message.is_empty() {
        format!("{name}\n{state}, {took}")
    } else {
        format!("{name}\n{state}, {took}\n{message}")
    }
}

/// The marks of an axis: at most ten, at distances that people count in.
fn ticks(end_ms: u64) -> Vec<u64> {
    const STEPS: [u64; 20] = [
        1, 5, 10, 50, 100, 250, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000,
        300_000, 600_000, 900_000, 1_800_000, 3_600_000,
    ];
    let fits = |step: &u64| end_ms / step < 10;
    let step = STEPS.into_iter().find(fits).unwrap_or_else(|| {
        // Longer than ten hours: whole hours, as many as it takes.
        (end_ms / 10).div_ceil(3_600_000).saturating_mul(3_600_000).max(3_600_000)
    });
    (0..=end_ms / step).map(|it| it * step).collect()
}

/// The time at a mark: `250 ms`, `15 s`, `2:30`, `1:02:00`.
fn tick(ms: u64) -> String {
    let seconds = ms / 1000;
    match ms {
        0 => "0".to_owned(),
        _ if !ms.is_multiple_of(1000) => format!("{ms} ms"),
        1000..60_000 => format!("{seconds} s"),
        60_000..3_600_000 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// A coordinate with one decimal; more would only make the page longer.
fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_at_distances_people_count_in() {
        let shown = |end| ticks(end).into_iter().map(tick).collect::<Vec<_>>().join(" ");
        expect![[r#"
            0 1 ms 2 ms 3 ms 4 ms 5 ms 6 ms 7 ms
            0 100 ms 200 ms 300 ms 400 ms 500 ms 600 ms 700 ms 800 ms 900 ms
            0 2 s 4 s 6 s 8 s 10 s 12 s
            0 30 s 1:00 1:30 2:00 2:30
            0 5:00 10:00 15:00 20:00 25:00 30:00 35:00 40:00 45:00
            0 3:00:00 6:00:00 9:00:00 12:00:00 15:00:00 18:00:00 21:00:00 24:00:00 27:00:00"#]]
        .assert_eq(&[7, 900, 12_000, 150_000, 2_700_000, 100_000_000].map(shown).join("\n"));
    }

    #[test]
    fn a_killed_step_is_drawn_as_such() {
        let step = events::Event::StepStarted {
            at_ms: 0,
            step: "a".into(),
            title: "build <a>".into(),
            estimate_ms: Some(500),
        };
        let note = events::Event::Note { at_ms: 1000, message: String::new() };
        let mut page = Markup::default();
        write(&mut page, &Run { events: vec![step, note], ..Run::default() });
        let page = page.finish();
        let row = &page[page.find("<g>").unwrap()..page.find("</svg>").unwrap()];
        expect![[r#"
            <g><title>build &lt;a&gt;
            unfinished, 1.0 s</title><rect class="bar bad open" x="240" y="50" width="850" height="14" rx="2" /></g><line class="estimate" x1="665" x2="665" y1="48" y2="66"><title>last time 500 ms</title></line><text class="took" x="1096" y="61">✗ 1.0 s</text>
        "#]].assert_eq(row);
    }

    proptest! {
        #[test]
        fn bars_stay_on_the_axis(end_ms in 1..u64::MAX, at in any::<u64>()) {
            let chart = Chart { end_ms, y: 0.0 };
            prop_assert!((LEFT..=RIGHT).contains(&chart.x(at)));
            prop_assert!(ticks(end_ms).len() <= 11);
            prop_assert!(ticks(end_ms).iter().all(|it| *it <= end_ms));
        }
    }
}
