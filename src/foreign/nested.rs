//! Lists become arrays, structs composites. First their elements and fields become values, the whole batch at once;
//! then PostgreSQL builds each array and row, in the batch's memory context.

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, Fields};
use pgrx::pg_sys::{self, Datum, Oid};

use super::column::{Converter, Failure, Filled, misfit};
use crate::fdw::list_depth;
use crate::fdw::values::Words;
use crate::pg::catalog;
use crate::pg::pg_type::{self, TypeClass};

pub const RAGGED: &str = "an array of PostgreSQL has inner arrays of one length, none of them NULL";

/// Arrays of one type of elements.
pub struct ListOf {
    element: Converter,
    element_type: Oid,
    length: i16,
    by_value: bool,
    align: std::ffi::c_char,
    /// The levels of lists, which are the array's dimensions.
    depth: usize,
}

/// Rows of one composite type.
pub struct RowOf {
    descriptor: pg_sys::TupleDesc,
    /// The struct's field and its values for each attribute; `None` for a dropped one, which is NULL.
    fields: Vec<Option<(usize, Converter)>>,
}

/// One level of lists: where each begins and ends among the level's items, and which are NULL.
struct Level {
    starts: Vec<usize>,
    nulls: Vec<bool>,
}

impl Level {
    /// Returns the lists of an array, and their items end to end.
    fn of(array: &ArrayRef) -> Option<(Level, ArrayRef)> {
        let (starts, items): (Vec<usize>, ArrayRef) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                (list.offsets().iter().map(|&at| at as usize).collect(), list.values().clone())
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                (list.offsets().iter().map(|&at| at as usize).collect(), list.values().clone())
            }
            DataType::FixedSizeList(_, size) => {
                let list = array.as_fixed_size_list();
                ((0..=list.len()).map(|row| row * *size as usize).collect(), list.values().clone())
            }
            _ => return None,
        };
        let (first, last) = (*starts.first()?, *starts.last()?);
        let items = items.slice(first, last.checked_sub(first)?);
        let starts = starts.into_iter().map(|at| at - first).collect();
        let nulls = (0..array.len()).map(|row| array.is_null(row)).collect();
        Some((Level { starts, nulls }, items))
    }
}

impl ListOf {
    pub fn new(base: Oid, typmod: i32, data_type: &DataType) -> Option<ListOf> {
        let TypeClass::Array(element_type) = pg_type::type_class(base) else { return None };
        // If the elements are of a domain over an array, it is not certain which levels of lists are theirs.
        let of_arrays =
            matches!(pg_type::type_class(pg_type::base_type(element_type, -1).0), TypeClass::Array(_));
        let (mut depth, mut inner) = (0, data_type);
        while let DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) = inner
        {
            depth += 1;
            inner = item.data_type();
            if of_arrays {
                break;
            }
        }
        if depth > pg_sys::MAXDIM as usize || of_arrays && list_depth(inner) != 1 {
            return None;
        }
        let element = Converter::new(element_type, typmod, inner)?;
        let (mut length, mut by_value, mut align) = (0, false, 0);
        // SAFETY: a syscache look-up of a type that a column uses.
        unsafe { pg_sys::get_typlenbyvalalign(element_type, &mut length, &mut by_value, &mut align) };
        Some(ListOf { element, element_type, length, by_value, align, depth })
    }

    pub fn fill(&mut self, array: &ArrayRef, out: &mut Words) -> Filled {
        out.begin_with(array);
        let mut levels = Vec::with_capacity(self.depth);
        let mut items = array.clone();
        for _ in 0..self.depth {
            let (level, inner) = Level::of(&items).ok_or_else(|| misfit(0, "the column's type changed"))?;
            levels.push(level);
            items = inner;
        }
        self.element
            .fill(&items)
            .map_err(|failure| Failure { row: owner(&levels, failure.row), ..failure })?;
        for row in 0..array.len() {
            if !out.nulls[row] {
                out.words[row] = self.array(&levels, row)?;
            }
        }
        Ok(())
    }

    fn array(&mut self, levels: &[Level], row: usize) -> std::result::Result<u64, Failure> {
        let mut range = levels[0].starts[row]..levels[0].starts[row + 1];
        let mut dimensions = vec![range.len() as i32];
        for level in &levels[1..] {
            let mut lengths = range.clone().map(|item| level.starts[item + 1] - level.starts[item]);
            let length = lengths.next().unwrap_or(0);
            if lengths.any(|other| other != length) || range.clone().any(|item| level.nulls[item]) {
                return Err(misfit(row, RAGGED));
            }
            range = level.starts[range.start]..level.starts[range.end];
            dimensions.push(length as i32);
        }
        let Words { words, nulls, .. } = &mut self.element.words;
        let mut bounds = vec![1; dimensions.len()];
        // SAFETY: as many Datums and flags as the dimensions say; a Datum is a word.
        unsafe {
            let array = match range.is_empty() {
                true => pg_sys::construct_empty_array(self.element_type),
                false => pg_sys::construct_md_array(
                    words.as_mut_ptr().add(range.start).cast(),
                    nulls.as_mut_ptr().add(range.start),
                    dimensions.len() as i32,
                    dimensions.as_mut_ptr(),
                    bounds.as_mut_ptr(),
                    self.element_type,
                    self.length.into(),
                    self.by_value,
                    self.align,
                ),
            };
            Ok(array as u64)
        }
    }
}

