//! What somebody may have meant who wrote a word that is not known.

/// The known word that a misspelt one is closest to, if any is close: at most a third of its letters, and
/// no more than three, are wrong. Case does not matter.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let distances = known.into_iter().map(|known| (distance(&word, &known.to_lowercase()), known));
    let (distance, nearest) = distances.min()?;
    (distance <= (nearest.chars().count() / 3).min(3)).then_some(nearest)
}

/// How many letters must be changed, added, removed or swapped with their neighbour to get from one word to
/// the other: the optimal string alignment distance.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or_default();
    let mut two_before: Vec<usize> = Vec::new();
    let mut before: Vec<usize> = (0..=to.len()).collect();
    let mut last = None;
    for (i, a) in from.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = at(&before, j) + usize::from(a != *b);
            let mut least = changed.min(at(&before, j + 1) + 1).min(at(&row, j) + 1);
            let is_swap = j > 0 && last == Some(*b) && to.get(j - 1) == Some(&a);
            if is_swap && !two_before.is_empty() {
                least = least.min(at(&two_before, j - 1) + 1);
            }
            row.push(least);
        }
        two_before = std::mem::replace(&mut before, row);
        last = Some(a);
    }
    before.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "spelling_tests.rs"]
mod tests;
