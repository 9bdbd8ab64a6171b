use super::*;

#[test]
fn arrivals_have_the_rate_that_was_asked_for() {
    let all: Vec<_> = gaps(1000.0, 60.0).collect();
    // The number of arrivals has a standard deviation of 245.
    assert!((58_000..62_000).contains(&all.len()), "{}", all.len());
    let short = all.iter().filter(|gap| gap.as_secs_f64() < 0.001).count() as f64 / all.len() as f64;
    assert!((0.62..0.645).contains(&short), "1 - 1/e of the gaps are below the mean: {short}");
}

#[tokio::test]
async fn the_timer_never_wakes_early_and_can_be_used_again() {
    let timer = Timer::new().unwrap();
    for _ in 0..3 {
        let moment = Instant::now() + Duration::from_micros(300);
        timer.until(moment).await.unwrap();
        assert!(Instant::now() >= moment);
    }
}
