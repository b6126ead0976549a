//! What moved between two reports, beyond its noise.

use serde::Serialize;
use webnibble_common::record::RunRecord;

use super::{ReportRow, ms};

/// Smaller changes than this are never called changes, however quiet the runs were: two starts of one browser differ by
/// that much.
const LEAST_CHANGE: f64 = 0.05;

/// One row in both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What was measured.
    pub key: String,
    /// Median before.
    pub before_ms: Option<f64>,
    /// Median after.
    pub after_ms: Option<f64>,
    /// After by before; `None` where only one of them is the platform's own time.
    pub ratio: Option<f64>,
    /// How far the ratio may be from one by the spread of both alone.
    pub noise: Option<f64>,
    /// `faster`, `slower`, `same`, `new`, `gone`, `now runs`, `no longer runs`; `other machine` or `other adapter` where the
    /// ratio is not one of the program. A platform that is simulated does not run.
    pub verdict: &'static str,
}

/// Every row of both reports, paired by what they measured.
pub fn compare(before: &[RunRecord], after: &[RunRecord]) -> Vec<Change> {
    let (before, after): (Vec<ReportRow>, Vec<ReportRow>) =
        (before.iter().map(ReportRow::of).collect(), after.iter().map(ReportRow::of).collect());
    let pairs = after.iter().map(|row| (before.iter().find(|one| one.key() == row.key()), Some(row)));
    let gone = before.iter().filter(|row| !after.iter().any(|one| one.key() == row.key()));
    pairs.chain(gone.map(|row| (Some(row), None))).map(|(before, after)| change(before, after)).collect()
}

fn change(before: Option<&ReportRow>, after: Option<&ReportRow>) -> Change {
    let (before_ms, after_ms) = (before.and_then(|row| row.p50_ms), after.and_then(|row| row.p50_ms));
    let ratio = before
        .zip(after)
        .filter(|(before, after)| before.is_real() == after.is_real())
        .and(before_ms.zip(after_ms))
        .filter(|(before, _)| *before > 0.0)
        .map(|(before, after)| after / before);
    let noise =
        before.zip(after).and_then(|(before, after)| Some(spread(before)?.max(spread(after)?).max(LEAST_CHANGE)));
    let noise = noise.filter(|_| ratio.is_some());
    let verdict = match (before, after) {
        (None, _) => "new",
        (_, None) => "gone",
        (Some(before), Some(after)) => verdict(before, after, ratio, noise),
    };
    let key = after.or(before).map(ReportRow::key).unwrap_or_default();
    Change { key, before_ms, after_ms, ratio, noise, verdict }
}

fn verdict(before: &ReportRow, after: &ReportRow, ratio: Option<f64>, noise: Option<f64>) -> &'static str {
    let known = |row: &ReportRow| row.adapter_names.clone();
    let (Some(ratio), Some(noise)) = (ratio, noise) else {
        return match (before.is_real(), after.is_real(), before.p50_ms, after.p50_ms) {
            (false, true, ..) | (false, false, None, Some(_)) => "now runs",
            (true, false, ..) | (false, false, Some(_), None) => "no longer runs",
            _ => "same",
        };
    };
    if before.machine != after.machine {
        return "other machine";
    }
    if known(before).zip(known(after)).is_some_and(|(before, after)| before != after) {
        return "other adapter";
    }
    if ratio > 1.0 + noise {
        "slower"
    } else if ratio < 1.0 / (1.0 + noise) {
        "faster"
    } else {
        "same"
    }
}

/// How far the runs of a row were apart, relative to their median: from the smallest to the 90th percentile.
fn spread(row: &ReportRow) -> Option<f64> {
    let (median, smallest, late) = (row.p50_ms?, row.min_ms?, row.p90_ms?);
    (median > 0.0).then(|| (late - smallest) / median / 2.0)
}

/// The changes as Markdown, what moved first.
pub fn comparison_table(changes: &[Change]) -> String {
    let mut changes: Vec<&Change> = changes.iter().collect();
    changes.sort_by_key(|change| change.verdict == "same");
    let rows = changes.iter().map(|change| {
        let ratio = change.ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        let noise = change.noise.map_or("–".into(), |noise| format!("±{:.0} %", noise * 100.0));
        let (before, after) = (ms(change.before_ms), ms(change.after_ms));
        format!("| {} | {before} | {after} | {ratio} | {noise} | {} |", change.key, change.verdict)
    });
    let head = ["| what | before ms | after ms | ratio | noise | verdict |", "| --- | --: | --: | --: | --: | --- |"];
    head.into_iter().map(str::to_owned).chain(rows).collect::<Vec<_>>().join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use webnibble_common::record::ImplementationType;

    use super::*;
    use crate::report::testing::{failed, ran};

    #[test]
    fn only_what_is_beyond_the_noise_moved() {
        let before = [ran("chrome", 4, 10.0), ran("chrome", 8, 10.0), ran("firefox", 4, 10.0), ran("edge", 4, 1.0)];
        let after = [
            ran("chrome", 4, 10.2),
            ran("chrome", 8, 12.0),
            ran("firefox", 4, 8.0),
            failed("edge", 4),
            ran("webkit", 4, 1.0),
        ];
        let verdicts: Vec<_> = compare(&before, &after).iter().map(|change| change.verdict).collect();
        assert_eq!(verdicts, ["same", "slower", "faster", "no longer runs", "new"]);
        assert_eq!(compare(&before[..1], &[])[0].verdict, "gone");
        let table = comparison_table(&compare(&before, &after));
        assert!(table.lines().nth(2).unwrap().contains("slower"), "what moved comes first: {table}");
    }

    #[test]
    fn a_noisy_row_must_move_more() {
        let mut noisy = ran("chrome", 4, 10.0);
        noisy.performance_metrics.inference_time_ms.as_mut().unwrap().p90 = 20.0;
        assert_eq!(compare(&[noisy], &[ran("chrome", 4, 13.0)])[0].verdict, "same");
    }

    #[test]
    fn a_stand_in_is_not_compared_with_the_real_thing() {
        let real = ran("chrome", 4, 10.0);
        let mut simulated = ran("chrome", 4, 30.0);
        simulated.implementation_type = Some(ImplementationType::SimulatedWebgpu);
        let metrics = &mut simulated.performance_metrics;
        metrics.cpu_time_ms = metrics.inference_time_ms.take();
        simulated.adapter = None;
        let of = |before: &RunRecord, after: &RunRecord| compare(from_ref(before), from_ref(after)).remove(0);
        for (change, verdict) in [(of(&simulated, &real), "now runs"), (of(&real, &simulated), "no longer runs")] {
            assert_eq!((change.verdict, change.ratio, change.noise), (verdict, None, None));
        }
        let both = of(&simulated, &simulated);
        assert_eq!((both.verdict, both.ratio), ("same", Some(1.0)), "two stand-ins are alike");
    }

    #[test]
    fn another_machine_or_adapter_is_no_verdict_of_the_program() {
        let before = ran("chrome", 4, 10.0);
        let mut machine = ran("chrome", 4, 30.0);
        machine.run.host.cpu = Some("another".into());
        let mut adapter = ran("chrome", 4, 30.0);
        adapter.adapter.as_mut().unwrap().device = "another".into();
        let mut unknown = ran("chrome", 4, 30.0);
        unknown.adapter = None;
        let of = |after: RunRecord| compare(from_ref(&before), &[after]).remove(0).verdict;
        assert_eq!([of(machine), of(adapter), of(unknown)], ["other machine", "other adapter", "slower"]);
    }
}
