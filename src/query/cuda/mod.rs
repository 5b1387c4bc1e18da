//! A plan as CUDA C++ text, for a device that has the rows' columns as decode lays them out.
//!
//! ```text
//! node.rs        an expression's place in the text: what its values are, and what is known of them
//! expressions.rs expressions -> statements over one row; numbers.rs arithmetic and comparisons of numbers
//! states.rs      aggregates -> what a row or a warp's rows do to the states of a group
//! groups.rs      a device's groups, merged with those of processes
//! ```
//!
//! The text says what a row is, `kernels/aggregate.cuh` what is done with it. A group has the words that the CPU's
//! executor gives it (`keys.rs`, `state.rs`), so that the groups of both merge. A row that the text cannot compute exactly,
//! or for which PostgreSQL would raise an error, is *marked*, and the CPU's executor computes it. Constants are no part of
//! the text: queries that differ in them alone share it.
//!
//! What has no text here is left to the CPU as a whole: floats that are summed or grouped by, extremes of texts, DISTINCT,
//! variances, LIKE and functions. Numerics without a declared scale are integers in the text.

mod expressions;
mod groups;
mod node;
mod numbers;
mod states;

use serde::{Deserialize, Serialize};

use super::Unfit;
use super::executor::Executor;
use super::keys::Layout;
use super::plan::{Aggregate, Expr, Function, Plan};
use super::value::{Class, Type};
use expressions::Writer;
pub use groups::read_rows;
use node::Form;

/// A plan, and how its columns lie in a decoded slot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub plan: Plan,
    pub columns: Vec<Decoded>,
}

/// How decode lays out a column: its operation (`slot::layout::Op`), and a decimal's precision and scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decoded {
    pub op: u8,
    pub precision: u8,
    pub scale: u8,
}

/// The text of a task, and what its kernels take.
#[derive(Clone, Debug)]
pub struct Generated {
    pub text: String,
    /// The constants, then the bytes of texts.
    pub constants: Vec<u64>,
    /// Words of a group.
    pub stride: usize,
    /// The scales of the keys' numerics, and of those of the aggregates.
    pub key_scales: Vec<u8>,
    pub scales: Vec<u8>,
    /// The words of the only group, without keys; empty with some.
    pub only: Vec<u64>,
}

/// Words of a key and of a group beyond which registers run out.
const MOST_WORDS: usize = 64;

fn is_extreme(aggregate: &Aggregate) -> bool {
    matches!(aggregate.function, Function::Least | Function::Greatest)
}

/// Returns the text of a task, or why there is none.
pub fn generate(task: &Task) -> Result<Generated, Unfit> {
    let plan = &task.plan;
    let executor = Executor::new(plan.clone(), usize::MAX)?;
    let (layout, stride) = (&executor.table.layout, executor.table.stride);
    if stride == 0 {
        return Err(Unfit("nothing that a GPU computes"));
    }
    if stride > MOST_WORDS {
        return Err(Unfit("more keys and aggregates than a GPU's kernel takes"));
    }
    let mut writer = Writer::new(task);
    for filter in &plan.filters {
        let node = writer.node(filter)?;
        writer.leave_unless(&node);
    }
    let (keys, key_scales) = write_keys(&mut writer, plan, layout)?;
    let mut states = states::Text::default();
    for (aggregate, of) in plan.aggregates.iter().zip(&executor.states) {
        let argument = aggregate.argument.iter().find(|expr| expr.of(&plan.columns) == Type::Numeric);
        if is_extreme(aggregate) && argument.is_some_and(|expr| !shows_one_scale(expr, plan)) {
            return Err(Unfit("an extreme of numerics without a declared scale"));
        }
        states.add(&mut writer, aggregate, of)?;
    }
    let first: Vec<u64> = std::iter::repeat_n(0, layout.words).chain(states.first.clone()).collect();
    let text = format!(
        "#include \"query.cuh\"\n\
         constexpr u32 WORDS = {}, COMPARED = {}, STRIDE = {stride};\n\
         constexpr bool KEYLESS = {};\n\
         struct Values {{\n{}}};\n\
         DEVICE Found evaluate(const Source &from, u32 row, u64 *key, Values &values) {{\n    bool bad = false;\n{}{keys}{}\
         \x20   return bad ? MARKED : INCLUDED;\n}}\n\
         DEVICE void begin_group(u64 *group) {{\n{}}}\n\
         DEVICE void add_row(u64 *group, const Values &values) {{\n{}}}\n\
         DEVICE void add_rows(u64 *group, const Values &values, bool member, bool first) {{\n{}}}\n\
         #include \"aggregate.cuh\"\n",
        layout.words,
        layout.compared,
        plan.keys.is_empty(),
        states.fields,
        writer.body(),
        states.values,
        states.begin,
        states.row,
        states.rows,
    );
    let only = if plan.keys.is_empty() { first } else { Vec::new() };
    let (constants, scales) = (writer.constants(), states.scales);
    Ok(Generated { text, constants, stride, key_scales, scales, only })
}

/// Returns whether all values of a numeric show the scale that it has in the text, those that the device leaves out too.
/// Which of equal numerics a group shows depends on the order of the rows otherwise.
fn shows_one_scale(expr: &Expr, plan: &Plan) -> bool {
    match expr {
        Expr::Column(number) => plan.columns[*number].scale.is_some(),
        Expr::Constant(..) | Expr::ToNumeric(_) => true,
        Expr::Arithmetic(_, _, arguments) => arguments.iter().all(|argument| shows_one_scale(argument, plan)),
        Expr::Case(_, whens, otherwise) => {
            let mut values = whens.iter().map(|(_, value)| value).chain([&**otherwise]);
            values.all(|value| shows_one_scale(value, plan))
        }
        Expr::Coalesce(_, parts) => parts.iter().all(|part| shows_one_scale(part, plan)),
        _ => false,
    }
}

/// Writes the words of a row's key; returns the scales of its numerics, too.
fn write_keys(writer: &mut Writer, plan: &Plan, layout: &Layout) -> Result<(String, Vec<u8>), Unfit> {
    let (mut text, mut scales) = (String::new(), Vec::new());
    for (number, (expr, key)) in plan.keys.iter().zip(&layout.keys).enumerate() {
        let node = writer.node(expr)?;
        scales.push(node.form.scale());
        let (at, shown, value) = (key.at, key.shown, &node.value);
        let put = match (&node.form, key.of.class()) {
            (Form::Bool | Form::Word { .. }, Class::Bool | Class::Word) => {
                format!("key[{at}] = u64({value});")
            }
            (Form::Number { scale, .. }, Class::Numeric) if shows_one_scale(expr, plan) => {
                format!("put_wide({value}, key + {at}); key[{shown}] = {scale};")
            }
            (Form::Bytes, Class::Bytes) if key.of == Type::Text => {
                format!("put_text({value}, key + {at}, bad);")
            }
            // Those of a column of char(n) are alike in how many blanks they show.
            (Form::Bytes, Class::Bytes) if key.of == Type::Bpchar && matches!(expr, Expr::Column(_)) => {
                format!(
                    "put_text({value}.without_blanks(), key + {at}, bad); key[{}] = {value}.length;",
                    shown + 1
                )
            }
            _ => return Err(Unfit("a key of a type that a GPU does not group by")),
        };
        text += &match node.null.as_str() {
            "false" => format!("    {put}\n"),
            null => format!("    if ({null}) key[0] |= 1ull << {number};\n    else {{ {put} }}\n"),
        };
    }
    Ok((text, scales))
}
