//! The exported columns: which ones, their kinds, and how their values are read.

use serde::{Deserialize, Serialize};

use crate::pg::catalog::Attribute;
use crate::pg::error::{Code, Result, error};
use crate::pg::pg_type::{self, TypeClass};
use crate::pg::render::{Call, Storage};
use crate::types::arrow::{MAX_NESTING, nesting};
use crate::types::{Field, Kind, Shapes};

/// How a column's stored bytes become what its kind expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    /// Without a change, except for varlena headers.
    Direct,
    /// 64 bytes, NUL-padded.
    Name,
    /// One byte.
    Char,
    /// By the type's output function, as text. `cached`: the type has few values (enums).
    Text { cached: bool },
    /// By the send function of an array or composite, or by its output function if the shape is text.
    Nested,
    /// By the type's send function, for the bytes of COPY BINARY.
    Sent,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    pub field: Field,
    pub stored: Stored,
    /// The type below any domains.
    pub base_type: u32,
    output_function: u32,
    send_function: u32,
    pub is_virtual: bool,
}

impl Column {
    fn new(attribute: &Attribute, shape_count: &mut usize) -> Column {
        let (base, typmod) = pg_type::base_type(attribute.type_oid, attribute.typmod);
        let (kind, stored) = kind_of(base, typmod, shape_count);
        let send = matches!(stored, Stored::Nested).then(|| pg_type::send_function(base));
        Column {
            field: Field {
                name: attribute.name.clone(),
                pg_type: pg_type::type_name(attribute.type_oid, attribute.typmod),
                nullable: !attribute.not_null,
                kind,
            },
            stored,
            base_type: base.to_u32(),
            output_function: pg_type::output_function(base).to_u32(),
            send_function: send.map_or(0, |oid| oid.to_u32()),
            is_virtual: attribute.is_virtual,
        }
    }

    /// Creates a column for the COPY BINARY stream.
    fn for_stream(attribute: &Attribute) -> Column {
        let mut column = Column::new(attribute, &mut 0);
        column.send_function = pg_type::send_function(attribute.type_oid).to_u32();
        if !matches!(column.stored, Stored::Direct | Stored::Name) {
            column.stored = Stored::Sent;
        }
        column
    }

    /// Returns the function of the server that resolves values, given the shapes.
    pub fn call(&self, shapes: &Shapes) -> Call {
        match self.stored {
            Stored::Direct | Stored::Name => Call::Detoast,
            Stored::Char => Call::Output { function: self.output_function.into(), cached: true },
            Stored::Text { cached } => Call::Output { function: self.output_function.into(), cached },
            Stored::Nested if self.field.kind.physical(shapes).is_some() => {
                Call::Output { function: self.output_function.into(), cached: false }
            }
            Stored::Nested | Stored::Sent => Call::Send { function: self.send_function.into() },
        }
    }

    pub fn storage(&self) -> Storage {
        Storage::of_type(self.base_type.into())
    }

    /// Returns why a device cannot read the column from heap pages, if so.
    pub fn unfit_for_device(&self, converts_text: bool) -> Option<&'static str> {
        match self.stored {
            _ if self.is_virtual => Some("is computed when it is read"),
            Stored::Text { .. } | Stored::Sent => Some("is rendered by its type's output function"),
            Stored::Nested => Some("is an array or a composite"),
            Stored::Direct | Stored::Name | Stored::Char => {
                let is_text = matches!(self.field.kind, Kind::Text | Kind::Json);
                (converts_text && is_text).then_some("is converted to UTF-8")
            }
        }
    }

    /// Returns whether a resolved cell is text in the database's encoding.
    pub fn is_text(&self, shapes: &Shapes) -> bool {
        match self.field.kind {
            Kind::Text | Kind::Json => true,
            Kind::List { .. } | Kind::Struct { .. } => self.field.kind.physical(shapes).is_some(),
            _ => false,
        }
    }
}

