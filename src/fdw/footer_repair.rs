//! Rewrites a Parquet footer so that the decoder accepts it.
//!
//! The decoder refuses a whole file for faults that other readers skip: the type of an empty list's items,
//! types that it does not know, or one column that it cannot convert to an Arrow type. Here they are removed
//! from the footer, if necessary with their column, and the rest is kept as it is.

use std::ops::Range;

use super::thrift::{BINARY, Checked, Fields, I16, I32, I64, LIST, MALFORMED, Reader, STRUCT};

/// The types of a struct's fields, from field 1 on. A field of another type is a writer's own, and is skipped.
type Types = [u8];

/// Types of parquet.thrift.
const FILE_META_DATA: &Types = &[I32, LIST, I64, LIST, LIST, BINARY, LIST, STRUCT, BINARY];
const SCHEMA_ELEMENT: &Types = &[I32, I32, I32, BINARY, I32, I32, I32, I32, I32, STRUCT];
const ROW_GROUP: &Types = &[LIST, I64, I64, LIST, I64, I64, I16];
const COLUMN_CHUNK: &Types = &[BINARY, I64, STRUCT, I64, I32, I64, I32, STRUCT, BINARY];
const COLUMN_META_DATA: &Types =
    &[I32, LIST, LIST, I32, I64, I64, I64, LIST, I64, I64, I64, STRUCT, LIST, I64, I32, STRUCT, STRUCT];

/// Fields of FileMetaData.
const VERSION: i64 = 1;
const SCHEMA: i64 = 2;
const NUM_ROWS: i64 = 3;
const ROW_GROUPS: i64 = 4;
const KEY_VALUES: i64 = 5;
const CREATED_BY: i64 = 6;
const COLUMN_ORDERS: i64 = 7;
const ENCRYPTION_ALGORITHM: i64 = 8;
const SIGNING_KEY: i64 = 9;

/// A footer, divided by columns.
pub struct Footer<'a> {
    fields: Vec<(i64, u8, &'a [u8])>,
    root: &'a [u8],
    pub columns: Vec<FooterColumn>,
}

/// A column of the table, with everything that it consists of.
pub struct FooterColumn {
    pub name: String,
    elements: Vec<Vec<u8>>,
    /// The Parquet columns of the column.
    pub leaves: Range<usize>,
}

/// An element of the schema.
struct Element<'a> {
    name: &'a [u8],
    is_leaf: bool,
    children: i64,
    bytes: Vec<u8>,
}

