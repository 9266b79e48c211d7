//! The word somebody probably meant.

/// The candidate with the fewest edits to `word`, if that is few enough to be a slip.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let (distance, best) =
        candidates.into_iter().map(|it| (distance(word, it), it)).min_by_key(|it| it.0)?;
    let slip = best.chars().count().max(word.chars().count()) / 2;
    (distance <= slip).then_some(best)
}

/// Levenshtein's distance, without regard to case.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word() {
        let names = ["gcp", "gcp-cloudsql", "kind", "kind-cloudsql"];
        assert_eq!(nearest("kid", names), Some("kind"));
        assert_eq!(nearest("gcp-cloud-sql", names), Some("gcp-cloudsql"));
        assert_eq!(nearest("GCP", names), Some("gcp"));
    }

    #[test]
    fn another_word_finds_none() {
        assert_eq!(nearest("production", ["gcp", "kind"]), None);
        assert_eq!(nearest("anything", []), None);
    }
}
