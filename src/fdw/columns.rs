//! Finds a file's columns by name, and the common type of columns of several files.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Int64Type};

use super::meta::FileMeta;

impl FileMeta {
    /// Finds the column of a name, or the `occurrence`th of them, from 1. Without `occurrence`, several columns
    /// of the name are an error that has their number.
    pub fn find(&self, name: &str, occurrence: Option<usize>) -> Result<Option<usize>, usize> {
        let fields = self.schema().fields().iter().enumerate();
        let mut found = fields.filter(|(_, field)| field.name() == name).map(|(at, _)| at);
        if let Some(occurrence) = occurrence {
            return Ok(occurrence.checked_sub(1).and_then(|before| found.nth(before)));
        }
        let first = found.next();
        match found.count() {
            0 => Ok(first),
            more => Err(1 + more),
        }
    }

    /// Returns whether a column's values are numbers that a double holds exactly, as far as the file states.
    pub fn fits_double(&self, column: usize) -> bool {
        const WHOLE: std::ops::RangeInclusive<i64> = -(1 << f64::MANTISSA_DIGITS)..=1 << f64::MANTISSA_DIGITS;
        if *self.schema().field(column).data_type() != DataType::Int64 {
            return true;
        }
        let Some(bounds) = self.bounds(column) else { return self.rows() == 0 };
        let within = |of: &dyn Array, group| {
            let values = of.as_primitive_opt::<Int64Type>().filter(|values| group < values.len());
            values.is_some_and(|values| values.is_valid(group) && WHOLE.contains(&values.value(group)))
        };
        (0..self.groups()).all(|group| {
            let is_null = bounds.nulls.get(group).copied().flatten() == Some(self.group_rows(group));
            is_null || within(&bounds.mins, group) && within(&bounds.maxes, group)
        })
    }
}

/// Integer types; each holds all values of those before it.
const INTEGERS: &[&str] = &["smallint", "integer", "bigint", "numeric(20,0)"];
const FLOATS: &[&str] = &["real", "double precision"];

/// Returns the type that holds all values of two others exactly, named as `FileMeta::sql_type` does.
pub fn common_type(one: &str, other: &str) -> String {
    let rank = |of: &[&str], name: &str| of.iter().position(|known| *known == name);
    let is_number = |name: &str| rank(INTEGERS, name).is_some() || name.starts_with("numeric");
    let is_nested = |name: &str| name == "json" || name.ends_with("[]");
    if one == other {
        return one.into();
    }
    if let (Some(one), Some(other)) = (one.strip_suffix("[]"), other.strip_suffix("[]")) {
        return format!("{}[]", common_type(one, other));
    }
    if let (Some(a), Some(b)) = (rank(INTEGERS, one), rank(INTEGERS, other)) {
        return INTEGERS[a.max(b)].into();
    }
    match (rank(FLOATS, one), rank(FLOATS, other)) {
        (Some(_), Some(_)) => "double precision".into(),
        // A float holds all integers of half its size.
        (Some(float), None) if rank(INTEGERS, other).is_some_and(|integer| integer <= float) => one.into(),
        (None, Some(float)) if rank(INTEGERS, one).is_some_and(|integer| integer <= float) => other.into(),
        (Some(_), None) | (None, Some(_)) if one == "integer" || other == "integer" => {
            "double precision".into()
        }
        _ if is_number(one) && is_number(other) => "numeric".into(),
        _ if is_nested(one) && is_nested(other) => "json".into(),
        _ => "text".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_types_have_in_common() {
        for (one, other, common) in [
            ("text", "text", "text"),
            ("smallint", "bigint", "bigint"),
            ("bigint", "numeric(20,0)", "numeric(20,0)"),
            ("integer", "numeric(5,2)", "numeric"),
            ("numeric(5,2)", "numeric(9,3)", "numeric"),
            ("real", "double precision", "double precision"),
            ("smallint", "real", "real"),
            ("integer", "real", "double precision"),
            ("integer", "double precision", "double precision"),
            ("bigint", "double precision", "text"),
            ("numeric(5,2)", "real", "text"),
            ("bigint", "text", "text"),
            ("date", "timestamp without time zone", "text"),
            ("integer[]", "bigint[]", "bigint[]"),
            ("integer[]", "json", "json"),
            ("integer[]", "integer", "text"),
            ("json", "text", "text"),
        ] {
            assert_eq!(common_type(one, other), common, "{one}, {other}");
            assert_eq!(common_type(other, one), common, "{other}, {one}");
        }
    }
}
