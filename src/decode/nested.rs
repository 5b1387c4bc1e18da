//! Decodes nested columns: the bytes of `array_send` and `record_send` into Arrow arrays.
//!
//! A builder is a tree of nodes, one for each field of the column's type. Every append to a node adds one value to
//! it. A composite's children are therefore as long as it is, and a list's child as long as its last offset. The
//! depth of the recursion is that of the type; it does not depend on the data.
//!
//! A value that the shapes do not cover, or that no type of the file can represent, does not end a batch at once: the
//! builder notes it and goes on, so that one restart suffices for all of the batch. Its arrays must not be used after
//! that.

use super::leaf_builder::LeafBuilder;
use super::nested_bytes::{Dimensions, Reader};
use crate::types::arrow::{arrow_type, element_field, list_depth};
use crate::types::{Cell, Field, Kind, Reason, Shape, Shapes, ValueError};
use arrow::array::{Array, ArrayRef, ListArray, NullBufferBuilder, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use std::sync::Arc;

/// Builds the Arrow array of a nested column. The array's type is the one that `arrow_type` returns.
pub struct NestedBuilder {
    root: Node,
}

/// The values of a batch that were refused.
#[derive(Default)]
struct Refused {
    /// The current row.
    row: usize,
    /// The first shape found too narrow: its row, its index, and the shape that the whole batch needs.
    misfit: Option<(usize, usize, Shape)>,
    /// The first value that no shape can represent.
    value: Option<ValueError>,
}

impl Refused {
    fn note(&mut self, reason: Reason) {
        let row = self.row;
        match (reason, &mut self.misfit) {
            (Reason::Misfit { shape_index, needs }, None) => self.misfit = Some((row, shape_index, needs)),
            (Reason::Misfit { shape_index, needs }, Some((_, known, shape))) => {
                if *known == shape_index {
                    *shape = shape.merge(needs);
                }
            }
            (reason, _) => _ = self.value.get_or_insert(ValueError { row, reason }),
        }
    }

    /// A misfit comes first: the wider shapes may make the column text, which can represent any value.
    fn into_result(self) -> Result<(), ValueError> {
        match (self.misfit, self.value) {
            (Some((row, shape_index, needs)), _) => {
                Err(ValueError { row, reason: Reason::Misfit { shape_index, needs } })
            }
            (None, value) => value.map_or(Ok(()), Err),
        }
    }
}

impl NestedBuilder {
    /// Creates a builder under the current shapes. The column must not be one that is written as text.
    pub fn new(field: &Field, shapes: &Shapes) -> NestedBuilder {
        debug_assert!(!field.kind.nested_as_text(shapes));
        NestedBuilder { root: Node::new(field, shapes) }
    }

    /// Appends one batch's rows. After an error the builder must be dropped.
    pub fn append(&mut self, cells: &[Cell], arena: &[u8]) -> Result<(), ValueError> {
        let mut refused = Refused::default();
        for (row, cell) in cells.iter().enumerate() {
            refused.row = row;
            if let Err(malformed) = self.root.push(cell.bytes(arena), &mut refused) {
                refused.note(malformed);
                break;
            }
        }
        refused.into_result()
    }

    pub fn finish(self) -> ArrayRef {
        self.root.finish()
    }
}

struct Node {
    nulls: NullBufferBuilder,
    data: Data,
}

enum Data {
    Leaf(LeafBuilder),
    List(List),
    Struct { fields: Fields, children: Vec<Node>, len: usize },
}

/// An array column: a list for each dimension around a node for the elements.
struct List {
    shape_index: usize,
    /// The shape has no dimensions yet, because no array with elements has been seen.
    open: bool,
    /// The lists of each dimension, outermost first: a 0 followed by the end of each list in the next level.
    levels: Vec<Vec<i32>>,
    element: FieldRef,
    child: Box<Node>,
}

impl Node {
    fn new(field: &Field, shapes: &Shapes) -> Node {
        let data = match &field.kind {
            Kind::List { shape_index, element } => Data::List(List {
                shape_index: *shape_index,
                open: shapes.get(*shape_index).whole == 0,
                levels: vec![vec![0]; list_depth(*shape_index, shapes)],
                element: element_field(element, shapes),
                child: Box::new(Node::new(element, shapes)),
            }),
            Kind::Struct { fields } => Data::Struct {
                fields: match arrow_type(&field.kind, shapes) {
                    DataType::Struct(fields) => fields,
                    _ => Fields::empty(),
                },
                children: fields.iter().map(|field| Node::new(field, shapes)).collect(),
                len: 0,
            },
            _ => Data::Leaf(LeafBuilder::new(field, shapes)),
        };
        Node { nulls: NullBufferBuilder::new(0), data }
    }

    /// Appends a value or NULL. The children of a NULL composite get NULLs only to keep their length. Fails if the
    /// rest of the row cannot be read.
    fn push(&mut self, bytes: Option<&[u8]>, refused: &mut Refused) -> Result<(), Reason> {
        self.nulls.append(bytes.is_some());
        match &mut self.data {
            Data::Leaf(leaf) => match leaf.push(bytes) {
                Err(reason) => {
                    refused.note(reason);
                    leaf.push(None)
                }
                Ok(()) => Ok(()),
            },
            Data::List(list) => list.push(bytes, refused),
            Data::Struct { children, len, .. } => {
                *len += 1;
                push_record(children, bytes, refused)
            }
        }
    }

    fn finish(mut self) -> ArrayRef {
        let nulls = self.nulls.finish();
        match self.data {
            Data::Leaf(leaf) => leaf.finish(nulls),
            Data::List(list) => list.finish(nulls),
            Data::Struct { len, children, .. } if children.is_empty() => {
                Arc::new(StructArray::new_empty_fields(len, nulls))
            }
            // This cannot panic, since every child has the length of its parent and the type of its field.
            Data::Struct { fields, children, .. } => {
                let children = children.into_iter().map(Node::finish).collect();
                Arc::new(StructArray::new(fields, children, nulls))
            }
        }
    }
}

fn push_record(children: &mut [Node], bytes: Option<&[u8]>, refused: &mut Refused) -> Result<(), Reason> {
    let Some(bytes) = bytes else {
        return children.iter_mut().try_for_each(|child| child.push(None, refused));
    };
    let mut reader = Reader::new(bytes);
    if usize::try_from(reader.int()?) != Ok(children.len()) {
        return Err(Reason::Malformed("composite with another number of fields"));
    }
    for child in children {
        // Skip the oid of the field's type, which is known from the catalogs.
        reader.int()?;
        child.push(reader.value()?, refused)?;
    }
    reader.end()
}

impl List {
    fn push(&mut self, bytes: Option<&[u8]>, refused: &mut Refused) -> Result<(), Reason> {
        let Some(bytes) = bytes else {
            return extend(&mut self.levels[0], 1, 0);
        };
        let mut reader = Reader::new(bytes);
        let dimensions = Dimensions::read(&mut reader)?;
        match self.misfit(&dimensions) {
            // The elements are read nevertheless, for the shapes that they need.
            Some(needs) => refused.note(Reason::Misfit { shape_index: self.shape_index, needs }),
            None => self.extend(dimensions.sizes())?,
        }
        for _ in 0..dimensions.elements() {
            self.child.push(reader.value()?, refused)?;
        }
        reader.end()
    }

    /// Returns the shape that an array of these dimensions needs. An array without elements fits any shape.
    fn misfit(&self, dimensions: &Dimensions) -> Option<Shape> {
        match dimensions.sizes().len() {
            0 => None,
            _ if dimensions.shifted => Some(Shape::TEXT),
            // If another number of dimensions is in force, the two merge into a shape that is text.
            count if self.open || count != self.levels.len() => Some(Shape::list(count as u16)),
            _ => None,
        }
    }

    /// Appends one array of these sizes to every level; without sizes it is empty.
    fn extend(&mut self, sizes: &[usize]) -> Result<(), Reason> {
        if sizes.is_empty() {
            return extend(&mut self.levels[0], 1, 0);
        }
        let mut lists = 1;
        for (level, &size) in self.levels.iter_mut().zip(sizes) {
            extend(level, lists, size)?;
            lists *= size;
        }
        Ok(())
    }

    fn finish(self, mut nulls: Option<NullBuffer>) -> ArrayRef {
        let mut field = self.element;
        let mut array = self.child.finish();
        let mut levels = self.levels;
        while let Some(offsets) = levels.pop() {
            // Only the outermost list can be NULL.
            let nulls = if levels.is_empty() { nulls.take() } else { None };
            // This cannot panic, since the offsets only grow, and the last one is the length of their child.
            let list = ListArray::new(field, OffsetBuffer::new(offsets.into()), array, nulls);
            field = Arc::new(arrow::datatypes::Field::new("element", list.data_type().clone(), true));
            array = Arc::new(list);
        }
        array
    }
}

/// Appends the ends of `lists` lists of `size` each.
fn extend(ends: &mut Vec<i32>, lists: usize, size: usize) -> Result<(), Reason> {
    // This is never empty, since it begins with a 0.
    let last = ends.last().copied().unwrap_or(0);
    let total = lists.checked_mul(size).and_then(|n| i32::try_from(n).ok()).and_then(|n| last.checked_add(n));
    if total.is_none() {
        return Err(Reason::OutOfRange);
    }
    // Neither the conversion nor the sum overflows, since both are below the total.
    ends.extend((1..=lists).map(|list| last + (list * size) as i32));
    Ok(())
}

#[cfg(test)]
#[path = "nested_tests.rs"]
mod tests;
