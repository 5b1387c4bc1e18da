//! Estimates from the groups' bounds how many groups may contain a single value.

use arrow::array::{Array, make_comparator};
use arrow::compute::{SortOptions, concat};

use super::bounds::Bounds;

/// The most groups whose values are looked up: an estimate needs no more.
const PROBES: usize = 64;

/// Returns the share of all groups whose bounds include a value, averaged over the groups' least values.
/// `files` has the bounds of each file. `None` if no bounds are known.
pub fn share_of_groups(files: &[Bounds]) -> Option<f64> {
    let mins: Vec<&dyn Array> = files.iter().map(|bounds| &*bounds.mins).collect();
    let maxes: Vec<&dyn Array> = files.iter().map(|bounds| &*bounds.maxes).collect();
    let (mins, maxes) = (concat(&mins).ok()?, concat(&maxes).ok()?);
    let from_min = make_comparator(&mins, &mins, SortOptions::default()).ok()?;
    let to_max = make_comparator(&mins, &maxes, SortOptions::default()).ok()?;
    let groups = mins.len();
    let is_known = |&group: &usize| mins.is_valid(group) && maxes.is_valid(group);
    let probes = || (0..groups).step_by(groups.div_ceil(PROBES).max(1)).filter(is_known);
    let holds = |group: usize, probe: usize| {
        !is_known(&group) || from_min(group, probe).is_le() && to_max(probe, group).is_le()
    };
    let found: usize = probes().map(|probe| (0..groups).filter(|&group| holds(group, probe)).count()).sum();
    let looked_at = probes().count() * groups;
    (looked_at > 0).then(|| found as f64 / looked_at as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn bounds(mins: ArrayRef, maxes: ArrayRef) -> Bounds {
        Bounds { mins, maxes, nulls: Vec::new() }
    }

    fn numbers(mins: Vec<Option<i64>>, maxes: Vec<Option<i64>>) -> Bounds {
        bounds(Arc::new(Int64Array::from(mins)), Arc::new(Int64Array::from(maxes)))
    }

    #[test]
    fn sorted_groups_hold_a_value_each() {
        let first = numbers(vec![Some(0), Some(10)], vec![Some(9), Some(19)]);
        let second = numbers(vec![Some(20), Some(30)], vec![Some(29), Some(39)]);
        assert_eq!(share_of_groups(&[first, second]), Some(0.25));
    }

    #[test]
    fn groups_of_everything_hold_all() {
        let group = || numbers(vec![Some(0); 3], vec![Some(9); 3]);
        assert_eq!(share_of_groups(&[group(), group()]), Some(1.0));
        // A group with unknown bounds may contain every value, and its value is not looked up.
        let partly = numbers(vec![Some(0), Some(10), None], vec![Some(9), Some(19), Some(29)]);
        assert_eq!(share_of_groups(&[partly]), Some(4.0 / 6.0));
    }

    #[test]
    fn nothing_known() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let mixed = [numbers(vec![Some(0)], vec![Some(1)]), bounds(texts.clone(), texts)];
        assert_eq!(share_of_groups(&mixed), None);
        assert_eq!(share_of_groups(&[]), None);
        assert_eq!(share_of_groups(&[numbers(vec![None], vec![None])]), None);
        let many = numbers((0..1000).map(Some).collect(), (0..1000).map(Some).collect());
        assert_eq!(share_of_groups(&[many]), Some(0.001));
    }
}
