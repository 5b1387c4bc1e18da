//! The device's program: what it does with each attribute of a row (see `slot::layout`), and what is left to
//! this process when the columns return.

use crate::plan::{Column, Pass};
use crate::slot::fill::AttrSpec;
use crate::slot::layout::{Attr, NO_COLUMN, Op, STRIP_VERSION};
use crate::types::{Kind, Physical, Shape, Shapes};
use crate::wire::copy_binary::SendMethod;
use crate::wire::tuple::{self, Take};

/// How a column returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Decoded, as the values that the encoder takes.
    Lane,
    /// As the bytes of each value, which this process decodes: nested values, and numerics that become text.
    Cells,
}

/// Returns how each column returns.
pub fn forms(pass: &Pass) -> Vec<Form> {
    pass.reading.columns.iter().map(|column| operation(&column.field.kind, &pass.shapes).1).collect()
}

/// Returns the program for the tuples of a leaf table.
pub fn heap(pass: &Pass, attributes: &[tuple::Attr]) -> Vec<AttrSpec> {
    let spec = |attribute: &tuple::Attr| {
        let (op, column) = match attribute.take {
            Take::Skip | Take::Server { .. } => (Op::Skip, None),
            Take::Name { column } => (Op::Name, Some(column)),
            Take::Char { column } => (Op::Char, Some(column)),
            Take::Fixed { column } | Take::Varlena { column } => {
                (operation(&pass.reading.columns[column].field.kind, &pass.shapes).0, Some(column))
            }
        };
        let (precision, scale) = column.map_or((0, 0), |column| digits(pass, column));
        let attr = Attr {
            len: attribute.len,
            align: attribute.align,
            op: op as u8,
            precision,
            scale,
            column: column.map_or(NO_COLUMN, |column| column as u32),
            ..Attr::default()
        };
        AttrSpec { attr, missing: attribute.missing.clone() }
    };
    attributes.iter().map(spec).collect()
}

/// Returns the program for rows of the COPY BINARY stream.
pub fn copy_binary(pass: &Pass, send: &[SendMethod]) -> Vec<AttrSpec> {
    let spec = |(column, send): (usize, &SendMethod)| {
        let (op, _) = operation(&pass.reading.columns[column].field.kind, &pass.shapes);
        let (precision, scale) = digits(pass, column);
        let strip = if *send == SendMethod::Jsonb { STRIP_VERSION } else { 0 };
        let attr = Attr { op: op as u8, precision, scale, strip, column: column as u32, ..Attr::default() };
        AttrSpec { attr, missing: None }
    };
    send.iter().enumerate().map(spec).collect()
}

pub fn operation(kind: &Kind, shapes: &Shapes) -> (Op, Form) {
    let op = match kind {
        Kind::Bool => Op::Bool,
        Kind::Int2 => Op::Int2,
        Kind::Int4 | Kind::Oid | Kind::Float4 => Op::Int4,
        Kind::Int8 | Kind::Float8 => Op::Int8,
        Kind::Time => Op::Time,
        Kind::Date => Op::Date,
        Kind::Timestamp | Kind::TimestampTz => Op::Timestamp,
        Kind::Uuid => Op::Uuid,
        Kind::Decimal { .. } | Kind::Numeric { .. } => match kind.physical(shapes) {
            Some(Physical::I32) => Op::Decimal32,
            Some(Physical::I64) => Op::Decimal64,
            Some(Physical::Fixed16) => Op::Decimal128,
            _ => return (Op::Bytes, Form::Cells),
        },
        Kind::Text | Kind::Json | Kind::Bytea => Op::Bytes,
        Kind::List { .. } | Kind::Struct { .. } => match kind.physical(shapes) {
            Some(_) => Op::Bytes,
            None => return (Op::Bytes, Form::Cells),
        },
    };
    (op, Form::Lane)
}

/// Returns precision and scale of a decimal column.
fn digits(pass: &Pass, column: usize) -> (u8, u8) {
    digits_of(&pass.reading.columns[column].field.kind, &pass.shapes)
}

fn digits_of(kind: &Kind, shapes: &Shapes) -> (u8, u8) {
    match *kind {
        Kind::Decimal { precision, scale } => (precision, scale),
        Kind::Numeric { shape_index } => shapes.get(shape_index).decimal().unwrap_or((0, 0)),
        _ => (0, 0),
    }
}

/// Returns shapes by which a device takes numerics without a declared scale for integers of 64 bits, and leaves out those
/// that show digits after the point.
pub fn whole_numbers(columns: usize) -> Shapes {
    let mut shapes = Shapes::new(columns);
    (0..columns).for_each(|index| shapes.set(index, Shape::numeric(18, 0)));
    shapes
}

/// Returns the operation on each column with such shapes, and a decimal's precision and scale.
pub fn operations(columns: &[Column]) -> Vec<(Op, (u8, u8))> {
    let shapes = whole_numbers(columns.len());
    let of = |column: &Column| {
        let kind = &column.field.kind;
        (operation(kind, &shapes).0, digits_of(kind, &shapes))
    };
    columns.iter().map(of).collect()
}
