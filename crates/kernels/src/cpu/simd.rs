//! Four f32 or i32 side by side, and products of bytes: WebAssembly's vectors, and elsewhere arrays, so that what is
//! written with them can be tested.

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use arrays::{Codes, Columns, F32x4, I32x4};
#[cfg(target_arch = "wasm32")]
pub(crate) use vectors::{Codes, Columns, F32x4, I32x4};

#[cfg(target_arch = "wasm32")]
mod vectors {
    use core::arch::wasm32::*;

    use crate::cpu::real::Real;

    /// Four f32.
    #[derive(Clone, Copy)]
    pub(crate) struct F32x4(v128);

    impl F32x4 {
        /// Four times the same.
        #[inline(always)]
        pub(crate) fn splat(value: f32) -> Self {
            Self(f32x4_splat(value))
        }

        /// The vector of an array.
        #[inline(always)]
        pub(crate) fn from_array(values: [f32; 4]) -> Self {
            Self(bytemuck::must_cast(values))
        }

        /// The array of a vector.
        #[inline(always)]
        pub(crate) fn to_array(self) -> [f32; 4] {
            bytemuck::must_cast(self.0)
        }

        /// `self · factor + summand`; whether the product is rounded is the machine's choice.
        #[inline(always)]
        pub(crate) fn mul_add(self, factor: Self, summand: Self) -> Self {
            #[cfg(target_feature = "relaxed-simd")]
            return Self(f32x4_relaxed_madd(self.0, factor.0, summand.0));
            #[cfg(not(target_feature = "relaxed-simd"))]
            Self(f32x4_add(f32x4_mul(self.0, factor.0), summand.0))
        }

        /// The smaller of each pair of numbers.
        #[inline(always)]
        pub(crate) fn min(self, other: Self) -> Self {
            Self(f32x4_pmin(self.0, other.0))
        }

        /// The larger of each pair of numbers.
        #[inline(always)]
        pub(crate) fn max(self, other: Self) -> Self {
            Self(f32x4_pmax(self.0, other.0))
        }

        /// `(self − offset) · factor`, rounded to whole numbers, half to even. Those are 0 to 255.
        #[inline(always)]
        pub(crate) fn to_bytes(self, offset: Self, factor: Self) -> [u8; 4] {
            let scaled = f32x4_mul(f32x4_sub(self.0, offset.0), factor.0);
            // 1.5 · 2^23: whole numbers then stand in the lowest bits.
            let shifted = f32x4_add(scaled, f32x4_splat(12_582_912.0));
            let bytes = i8x16_shuffle::<0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12>(shifted, shifted);
            u32x4_extract_lane::<0>(bytes).to_le_bytes()
        }
    }

    impl Real for F32x4 {
        #[inline(always)]
        fn of(value: f32) -> Self {
            Self::splat(value)
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            Self(f32x4_add(self.0, other.0))
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            Self(f32x4_sub(self.0, other.0))
        }

        #[inline(always)]
        fn times(self, other: Self) -> Self {
            Self(f32x4_mul(self.0, other.0))
        }

        #[inline(always)]
        fn over(self, other: Self) -> Self {
            Self(f32x4_div(self.0, other.0))
        }

        #[inline(always)]
        fn mul_add(self, factor: Self, summand: Self) -> Self {
            F32x4::mul_add(self, factor, summand)
        }

        #[inline(always)]
        fn min(self, other: Self) -> Self {
            F32x4::min(self, other)
        }

        #[inline(always)]
        fn max(self, other: Self) -> Self {
            F32x4::max(self, other)
        }

        #[inline(always)]
        fn power_of_two(self) -> Self {
            Self(u32x4_add(u32x4_shl(self.0, 23), u32x4_splat(127 << 23)))
        }

        #[inline(always)]
        fn where_above(self, value: Self, limit: Self) -> Self {
            Self(v128_and(self.0, f32x4_gt(value.0, limit.0)))
        }
    }

    /// Four i32.
    #[derive(Clone, Copy)]
    pub(crate) struct I32x4(v128);

    impl I32x4 {
        pub(crate) const ZERO: Self = Self(i32x4(0, 0, 0, 0));

        /// Converted to floats.
        #[inline(always)]
        pub(crate) fn to_floats(self) -> F32x4 {
            F32x4(f32x4_convert_i32x4(self.0))
        }
    }

    /// Four steps of four weight rows: their codes, signed.
    #[derive(Clone, Copy)]
    pub(crate) struct Columns(
        #[cfg(target_feature = "relaxed-simd")] v128,
        #[cfg(not(target_feature = "relaxed-simd"))] [v128; 2],
    );

