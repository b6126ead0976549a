//! Noise that a processor and a GPU make alike: a hash of counters, without a state between draws.

/// A number between 0 and 1, both left out, of a seed, the step, and a token.
///
/// The hash is pcg4d of Jarzynski and Olano, "Hash Functions for GPU Rendering" (JCGT 9(3), 2020): additions,
/// multiplications and shifts of 32-bit integers alone.
pub(super) fn uniform(seed: u64, step: u32, token: u32) -> f32 {
    let [bits, ..] = pcg4d([seed as u32, (seed >> 32) as u32, step, token]);
    // The upper 23 bits and a half: every such number is an f32 of its own, the last one below 1.
    ((bits >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0)
}

/// Noise of Gumbel's distribution: the largest of scores with it added is a draw by their softmax.
///
/// The smaller the uniform number, the larger the noise: near 0 numbers lie close together, and near 1 they do not.
pub(super) fn gumbel(seed: u64, step: u32, token: u32) -> f32 {
    -(-(-f64::from(uniform(seed, step, token))).ln_1p()).ln() as f32
}

fn pcg4d(v: [u32; 4]) -> [u32; 4] {
    let v = v.map(|value| value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    mixed(mixed(v).map(|value| value ^ (value >> 16)))
}

/// Each adds the product of two others.
fn mixed([mut x, mut y, mut z, mut w]: [u32; 4]) -> [u32; 4] {
    x = x.wrapping_add(y.wrapping_mul(w));
    y = y.wrapping_add(z.wrapping_mul(x));
    z = z.wrapping_add(x.wrapping_mul(y));
    w = w.wrapping_add(y.wrapping_mul(z));
    [x, y, z, w]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_evenly_whichever_counter_moves() {
        const DRAWS: u32 = 10_000;
        let of: [fn(u32) -> f32; 4] = [
            |n| uniform(u64::from(n), 0, 0),
            |n| uniform(u64::from(n) << 32, 0, 0),
            |n| uniform(7, n, 0),
            |n| uniform(7, 3, n),
        ];
        for (which, draw) in of.iter().enumerate() {
            let mut tenths = [0; 10];
            for n in 0..DRAWS {
                let value = draw(n);
                assert!(0.0 < value && value < 1.0);
                tenths[(value * 10.0) as usize] += 1;
            }
            // Five standard deviations of a count of 1,000 are 150.
            assert!(tenths.iter().all(|count| (850..1150).contains(count)), "counter {which}: {tenths:?}");
        }
    }

    #[test]
    fn the_ends_are_left_out() {
        let of = |bits: u32| ((bits >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0);
        assert!(of(0) > 0.0 && of(u32::MAX) < 1.0);
    }
}