/// Returns the columns to export, in the requested order, and the number of their shapes.
pub fn select(chosen: &[&Attribute]) -> (Vec<Column>, usize) {
    let mut shape_count = 0;
    let columns = chosen.iter().map(|attribute| Column::new(attribute, &mut shape_count)).collect();
    (columns, shape_count)
}

/// Returns all columns of a query's result, and the number of their shapes.
pub fn of_query(attributes: &[Attribute]) -> Result<(Vec<Column>, usize)> {
    for (index, attribute) in attributes.iter().enumerate() {
        if attributes[..index].iter().any(|other| other.name == attribute.name) {
            return Err(error(
                Code::ERRCODE_DUPLICATE_COLUMN,
                format!("the query has more than one column \"{}\"", attribute.name),
            )
            .set_hint("A file's columns have different names: give each one with AS."));
        }
    }
    let mut shape_count = 0;
    Ok((attributes.iter().map(|attribute| Column::new(attribute, &mut shape_count)).collect(), shape_count))
}

/// Checks that arrays and composites are not nested more deeply than readers support.
pub fn check_nesting(columns: &[Column], shapes: &Shapes) -> Result<()> {
    for Column { field, .. } in columns {
        let found = nesting(&field.kind, shapes);
        if found > MAX_NESTING {
            let message = format!(
                "column \"{}\" of type {} has arrays and composites in each other, {found} deep",
                field.name, field.pg_type
            );
            return Err(error(Code::ERRCODE_PROGRAM_LIMIT_EXCEEDED, message)
                .set_detail(format!(
                    "Files are written with at most {MAX_NESTING}, as readers open no deeper ones."
                ))
                .set_hint(
                    "Leave the column out with columns, or export a query that casts it to text or jsonb.",
                ));
        }
    }
    Ok(())
}

/// Returns the columns for the COPY BINARY stream.
pub fn select_for_stream(chosen: &[&Attribute]) -> Vec<Column> {
    chosen.iter().map(|attribute| Column::for_stream(attribute)).collect()
}

/// Returns the chosen attributes; the privilege check uses them too.
pub fn choose<'a>(
    table: &str,
    attributes: &'a [Attribute],
    names: Option<&[String]>,
) -> Result<Vec<&'a Attribute>> {
    let live = || attributes.iter().filter(|attribute| !attribute.dropped);
    let Some(names) = names else { return Ok(live().collect()) };
    let mut chosen: Vec<&Attribute> = Vec::with_capacity(names.len());
    for name in names {
        let Some(attribute) = live().find(|attribute| attribute.name == *name) else {
            return Err(error(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{name}\" of table {table} does not exist"),
            )
            .set_hint("Names are compared as they are stored, case included."));
        };
        if chosen.iter().any(|other| other.number == attribute.number) {
            return Err(error(
                Code::ERRCODE_DUPLICATE_COLUMN,
                format!("column \"{name}\" is named more than once"),
            )
            .set_hint("A file's columns have different names: name each once."));
        }
        chosen.push(attribute);
    }
    Ok(chosen)
}

fn kind_of(base: pgrx::pg_sys::Oid, typmod: i32, shape_count: &mut usize) -> (Kind, Stored) {
    use pgrx::pg_sys::{CHAROID, JSONBOID, NAMEOID};
    if let Some(kind) = scalar_kind(base, typmod, shape_count) {
        let stored = match base {
            NAMEOID => Stored::Name,
            JSONBOID => Stored::Text { cached: false },
            _ => Stored::Direct,
        };
        return (kind, stored);
    }
    if base == CHAROID {
        return (Kind::Text, Stored::Char);
    }
    let before = *shape_count;
    match pg_type::type_class(base) {
        TypeClass::Enum => (Kind::Text, Stored::Text { cached: true }),
        TypeClass::Base => (Kind::Text, Stored::Text { cached: false }),
        class => match nested_kind(class, typmod, shape_count) {
            Some(kind) => (kind, Stored::Nested),
            None => {
                *shape_count = before;
                (Kind::Text, Stored::Text { cached: false })
            }
        },
    }
}

