//! The layout of a leaf table's tuples: attributes in storage order, and the column that each one is.

use crate::pg::catalog::{Attribute, Table};
use crate::pg::error::{Code, Result, error};
use crate::pg::render::Renderer;
use crate::plan::{Pass, Stored};
use crate::wire::tuple::{Attr, Take};

/// Returns the attributes that must be walked to reach every exported column.
///
/// Columns are matched by name, as inheritance does: a partition may order them differently.
pub fn of_table(pass: &Pass, table: &Table, renderer: &mut Renderer) -> Result<Vec<Attr>> {
    let attributes = table.attributes();
    for column in &pass.reading.columns {
        if !attributes.iter().any(|attribute| !attribute.dropped && attribute.name == column.field.name) {
            return Err(error(
                Code::ERRCODE_UNDEFINED_COLUMN,
                format!("column \"{}\" is gone from {}", column.field.name, table.qualified_name()),
            )
            .set_hint("The table was altered meanwhile; run the statement again."));
        }
    }
    let mut attrs = of_query(pass, &attributes);
    for (attr, attribute) in attrs.iter_mut().zip(&attributes) {
        if let Some(column) = attr.take.column().filter(|_| attribute.has_missing) {
            attr.missing = missing_value(table, attribute, column, renderer)?;
        }
    }
    Ok(attrs)
}

/// Returns the same for a query's rows, which have every attribute.
pub fn of_query(pass: &Pass, attributes: &[Attribute]) -> Vec<Attr> {
    let attr = |attribute: &Attribute| Attr {
        len: attribute.length,
        align: attribute.align,
        take: column_of(pass, attribute)
            .map_or(Take::Skip, |column| take(pass.reading.columns[column].stored, attribute, column)),
        missing: None,
    };
    let mut attrs: Vec<Attr> = attributes.iter().map(attr).collect();
    let wanted = attrs.iter().rposition(|attr| attr.take != Take::Skip).map_or(0, |last| last + 1);
    attrs.truncate(wanted);
    attrs
}

/// Returns the column of an attribute. A virtual column has no stored value: its attribute is NULL in every
/// tuple.
fn column_of(pass: &Pass, attribute: &Attribute) -> Option<usize> {
    if attribute.dropped || attribute.is_virtual {
        return None;
    }
    pass.reading.columns.iter().position(|column| column.field.name == attribute.name)
}

fn take(stored: Stored, attribute: &Attribute, column: usize) -> Take {
    match stored {
        Stored::Text { .. } | Stored::Nested | Stored::Sent => Take::Server { column },
        Stored::Name => Take::Name { column },
        Stored::Char => Take::Char { column },
        Stored::Direct if attribute.length == -1 => Take::Varlena { column },
        Stored::Direct => Take::Fixed { column },
    }
}

fn missing_value(
    table: &Table,
    attribute: &Attribute,
    column: usize,
    renderer: &mut Renderer,
) -> Result<Option<Vec<u8>>> {
    let Some(datum) = table.missing_datum(attribute.number) else { return Ok(None) };
    let mut bytes = Vec::new();
    // SAFETY: the datum is the catalog's value of this column's type.
    unsafe { renderer.resolve_datum(column, datum, &mut bytes)? };
    Ok(Some(bytes))
}
