use super::*;
use crate::scenario;

fn row(name: &'static str, rounds: &[&[(&str, f64)]]) -> Row {
    let figures =
        |round: &&[(&str, f64)]| round.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Row { name, rounds: rounds.iter().map(|round| Some(figures(round))).collect(), failure: None }
}

fn report(rows: Rows) -> Report {
    let machine = Description {
        processor: "a processor".to_owned(),
        processors: 2,
        kernel: "6".to_owned(),
        network: "own".to_owned(),
    };
    let mut report = Report::new(machine, &[], 2, 6.0);
    report.add(&scenario::select(&["mesh-path".to_owned()])[0], rows);
    report
}

fn mesh() -> Rows {
    Rows::new(vec![
        row("mizzen", &[&[(CPU_REQUESTS, 4.0), (P50, 2.0)], &[(CPU_REQUESTS, 3.0), (P50, 2.5)]]),
        row("envoy", &[&[(CPU_REQUESTS, 16.0), (P50, 9.0)], &[(CPU_REQUESTS, 10.0), (P50, 8.0)]]),
    ])
}

#[test]
fn the_last_line_is_the_ratio_of_processor_time_by_request() {
    assert_eq!(report(mesh()).ratios_to(Peer::Envoy), ["mesh-path 0.28x (0.25–0.30)"]);
    assert!(report(mesh()).ratios_to(Peer::Haproxy).is_empty(), "who was not there is not compared with");
}

#[test]
fn latency_is_also_told_as_what_the_proxy_adds() {
    let rows =
        Rows::new(vec![row("mizzen", &[&[(P50, 0.5), ("p99 ms", 1.0)]]), row(DIRECT, &[&[(P50, 0.2)]])]);
    assert_eq!(rows.figures(), [P50, ADDED_P50, "p99 ms"]);
    let added = rows.0[0].each(ADDED_P50)[0].unwrap();
    assert!((added - 0.3).abs() < 1e-9);
}

#[test]
fn a_target_that_failed_is_in_the_table_with_its_reason() {
    let mut rows = mesh();
    rows.0[1].rounds = vec![rows.0[1].rounds[0].clone(), None];
    rows.0[1].failure = Some("it ended with exit status: 1".to_owned());
    let report = report(rows.clone());
    assert_eq!(report.failures(), 1);
    let table = table::render(&scenario::select(&["mesh-path".to_owned()])[0], &rows);
    assert!(table.contains("envoy failed: it ended with exit status: 1"), "{table}");
    assert!(table.contains("16.0 [16.0–16.0]"), "{table}");
    assert!(table.contains("0.25 (0.25–0.25)"), "{table}");
}

#[test]
fn a_run_is_written_as_json_and_as_a_plot() {
    let folder = tempfile::tempdir().unwrap();
    let written = report(mesh()).write(Some(folder.path())).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(written.join("run.json")).unwrap()).unwrap();
    assert_eq!(json["scenarios"][0]["targets"][0]["rounds"][1][CPU_REQUESTS], 3.0);
    assert_eq!(json["scenarios"][0]["ratios"][1]["to"], "envoy");
    let plot = std::fs::read_to_string(written.join("run.svg")).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("mesh-path: cpu-s/100k") && plot.ends_with("</svg>\n"));
}
