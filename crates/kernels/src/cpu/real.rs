//! What functions of [`super::math`] are made of.

/// What functions are made of: an f32, or some side by side.
pub(crate) trait Real: Copy {
    /// A constant.
    fn of(value: f32) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
    /// `self · factor + summand`; whether the product is rounded is the machine's choice.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    /// 2 to the whole number that stands in the lowest bits.
    fn power_of_two(self) -> Self;
    /// `self` where `value` is above `limit`, and 0 elsewhere.
    fn where_above(self, value: Self, limit: Self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self + other
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self - other
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self * other
    }

    #[inline(always)]
    fn over(self, other: Self) -> Self {
        self / other
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        // Not `f32::mul_add`, which is a call where the machine has no such instruction.
        self * factor + summand
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        f32::min(self, other)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        f32::max(self, other)
    }

    #[inline(always)]
    fn power_of_two(self) -> Self {
        f32::from_bits((self.to_bits() << 23).wrapping_add(127 << 23))
    }

    #[inline(always)]
    fn where_above(self, value: Self, limit: Self) -> Self {
        if value > limit { self } else { 0.0 }
    }
}
