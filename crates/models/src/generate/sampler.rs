//! Which token comes next, by the scores of all.

use std::collections::BTreeSet;

use webnibble_common::options::GenerationOptions;

use super::config::GenerationConfig;
use super::error::GenerateError;
use super::noise;

/// Likeliest tokens that are put in order first: a nucleus is seldom larger.
const SHORT_LIST: usize = 256;

/// How a token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the scores; 0 takes the likeliest.
    pub temperature: f32,
    /// Draw from that many of the likeliest; 0 for all.
    pub top_k: usize,
    /// Draw from the likeliest up to that probability in all.
    pub top_p: f32,
    /// Draw from those at least that likely, relative to the likeliest.
    pub min_p: f32,
    /// Divides positive scores of tokens that were there before, multiplies negative ones.
    pub repetition_penalty: f32,
    /// Of the noise.
    pub seed: u64,
}

impl Sampling {
    /// As the options say, and where they do not, as the model's own files. Whoever says how to draw means that it is drawn.
    pub(super) fn of(config: &GenerationConfig, options: &GenerationOptions) -> Result<Self, GenerateError> {
        let GenerationOptions { top_k, top_p, min_p, seed, .. } = options;
        let defaults = &config.defaults;
        let draws = top_k.is_some() || top_p.is_some() || min_p.is_some() || seed.is_some();
        let sampling = Self {
            temperature: options.temperature.or(defaults.temperature).unwrap_or(if draws { 1.0 } else { 0.0 }),
            top_k: top_k.or(defaults.top_k).unwrap_or(0) as usize,
            top_p: top_p.or(defaults.top_p).unwrap_or(1.0),
            min_p: min_p.or(defaults.min_p).unwrap_or(0.0),
            repetition_penalty: options.repetition_penalty.or(defaults.repetition_penalty).unwrap_or(1.0),
            seed: seed.unwrap_or(0),
        };
        sampling.check()?;
        Ok(sampling)
    }

    fn check(&self) -> Result<(), GenerateError> {
        let known = |name, value: f32, fits: bool, expected| match fits {
            true => Ok(()),
            false => Err(GenerateError::Option { name, expected, found: value.to_string() }),
        };
        let Self { temperature, top_p, min_p, repetition_penalty: penalty, .. } = *self;
        let is_temperature = temperature.is_finite() && temperature >= 0.0;
        known("temperature", temperature, is_temperature, "a number from 0 on")?;
        known("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1")?;
        known("min_p", min_p, (0.0..1.0).contains(&min_p), "from 0 to below 1")?;
        let is_penalty = penalty.is_finite() && penalty > 0.0;
        known("repetition_penalty", penalty, is_penalty, "a number above 0")
    }
}

/// Chooses token after token.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    /// Tokens of the prompt, and those that were chosen.
    seen: BTreeSet<u32>,
    step: u32,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        Self { sampling, seen: prompt.iter().copied().collect(), step: 0 }
    }

    /// How it chooses.
    pub(super) fn sampling(&self) -> &Sampling {
        &self.sampling
    }

    /// The next token by its scores `[vocab]`; of equal ones the first.
    pub(super) fn choose(&mut self, logits: &[f32]) -> Result<u32, GenerateError> {
        check(logits)?;
        let mut scores = logits.to_vec();
        self.penalize(&mut scores);
        let token = if self.sampling.temperature == 0.0 { likeliest(&scores) } else { self.drawn(&mut scores) };
        self.seen.insert(token);
        self.step += 1;
        Ok(token)
    }

    /// Keskar et al., "CTRL" (2019), as transformers has it: once for a token, however often it was there.
    fn penalize(&self, scores: &mut [f32]) {
        let penalty = self.sampling.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        for token in &self.seen {
            if let Some(score) = scores.get_mut(*token as usize) {
                *score = if *score > 0.0 { *score / penalty } else { *score * penalty };
            }
        }
    }

    fn drawn(&self, scores: &mut [f32]) -> u32 {
        let Sampling { temperature, seed, .. } = self.sampling;
        // From the largest down, so that however little the temperature is, that one stays a finite number.
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.iter_mut().for_each(|score| *score = (*score - top) / temperature);
        let noisy = |token: &u32| scores[*token as usize] + noise::gumbel(seed, self.step, *token);
        let kept = self.kept(scores);
        // Of equal ones the first, whatever order they were kept in.
        let best = kept.iter().max_by(|a, b| noisy(a).total_cmp(&noisy(b)).then(b.cmp(a)));
        best.copied().unwrap_or_else(|| likeliest(scores))
    }

    /// The tokens that are drawn from. Equal ones are all among them or none is, so that no order is needed.
    fn kept(&self, scores: &[f32]) -> Vec<u32> {
        let Sampling { top_k, top_p, min_p, .. } = self.sampling;
        let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut least = if min_p > 0.0 { top + min_p.ln() } else { f32::NEG_INFINITY };
        if top_k > 0 && top_k < scores.len() {
            least = least.max(kth_largest(scores, top_k));
        }
        if top_p < 1.0 {
            least = least.max(nucleus(scores, top, top_p));
        }
        (0..scores.len() as u32).filter(|token| scores[*token as usize] >= least).collect()
    }
}

