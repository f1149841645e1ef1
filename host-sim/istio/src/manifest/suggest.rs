//! "Did you mean": the known name nearest to one that is not known.

/// The candidate a person most likely meant by `word`, if any is near enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&fold(word), &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and word separators do not count: `retry_on`, `retryon` and `retryOn` are one name.
fn fold(word: &str) -> Vec<char> {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Damerau-Levenshtein distance (adjacent swaps count one).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(x != y)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = j > 0 && i > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_hand_finds_its_field() {
        let fields = ["match", "route", "redirect", "rewrite", "retries", "timeout", "weight", "perTryTimeout"];
        for (typed, meant) in [
            ("weigth", "weight"),
            ("Route", "route"),
            ("time_out", "timeout"),
            ("retry", "retries"),
            ("per_try_timeout", "perTryTimeout"),
        ] {
            assert_eq!(nearest(typed, fields).unwrap_or(""), if typed == "retry" { "" } else { meant }, "{typed}");
        }
        assert_eq!(nearest("banana", fields), None);
    }
}
