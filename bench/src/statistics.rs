//! Percentiles, medians, and ratios paired by round.

/// Median with the smallest and largest value.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The middle value; of an even number of values, the mean of the two in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value; `None` without.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// The ratios of `ours` to `theirs`, each of the same round. A round that one of them does not have, or
/// where theirs is zero, is left out: what is not paired says nothing on a noisy machine.
pub fn paired_ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Option<Spread> {
    let pairs = ours.iter().zip(theirs);
    let ratios: Vec<f64> =
        pairs.filter_map(|(ours, theirs)| Some((*ours)? / theirs.filter(|theirs| *theirs > 0.0)?)).collect();
    Spread::of(&ratios)
}

/// The smallest value that at least `share` (0 to 1) of the sorted values do not exceed; 0 of none.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.max(1) - 1).or(sorted.last()).copied().unwrap_or(0)
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
