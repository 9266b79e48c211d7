//! Repeated measurements and their minimum, median and maximum.

use std::time::Duration;

use serde::Serialize;

/// Times of several runs, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// The time of a single run.
    pub(crate) fn one(time: Duration) -> Self {
        Self(vec![time])
    }

    /// Sorts the times of several runs.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        Self(times)
    }
}

/// Runs the work several times.
///
/// # Errors
/// One of the runs failed.
pub(crate) fn repeat(
    runs: usize,
    mut work: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<Times> {
    Ok(Times::of((0..runs).map(|_| work()).collect::<anyhow::Result<_>>()?))
}

/// Runs two works in turn, A B A B, so that a machine that slows down slows both.
///
/// # Errors
/// One of the runs failed.
pub(crate) fn interleave(
    runs: usize,
    mut a: impl FnMut() -> anyhow::Result<Duration>,
    mut b: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<(Times, Times)> {
    let mut times = (Vec::new(), Vec::new());
    for _ in 0..runs {
        times.0.push(a()?);
        times.1.push(b()?);
    }
    Ok((Times::of(times.0), Times::of(times.1)))
}

/// What values are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "µs")]
    Microseconds,
    /// 10^6 bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// 2^20 bytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "MiB/s")]
    MebibytesPerSecond,
    #[serde(rename = "/s")]
    PerSecond,
    #[serde(rename = "%")]
    Percent,
}

impl Unit {
    fn symbol(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Megabytes => "MB",
            Self::Mebibytes => "MiB",
            Self::MebibytesPerSecond => "MiB/s",
            Self::PerSecond => "/s",
            Self::Percent => "%",
        }
    }

    /// How many digits after the point tell more than chance does.
    fn digits(self) -> usize {
        match self {
            Self::Seconds => 3,
            Self::Milliseconds | Self::Microseconds => 2,
            Self::Mebibytes | Self::Percent => 1,
            Self::Megabytes | Self::MebibytesPerSecond | Self::PerSecond => 0,
        }
    }
}

/// What a median should reach, in the unit of its row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    AtMost(f64),
    AtLeast(f64),
}

/// One line of the result.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    what: String,
    unit: Unit,
    reach: Option<Reach>,
    min: f64,
    median: f64,
    max: f64,
    runs: usize,
}

impl Row {
    /// Times, in seconds.
    pub(crate) fn seconds(what: &str, times: Times) -> Self {
        let values: Vec<f64> = times.0.iter().map(Duration::as_secs_f64).collect();
        Self::of(what.to_owned(), Unit::Seconds, &values)
    }

    /// Sizes, in MB of 10^6 bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes of images are far below 2^52 MB")]
    pub(crate) fn megabytes(what: String, sizes_mb: &[u64]) -> Self {
        let values: Vec<f64> = sizes_mb.iter().map(|it| *it as f64).collect();
        Self::of(what, Unit::Megabytes, &values)
    }

    /// Values of several runs.
    pub(crate) fn of(what: String, unit: Unit, values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        let (min, median, max) = (at(0), at(last / 2), at(last));
        Self { what, unit, reach: None, min, median, max, runs: sorted.len() }
    }

    /// The same row with a goal.
    pub(crate) fn reach(self, reach: impl Into<Option<Reach>>) -> Self {
        Self { reach: reach.into(), ..self }
    }

    /// The heads of the table.
    pub(crate) fn heads() -> Vec<String> {
        ["WHAT", "REACH", "MIN", "MEDIAN", "MAX", "RUNS"].map(str::to_owned).to_vec()
    }

    /// The cells of the table.
    pub(crate) fn cells(&self) -> Vec<String> {
        let (digits, symbol) = (self.unit.digits(), self.unit.symbol());
        let show = |value: f64| format!("{value:.digits$} {symbol}");
        let reach = match self.reach {
            Some(Reach::AtMost(most)) => format!("≤ {most} {symbol}"),
            Some(Reach::AtLeast(least)) => format!("≥ {least} {symbol}"),
            None => String::new(),
        };
        vec![
            self.what.clone(),
            reach,
            show(self.min),
            show(self.median),
            show(self.max),
            self.runs.to_string(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_measured_value() {
        let row = Row::megabytes("x".to_owned(), &[3, 1, 2]);
        assert_eq!((row.min, row.median, row.max, row.runs), (1.0, 2.0, 3.0, 3));
    }

    #[test]
    fn a_goal_stands_beside_what_was_measured() {
        let row = Row::of("x".to_owned(), Unit::Percent, &[79.94]).reach(Reach::AtLeast(80.0));
        assert_eq!(row.cells(), ["x", "≥ 80 %", "79.9 %", "79.9 %", "79.9 %", "1"]);
        let json = serde_json::to_value(&row).unwrap();
        assert_eq!(json["reach"], serde_json::json!({ "at_least": 80.0 }));
        assert_eq!(json["unit"], "%");
    }

    #[test]
    fn a_unit_is_the_same_to_machines_and_to_people() {
        for unit in [
            Unit::Seconds,
            Unit::Milliseconds,
            Unit::Microseconds,
            Unit::Megabytes,
            Unit::Mebibytes,
            Unit::MebibytesPerSecond,
            Unit::PerSecond,
            Unit::Percent,
        ] {
            assert_eq!(serde_json::to_value(unit).unwrap(), unit.symbol());
        }
    }

    #[test]
    fn two_works_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let work = |name: char| {
            order.borrow_mut().push(name);
            Ok(Duration::ZERO)
        };
        interleave(2, || work('a'), || work('b')).unwrap();
        assert_eq!(order.into_inner(), "abab");
    }
}
