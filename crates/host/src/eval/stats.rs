//! Correlations.

/// Pearson's correlation; `None` for fewer than two pairs, and where one side does not vary.
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    let found = xy / (xx * yy).sqrt();
    found.is_finite().then_some(found)
}

/// Spearman's rank correlation: Pearson's of the ranks, equal values having the mean of theirs.
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1 on.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for same in order.chunk_by(|a, b| values[*a] == values[*b]) {
        // The mean of the ranks first + 1 to first + len.
        let rank = first as f64 + (same.len() + 1) as f64 / 2.0;
        same.iter().for_each(|index| ranks[*index] = rank);
        first += same.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[-0.0, 0.0]), [1.5, 1.5]);
    }

    #[test]
    fn correlations_as_scipy_has_them() {
        // scipy.stats.pearsonr, spearmanr.
        let (x, y) = ([1.0, 2.0, 2.0, 4.0, 9.0], [0.5, 0.1, 0.9, 0.9, 0.7]);
        assert!((pearson(&x, &y).unwrap() - 0.2886250825554951).abs() < 1e-12);
        assert!((spearman(&x, &y).unwrap() - 0.3947368421052632).abs() < 1e-12);
        assert_eq!(spearman(&[1.0, 2.0, 30.0], &[-1.0, 0.0, 0.5]), Some(1.0));
        assert!((pearson(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]).unwrap() + 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_vary_has_no_correlation() {
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(pearson(&[1.0], &[1.0]), None);
        assert_eq!(spearman(&[], &[]), None);
    }
}
