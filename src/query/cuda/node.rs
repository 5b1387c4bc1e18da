//! An expression's place in the text.

/// What an expression's values are.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    Bool,
    /// An i64, whose magnitude is not above the bound.
    Word {
        bound: u128,
    },
    /// A double.
    Float,
    /// A numeric: an integer with decimal digits after the point, an i64 or, if it is wide, an i128 below WIDE_LIMIT.
    Number {
        scale: u8,
        bound: u128,
        is_wide: bool,
    },
    Bytes,
}

/// An expression whose statements are written: the C++ expressions of its value and of whether it is NULL.
#[derive(Clone, Debug)]
pub struct Node {
    pub form: Form,
    pub value: String,
    pub null: String,
    /// The value is NULL in every row, of which a numeric has no scale.
    pub is_nothing: bool,
}

/// Magnitudes of wide numerics are below it: WIDE_LIMIT in query.cuh.
pub const WIDE_LIMIT: u128 = 1 << 96;

impl Form {
    /// A numeric up to a magnitude.
    pub fn number(scale: u8, bound: u128) -> Form {
        Form::Number { scale, bound: bound.min(WIDE_LIMIT), is_wide: bound >= 1 << 63 }
    }

    /// Returns the scale of numerics; 0 of others.
    pub fn scale(&self) -> u8 {
        if let Form::Number { scale, .. } = *self { scale } else { 0 }
    }

    /// Returns the C++ type of values.
    pub fn type_name(&self) -> &'static str {
        match self {
            Form::Bool => "bool",
            Form::Word { .. } | Form::Number { is_wide: false, .. } => "i64",
            Form::Number { .. } => "i128",
            Form::Float => "double",
            Form::Bytes => "Text",
        }
    }

    /// Returns a value for rows that have none.
    pub fn zero(&self) -> &'static str {
        match self {
            Form::Bool => "false",
            Form::Bytes => "Text{nullptr, 0}",
            _ => "0",
        }
    }
}

/// Returns the C++ expression of whether one of some values is NULL.
pub fn any_null(nodes: &[&Node]) -> String {
    let mut nulls: Vec<&str> =
        nodes.iter().map(|node| &node.null[..]).filter(|null| *null != "false").collect();
    nulls.dedup();
    match &nulls[..] {
        [] => "false".into(),
        nulls if nulls.contains(&"true") => "true".into(),
        [only] => (*only).into(),
        nulls => format!("({})", nulls.join(" || ")),
    }
}
