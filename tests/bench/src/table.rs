//! From values to a table: medians, and how they stand to each other.

use crate::peers::Kind;
use crate::plan::{Better, Row};

/// A column's heading.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The proxy's name.
    pub name: &'static str,
    /// What it is to the table.
    pub kind: Kind,
}

/// One row with the values of every round: column by column, none where a proxy has no part in it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The row.
    pub row: Row,
    /// The values.
    pub values: Vec<Vec<f64>>,
}

/// The middle one of these values, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// How far the values are from their median, in per cent of it: the furthest below and the furthest above.
pub fn spread(values: &[f64]) -> Option<[f64; 2]> {
    let middle = median(values).filter(|middle| *middle != 0.0)?;
    let away = values.iter().map(|value| (value / middle - 1.0) * 100.0);
    Some(away.fold([0.0, 0.0], |[low, high], next| [next.min(low), next.max(high)]))
}

/// The table in Markdown, aligned for a terminal. Behind each median, in brackets, is how many times ours it is; the
/// last two columns hold ours against the best product and against the goal.
pub fn table(columns: &[Column], rows: &[Measured]) -> String {
    let ours = columns.iter().position(|column| column.kind == Kind::Ours);
    let mut heading = vec![String::new()];
    heading.extend(columns.iter().map(|column| column.name.to_owned()));
    heading.extend(["to the best".to_owned(), "goal".to_owned()]);
    let mut lines = vec![heading];
    lines.extend(rows.iter().map(|measured| line(columns, measured, ours)));
    aligned(&lines)
}

fn line(columns: &[Column], measured: &Measured, ours: Option<usize>) -> Vec<String> {
    let medians: Vec<_> = measured.values.iter().map(|values| median(values)).collect();
    let own = ours.and_then(|index| medians[index]);
    let mut cells = vec![measured.row.title.clone()];
    cells.extend(medians.iter().enumerate().map(|(index, value)| match value {
        None => "–".to_owned(),
        Some(value) if Some(index) == ours => number(*value),
        Some(value) => number(*value) + &ratio(*value, own).map(|times| format!(" ({times:.2})")).unwrap_or_default(),
    }));
    cells.push(to_the_best(columns, &measured.row, &medians, own));
    cells.push(against_goal(&measured.row, own));
    cells
}

/// Undefined where there is nothing to divide by.
fn ratio(value: f64, by: Option<f64>) -> Option<f64> {
    by.filter(|by| *by > 0.0).map(|by| value / by)
}

fn to_the_best(columns: &[Column], row: &Row, medians: &[Option<f64>], own: Option<f64>) -> String {
    let products = columns.iter().zip(medians).filter(|(column, _)| column.kind == Kind::Product);
    let values = products.filter_map(|(column, median)| Some((column.name, (*median)?)));
    let by_value = |one: &(&str, f64), other: &(&str, f64)| one.1.total_cmp(&other.1);
    let best = match row.better {
        Better::Lower => values.min_by(by_value),
        Better::Higher => values.max_by(by_value),
    };
    let times = best.and_then(|(name, value)| Some((name, ratio(own?, Some(value))?)));
    times.map_or_else(|| "–".to_owned(), |(name, times)| format!("{times:.2} × {name}"))
}

fn against_goal(row: &Row, own: Option<f64>) -> String {
    let Some(goal) = row.goal else { return String::new() };
    let verdict = match own {
        None => "",
        Some(own) if own <= goal => ": reached",
        Some(_) => ": missed",
    };
    format!("≤ {}{verdict}", number(goal))
}

/// Three digits at least, thousands set off.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) =
        text.split_once('.').map_or((text.as_str(), String::new()), |(whole, rest)| (whole, format!(".{rest}")));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    format!("{sign}{}{rest}", groups.join(","))
}

fn aligned(lines: &[Vec<String>]) -> String {
    let width = |index: usize| lines.iter().map(|line| line[index].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (index, cell) in line.iter().enumerate() {
            let width = widths[index];
            text += &if index == 0 { format!("| {cell:<width$} |") } else { format!(" {cell:>width$} |") };
        }
        text.push('\n');
        if number == 0 {
            let rule = |(index, width): (usize, &usize)| "-".repeat(width + 1) + if index == 0 { "-" } else { ":" };
            let rules: Vec<_> = widths.iter().enumerate().map(rule).collect();
            text += &format!("|{}|\n", rules.join("|"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_or_between_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_spread_is_told_to_both_sides() {
        assert_eq!(spread(&[50.0, 100.0, 125.0]), Some([-50.0, 25.0]));
        assert_eq!(spread(&[7.0]), Some([0.0, 0.0]));
        assert_eq!(spread(&[0.0, 0.0]), None);
    }

    #[test]
    fn numbers_have_three_digits_and_thousands() {
        let shown = [0.0, 1.05, 12.345, 123.4, 1_234_567.8, -1_234.0].map(number);
        assert_eq!(shown, ["0.00", "1.05", "12.3", "123", "1,234,568", "-1,234"]);
    }

    const COLUMNS: [Column; 4] = [
        Column { name: "ours", kind: Kind::Ours },
        Column { name: "one", kind: Kind::Product },
        Column { name: "two", kind: Kind::Product },
        Column { name: "plain", kind: Kind::Yardstick },
    ];

    fn measured(better: Better, goal: Option<f64>, values: [&[f64]; 4]) -> Measured {
        Measured { row: Row { title: "work".to_owned(), better, goal }, values: values.map(<[f64]>::to_vec).into() }
    }

    #[test]
    fn a_line_holds_ours_against_each_the_best_product_and_the_goal() {
        let lower = measured(Better::Lower, Some(145.0), [&[150.0], &[300.0], &[450.0], &[75.0]]);
        let cells = line(&COLUMNS, &lower, Some(0));
        assert_eq!(cells, ["work", "150", "300 (2.00)", "450 (3.00)", "75.0 (0.50)", "0.50 × one", "≤ 145: missed"]);
        let higher = measured(Better::Higher, None, [&[100.0, 200.0, 300.0], &[], &[400.0], &[]]);
        assert_eq!(line(&COLUMNS, &higher, Some(0)), ["work", "200", "–", "400 (2.00)", "–", "0.50 × two", ""]);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        let none = measured(Better::Lower, Some(0.0), [&[0.0], &[0.0], &[5.0], &[]]);
        assert_eq!(line(&COLUMNS, &none, Some(0)), ["work", "0.00", "0.00", "5.00", "–", "–", "≤ 0.00: reached"]);
        let failed = measured(Better::Lower, None, [&[], &[1.0], &[], &[]]);
        assert_eq!(line(&COLUMNS, &failed, Some(0)), ["work", "–", "1.00", "–", "–", "–", ""]);
    }

    #[test]
    fn columns_are_aligned() {
        let lines = [vec!["".to_owned(), "µs".to_owned()], vec!["work".to_owned(), "1,000".to_owned()]];
        assert_eq!(aligned(&lines), "|      |    µs |\n|------|------:|\n| work | 1,000 |\n");
    }
}
