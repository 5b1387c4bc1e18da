//! A device's groups on their way to the executor of the process that leads the query.

use super::super::Unfit;
use super::super::executor::Executor;
use super::super::keys::wide;
use super::super::state::{Form, Kind};
use super::Generated;

const MALFORMED: Unfit = Unfit("groups of a GPU that cannot be read");

/// Merges the groups of a device that has computed an executor's plan.
pub fn read_rows(
    executor: &mut Executor,
    of: &Generated,
    mut words: Vec<u64>,
    check: impl Fn(),
) -> Result<(), Unfit> {
    let stride = executor.table.stride;
    if stride == 0 || !words.len().is_multiple_of(stride) {
        return Err(MALFORMED);
    }
    let mut states = executor.states.clone();
    for (states, &scale) in states.iter_mut().zip(&of.scales) {
        states.begin(scale);
        for group in words.chunks_exact_mut(stride) {
            let state = &mut group[states.at..];
            match states.kind {
                Kind::NumericSum if state[2] > 0 => {
                    state[3] = scale.into();
                    let sum = wide(state[0], state[1]);
                    states.reach(sum);
                }
                Kind::Extreme { class: Form::Numeric, .. } if state[2] > 0 => {
                    (state[1], state[3]) = ((state[0] as i64 >> 63) as u64, scale.into());
                }
                _ => {}
            }
        }
    }
    executor.merge_groups(states, of.key_scales.clone(), words, check)
}