impl<'a> Footer<'a> {
    /// Parses a footer that was checked.
    pub fn parse(bytes: &'a [u8]) -> Checked<Footer<'a>> {
        let (mut fields, mut elements) = (Vec::new(), Vec::new());
        known_fields(bytes, FILE_META_DATA, &mut |field, kind, value| {
            if field == SCHEMA && elements.is_empty() {
                Reader { rest: value }.struct_values(&mut |element| {
                    elements.push(Element::parse(element)?);
                    Ok(())
                })?;
            }
            fields.push((field, kind, value));
            Ok(())
        })?;
        let mut elements = elements.into_iter();
        let root = elements.next().ok_or(MALFORMED)?;
        let (mut columns, mut leaves) = (Vec::new(), 0);
        while let Some(first) = elements.next() {
            let column = FooterColumn::parse(first, &mut elements, leaves)?;
            leaves = column.leaves.end;
            columns.push(column);
        }
        if i64::try_from(columns.len()) != Ok(root.children) {
            return Err(MALFORMED);
        }
        Ok(Footer { fields, root: root.name, columns })
    }

    /// Returns a footer with this column alone, and no rows.
    pub fn alone(&self, column: usize) -> Vec<u8> {
        let mut out = Fields::default();
        out.put_integer(VERSION, I32, 1);
        out.put_list(SCHEMA, STRUCT, &self.schema(|at| at == column));
        out.put_integer(NUM_ROWS, I64, 0);
        out.put_list(ROW_GROUPS, STRUCT, &[]);
        out.finish()
    }

    /// Returns the footer with some of its columns, with or without their statistics.
    pub fn rewritten(&self, kept: &[bool], statistics: bool) -> Checked<Vec<u8>> {
        let is_kept = |column: usize| kept.get(column).copied().unwrap_or(false);
        let leaves = self.columns.last().map_or(0, |column| column.leaves.end);
        let mut kept_leaves = vec![false; leaves];
        for (at, column) in self.columns.iter().enumerate() {
            kept_leaves[column.leaves.clone()].fill(is_kept(at));
        }
        let mut out = Fields::default();
        for &(field, kind, value) in &self.fields {
            match field {
                SCHEMA => out.put_list(SCHEMA, STRUCT, &self.schema(is_kept)),
                ROW_GROUPS => {
                    let mut groups = Vec::new();
                    Reader { rest: value }.struct_values(&mut |group| {
                        groups.push(row_group(group, &kept_leaves, statistics)?);
                        Ok(())
                    })?;
                    out.put_list(ROW_GROUPS, STRUCT, &groups);
                }
                COLUMN_ORDERS => {
                    let orders = kept_structs(value, &kept_leaves, |order| Ok(order.to_vec()))?;
                    if let Some(orders) = orders {
                        out.put_list(COLUMN_ORDERS, STRUCT, &orders);
                    }
                }
                KEY_VALUES => out.put_list(KEY_VALUES, STRUCT, &texts(value)?),
                CREATED_BY if !is_text(value) => {}
                // Fields of partly encrypted files, which the decoder does not handle.
                ENCRYPTION_ALGORITHM | SIGNING_KEY => {}
                _ => out.put(field, kind, value),
            }
        }
        Ok(out.finish())
    }

    fn schema(&self, is_kept: impl Fn(usize) -> bool) -> Vec<Vec<u8>> {
        const NAME: i64 = 4;
        const NUM_CHILDREN: i64 = 5;
        let kept: Vec<&FooterColumn> =
            (0..).zip(&self.columns).filter(|(at, _)| is_kept(*at)).map(|(_, of)| of).collect();
        let mut root = Fields::default();
        root.put(NAME, BINARY, self.root);
        root.put_integer(NUM_CHILDREN, I32, kept.len() as i64);
        let elements = kept.into_iter().flat_map(|column| column.elements.iter().cloned());
        std::iter::once(root.finish()).chain(elements).collect()
    }
}

impl FooterColumn {
    fn parse<'a>(
        first: Element<'a>,
        rest: &mut impl Iterator<Item = Element<'a>>,
        leaf: usize,
    ) -> Checked<FooterColumn> {
        let mut name = Reader { rest: first.name };
        name.varint()?;
        let name = String::from_utf8_lossy(name.rest).into_owned();
        let mut column = FooterColumn { name, elements: Vec::new(), leaves: leaf..leaf };
        let (mut element, mut to_come) = (first, 0);
        loop {
            to_come += element.children;
            column.leaves.end += usize::from(element.is_leaf);
            column.elements.push(element.bytes);
            if to_come == 0 {
                return Ok(column);
            }
            to_come -= 1;
            element = rest.next().ok_or(MALFORMED)?;
        }
    }
}

/// Visits a struct's fields that have the format's types.
fn known_fields<'a>(
    bytes: &'a [u8],
    types: &Types,
    visit: &mut dyn FnMut(i64, u8, &'a [u8]) -> Checked<()>,
) -> Checked<()> {
    Reader { rest: bytes }.values(&mut |field, kind, value| {
        let known = field.checked_sub(1).and_then(|at| types.get(usize::try_from(at).ok()?));
        if known == Some(&kind) { visit(field, kind, value) } else { Ok(()) }
    })
}

/// Returns whether a list is empty.
fn is_empty(list: &[u8]) -> Checked<bool> {
    Ok(Reader { rest: list }.list()?.1 == 0)
}

/// Returns the pairs of keys and values that are UTF-8.
fn texts(list: &[u8]) -> Checked<Vec<Vec<u8>>> {
    let mut pairs = Vec::new();
    Reader { rest: list }.struct_values(&mut |pair| {
        let mut sound = true;
        known_fields(pair, &[BINARY, BINARY], &mut |_, _, value| {
            sound &= is_text(value);
            Ok(())
        })?;
        pairs.extend(sound.then(|| pair.to_vec()));
        Ok(())
    })?;
    Ok(pairs)
}

/// Returns whether the bytes after a length are UTF-8.
fn is_text(value: &[u8]) -> bool {
    let mut reader = Reader { rest: value };
    reader.varint().is_ok() && std::str::from_utf8(reader.rest).is_ok()
}

