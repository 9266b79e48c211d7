//! Which figures there are, what they should reach, and how samples become rows.

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::bench::measure::Reach::{self, AtLeast, AtMost};
use crate::bench::measure::{Row, Unit};

/// A script that measures.
pub(super) struct Script {
    /// Its file in `tests/google/clients`.
    pub(super) file: &'static str,
    /// What it measures, for people.
    pub(super) title: &'static str,
    figures: &'static [Figure],
}

/// Something that is measured several times.
struct Figure {
    /// As the script calls it.
    name: &'static str,
    /// As people read it; `{size}` is the MiB that the script chose.
    what: &'static str,
    unit: Unit,
    /// Ours first. Of none there is one way only.
    ways: &'static [&'static str],
    /// For what is measured; with several ways, for our share of the first other one.
    reach: Option<Reach>,
}

const STORAGE: &[&str] = &["gateway", "fake-gcs-server", "fake-gcs-server with TLS"];
/// The last one asks for the proxy's certificate, as Cloud SQL does: the proxy signs each handshake.
const SQL: &[&str] = &["emulated Cloud SQL", "TLS forwarder", "mutual TLS forwarder"];

/// Everything that scripts measure.
pub(super) const SCRIPTS: [Script; 3] = [
    Script {
        file: "storage_bench.py",
        title: "measure Cloud Storage beside fake-gcs-server",
        figures: &[
            beside("up", "100 MiB up", Unit::MebibytesPerSecond, STORAGE, AtLeast(80.0)),
            beside("down", "100 MiB down", Unit::MebibytesPerSecond, STORAGE, AtLeast(80.0)),
            beside("put_rate", "1 KiB put, 32 clients", Unit::PerSecond, STORAGE, AtLeast(70.0)),
            beside(
                "put_p99",
                "1 KiB put, 32 clients, p99",
                Unit::Milliseconds,
                STORAGE,
                AtMost(200.0),
            ),
            beside("get_rate", "1 KiB get, 32 clients", Unit::PerSecond, STORAGE, AtLeast(70.0)),
            beside(
                "get_p99",
                "1 KiB get, 32 clients, p99",
                Unit::Milliseconds,
                STORAGE,
                AtMost(200.0),
            ),
        ],
    },
    Script {
        file: "gateway_bench.py",
        title: "measure the gateway and the metadata server",
        figures: &[
            alone("start", "gateway from nothing to its first answer", Unit::Milliseconds, 300.0),
            alone(
                "start_again",
                "gateway with a state to its first answer",
                Unit::Milliseconds,
                300.0,
            ),
            alone("rest", "gateway's memory at rest", Unit::Mebibytes, 30.0),
            alone("rest_metadata", "metadata server's memory at rest", Unit::Mebibytes, 30.0),
            alone("token_cached", "metadata token, cached, p99", Unit::Milliseconds, 2.0),
            alone("token_fresh", "metadata token, fresh, p99", Unit::Milliseconds, 15.0),
            alone(
                "memory_sink",
                "gateway's peak memory, {size} MiB up and down, a sink behind it",
                Unit::Mebibytes,
                64.0,
            ),
            alone(
                "memory_store",
                "gateway's peak memory, {size} MiB up and down, fake-gcs-server behind it",
                Unit::Mebibytes,
                64.0,
            ),
        ],
    },
    Script {
        file: "cloudsql_bench.py",
        title: "measure Cloud SQL beside a TLS forwarder",
        figures: &[
            beside("select", "pgbench, select only", Unit::PerSecond, SQL, AtLeast(90.0)),
            beside("tpcb", "pgbench, TPC-B", Unit::PerSecond, SQL, AtLeast(90.0)),
            beside(
                "connect",
                "pgbench, select only, a connection each",
                Unit::PerSecond,
                SQL,
                AtLeast(90.0),
            ),
        ],
    },
];

const fn alone(name: &'static str, what: &'static str, unit: Unit, most: f64) -> Figure {
    Figure { name, what, unit, ways: &[""], reach: Some(AtMost(most)) }
}

const fn beside(
    name: &'static str,
    what: &'static str,
    unit: Unit,
    ways: &'static [&'static str],
    share: Reach,
) -> Figure {
    Figure { name, what, unit, ways, reach: Some(share) }
}

/// A value that a script measured.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    figure: String,
    way: String,
    value: f64,
    size_mib: Option<u64>,
}

