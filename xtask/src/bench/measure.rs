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

/// One line of the result.
#[derive(Serialize)]
pub(crate) struct Row {
    what: String,
    unit: &'static str,
    min: f64,
    median: f64,
    max: f64,
    runs: usize,
}

impl Row {
    /// Times, in seconds.
    pub(crate) fn seconds(what: &str, times: Times) -> Self {
        let values: Vec<f64> = times.0.iter().map(Duration::as_secs_f64).collect();
        Self::of(what.to_owned(), "s", &values)
    }

    /// Sizes, in MB of 10^6 bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes of images are far below 2^52 MB")]
    pub(crate) fn megabytes(what: String, sizes_mb: &[u64]) -> Self {
        let values: Vec<f64> = sizes_mb.iter().map(|it| *it as f64).collect();
        Self::of(what, "MB", &values)
    }

    fn of(what: String, unit: &'static str, values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        let last = sorted.len().saturating_sub(1);
        Self { what, unit, min: at(0), median: at(last / 2), max: at(last), runs: sorted.len() }
    }

    /// The cells of the table.
    pub(crate) fn cells(&self) -> Vec<String> {
        let digits = if self.unit == "MB" { 0 } else { 3 };
        let show = |value: f64| format!("{value:.digits$} {}", self.unit);
        vec![
            self.what.clone(),
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
