//! Measured times.

/// Seconds of each phase for all the inputs once, medians over the repeats, and of the whole.
#[derive(Clone, Debug, Default)]
pub struct Times {
    pub phases: Vec<(&'static str, f64)>,
    /// Measured without events between the phases.
    pub total: f64,
}

pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