impl Script {
    /// Rows of what the script printed, a line of JSON for each sample.
    ///
    /// # Errors
    /// A line is no sample, a sample is of no figure, a figure is not whole.
    pub(super) fn rows(&self, text: &str) -> anyhow::Result<Vec<Row>> {
        let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("`{line}`"));
        let samples: Vec<Sample> = text.lines().map(parse).collect::<anyhow::Result<_>>()?;
        for sample in &samples {
            let is_known = self
                .figures
                .iter()
                .any(|it| it.name == sample.figure && it.ways.contains(&&*sample.way));
            let Sample { figure, way, .. } = sample;
            ensure!(is_known, "{} tells of `{figure}` by `{way}`", self.file);
        }
        let mut rows = Vec::new();
        for figure in self.figures {
            rows.extend(figure.rows(&samples).with_context(|| self.file)?);
        }
        Ok(rows)
    }
}

impl Figure {
    fn rows(&self, samples: &[Sample]) -> anyhow::Result<Vec<Row>> {
        let samples: Vec<&Sample> = samples.iter().filter(|it| it.figure == self.name).collect();
        let measured = self.ways.iter().map(|way| {
            let of_way = samples.iter().filter(|it| it.way == *way);
            (*way, of_way.map(|it| it.value).collect())
        });
        let measured: Vec<(&str, Vec<f64>)> = measured.collect();
        let Some(((our_way, ours), others)) = measured.split_first() else {
            return Ok(Vec::new());
        };
        ensure!(!ours.is_empty(), "`{}` was not measured", self.name);
        ensure!(
            others.iter().all(|(_, theirs)| theirs.len() == ours.len()),
            "`{}` was not measured as often in each way",
            self.name
        );
        let size_mib = samples.first().and_then(|it| it.size_mib);
        let what = self.what.replace("{size}", &size_mib.unwrap_or_default().to_string());
        if others.is_empty() {
            return Ok(vec![Row::of(what, self.unit, ours).reach(self.reach)]);
        }
        let values =
            measured.iter().map(|(way, it)| Row::of(format!("{what}, {way}"), self.unit, it));
        let mut reach = self.reach;
        let shares = others.iter().map(|(way, theirs)| {
            let what = format!("{what}, {our_way} of {way}");
            Row::of(what, Unit::Percent, &shares(ours, theirs)).reach(reach.take())
        });
        Ok(values.chain(shares).collect())
    }
}

/// What ours is of theirs in each turn, in percent.
fn shares(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| 100.0 * ours / theirs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Script = Script {
        file: "it_bench.py",
        title: "measure it",
        figures: &[
            beside("rate", "it", Unit::PerSecond, &["ours", "theirs", "others"], AtLeast(80.0)),
            alone("memory", "memory of {size} MiB", Unit::Mebibytes, 64.0),
        ],
    };

    const TEXT: &str = r#"{"figure": "rate", "way": "ours", "value": 50}
{"figure": "rate", "way": "theirs", "value": 100}
{"figure": "rate", "way": "others", "value": 25.0}
{"figure": "memory", "way": "", "value": 31.5, "size_mib": 5120}
{"figure": "rate", "way": "theirs", "value": 50}
{"figure": "rate", "way": "ours", "value": 45}
{"figure": "rate", "way": "others", "value": 90}"#;

    #[test]
    fn a_share_is_of_the_same_turn_and_its_goal_stands_beside_it() {
        let row = |what: &str, unit, values: &[f64]| Row::of(what.to_owned(), unit, values);
        let expected = [
            row("it, ours", Unit::PerSecond, &[50.0, 45.0]),
            row("it, theirs", Unit::PerSecond, &[100.0, 50.0]),
            row("it, others", Unit::PerSecond, &[25.0, 90.0]),
            row("it, ours of theirs", Unit::Percent, &[50.0, 90.0]).reach(AtLeast(80.0)),
            row("it, ours of others", Unit::Percent, &[200.0, 50.0]),
            row("memory of 5120 MiB", Unit::Mebibytes, &[31.5]).reach(AtMost(64.0)),
        ];
        assert_eq!(SCRIPT.rows(TEXT).unwrap(), expected);
    }

    #[test]
    fn what_is_no_sample_is_not_passed_over() {
        let refused = |text: &str| format!("{:#}", SCRIPT.rows(text).unwrap_err());
        assert!(refused("Traceback").contains("`Traceback`"));
        assert!(refused("").contains("`rate` was not measured"));
        let stray = r#"{"figure": "rate", "way": "nobody's", "value": 1}"#;
        assert!(refused(&format!("{TEXT}\n{stray}")).contains("by `nobody's`"));
        let one_more = r#"{"figure": "rate", "way": "ours", "value": 1}"#;
        assert!(refused(&format!("{TEXT}\n{one_more}")).contains("as often"));
    }
}
