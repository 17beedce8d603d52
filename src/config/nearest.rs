//! Which of the known names an unknown one was probably meant to be.

/// The name closest to `word`, if it is close enough to be a slip of the pen.
pub(super) fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = folded(word);
    // Longer words are no slip of the pen, and the work grows with the square.
    let allowed = (1..=64).contains(&word.len()).then(|| (word.len() / 3).clamp(1, 3))?;
    let near = names.into_iter().map(|name| (slips(&word, &folded(name)), name));
    near.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// `did you mean NAME? ` where there is one that is near, and the list of all there are.
pub(super) fn choices(word: &str, names: &[&str]) -> String {
    let guess = nearest(word, names.iter().copied()).map(|name| format!("did you mean {name}? "));
    format!("{}known here: {}", guess.unwrap_or_default(), names.join(", "))
}

/// How many slips of the pen lie between two words; letters in another order are one.
fn slips(word: &[char], name: &[char]) -> usize {
    let sorted = |word: &[char]| {
        let mut letters = word.to_vec();
        letters.sort_unstable();
        letters
    };
    let distance = distance(word, name);
    if distance > 1 && sorted(word) == sorted(name) { 1 } else { distance }
}

fn folded(word: &str) -> Vec<char> {
    word.chars().map(|letter| if letter == '_' { '-' } else { letter.to_ascii_lowercase() }).collect()
}

/// How many letters have to be put in, taken out or changed (Levenshtein), a row of the matrix at a time.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (count, letter) in from.iter().enumerate() {
        let mut diagonal = count;
        let mut left = count + 1;
        for (above, other) in row.iter_mut().skip(1).zip(to) {
            let changed = diagonal + usize::from(letter != other);
            diagonal = *above;
            left = changed.min(left + 1).min(diagonal + 1);
            *above = left;
        }
    }
    if to.is_empty() { from.len() } else { row.last().copied().unwrap_or(from.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(from: &str, to: &str) -> usize {
        distance(&folded(from), &folded(to))
    }

    #[test]
    fn distance_counts_single_letters() {
        assert_eq!(between("bind", "bind"), 0);
        assert_eq!(between("bakend", "backend"), 1);
        assert_eq!(between("kitten", "sitting"), 3);
        assert_eq!(between("", "abc"), 3);
        assert_eq!(between("abc", ""), 3);
    }

    #[test]
    fn only_a_slip_of_the_pen_has_a_nearest_name() {
        let names = ["hostname", "workers", "drain"];
        assert_eq!(nearest("hostnmae", names), Some("hostname"));
        assert_eq!(nearest("Host_Name", names), Some("hostname"));
        assert_eq!(nearest("mial", ["main", "mail"]), Some("mail"));
        assert_eq!(nearest("motd", names), None);
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
