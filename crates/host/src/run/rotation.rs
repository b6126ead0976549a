//! Who runs when, and how often, where several take turns: in rounds of a few runs each, the order turning round from one
//! round to the next, so that what the machine does besides falls on all alike.

/// Some runs of one of those who take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The round, from 0.
    pub(crate) round: u32,
    /// Whose turn it is, by its place in the list.
    pub(crate) index: usize,
    /// How often it runs; at least once.
    pub(crate) runs: u32,
}

/// The turns of those who want so many `runs` each, at most `longest` at a time. Who has fewer runs than others has them
/// spread over all rounds. Who wants runs alone has them all at once.
pub(crate) fn rotation(runs: &[u32], longest: u32) -> Vec<Turn> {
    let alone = runs.iter().filter(|runs| **runs > 0).count() <= 1;
    let most = runs.iter().copied().max().unwrap_or(0);
    let rounds = if alone { 1 } else { most.div_ceil(longest) };
    let mut order: Vec<usize> = (0..runs.len()).collect();
    let mut turns = Vec::new();
    for round in 0..rounds {
        let of_round = |index: &usize| {
            let now = done_after(runs[*index], round + 1, rounds) - done_after(runs[*index], round, rounds);
            Turn { round, index: *index, runs: now }
        };
        turns.extend(order.iter().map(of_round).filter(|turn| turn.runs > 0));
        order.reverse();
    }
    turns
}

/// How many of so many runs are done after a round.
fn done_after(runs: u32, round: u32, rounds: u32) -> u32 {
    (u64::from(runs) * u64::from(round)).div_ceil(u64::from(rounds)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often the second of two runs in each round.
    fn runs_of_second(most: u32, runs: u32, longest: u32) -> Vec<u32> {
        let turns = rotation(&[most, runs], longest);
        let in_round =
            |round| turns.iter().find(|turn| turn.index == 1 && turn.round == round).map_or(0, |turn| turn.runs);
        (0..most.div_ceil(longest)).map(in_round).collect()
    }

    #[test]
    fn fewer_runs_are_spread_over_all_rounds() {
        assert_eq!(runs_of_second(10, 10, 2), [2, 2, 2, 2, 2]);
        assert_eq!(runs_of_second(10, 9, 2), [2, 2, 2, 2, 1]);
        assert_eq!(runs_of_second(10, 3, 2), [1, 1, 0, 1, 0]);
        assert_eq!(runs_of_second(10, 0, 2), [0; 5]);
    }

    #[test]
    fn the_order_turns_round_and_who_is_alone_runs_at_once() {
        let indices = |turns: Vec<Turn>| turns.into_iter().map(|turn| turn.index).collect::<Vec<_>>();
        assert_eq!(indices(rotation(&[4, 4, 4], 2)), [0, 1, 2, 2, 1, 0]);
        assert_eq!(rotation(&[0, u32::MAX, 0], 2), [Turn { round: 0, index: 1, runs: u32::MAX }]);
        assert_eq!(rotation(&[], 2), []);
    }
}