fn kth_largest(scores: &[f32], k: usize) -> f32 {
    let mut scores = scores.to_vec();
    *scores.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

/// The least score of the likeliest whose probability, among all there are scores for, reaches `top_p` together.
fn nucleus(scores: &[f32], top: f32, top_p: f32) -> f32 {
    let mass = |score: f32| f64::from((score - top).exp());
    let wanted = scores.iter().map(|score| mass(*score)).sum::<f64>() * f64::from(top_p);
    let (mut scores, mut short) = (scores.to_vec(), SHORT_LIST.min(scores.len()));
    loop {
        put_first(&mut scores, short);
        let mut reached = 0.0;
        let last = scores[..short].iter().copied().find(|score| {
            reached += mass(*score);
            reached >= wanted
        });
        match last {
            Some(least) => return least,
            None if short == scores.len() => return f32::NEG_INFINITY,
            None => short = scores.len(),
        }
    }
}

/// Puts the `count` largest scores first, in order.
fn put_first(scores: &mut [f32], count: usize) {
    let larger = |a: &f32, b: &f32| b.total_cmp(a);
    if count > 0 && count < scores.len() {
        scores.select_nth_unstable_by(count - 1, larger);
    }
    scores[..count].sort_unstable_by(larger);
}

/// The token with the largest score; of equal ones the first.
pub fn likeliest(scores: &[f32]) -> u32 {
    let first_largest = |best: usize, index: usize| if scores[index] > scores[best] { index } else { best };
    (0..scores.len()).reduce(first_largest).unwrap_or(0) as u32
}

fn check(logits: &[f32]) -> Result<(), GenerateError> {
    let wrong = logits.iter().position(|score| !score.is_finite());
    match wrong {
        Some(index) => Err(GenerateError::Scores { found: format!("{} for token {index}", logits[index]) }),
        None if logits.is_empty() => Err(GenerateError::Scores { found: "none".into() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "callers build it in place")]
    fn sampler(options: GenerationOptions, prompt: &[u32]) -> Sampler {
        Sampler::new(Sampling::of(&GenerationConfig::default(), &options).unwrap(), prompt)
    }

    /// How often each token is drawn.
    fn counts(options: GenerationOptions, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = sampler(options, &[]);
        let mut counts = vec![0; logits.len()];
        (0..draws).for_each(|_| counts[sampler.choose(logits).unwrap() as usize] += 1);
        counts
    }

    fn drawing() -> GenerationOptions {
        GenerationOptions { temperature: Some(1.0), seed: Some(5), ..GenerationOptions::default() }
    }

    #[test]
    fn without_a_word_the_likeliest_is_taken_and_of_equal_ones_the_first() {
        let mut greedy = sampler(GenerationOptions::default(), &[]);
        assert_eq!(greedy.choose(&[1.0, 3.0, 2.0, 3.0]).unwrap(), 1);
        let mut drawn = sampler(GenerationOptions { seed: Some(1), ..GenerationOptions::default() }, &[]);
        assert!((0..50).any(|_| drawn.choose(&[1.0, 1.0]).unwrap() == 1), "a seed means that it is drawn");
    }

    #[test]
    fn draws_are_as_likely_as_the_softmax_says() {
        let likely = [0.5f32, 0.25, 0.15, 0.1];
        let logits = likely.map(f32::ln);
        let found = counts(drawing(), &logits, 10_000);
        for (count, likely) in found.iter().zip(likely) {
            // Five standard deviations of 10,000 draws are 250 at most.
            assert!((*count as f32 - likely * 1e4).abs() < 250.0, "{found:?}");
        }
        let cold = counts(GenerationOptions { temperature: Some(1e-40), ..drawing() }, &logits, 50);
        assert_eq!(cold, [50, 0, 0, 0]);
        let warm = counts(GenerationOptions { temperature: Some(0.5), ..drawing() }, &logits, 10_000);
        assert!((warm[0] as f32 - 7246.0).abs() < 250.0, "squares of the probabilities: {warm:?}");
    }

    #[test]
    fn a_seed_draws_the_same_and_another_one_others() {
        let draws = |seed| {
            let mut sampler = sampler(GenerationOptions { seed: Some(seed), ..drawing() }, &[]);
            (0..40).map(|_| sampler.choose(&[0.0; 9]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert!(draws(1) != draws(2) && draws(1) != draws(1 << 32));
    }

    #[test]
    fn what_is_drawn_from_is_cut() {
        let logits = [0.4f32, 0.3, 0.2, 0.1].map(f32::ln);
        let drawn = |options| {
            let found = counts(GenerationOptions { ..options }, &logits, 2000);
            found.iter().map(|count| *count > 0).collect::<Vec<_>>()
        };
        assert_eq!(drawn(GenerationOptions { top_k: Some(2), ..drawing() }), [true, true, false, false]);
        assert_eq!(drawn(GenerationOptions { top_p: Some(0.6), ..drawing() }), [true, true, false, false]);
        assert_eq!(drawn(GenerationOptions { top_p: Some(0.71), ..drawing() }), [true, true, true, false]);
        assert_eq!(drawn(GenerationOptions { min_p: Some(0.45), ..drawing() }), [true, true, true, false]);
        // The mass is that of all tokens: the two that are left have 0.7 of it, and 0.69 takes both.
        let both = GenerationOptions { top_k: Some(2), top_p: Some(0.69), ..drawing() };
        assert_eq!(drawn(both), [true, true, false, false]);
        assert_eq!(drawn(GenerationOptions { top_p: Some(0.01), ..drawing() }), [true, false, false, false]);
    }

    #[test]
    fn a_nucleus_larger_than_the_short_list_is_found_whole() {
        let logits: Vec<f32> = (0..4 * SHORT_LIST).map(|token| token as f32 * -1e-6).collect();
        let sampler = sampler(GenerationOptions { top_p: Some(0.5), ..drawing() }, &[]);
        // Those before are a little likelier, and so are half of it a little earlier.
        let kept = sampler.kept(&logits);
        assert_eq!(kept, (0..kept.len() as u32).collect::<Vec<_>>());
        assert!((2 * SHORT_LIST - 1..=2 * SHORT_LIST).contains(&kept.len()), "{}", kept.len());
    }

    #[test]
    fn equal_ones_are_all_drawn_from_or_none_is() {
        let kept = |options, scores: &[f32]| sampler(options, &[]).kept(scores);
        let scores = [1.0, 0.0, 1.0, 0.0];
        assert_eq!(kept(GenerationOptions { top_k: Some(1), ..drawing() }, &scores), [0, 2]);
        assert_eq!(kept(GenerationOptions { top_p: Some(0.5), ..drawing() }, &scores), [0, 2]);
        assert_eq!(kept(GenerationOptions { top_k: Some(3), ..drawing() }, &scores), [0, 1, 2, 3]);
    }

    #[test]
    fn tokens_that_were_there_are_less_likely() {
        let penalty = GenerationOptions { repetition_penalty: Some(2.0), ..GenerationOptions::default() };
        let mut prompted = sampler(penalty.clone(), &[0, 0]);
        assert_eq!(prompted.choose(&[3.0, 2.0, 1.0]).unwrap(), 1, "3 is 1.5 once halved");
        assert_eq!(prompted.choose(&[3.0, 2.0, 1.0]).unwrap(), 0, "and 2 is 1");
        let mut negative = sampler(penalty, &[1]);
        assert_eq!(negative.choose(&[-3.0, -2.0]).unwrap(), 0, "-2 is -4 once doubled");
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let wrong = |options| Sampling::of(&GenerationConfig::default(), &options).unwrap_err().to_string();
        let none = GenerationOptions::default;
        for (options, message) in [
            (
                GenerationOptions { temperature: Some(-1.0), ..none() },
                "`temperature` should be a number from 0 on, found -1",
            ),
            (GenerationOptions { temperature: Some(f32::NAN), ..none() }, "found NaN"),
            (GenerationOptions { top_p: Some(0.0), ..none() }, "`top_p` should be above 0 and at most 1, found 0"),
            (GenerationOptions { top_p: Some(1.5), ..none() }, "found 1.5"),
            (GenerationOptions { min_p: Some(1.0), ..none() }, "`min_p` should be from 0 to below 1, found 1"),
            (GenerationOptions { repetition_penalty: Some(0.0), ..none() }, "`repetition_penalty` should be"),
        ] {
            let found = wrong(options);
            assert!(found.contains(message), "{found}");
        }
        let mut greedy = sampler(none(), &[]);
        assert!(greedy.choose(&[]).unwrap_err().to_string().ends_with("found none"));
        assert!(greedy.choose(&[1.0, f32::NAN]).unwrap_err().to_string().ends_with("found NaN for token 1"));
    }
}
