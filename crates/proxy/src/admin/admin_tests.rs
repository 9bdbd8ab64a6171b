use super::*;

fn filter(pairs: &[(&str, &str)]) -> Option<String> {
    log_filter(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn log_levels_are_read_in_envoys_forms() {
    assert_eq!(filter(&[("level", "warning")]).as_deref(), Some("warn"));
    assert_eq!(filter(&[("level", "critical")]).as_deref(), Some("error"));
    assert_eq!(filter(&[("paths", "a:debug,b:trace")]).as_deref(), Some("info,a=debug,b=trace"));
    assert_eq!(filter(&[("mizzen_proxy", "debug")]).as_deref(), Some("info,mizzen_proxy=debug"));
    assert_eq!(filter(&[]), None);
}

#[test]
fn moments_are_written_with_milliseconds() {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_120);
    assert_eq!(moment(time), "2023-11-14T22:13:20.120Z");
}
