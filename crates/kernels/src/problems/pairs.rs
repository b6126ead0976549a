//! Pairwise combinations: for any two choices of an operator, every pair of their values is in some case.

use std::collections::BTreeSet;

/// Rows of one index a factor, such that every pair of values of two factors is in some row. `seeds` fix the first factors
/// of the first rows. Greedy, and the same each time; a few rows more than the two largest factors multiplied.
pub(crate) fn pairs(factors: &[usize], seeds: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut missing = all_pairs(factors);
    let mut rows = Vec::new();
    let mut seeds = seeds.iter();
    loop {
        let mut row: Vec<Option<usize>> = vec![None; factors.len()];
        match (seeds.next(), missing.first()) {
            (Some(seed), _) => row.iter_mut().zip(seed).for_each(|(place, value)| *place = Some(*value)),
            (None, Some(&[(f, a), (g, b)])) => (row[f], row[g]) = (Some(a), Some(b)),
            (None, None) => return rows,
        }
        let row = fill(factors, row, &missing, rows.len());
        for (f, a) in row.iter().enumerate() {
            for (g, b) in row.iter().enumerate().skip(f + 1) {
                missing.remove(&[(f, *a), (g, *b)]);
            }
        }
        rows.push(row);
    }
}

/// Two factors, each with one of its values.
type Pair = [(usize, usize); 2];

fn all_pairs(factors: &[usize]) -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for (f, f_len) in factors.iter().enumerate() {
        for (g, g_len) in factors.iter().enumerate().skip(f + 1) {
            pairs.extend((0..*f_len).flat_map(|a| (0..*g_len).map(move |b| [(f, a), (g, b)])));
        }
    }
    pairs
}

/// Gives each open factor the value that meets most missing pairs; among equals the choice goes round with `turn`.
fn fill(factors: &[usize], mut row: Vec<Option<usize>>, missing: &BTreeSet<Pair>, turn: usize) -> Vec<usize> {
    for factor in 0..factors.len() {
        if row[factor].is_some() {
            continue;
        }
        let met = |value: usize| {
            let others = row.iter().enumerate().filter_map(|(other, value)| Some((other, (*value)?)));
            others.filter(|other| missing.contains(&ordered((factor, value), *other))).count()
        };
        let values = (0..factors[factor]).map(|step| (turn + step) % factors[factor]);
        // `max_by_key` takes the last of equals.
        row[factor] = values.rev().max_by_key(|value| met(*value));
    }
    row.into_iter().map(|value| value.expect("every factor has at least one value")).collect()
}

fn ordered(a: (usize, usize), b: (usize, usize)) -> Pair {
    if a.0 < b.0 { [a, b] } else { [b, a] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_is_in_some_row() {
        let factors = [5, 2, 4, 7, 3];
        let rows = pairs(&factors, &[vec![4, 1], vec![0]]);
        assert_eq!(rows[0][..2], [4, 1]);
        assert_eq!(rows[1][0], 0);
        for [(f, a), (g, b)] in all_pairs(&factors) {
            assert!(rows.iter().any(|row| row[f] == a && row[g] == b), "{f}={a} with {g}={b}");
        }
        assert!(rows.len() < 60, "{} rows", rows.len());
    }
}