    /// Four steps of a row of activations: codes of seven bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    pub(crate) struct Codes(
        #[cfg(target_feature = "relaxed-simd")] u32,
        #[cfg(not(target_feature = "relaxed-simd"))] [[i16; 2]; 2],
    );

    #[cfg(target_feature = "relaxed-simd")]
    impl Columns {
        /// Of four bytes of each row, as they are stored: less 128.
        #[inline(always)]
        pub(crate) fn of_stored([a, b, c, d]: [u32; 4]) -> Self {
            Self(v128_xor(u32x4(a, b, c, d), u8x16_splat(0x80)))
        }

        /// Adds the products with `codes` to the sums of each weight row.
        #[inline(always)]
        pub(crate) fn add_products(self, codes: Codes, sums: I32x4) -> I32x4 {
            // With codes of seven bits every machine gives the same: no sign in the second operand, and no pair of
            // products over 16 bits.
            I32x4(i32x4_relaxed_dot_i8x16_i7x16_add(self.0, u32x4_splat(codes.0), sums.0))
        }
    }

    #[cfg(target_feature = "relaxed-simd")]
    impl Codes {
        #[inline(always)]
        pub(crate) fn new(codes: [u8; 4]) -> Self {
            Self(u32::from_le_bytes(codes))
        }
    }

    #[cfg(not(target_feature = "relaxed-simd"))]
    impl Columns {
        /// Of four bytes of each row, as they are stored: less 128.
        #[inline(always)]
        pub(crate) fn of_stored([a, b, c, d]: [u32; 4]) -> Self {
            let bytes = v128_xor(u32x4(a, b, c, d), u8x16_splat(0x80));
            // The first two steps of all rows, then the last two.
            let pairs = i8x16_shuffle::<0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15>(bytes, bytes);
            Self([i16x8_extend_low_i8x16(pairs), i16x8_extend_high_i8x16(pairs)])
        }

        /// Adds the products with `codes` to the sums of each weight row.
        #[inline(always)]
        pub(crate) fn add_products(self, codes: Codes, sums: I32x4) -> I32x4 {
            let [first, last] = codes.0.map(|pair| u32x4_splat(bytemuck::must_cast(pair)));
            let sums = i32x4_add(sums.0, i32x4_dot_i16x8(self.0[0], first));
            I32x4(i32x4_add(sums, i32x4_dot_i16x8(self.0[1], last)))
        }
    }

    #[cfg(not(target_feature = "relaxed-simd"))]
    impl Codes {
        #[inline(always)]
        pub(crate) fn new([a, b, c, d]: [u8; 4]) -> Self {
            Self([[a.into(), b.into()], [c.into(), d.into()]])
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod arrays {
    /// Four f32.
    #[derive(Clone, Copy)]
    pub(crate) struct F32x4([f32; 4]);

    impl F32x4 {
        /// Four times the same.
        pub(crate) fn splat(value: f32) -> Self {
            Self([value; 4])
        }

        /// The vector of an array.
        pub(crate) fn from_array(values: [f32; 4]) -> Self {
            Self(values)
        }

        /// The array of a vector.
        pub(crate) fn to_array(self) -> [f32; 4] {
            self.0
        }

        /// `self · factor + summand`; whether the product is rounded is the machine's choice.
        pub(crate) fn mul_add(self, factor: Self, summand: Self) -> Self {
            Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + summand.0[lane]))
        }

        /// The smaller of each pair of numbers.
        pub(crate) fn min(self, other: Self) -> Self {
            Self(std::array::from_fn(|lane| self.0[lane].min(other.0[lane])))
        }

        /// The larger of each pair of numbers.
        pub(crate) fn max(self, other: Self) -> Self {
            Self(std::array::from_fn(|lane| self.0[lane].max(other.0[lane])))
        }

        /// `(self − offset) · factor`, rounded to whole numbers, half to even. Those are 0 to 255.
        pub(crate) fn to_bytes(self, offset: Self, factor: Self) -> [u8; 4] {
            let scaled = |lane: usize| (self.0[lane] - offset.0[lane]) * factor.0[lane];
            std::array::from_fn(|lane| scaled(lane).round_ties_even() as u8)
        }
    }

    /// Four i32.
    #[derive(Clone, Copy)]
    pub(crate) struct I32x4([i32; 4]);

    impl I32x4 {
        pub(crate) const ZERO: Self = Self([0; 4]);

        /// Converted to floats.
        pub(crate) fn to_floats(self) -> F32x4 {
            F32x4(self.0.map(|value| value as f32))
        }
    }

    /// Four steps of four weight rows: their codes, signed.
    #[derive(Clone, Copy)]
    pub(crate) struct Columns([[i16; 4]; 4]);

    impl Columns {
        /// Of four bytes of each row, as they are stored: less 128.
        pub(crate) fn of_stored(rows: [u32; 4]) -> Self {
            Self(rows.map(|row| row.to_le_bytes().map(|code| i16::from(code) - 128)))
        }

        /// Adds the products with `codes` to the sums of each weight row.
        pub(crate) fn add_products(self, codes: Codes, sums: I32x4) -> I32x4 {
            let product = |row: usize, step: usize| i32::from(self.0[row][step]) * i32::from(codes.0[step]);
            I32x4(std::array::from_fn(|row| sums.0[row] + (0..4).map(|step| product(row, step)).sum::<i32>()))
        }
    }

    /// Four steps of a row of activations: codes of seven bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    pub(crate) struct Codes([i16; 4]);

    impl Codes {
        pub(crate) fn new(codes: [u8; 4]) -> Self {
            Self(codes.map(i16::from))
        }
    }
}