/// Keeps the items for some columns of a list with an item for each Parquet column; `None` if it has another
/// number of items.
fn kept_structs(
    list: &[u8],
    kept: &[bool],
    rewritten: impl Fn(&[u8]) -> Checked<Vec<u8>>,
) -> Checked<Option<Vec<Vec<u8>>>> {
    let (mut items, mut at) = (Vec::new(), 0);
    Reader { rest: list }.struct_values(&mut |item| {
        if kept.get(at).copied().unwrap_or(false) {
            items.push(rewritten(item)?);
        }
        at += 1;
        Ok(())
    })?;
    Ok((at == kept.len()).then_some(items))
}

impl<'a> Element<'a> {
    /// Parses an element, with the annotations that are known and consistent.
    fn parse(bytes: &'a [u8]) -> Checked<Element<'a>> {
        const TYPE: i64 = 1;
        const NAME: i64 = 4;
        const NUM_CHILDREN: i64 = 5;
        const CONVERTED_TYPE: i64 = 6;
        const LOGICAL_TYPE: i64 = 10;
        /// INTERVAL, the last converted type.
        const CONVERTED_TYPES: i64 = 21;
        const UNKNOWN: i64 = 11;
        let mut element = Element { name: &[0], is_leaf: false, children: 0, bytes: Vec::new() };
        let (mut out, mut converted) = (Fields::default(), false);
        known_fields(bytes, SCHEMA_ELEMENT, &mut |field, kind, value| {
            match field {
                TYPE => element.is_leaf = true,
                NAME => element.name = value,
                NUM_CHILDREN => {
                    let children = i32::try_from(Reader { rest: value }.zigzag()?).ok();
                    element.children = children.filter(|&count| count >= 0).ok_or(MALFORMED)?.into();
                }
                CONVERTED_TYPE => {
                    converted = (0..=CONVERTED_TYPES).contains(&Reader { rest: value }.zigzag()?);
                    if !converted {
                        return Ok(());
                    }
                }
                // UNKNOWN, a column of NULLs alone, contradicts whatever the other annotation states.
                LOGICAL_TYPE => match logical_type(value)? {
                    Some(known) if known != UNKNOWN || !converted => {}
                    _ => return Ok(()),
                },
                _ => {}
            }
            out.put(field, kind, value);
            Ok(())
        })?;
        // Some writers state the number of children of leaves, too.
        if element.children > 0 {
            element.is_leaf = false;
        }
        element.bytes = out.finish();
        Ok(element)
    }
}

/// Returns the member of the union; `None` for one that the decoder does not know.
fn logical_type(union: &[u8]) -> Checked<Option<i64>> {
    const KNOWN: [std::ops::RangeInclusive<i64>; 2] = [1..=8, 10..=19];
    let mut found = None;
    Reader { rest: union }.values(&mut |field, _, _| {
        found = Some(field);
        Ok(())
    })?;
    Ok(found.filter(|field| KNOWN.iter().any(|known| known.contains(field))))
}

fn row_group(group: &[u8], kept: &[bool], statistics: bool) -> Checked<Vec<u8>> {
    const COLUMNS: i64 = 1;
    const SORTING_COLUMNS: i64 = 4;
    let mut out = Fields::default();
    known_fields(group, ROW_GROUP, &mut |field, kind, value| {
        match field {
            COLUMNS => {
                let chunks = kept_structs(value, kept, |chunk| column_chunk(chunk, statistics))?;
                let chunks = chunks.ok_or("a row group does not have the columns of the schema")?;
                out.put_list(COLUMNS, STRUCT, &chunks);
            }
            // Sorting columns are numbers of columns, which change.
            SORTING_COLUMNS => {}
            _ => out.put(field, kind, value),
        }
        Ok(())
    })?;
    Ok(out.finish())
}

fn column_chunk(chunk: &[u8], statistics: bool) -> Checked<Vec<u8>> {
    const FILE_OFFSET: i64 = 2;
    const META_DATA: i64 = 3;
    let (mut out, mut has_offset) = (Fields::default(), false);
    known_fields(chunk, COLUMN_CHUNK, &mut |field, kind, value| {
        has_offset |= field == FILE_OFFSET;
        match field {
            META_DATA => out.put(META_DATA, STRUCT, &column_meta_data(value, statistics)?),
            _ => out.put(field, kind, value),
        }
        Ok(())
    })?;
    if !has_offset {
        out.put_integer(FILE_OFFSET, I64, 0);
    }
    Ok(out.finish())
}

fn column_meta_data(of: &[u8], statistics: bool) -> Checked<Vec<u8>> {
    const ENCODINGS: i64 = 2;
    const STATISTICS: i64 = 12;
    const SIZE_STATISTICS: i64 = 16;
    let mut out = Fields::default();
    known_fields(of, COLUMN_META_DATA, &mut |field, kind, value| {
        match field {
            ENCODINGS if is_empty(value)? => out.put_list(ENCODINGS, I32, &[]),
            _ if kind == LIST && is_empty(value)? => {}
            STATISTICS if !statistics => {}
            // Lists of counts, which may be empty; the reader does not use them.
            SIZE_STATISTICS => {}
            _ => out.put(field, kind, value),
        }
        Ok(())
    })?;
    Ok(out.finish())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, ListArray, RecordBatch, StructArray};
    use arrow::datatypes::{DataType, Field, Int32Type};
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

