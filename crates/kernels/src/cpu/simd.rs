//! Four f32 side by side: WebAssembly's vectors, and elsewhere arrays, so that what is written with them can be tested.

#[cfg(target_arch = "wasm32")]
use core::arch::wasm32 as arch;

#[cfg(target_arch = "wasm32")]
type Lanes = arch::v128;
#[cfg(not(target_arch = "wasm32"))]
type Lanes = [f32; 4];

/// Four f32.
#[derive(Clone, Copy)]
pub(super) struct F32x4(Lanes);

#[cfg(target_arch = "wasm32")]
impl F32x4 {
    /// Four times the same.
    #[inline(always)]
    pub(super) fn splat(value: f32) -> Self {
        Self(arch::f32x4_splat(value))
    }

    /// The vector of an array.
    #[inline(always)]
    pub(super) fn from_array(values: [f32; 4]) -> Self {
        Self(bytemuck::must_cast(values))
    }

    /// The array of a vector.
    #[inline(always)]
    pub(super) fn to_array(self) -> [f32; 4] {
        bytemuck::must_cast(self.0)
    }

    /// `self · factor + summand`; whether the product is rounded is the machine's choice.
    #[inline(always)]
    pub(super) fn mul_add(self, factor: Self, summand: Self) -> Self {
        #[cfg(target_feature = "relaxed-simd")]
        return Self(arch::f32x4_relaxed_madd(self.0, factor.0, summand.0));
        #[cfg(not(target_feature = "relaxed-simd"))]
        Self(arch::f32x4_add(arch::f32x4_mul(self.0, factor.0), summand.0))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl F32x4 {
    /// Four times the same.
    pub(super) fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    /// The vector of an array.
    pub(super) fn from_array(values: [f32; 4]) -> Self {
        Self(values)
    }

    /// The array of a vector.
    pub(super) fn to_array(self) -> [f32; 4] {
        self.0
    }

    /// `self · factor + summand`; whether the product is rounded is the machine's choice.
    pub(super) fn mul_add(self, factor: Self, summand: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + summand.0[lane]))
    }
}
