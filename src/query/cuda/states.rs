//! What values do to the states of a group. Their words are those of `query::state`, but for three that a merge fills in:
//! the scale that a sum shows, and of numerics' extremes the upper half and the scale.

use std::fmt::Write;

use super::super::Unfit;
use super::super::plan::{Aggregate, Function};
use super::super::state::{Form as Of, Kind, States};
use super::expressions::Writer;
use super::node::Form;

/// The parts of a text that deal with states.
#[derive(Default)]
pub struct Text {
    /// The fields of a row's values.
    pub fields: String,
    /// Statements that fill them.
    pub values: String,
    /// Statements on a group: as it begins, with a row's values, and with those of a warp's rows.
    pub begin: String,
    pub row: String,
    pub rows: String,
    /// The scale of each aggregate's numerics.
    pub scales: Vec<u8>,
    /// The words that all states begin with.
    pub first: Vec<u64>,
}

const OTHER: Unfit = Unfit("an aggregate that a GPU does not compute");

impl Text {
    /// Adds an aggregate, whose values are written after those before it.
    pub fn add(&mut self, writer: &mut Writer, aggregate: &Aggregate, states: &States) -> Result<(), Unfit> {
        if aggregate.is_distinct {
            return Err(OTHER);
        }
        let number = self.fields.lines().count() / 2;
        let argument = aggregate.argument.as_ref().map(|argument| writer.node(argument)).transpose()?;
        let filter = aggregate.filter.as_ref().map(|filter| writer.node(filter)).transpose()?;
        let argument_is_there =
            argument.iter().filter(|node| node.null != "false").map(|node| format!("!{}", node.null));
        let filter_is_true = filter.iter().map(|node| format!("{} && !{}", node.value, node.null));
        let is_there: Vec<String> = argument_is_there.chain(filter_is_true).collect();
        let is_there = if is_there.is_empty() { "true".into() } else { is_there.join(" && ") };
        let form = argument.as_ref().map_or(Form::Bool, |node| node.form.clone());
        let value = argument.as_ref().map_or("false", |node| &node.value).to_owned();
        let (of_values, value) = match (states.kind, &form) {
            (Kind::Count, _) => ("bool", "false".into()),
            (Kind::IntegerSum | Kind::Bits(_), Form::Word { .. }) => ("i64", value),
            (Kind::NumericSum, Form::Number { is_wide: false, .. }) => ("i64", value),
            (Kind::NumericSum, Form::Number { is_wide: true, .. }) => {
                ("i128", format!("limited({value}, SUM_LIMIT, no)"))
            }
            (Kind::Extreme { class: Of::Bool | Of::Word, .. }, Form::Bool | Form::Word { .. }) => {
                ("i64", value)
            }
            (Kind::Extreme { class: Of::Numeric, .. }, Form::Number { is_wide: false, .. }) => ("i64", value),
            _ => return Err(OTHER),
        };
        let _ = write!(self.fields, "    bool p{number};\n    {of_values} v{number};\n");
        let _ = write!(
            self.values,
            "    {{\n        bool no = false;\n        values.p{number} = {is_there};\n        values.v{number} = {value};\n\
             \x20       bad |= no && values.p{number};\n    }}\n"
        );
        self.states(number, states, &form);
        self.scales.push(form.scale());
        Ok(())
    }

    fn states(&mut self, number: usize, states: &States, form: &Form) {
        let (at, p, v) = (states.at, format!("values.p{number}"), format!("values.v{number}"));
        let mut first = vec![0; states.words()];
        let count = format!("count_bits(ballot(member && {p}))");
        let (row, rows) = match states.kind {
            Kind::IntegerSum | Kind::NumericSum => {
                // 32 values below 2^58 are below 2^63.
                let is_small = match form {
                    Form::Word { bound } | Form::Number { bound, .. } => *bound < 1 << 58,
                    _ => false,
                };
                let of = if is_small { "i64" } else { "i128" };
                (
                    format!("add_wide(group + {at}, {v}); atomic_add(group + {}, u64(1));", at + 2),
                    format!(
                        "const {of} all = lanes_total({of}(member && {p} ? {v} : 0));\n        if (first && count > 0) {{ \
                         add_wide(group + {at}, all); atomic_add(group + {}, u64(count)); }}",
                        at + 2
                    ),
                )
            }
            Kind::Extreme { least, .. } => {
                first[0] = if least { i64::MAX as u64 } else { i64::MIN as u64 };
                let seen = at + if states.words() == 4 { 2 } else { 1 };
                let word = if least { "least" } else { "greatest" };
                let none = if least { "0x7FFFFFFFFFFFFFFFll" } else { "~0x7FFFFFFFFFFFFFFFll" };
                (
                    format!("put_{word}(group + {at}, {v}); group[{seen}] = 1;"),
                    format!(
                        "const i64 all = lanes_{word}(member && {p} ? {v} : {none});\n        if (first && count > 0) {{ \
                         put_{word}(group + {at}, all); group[{seen}] = 1; }}"
                    ),
                )
            }
            Kind::Bits(function) => {
                let (word, none) = match function {
                    Function::BitAnd => ("and", u64::MAX),
                    Function::BitOr => ("or", 0),
                    _ => ("xor", 0),
                };
                first[0] = none;
                (
                    format!("atomic_{word}(group + {at}, u64({v})); group[{}] = 1;", at + 1),
                    format!(
                        "const u64 all = lanes_{word}(member && {p} ? u64({v}) : {none}ull);\n        if (first && count > 0) {{ \
                         atomic_{word}(group + {at}, all); group[{}] = 1; }}",
                        at + 1
                    ),
                )
            }
            _ => (
                format!("atomic_add(group + {at}, u64(1));"),
                format!("if (first && count > 0) atomic_add(group + {at}, u64(count));"),
            ),
        };
        let _ = writeln!(self.row, "    if ({p}) {{ {row} }}");
        let _ = writeln!(self.rows, "    {{\n        const u32 count = {count};\n        {rows}\n    }}");
        for (word, value) in first.iter().enumerate() {
            let _ = writeln!(self.begin, "    group[{}] = {value}ull;", at + word);
        }
        self.first.extend(first);
    }
}
