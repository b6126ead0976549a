//! Defaults by browser and by family.
