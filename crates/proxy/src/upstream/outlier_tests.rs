use super::*;

fn settings() -> OutlierSettings {
    OutlierSettings::compile(&OutlierDetection::default())
}

fn after(outcomes: &[Outcome], settings: &OutlierSettings) -> (InARow, Option<Cause>) {
    outcomes.iter().fold((InARow::default(), None), |(counts, _), outcome| judge(counts, *outcome, settings))
}

#[test]
fn five_server_errors_in_a_row_eject() {
    let settings = settings();
    let errors = [Outcome::Status(500); 5];
    assert_eq!(after(&errors[..4], &settings).1, None);
    assert_eq!(after(&errors, &settings).1, Some(Cause::Consecutive5xx));
}

#[test]
fn one_good_answer_starts_the_count_again() {
    let (counts, cause) = after(
        &[Outcome::Status(503), Outcome::NoResponse, Outcome::Status(404), Outcome::Status(500)],
        &settings(),
    );
    assert_eq!((counts.server_errors, counts.gateway_errors, cause), (1, 0, None));
}

#[test]
fn a_new_connection_is_no_good_answer() {
    let outcomes = [Outcome::Reached, Outcome::Status(500)].repeat(5);
    assert_eq!(after(&outcomes, &settings()).1, Some(Cause::Consecutive5xx));
    let outcomes = [Outcome::Connected, Outcome::NoResponse].repeat(5);
    assert_eq!(after(&outcomes, &settings()).1, None);
}

#[test]
fn gateway_errors_count_only_where_they_are_enforced() {
    let mut settings = settings();
    settings.consecutive_5xx = 0;
    assert_eq!(after(&[Outcome::Status(503); 5], &settings).1, None);
    settings.enforcing.consecutive_gateway_failure = 100;
    assert_eq!(after(&[Outcome::Status(503); 5], &settings).1, Some(Cause::ConsecutiveGatewayFailure));
    assert_eq!(after(&[Outcome::Status(500); 9], &settings).1, None);
}

#[test]
fn own_failures_are_told_apart_when_asked() {
    let mut settings = settings();
    settings.split_local_origin = true;
    assert_eq!(after(&[Outcome::NoResponse; 5], &settings).1, Some(Cause::ConsecutiveLocalOriginFailure));
    settings.split_local_origin = false;
    assert_eq!(after(&[Outcome::TimedOut; 5], &settings).1, Some(Cause::Consecutive5xx));
}

#[test]
fn the_share_of_ejected_hosts_is_bounded() {
    let mut settings = settings();
    assert!(may_eject(0, 3, &settings), "at least one may go");
    assert!(!may_eject(1, 3, &settings));
    settings.max_ejection_percent = 0;
    assert!(!may_eject(0, 3, &settings));
    settings.always_eject_one = true;
    assert!(may_eject(0, 3, &settings));
    settings.max_ejection_percent = 100;
    assert!(may_eject(2, 3, &settings));
}

#[test]
fn ejections_grow_up_to_the_limit() {
    let settings = settings();
    assert_eq!(ejection_time(1, &settings), Duration::from_secs(30));
    assert_eq!(ejection_time(3, &settings), Duration::from_secs(90));
    assert_eq!(ejection_time(1000, &settings), Duration::from_secs(300));
}

#[test]
fn a_success_rate_far_below_the_others_is_an_outlier() {
    let low = below_mean(&[100.0, 100.0, 100.0, 100.0, 100.0, 20.0], 1900);
    assert_eq!(low, [false, false, false, false, false, true]);
    assert_eq!(below_mean(&[90.0, 90.0], 1900), [false, false]);
}
