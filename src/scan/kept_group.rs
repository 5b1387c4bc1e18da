//! The row group whose columns a device keeps, and how the device is to encode it.

use std::cell::Cell as Flag;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::program::{self, Form};
use crate::plan::{Pass, Stored};
use crate::slot::encode::{Order, Wish, encoding};
use crate::slot::input::Input;
use crate::slot::layout::Op;
use crate::slot::output::Output;
use crate::types::Kind;

/// How long a process waits for a free slot before it reads the range again; others free theirs soon.
const PATIENCE: Duration = Duration::from_secs(10);
/// A row group is closed once a column has this size, wherever it is encoded.
pub const COLUMN_BYTES: u64 = 960 << 20;

/// How row groups of a process are encoded.
pub struct GroupEncoding {
    pub wishes: Vec<Wish>,
    pub codec: u32,
    /// The most rows of a row group.
    pub rows: u64,
    pub bytes: u64,
    pub strikes: u32,
    pub bodies: Vec<u8>,
}

/// The row group whose columns the device is keeping.
pub struct KeptGroup {
    pub slots: u32,
    pub rows: u64,
    pub nulls: Vec<u64>,
    pub bytes: Vec<u64>,
    pub spoilt: Rc<Flag<bool>>,
    pub why: Option<&'static str>,
    waiting: Option<Instant>,
}

impl GroupEncoding {
    /// Returns `None` when no row group of the job can be encoded on a device.
    pub fn of(pass: &Pass, forms: &[Form]) -> Option<GroupEncoding> {
        let crate::plan::Output::Groups { encode: Some(plan), .. } = &pass.output else { return None };
        let flat = forms.iter().all(|form| *form == Form::Lane) && plan.choices.len() == forms.len();
        let wish = |(number, choice): (usize, &crate::plan::Choice)| {
            let column = &pass.reading.columns[number];
            let (op, _) = program::operation(&column.field.kind, &pass.shapes);
            let op = if matches!(column.stored, Stored::Name | Stored::Char) { Op::Bytes } else { op };
            let order = order(&column.field.kind);
            Wish {
                op,
                order,
                nullable: column.field.nullable,
                dictionary: choice.dictionary,
                encoding: encoding::of(op, order, choice.encoding),
            }
        };
        flat.then(|| GroupEncoding {
            wishes: plan.choices.iter().enumerate().map(wish).collect(),
            codec: plan.codec,
            rows: plan.rows.min(u32::MAX.into()),
            bytes: plan.bytes,
            strikes: 0,
            bodies: Vec::new(),
        })
    }
}

fn order(kind: &Kind) -> Order {
    match kind {
        Kind::Float4 | Kind::Float8 => Order::Floating,
        Kind::Bool | Kind::Oid | Kind::Uuid | Kind::Text | Kind::Json | Kind::Bytea => Order::Unsigned,
        // Arrays and composites become text here.
        Kind::List { .. } | Kind::Struct { .. } => Order::Unsigned,
        _ => Order::Signed,
    }
}

impl KeptGroup {
    pub fn new(columns: usize) -> KeptGroup {
        KeptGroup {
            slots: 0,
            rows: 0,
            nulls: vec![0; columns],
            bytes: vec![0; columns],
            spoilt: Rc::default(),
            why: None,
            waiting: None,
        }
    }

    /// Marks the range to be read again.
    pub fn spoil(&mut self, why: &'static str) {
        self.spoilt.set(true);
        self.why.get_or_insert(why);
    }

    /// Counts what a slot has become, as the encoder counts lanes.
    pub fn add(&mut self, output: &Output, input: &Input) {
        let rows = output.rows() as u64;
        self.rows += rows;
        for (number, (column, op)) in output.columns().iter().zip(input.ops()).enumerate() {
            let values = rows - u64::from(column.nulls);
            self.nulls[number] += u64::from(column.nulls);
            self.bytes[number] += match op.width() {
                None => u64::from(column.bytes) + 4 * values,
                Some(0) => values.div_ceil(8),
                Some(width) => width as u64 * values,
            };
        }
    }

    /// Returns false once the process has waited too long for a slot, or must read the range again anyway.
    pub fn may_wait(&mut self) -> bool {
        self.waiting.get_or_insert_with(Instant::now).elapsed() < PATIENCE && !self.spoilt.get()
    }

    pub fn has_waited(&mut self) {
        self.waiting = None;
    }
}