/// Returns the row that an item of the innermost level belongs to.
fn owner(levels: &[Level], item: usize) -> usize {
    levels
        .iter()
        .rev()
        .fold(item, |item, level| level.starts.partition_point(|&start| start <= item).saturating_sub(1))
}

impl RowOf {
    pub fn new(base: Oid, of: &Fields) -> Option<RowOf> {
        let TypeClass::Composite(_) = pg_type::type_class(base) else { return None };
        // SAFETY: a composite type; the copy lives in the current context, the scan's.
        let descriptor = unsafe { pg_sys::lookup_rowtype_tupdesc_copy(base, -1) };
        // SAFETY: the descriptor was just made.
        let attributes = unsafe { catalog::attributes_of(descriptor) };
        let mut fields = Vec::with_capacity(attributes.len());
        for attribute in attributes {
            if attribute.dropped {
                fields.push(None);
                continue;
            }
            let mut named = of.iter().enumerate().filter(|(_, field)| *field.name() == attribute.name);
            let (Some((index, field)), None) = (named.next(), named.next()) else { return None };
            let value = Converter::new(attribute.type_oid, attribute.typmod, field.data_type())?;
            fields.push(Some((index, value)));
        }
        Some(RowOf { descriptor, fields })
    }

    pub fn fill(&mut self, array: &ArrayRef, out: &mut Words) -> Filled {
        out.begin_with(array);
        let composite: &StructArray =
            array.as_struct_opt().ok_or_else(|| misfit(0, "the column's type changed"))?;
        for (index, value) in self.fields.iter_mut().flatten() {
            value.fill(composite.column(*index))?;
        }
        let mut datums = vec![Datum::from(0usize); self.fields.len()];
        let mut nulls = vec![true; self.fields.len()];
        for row in 0..array.len() {
            if out.nulls[row] {
                continue;
            }
            for (attribute, field) in self.fields.iter().enumerate() {
                if let Some((_, value)) = field {
                    datums[attribute] = Datum::from(value.words.words[row] as usize);
                    nulls[attribute] = value.words.nulls[row];
                }
            }
            // SAFETY: a Datum and a flag for each attribute of the descriptor.
            let datum = unsafe {
                let tuple = pg_sys::heap_form_tuple(self.descriptor, datums.as_mut_ptr(), nulls.as_mut_ptr());
                pg_sys::heap_copy_tuple_as_datum(tuple, self.descriptor)
            };
            out.words[row] = datum.value() as u64;
        }
        Ok(())
    }
}
