//! Expressions as statements over one row. Every part is computed for every row, as the CPU's executor does it: what is bad
//! in a part that is not reached marks the row, and PostgreSQL decides.

use std::collections::HashMap;
use std::fmt::Write;

use super::super::Unfit;
use super::super::keys::integer;
use super::super::plan::{Expr, Test};
use super::super::value::{Class, Type, Value};
use super::node::{Form, Node, any_null};
use super::{Decoded, Task};
use crate::expr::Numeric;
use crate::slot::layout::Op;

/// Days and microseconds from 1970-01-01 to 2000-01-01: files count from the first, PostgreSQL from the second.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH: i64 = EPOCH_DAYS * 86_400_000_000;

/// Elements of a list that are compared one by one.
const MOST_ELEMENTS: usize = 32;

pub struct Writer<'t> {
    task: &'t Task,
    body: String,
    /// The nodes that are written, by their expressions' text.
    known: HashMap<String, Node>,
    next: usize,
    words: Vec<u64>,
    bytes: Vec<u8>,
    /// Words that become places of bytes.
    texts: Vec<usize>,
}

impl<'t> Writer<'t> {
    pub fn new(task: &'t Task) -> Writer<'t> {
        let (body, bytes) = (String::new(), Vec::new());
        Writer { task, body, known: HashMap::new(), next: 0, words: Vec::new(), bytes, texts: Vec::new() }
    }

    pub fn body(&self) -> &str {
        &self.body
    }

    pub fn constants(self) -> Vec<u64> {
        let Writer { mut words, mut bytes, texts, .. } = self;
        let start = 8 * words.len() as u64;
        texts.into_iter().for_each(|word| words[word] += start);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        words.extend(bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)));
        words
    }

    pub fn line(&mut self, line: &str) {
        // A String takes everything.
        let _ = writeln!(self.body, "    {line}");
    }

    /// Leaves the row out unless a condition is true, and to the process if something was bad.
    pub fn leave_unless(&mut self, condition: &Node) {
        self.line("if (bad) return MARKED;");
        self.line(&format!("if ({} || !{}) return EXCLUDED;", condition.null, condition.value));
    }

    /// Declares a value.
    pub fn declare(&mut self, form: Form, value: &str, null: &str) -> Node {
        let number = self.next;
        self.next += 1;
        self.line(&format!("const {} v{number} = {value};", form.type_name()));
        let null = match null {
            "false" | "true" => null.to_owned(),
            null => {
                self.line(&format!("const bool n{number} = {null};"));
                format!("n{number}")
            }
        };
        let is_nothing = null == "true";
        Node { form, value: format!("v{number}"), null, is_nothing }
    }

    /// Declares a value whose statement may find it bad, which it sets `found` for; the row is marked unless it is NULL.
    pub fn declare_checked(&mut self, form: Form, value: &str, null: &str) -> Node {
        let flag = format!("bad{}", self.next);
        self.line(&format!("bool {flag} = false;"));
        let node = self.declare(form, &value.replace("BAD", &flag), null);
        self.line(&format!("bad |= {flag} && !{};", node.null));
        node
    }

    /// Takes a constant, and returns the number of its first word.
    pub fn constant(&mut self, words: &[u64]) -> usize {
        self.words.extend(words);
        self.words.len() - words.len()
    }

    /// Writes an expression, unless it is written already.
    pub fn node(&mut self, expr: &Expr) -> Result<Node, Unfit> {
        let text = serde_json::to_string(expr).map_err(|_| Unfit("an expression that has no text"))?;
        if let Some(known) = self.known.get(&text) {
            return Ok(known.clone());
        }
        let node = self.write(expr)?;
        self.known.insert(text, node.clone());
        Ok(node)
    }

    fn all(&mut self, exprs: &[Expr]) -> Result<Vec<Node>, Unfit> {
        exprs.iter().map(|expr| self.node(expr)).collect()
    }

    fn of(&self, expr: &Expr) -> Type {
        expr.of(&self.task.plan.columns)
    }

    fn write(&mut self, expr: &Expr) -> Result<Node, Unfit> {
        match expr {
            Expr::Column(number) => self.column(*number),
            Expr::Constant(of, value) => self.value(*of, value),
            Expr::Arithmetic(op, of, arguments) => {
                let nodes = self.all(&arguments[..])?;
                self.arithmetic(*op, *of, &nodes[0], &nodes[1])
            }
            Expr::Compare(test, arguments) => {
                let nodes = self.all(&arguments[..])?;
                self.compare(*test, self.of(&arguments[0]), [&nodes[0], &nodes[1]], self.of(&arguments[1]))
            }
            Expr::In { argument, list, has_null, is_negated } => {
                self.list(argument, list, *has_null, *is_negated)
            }
            Expr::And(parts) => self.join(parts, false),
            Expr::Or(parts) => self.join(parts, true),
            Expr::Not(part) => {
                let part = self.node(part)?;
                Ok(self.declare(Form::Bool, &format!("!{}", part.value), &part.null))
            }
            Expr::IsNull(part) => {
                let part = self.node(part)?;
                Ok(self.declare(Form::Bool, &part.null, "false"))
            }
            Expr::Is { argument, value, is_negated } => {
                let part = self.node(argument)?;
                let found = format!("({} == {value} && !{}) != {is_negated}", part.value, part.null);
                Ok(self.declare(Form::Bool, &found, "false"))
            }
            Expr::Case(_, whens, otherwise) => {
                let mut conditions = Vec::new();
                let mut values = Vec::new();
                for (condition, value) in whens {
                    let condition = self.node(condition)?;
                    conditions.push(format!("{} && !{}", condition.value, condition.null));
                    values.push(self.node(value)?);
                }
                values.push(self.node(otherwise)?);
                self.choose(&conditions, &values)
            }
            Expr::Coalesce(_, parts) => {
                let values = self.all(parts)?;
                let (_, before) = values.split_last().ok_or(Unfit("no values"))?;
                let conditions: Vec<String> = before.iter().map(|node| format!("!{}", node.null)).collect();
                self.choose(&conditions, &values)
            }
            Expr::ToInteger(of, part) => {
                let part = self.node(part)?;
                self.integer_of(*of, &part)
            }
            Expr::ToNumeric(part) => {
                let part = self.node(part)?;
                let Form::Word { bound } = part.form else { return Err(Unfit("a numeric of no integer")) };
                Ok(Node { form: Form::Number { scale: 0, bound, is_wide: false }, ..part })
            }
            Expr::ToTimestamp(part) => {
                let part = self.node(part)?;
                self.timestamp_of(&part)
            }
            Expr::Like { .. } | Expr::Extreme(..) | Expr::Concatenate(_) | Expr::Unary(..) => {
                Err(Unfit("a function that a GPU does not compute"))
            }
        }
    }

    fn column(&mut self, number: usize) -> Result<Node, Unfit> {
        const OTHER: Unfit = Unfit("a column of a type that a GPU does not decode");
        let column = *self.task.plan.columns.get(number).ok_or(OTHER)?;
        let Decoded { op, precision, scale } = *self.task.columns.get(number).ok_or(OTHER)?;
        let op = Op::try_from(op).map_err(|_| OTHER)?;
        let integer = |form: &str, bound: i64| (format!("from.value<{form}>({number}, row)"), bound as u128);
        let null = format!("from.is_null({number}, row)");
        let word = |(value, bound): (String, u128)| (Form::Word { bound }, value);
        let (form, value) = match (column.of, op) {
            (Type::Bool, Op::Bool) => (Form::Bool, format!("from.truth({number}, row)")),
            (Type::Int2, Op::Int2) => word(integer("i32", 1 << 15)),
            (Type::Int4, Op::Int4) => word(integer("i32", 1 << 31)),
            (Type::Oid, Op::Int4) => word(integer("u32", 1 << 32)),
            (Type::Int8, Op::Int8) => {
                (Form::Word { bound: 1 << 63 }, format!("from.value<i64>({number}, row)"))
            }
            (Type::Time, Op::Time) => word(integer("i64", 86_400_000_000)),
            (Type::Date, Op::Date) => {
                (Form::Word { bound: 1 << 32 }, format!("i64(from.value<i32>({number}, row)) - {EPOCH_DAYS}"))
            }
            (Type::Timestamp | Type::TimestampTz, Op::Timestamp) => {
                (Form::Word { bound: 1 << 63 }, format!("from.value<i64>({number}, row) - {EPOCH}"))
            }
            (Type::Float4, Op::Int4) => (Form::Float, format!("double(from.value<float>({number}, row))")),
            (Type::Float8, Op::Int8) => (Form::Float, format!("from.value<double>({number}, row)")),
            // A row whose value shows another scale has no such value here.
            (Type::Numeric, _) if column.scale.unwrap_or(0) != scale => return Err(OTHER),
            (Type::Numeric, Op::Decimal32 | Op::Decimal64) => {
                let (value, _) = integer(if op == Op::Decimal32 { "i32" } else { "i64" }, 0);
                let bound = 10_u128.checked_pow(precision.into()).unwrap_or(u128::MAX).min((1 << 63) - 1);
                (Form::Number { scale, bound, is_wide: false }, value)
            }
            (Type::Numeric, Op::Decimal128) => {
                let value = format!("limited(from.decimal128({number}, row), READ_LIMIT, BAD)");
                let bound = 10_u128.pow(28);
                return Ok(self.declare_checked(Form::Number { scale, bound, is_wide: true }, &value, &null));
            }
            (Type::Text | Type::Bpchar, Op::Bytes) => (Form::Bytes, format!("text_of(from, {number}, row)")),
            (Type::Uuid, Op::Uuid) => (Form::Bytes, format!("uuid_of(from, {number}, row)")),
            _ => return Err(OTHER),
        };
        Ok(self.declare(form, &value, &null))
    }

    /// Writes a constant.
    fn value(&mut self, of: Type, value: &Value) -> Result<Node, Unfit> {
        const OTHER: Unfit = Unfit("a constant that a GPU does not hold");
        let (form, value) = match (of.class(), value) {
            (class, Value::Null) => {
                let form = match class {
                    Class::Bool => Form::Bool,
                    Class::Word => Form::Word { bound: 0 },
                    Class::Float => Form::Float,
                    Class::Numeric => Form::number(0, 0),
                    Class::Bytes => Form::Bytes,
                };
                let zero = form.zero();
                return Ok(self.declare(form, zero, "true"));
            }
            (Class::Bool, Value::Word(word)) => {
                let at = self.constant(&[*word as u64]);
                (Form::Bool, format!("from.word({at}) != 0"))
            }
            (Class::Word, Value::Word(word)) => {
                let at = self.constant(&[*word as u64]);
                let bound = of.range().map_or(1 << 63, |(least, _)| least.unsigned_abs().into());
                (Form::Word { bound }, format!("from.word({at})"))
            }
            (Class::Float, Value::Float(bits)) => {
                let at = self.constant(&[*bits]);
                (Form::Float, format!("float_of(from.word({at}))"))
            }
            (Class::Numeric, Value::Numeric(numeric @ Numeric::Finite(finite))) => {
                let scale = u8::try_from(finite.dscale).ok().filter(|scale| *scale <= 38).ok_or(OTHER)?;
                let value = integer(numeric, scale).ok_or(OTHER)?;
                // The next power of ten: numbers of as many digits share the text.
                let bound =
                    (0..29).map(|power| 10_u128.pow(power)).find(|bound| *bound > value.unsigned_abs());
                let form = Form::number(scale, bound.ok_or(OTHER)?);
                let at = self.constant(&[value as u64, (value >> 64) as u64]);
                let read = if matches!(form, Form::Number { is_wide: true, .. }) { "wide" } else { "word" };
                (form, format!("from.{read}({at})"))
            }
            (Class::Bytes, Value::Bytes(bytes)) => {
                let at = self.constant(&[self.bytes.len() as u64, bytes.len() as u64]);
                self.texts.push(at);
                self.bytes.extend(bytes);
                (Form::Bytes, format!("text_constant(from, {at})"))
            }
            _ => return Err(OTHER),
        };
        Ok(self.declare(form, &value, "false"))
    }

    fn list(
        &mut self,
        argument: &Expr,
        list: &[Value],
        has_null: bool,
        is_negated: bool,
    ) -> Result<Node, Unfit> {
        if list.len() > MOST_ELEMENTS {
            return Err(Unfit("a list of many elements"));
        }
        let (of, from) = (self.of(argument), self.node(argument)?);
        let mut tests = Vec::new();
        for value in list {
            let constant = self.value(of, value)?;
            tests.push(self.compare(Test::Equal, of, [&from, &constant], of)?.value);
        }
        let found = if tests.is_empty() { "false".into() } else { tests.join(" || ") };
        let found = self.declare(Form::Bool, &found, "false").value;
        let null = match (has_null, &from.null[..]) {
            (false, null) => null.to_owned(),
            (true, null) => format!("({null} || !{found})"),
        };
        Ok(self.declare(Form::Bool, &format!("{found} != {is_negated}"), &null))
    }

    /// Writes AND, or OR if true decides: the value that decides wins over NULL.
    fn join(&mut self, parts: &[Expr], decides: bool) -> Result<Node, Unfit> {
        let parts = self.all(parts)?;
        let part = |node: &Node| match (&node.null[..], decides) {
            ("false", _) => node.value.clone(),
            (null, false) => format!("({null} || {})", node.value),
            (null, true) => format!("(!{null} && {})", node.value),
        };
        let sign = if decides { " || " } else { " && " };
        let value = parts.iter().map(part).collect::<Vec<_>>().join(sign);
        let node = self.declare(Form::Bool, &value, "false");
        let null = match &any_null(&parts.iter().collect::<Vec<_>>())[..] {
            "false" => return Ok(node),
            null => format!("{}{} && {null}", if decides { "!" } else { "" }, node.value),
        };
        Ok(self.declare(Form::Bool, &node.value, &null))
    }

    /// Writes the value of the first condition that is true, or the last value.
    fn choose(&mut self, conditions: &[String], values: &[Node]) -> Result<Node, Unfit> {
        let form = common(values)?;
        let (last, before) = values.split_last().ok_or(Unfit("no values"))?;
        // NULL in every row may have another form.
        let value = |node: &Node| if node.is_nothing { form.zero().to_owned() } else { node.value.clone() };
        let pick = |of: &dyn Fn(&Node) -> String| {
            let choices = conditions
                .iter()
                .zip(before)
                .map(|(condition, node)| format!("{condition} ? {} : ", of(node)));
            choices.collect::<String>() + &of(last)
        };
        let cast = |node: &Node| format!("{}({})", form.type_name(), value(node));
        let chosen = match form {
            Form::Bytes => pick(&value),
            _ => pick(&cast),
        };
        let null = pick(&|node: &Node| node.null.clone());
        let null = if values.iter().all(|node| node.null == "false") { "false" } else { &null };
        Ok(self.declare(form, &chosen, null))
    }
}

/// Returns the form that holds all of some values. Numerics show one scale.
fn common(values: &[Node]) -> Result<Form, Unfit> {
    let mut forms = values.iter().filter(|node| !node.is_nothing).map(|node| node.form.clone());
    let Some(first) = forms.next() else { return Ok(values[0].form.clone()) };
    forms.try_fold(first, |a, b| match (a, b) {
        (Form::Word { bound: a }, Form::Word { bound: b }) => Ok(Form::Word { bound: a.max(b) }),
        (Form::Number { scale, bound, is_wide }, Form::Number { scale: other, bound: b, is_wide: wide })
            if scale == other =>
        {
            Ok(Form::Number { scale, bound: bound.max(b), is_wide: is_wide || wide })
        }
        (Form::Number { .. }, _) => Err(Unfit("numerics of several scales")),
        (a, b) if a == b => Ok(a),
        _ => Err(Unfit("values of several types")),
    })
}