/// Returns the kind of an array or composite. An array's typmod is that of its elements.
fn nested_kind(class: TypeClass, typmod: i32, shape_count: &mut usize) -> Option<Kind> {
    match class {
        TypeClass::Array(element) => {
            let shape_index = *shape_count;
            *shape_count += 1;
            let element = nested_field("element", element, typmod, shape_count)?;
            Some(Kind::List { shape_index, element: Box::new(element) })
        }
        TypeClass::Composite(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, type_oid, typmod)| nested_field(&name, type_oid, typmod, shape_count))
                .collect::<Option<Vec<_>>>()?;
            // Parquet has no group without fields.
            (!fields.is_empty()).then_some(Kind::Struct { fields })
        }
        TypeClass::Enum => Some(Kind::Text),
        TypeClass::Base => None,
    }
}

/// Returns a field for a type whose sent bytes `decode` can read. Returns `None` for a type that only its output
/// function can render, which makes the whole column text.
fn nested_field(
    name: &str,
    type_oid: pgrx::pg_sys::Oid,
    typmod: i32,
    shape_count: &mut usize,
) -> Option<Field> {
    let (base, typmod) = pg_type::base_type(type_oid, typmod);
    let kind = match scalar_kind(base, typmod, shape_count) {
        Some(kind) => kind,
        None => nested_kind(pg_type::type_class(base), typmod, shape_count)?,
    };
    // `decode` tells jsonb from json by this name, since jsonb_send begins with a version byte.
    let pg_type = pg_type::type_name(if kind == Kind::Json { base } else { type_oid }, typmod);
    Some(Field { name: name.to_owned(), pg_type, nullable: true, kind })
}

/// Returns the kind of a scalar type whose stored and sent bytes are read here.
fn scalar_kind(base: pgrx::pg_sys::Oid, typmod: i32, shape_count: &mut usize) -> Option<Kind> {
    use pgrx::pg_sys::*;
    Some(match base {
        BOOLOID => Kind::Bool,
        INT2OID => Kind::Int2,
        INT4OID => Kind::Int4,
        INT8OID => Kind::Int8,
        OIDOID => Kind::Oid,
        FLOAT4OID => Kind::Float4,
        FLOAT8OID => Kind::Float8,
        NUMERICOID => numeric_kind(typmod).unwrap_or_else(|| {
            *shape_count += 1;
            Kind::Numeric { shape_index: *shape_count - 1 }
        }),
        DATEOID => Kind::Date,
        TIMEOID => Kind::Time,
        TIMESTAMPOID => Kind::Timestamp,
        TIMESTAMPTZOID => Kind::TimestampTz,
        UUIDOID => Kind::Uuid,
        TEXTOID | VARCHAROID | BPCHAROID | NAMEOID => Kind::Text,
        JSONOID | JSONBOID => Kind::Json,
        BYTEAOID => Kind::Bytea,
        _ => return None,
    })
}

/// Returns the kind of a declared numeric(p,s) of up to 38 digits. PostgreSQL 15 allows a negative scale, which means
/// zeros before the point, and one above the precision, which means zeros after it.
fn numeric_kind(typmod: i32) -> Option<Kind> {
    let (precision, scale) = pg_type::numeric_typmod(typmod)?;
    let digits = precision.max(scale) + (-scale).max(0);
    (digits <= 38).then(|| Kind::Decimal { precision: digits as u8, scale: scale.max(0) as u8 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typmods_become_decimals() {
        let typmod = |precision: i32, scale: i32| (precision << 16 | scale & 0x7ff) + 4;
        let decimal = |precision, scale| Some(Kind::Decimal { precision, scale });
        assert_eq!(numeric_kind(-1), None);
        assert_eq!(numeric_kind(typmod(15, 2)), decimal(15, 2));
        assert_eq!(numeric_kind(typmod(5, -2)), decimal(7, 0));
        assert_eq!(numeric_kind(typmod(3, 5)), decimal(5, 5));
        assert_eq!(numeric_kind(typmod(38, 0)), decimal(38, 0));
        assert_eq!(numeric_kind(typmod(39, 0)), None);
        assert_eq!(numeric_kind(typmod(1000, 500)), None);
    }
}