    use super::*;

    /// The footer of a file with a number, a struct of two, a list, and a number.
    fn footer() -> Vec<u8> {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let field = |name: &str| Arc::new(Field::new(name, DataType::Int32, true));
        let pair = StructArray::from(vec![(field("x"), numbers.clone()), (field("y"), numbers.clone())]);
        let lists = [Some(vec![Some(1), Some(2)]), None, Some(vec![])];
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(lists);
        let columns =
            [("a", numbers.clone()), ("s", Arc::new(pair) as _), ("l", Arc::new(list) as _), ("b", numbers)];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let end = file.len() - 8;
        let len = u32::from_le_bytes([file[end], file[end + 1], file[end + 2], file[end + 3]]) as usize;
        file[end - len..end].to_vec()
    }

    fn decoded(footer: &[u8]) -> ParquetMetaData {
        ParquetMetaDataReader::decode_metadata(footer).unwrap()
    }

    fn names(metadata: &ParquetMetaData) -> Vec<String> {
        let columns = metadata.file_metadata().schema_descr().columns();
        columns.iter().map(|column| column.path().string()).collect()
    }

    #[test]
    fn what_is_sound_stays() {
        let bytes = footer();
        let (whole, taken) = (decoded(&bytes), Footer::parse(&bytes).unwrap());
        let columns: Vec<_> =
            taken.columns.iter().map(|column| (&column.name[..], column.leaves.clone())).collect();
        assert_eq!(columns, [("a", 0..1), ("s", 1..3), ("l", 3..4), ("b", 4..5)]);
        let same = decoded(&taken.rewritten(&[true; 4], true).unwrap());
        assert_eq!(same.file_metadata(), whole.file_metadata());
        let statistics = |metadata: &ParquetMetaData, column: usize| {
            metadata.row_group(0).column(column).statistics().cloned()
        };
        assert_eq!(statistics(&same, 4), statistics(&whole, 4));
        assert!(statistics(&whole, 4).is_some());
        let without = decoded(&taken.rewritten(&[true; 4], false).unwrap());
        assert_eq!(statistics(&without, 4), None);
    }

    #[test]
    fn a_column_goes_with_all_that_is_said_of_it() {
        let bytes = footer();
        let (whole, taken) = (decoded(&bytes), Footer::parse(&bytes).unwrap());
        let some = decoded(&taken.rewritten(&[true, false, false, true], true).unwrap());
        assert_eq!(names(&some), ["a", "b"]);
        let offset = |metadata: &ParquetMetaData, column: usize| {
            metadata.row_group(0).column(column).data_page_offset()
        };
        assert_eq!(offset(&some, 1), offset(&whole, 4));
        assert_eq!(some.file_metadata().column_orders().map(Vec::len), Some(2));
        assert_eq!(names(&decoded(&taken.alone(1))), ["s.x", "s.y"]);
        assert!(names(&decoded(&taken.rewritten(&[false; 4], true).unwrap())).is_empty());
    }

    #[test]
    fn no_bytes_are_a_panic() {
        let whole = footer();
        let take_apart = |bytes: &[u8]| {
            let Ok(footer) = Footer::parse(bytes) else { return };
            for at in 0..footer.columns.len() {
                footer.alone(at);
            }
            let _ = footer.rewritten(&[true, false, true], false);
        };
        (0..whole.len()).for_each(|end| take_apart(&whole[..end]));
        for at in 0..whole.len() {
            for byte in [0, 1, 0x0f, 0x19, 0x80, 0xf9, 0xff, whole[at] ^ 1, whole[at] ^ 8] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                take_apart(&bytes);
            }
        }
    }
}
