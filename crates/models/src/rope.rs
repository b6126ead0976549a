//! Rotary positions as `config.json` describes them: how far each pair of columns turns from a position to the next.

use std::f64::consts::TAU;

use webnibble_common::graph::Rotary;

use crate::error::ModelError;
use crate::fields::{Fields, MOST, wrong};

/// Rotary positions of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    /// The slowest pair turns about so many times slower than the first one.
    pub theta: f32,
    /// What makes positions fit that are further than those the model was first trained on.
    pub scaling: RopeScaling,
}

/// What makes far positions fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// Nothing.
    None,
    /// Every pair turns so many times slower.
    Linear {
        /// How many times.
        factor: f32,
    },
    /// Slow pairs turn `factor` times slower, quick ones as they did, and those between something between (LLaMA 3.1).
    Llama3 {
        /// How many times.
        factor: f32,
        /// Pairs are slow that turn less often than so in the first training's positions.
        low_freq_factor: f32,
        /// Pairs are quick that turn more often than so.
        high_freq_factor: f32,
        /// Positions of the first training.
        original_max_position_embeddings: usize,
    },
}

impl Default for Rope {
    fn default() -> Self {
        Self { theta: 1e4, scaling: RopeScaling::None }
    }
}

impl Rope {
    /// Reads `rope_parameters`, or `rope_theta` and `rope_scaling` of older files.
    pub(crate) fn from_fields(fields: Fields<'_>) -> Result<Self, ModelError> {
        let all = match fields.object("rope_parameters")? {
            Some(parameters) => Some(parameters),
            None => fields.object("rope_scaling")?,
        };
        let theta = fields.positive("rope_theta", Self::default().theta)?;
        let Some(all) = all else { return Ok(Self { theta, scaling: RopeScaling::None }) };
        let partial = all.positive("partial_rotary_factor", 1.0)?;
        if partial != 1.0 {
            return Err(wrong("partial_rotary_factor", "1".into(), partial.to_string()));
        }
        Ok(Self { theta: all.positive("rope_theta", theta)?, scaling: RopeScaling::from_fields(all)? })
    }

    /// Radians from a position to the next, for each pair of a head of so many columns.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f32> {
        let mut frequencies = Rotary::frequencies(self.theta, head_dim);
        frequencies.iter_mut().for_each(|frequency| *frequency = self.scaling.of(f64::from(*frequency)) as f32);
        frequencies
    }
}

impl RopeScaling {
    fn from_fields(fields: Fields<'_>) -> Result<Self, ModelError> {
        let kind = fields.text("rope_type", fields.text("type", "default")?)?;
        let factor = |field| {
            let factor = fields.positive(field, 0.0)?;
            if factor > 0.0 { Ok(factor) } else { Err(wrong(field, format!("there for `{kind}`"), "nothing".into())) }
        };
        match kind {
            "default" => Ok(Self::None),
            "linear" => Ok(Self::Linear { factor: factor("factor")? }),
            "llama3" => {
                let (low_freq_factor, high_freq_factor) = (factor("low_freq_factor")?, factor("high_freq_factor")?);
                if high_freq_factor <= low_freq_factor {
                    let expected = format!("more than `low_freq_factor` ({low_freq_factor})");
                    return Err(wrong("high_freq_factor", expected, high_freq_factor.to_string()));
                }
                let positions = fields.count("original_max_position_embeddings", 1..=MOST, 8192)?;
                let factor = factor("factor")?;
                let original_max_position_embeddings = positions;
                Ok(Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings })
            }
            _ => Err(wrong("rope_type", "`default`, `linear` or `llama3`".into(), format!("`{kind}`"))),
        }
    }

    fn of(self, frequency: f64) -> f64 {
        match self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / f64::from(factor),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let [factor, low, high] = [factor, low_freq_factor, high_freq_factor].map(f64::from);
                // How often the pair turns in the positions of the first training.
                let turns = original_max_position_embeddings as f64 * frequency / TAU;
                let quick = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                (1.0 - quick) * frequency / factor + quick * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rope(config: &Value) -> Result<Rope, String> {
        Rope::from_fields(Fields(config)).map_err(|error| error.to_string())
    }

    /// LLaMA 3.2 1B.
    fn llama3() -> Value {
        json!({"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"})
    }

    #[test]
    fn old_and_new_files_say_the_same() {
        let mut parameters = llama3();
        parameters["rope_theta"] = json!(500_000.0);
        let new = rope(&json!({"rope_parameters": parameters})).unwrap();
        assert_eq!(new, rope(&json!({"rope_theta": 500_000.0, "rope_scaling": llama3()})).unwrap());
        assert_eq!(rope(&json!({})).unwrap(), Rope::default());
        let old = rope(&json!({"rope_scaling": {"type": "linear", "factor": 4}})).unwrap();
        assert_eq!(old.scaling, RopeScaling::Linear { factor: 4.0 });
    }

    #[test]
    fn far_positions_turn_the_slow_pairs_less() {
        let scaled = rope(&json!({"rope_theta": 500_000.0, "rope_scaling": llama3()})).unwrap().frequencies(64);
        let plain = Rotary::frequencies(5e5, 64);
        let ratio = |pair: usize| plain[pair] / scaled[pair];
        // The wave of pair 15 is 2950 positions long, that of pair 16 4443, that of pair 17 6696, that of pair 18 10089.
        assert_eq!([0, 14].map(ratio), [1.0, 1.0]);
        assert!(ratio(15) > 1.0 && ratio(15) < ratio(16) && ratio(16) < ratio(17) && ratio(17) < 32.0);
        assert!([18, 31].map(ratio).iter().all(|ratio| (ratio - 32.0).abs() < 1e-4));
        let linear = Rope { theta: 1e4, scaling: RopeScaling::Linear { factor: 4.0 } };
        assert_eq!(linear.frequencies(8), [0.25, 0.025, 0.0025, 0.00025]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = |config: Value| rope(&json!({"rope_scaling": config})).unwrap_err();
        assert_eq!(
            error(json!({"rope_type": "yarn", "factor": 4})),
            "config.json: `rope_type` should be `default`, `linear` or `llama3`, found `yarn`"
        );
        assert_eq!(
            error(json!({"rope_type": "linear"})),
            "config.json: `factor` should be there for `linear`, found nothing"
        );
        let mut swapped = llama3();
        swapped["high_freq_factor"] = json!(0.5);
        assert_eq!(
            error(swapped),
            "config.json: `high_freq_factor` should be more than `low_freq_factor` (1), found 0.5"
        );
        assert_eq!(error(json!(3)), "config.json: `rope_scaling` should be an object, found 3");
        let partial = error(json!({"partial_rotary_factor": 0.5}));
        assert_eq!(partial, "config.json: `partial_rotary_factor` should be 1, found 0.5");
    }
}
