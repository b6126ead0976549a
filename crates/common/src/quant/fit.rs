//! Choosing scales and zero points.
