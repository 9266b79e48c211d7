//! The times that an expression writes as `timestamp("2026-01-31T00:00:00Z")`.

/// A moment, as seconds since 1970 and the nanoseconds after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant {
    seconds: i64,
    nanoseconds: u32,
}

impl Instant {
    pub(super) fn at(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// Reads RFC 3339, the only form that `timestamp` takes.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T')?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let zone = time.find(['Z', '+', '-'])?;
        let (time, zone) = time.split_at(zone);
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
        let sane = year > 0
            && (1..=12).contains(&month)
            && (1..=days_of(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !sane || fraction.is_empty() || !fraction.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        let seconds =
            days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Self { seconds: seconds - offset(zone)?, nanoseconds })
    }
}

/// Seconds that a zone, `Z` or `+02:00`, is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

/// Numbers of exactly these many digits, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut found = [0; N];
    let mut parts = text.split(separator);
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is a year's last, and in eras of 400 years,
/// which all have the same number of days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-23T03:34:36Z", 1_795_404_876),
            ("2026-11-23T05:34:36+02:00", 1_795_404_876),
            ("2026-11-22T22:04:36-05:30", 1_795_404_876),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(Instant::read(text), Some(Instant::at(seconds)), "{text}");
        }
    }

    #[test]
    fn a_fraction_counts() {
        let half = Instant::read("1970-01-01T00:00:00.5Z").unwrap();
        assert!(Instant::at(0) < half && half < Instant::at(1));
        assert_eq!(half.nanoseconds, 500_000_000);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "T",
            "2026-11-23",
            "2026-11-23T03:34:36",
            "2026-11-23 03:34:36Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "0000-01-01T00:00:00Z",
            "2026-1-1T00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.xZ",
            "2026-01-01T00:00:00+2",
            "2026-01-01T00:00:00+é2:00",
            "2026-01-01T00:00:00ZZ",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(Instant::read(text), None, "{text}");
        }
    }
}
