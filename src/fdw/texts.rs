//! Texts, which the decoders read as bytes, and which are checked here.
//!
//! A decoder checks, and Parquet's also copies, a whole value or buffer at once, which takes seconds for gigabytes; and
//! Parquet's does not check texts that are declared to be JSON. So the decoders are told that texts are bytes. Of long
//! Parquet pages they make views, which are not copied until they become values of PostgreSQL's.

use std::mem::discriminant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayData, ByteView, OffsetSizeTrait, RecordBatch, RecordBatchOptions, make_array};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, UnionFields};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};
use parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use parquet::schema::types::{SchemaDescriptor, Type, TypePtr};
use parquet::utf8::check_valid_utf8;

use crate::interrupts::{STEP_BYTES, check, in_text_steps};

/// The texts of a file's batches.
pub struct Texts {
    /// The columns as they are declared.
    schema: SchemaRef,
    /// Dictionaries of bytes, and of the same as texts: many record batches have them.
    dictionaries: Vec<(ArrayData, ArrayData)>,
}

type Checked<T> = Result<T, &'static str>;

const NOT_UTF8: &str = "a text is not valid UTF-8";
const OTHER_TYPE: &str = "a column is not of its declared type";

impl Texts {
    pub fn new(schema: SchemaRef) -> Texts {
        Texts { schema, dictionaries: Vec::new() }
    }

    /// Checks the texts of a batch, which has them as bytes.
    pub fn check(&mut self, batch: RecordBatch) -> Result<RecordBatch, String> {
        let mut columns = Vec::with_capacity(batch.num_columns());
        let schema = self.schema.clone();
        if schema.fields().len() != batch.num_columns() {
            return Err(OTHER_TYPE.to_owned());
        }
        for (column, field) in batch.columns().iter().zip(schema.fields()) {
            columns.push(match column.data_type() == field.data_type() {
                true => column.clone(),
                false => make_array(self.of_bytes(column.to_data(), field.data_type())?),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(schema, columns, &options).map_err(|cause| cause.to_string())
    }

    fn of_bytes(&mut self, data: ArrayData, declared: &DataType) -> Checked<ArrayData> {
        use DataType as D;
        if data.data_type() == declared {
            return Ok(data);
        }
        match (data.data_type(), declared) {
            (D::Binary, D::Utf8) => check_values::<i32>(&data)?,
            (D::LargeBinary, D::LargeUtf8) => check_values::<i64>(&data)?,
            (D::BinaryView, D::Utf8View) => check_views(&data)?,
            (D::Dictionary(..), D::Dictionary(_, values)) => {
                return self.of_dictionary(data, declared, values);
            }
            (of, declared) if discriminant(of) == discriminant(declared) => {
                return self.of_children(data, declared);
            }
            _ => return Err(OTHER_TYPE),
        }
        // SAFETY: texts differ from bytes, which the decoder has made, only in what was checked.
        Ok(unsafe { data.into_builder().data_type(declared.clone()).build_unchecked() })
    }

    fn of_children(&mut self, data: ArrayData, declared: &DataType) -> Checked<ArrayData> {
        let types = children(declared);
        if types.is_empty() || types.len() != data.child_data().len() {
            return Err(OTHER_TYPE);
        }
        let pairs = data.child_data().iter().zip(types);
        let children = pairs.map(|(child, declared)| self.of_bytes(child.clone(), declared));
        let children = children.collect::<Checked<_>>()?;
        // SAFETY: the children are those that the decoder has made, with their texts checked.
        Ok(unsafe { data.into_builder().data_type(declared.clone()).child_data(children).build_unchecked() })
    }

    fn of_dictionary(
        &mut self,
        data: ArrayData,
        declared: &DataType,
        values: &DataType,
    ) -> Checked<ArrayData> {
        let [bytes] = data.child_data() else { return Err(OTHER_TYPE) };
        let known = self.dictionaries.iter().find(|(known, _)| known.ptr_eq(bytes));
        let texts = match known {
            Some((_, texts)) => texts.clone(),
            None => {
                let texts = self.of_bytes(bytes.clone(), values)?;
                self.dictionaries.push((bytes.clone(), texts.clone()));
                texts
            }
        };
        // SAFETY: the values are those that the decoder has made, with their texts checked.
        Ok(unsafe {
            data.into_builder().data_type(declared.clone()).child_data(vec![texts]).build_unchecked()
        })
    }
}

fn children(of: &DataType) -> Vec<&DataType> {
    use DataType as D;
    match of {
        D::List(field)
        | D::LargeList(field)
        | D::ListView(field)
        | D::LargeListView(field)
        | D::FixedSizeList(field, _)
        | D::Map(field, _) => vec![field.data_type()],
        D::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        D::Union(fields, _) => fields.iter().map(|(_, field)| field.data_type()).collect(),
        D::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => Vec::new(),
    }
}

/// Checks values that lie end to end, all at once, as they may be short; none may end inside a character.
fn check_values<O: OffsetSizeTrait>(data: &ArrayData) -> Checked<()> {
    const AT_ONCE: usize = 1 << 20;
    let [offsets, values] = data.buffers() else { return Err(OTHER_TYPE) };
    let offsets: &[O] = offsets.typed_data();
    let Some(offsets) = offsets.get(data.offset()..=data.offset() + data.len()) else {
        return if data.is_empty() { Ok(()) } else { Err(OTHER_TYPE) };
    };
    let (first, last) = (offsets[0].as_usize(), offsets[data.len()].as_usize());
    let text = values.get(first..last).ok_or(OTHER_TYPE)?;
    let begins = |offset: &O| match text.get(offset.as_usize().wrapping_sub(first)) {
        Some(byte) => byte & 0xc0 != 0x80,
        None => true,
    };
    // Most texts are, and the check is quick.
    if text.len() <= STEP_BYTES && text.is_ascii() {
        return Ok(());
    }
    let mut steps = offsets.chunks(AT_ONCE).inspect(|_| check());
    if is_text(text) && steps.all(|step| step.iter().all(begins)) { Ok(()) } else { Err(NOT_UTF8) }
}

/// Checks the texts of views. Many may refer to one long text: what was checked last is not checked again.
fn check_views(data: &ArrayData) -> Checked<()> {
    const AT_ONCE: usize = 1 << 16;
    /// The bytes of a value that lies in the view itself, after its length.
    const INLINE: usize = 12;
    let [views, blocks @ ..] = data.buffers() else { return Err(OTHER_TYPE) };
    let views: &[u128] = views.typed_data();
    let views = views.get(data.offset()..data.offset() + data.len()).ok_or(OTHER_TYPE)?;
    let (mut last, mut unchecked) = (0, 0);
    let mut is_right = |view: &u128| {
        let length = *view as u32 as usize;
        if length <= INLINE {
            return is_text(&view.to_le_bytes()[4..4 + length]);
        }
        if std::mem::replace(&mut last, *view) == *view {
            return true;
        }
        unchecked += length;
        if unchecked > STEP_BYTES {
            check();
            unchecked = 0;
        }
        let view = ByteView::from(*view);
        let block = blocks.get(view.buffer_index as usize);
        let text = block.and_then(|block| block.get(view.offset as usize..)?.get(..length));
        text.is_some_and(is_text)
    };
    let mut steps = views.chunks(AT_ONCE).inspect(|_| check());
    if steps.all(|step| step.iter().all(&mut is_right)) { Ok(()) } else { Err(NOT_UTF8) }
}

fn is_text(bytes: &[u8]) -> bool {
    match bytes.len() {
        ..=STEP_BYTES => check_valid_utf8(bytes).is_ok(),
        _ => in_text_steps(bytes, |_| ()),
    }
}

/// Returns a schema with bytes in place of texts.
pub fn as_bytes(schema: &Schema) -> Schema {
    let fields: Fields = schema.fields().iter().map(|field| mapped(field, &bytes)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn bytes(leaf: &DataType) -> DataType {
    match leaf {
        DataType::Utf8 => DataType::Binary,
        DataType::LargeUtf8 => DataType::LargeBinary,
        DataType::Utf8View => DataType::BinaryView,
        other => other.clone(),
    }
}

fn views(leaf: &DataType) -> DataType {
    match leaf {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        other => other.clone(),
    }
}

fn mapped(field: &FieldRef, leaf: &dyn Fn(&DataType) -> DataType) -> FieldRef {
    use DataType as D;
    let of = |field: &FieldRef| mapped(field, leaf);
    let data_type = match field.data_type() {
        D::List(item) => D::List(of(item)),
        D::LargeList(item) => D::LargeList(of(item)),
        D::ListView(item) => D::ListView(of(item)),
        D::LargeListView(item) => D::LargeListView(of(item)),
        D::FixedSizeList(item, size) => D::FixedSizeList(of(item), *size),
        D::Map(entries, sorted) => D::Map(of(entries), *sorted),
        D::Struct(fields) => D::Struct(fields.iter().map(of).collect()),
        D::Union(fields, mode) => {
            let fields: UnionFields = fields.iter().map(|(number, field)| (number, of(field))).collect();
            D::Union(fields, *mode)
        }
        D::RunEndEncoded(ends, values) => D::RunEndEncoded(ends.clone(), of(values)),
        D::Dictionary(keys, values) => {
            let values = Field::new("", D::clone(values), true);
            D::Dictionary(keys.clone(), Box::new(of(&Arc::new(values)).data_type().clone()))
        }
        other => leaf(other),
    };
    match data_type == *field.data_type() {
        true => field.clone(),
        false => Arc::new(Field::clone(field).with_data_type(data_type)),
    }
}

/// How some columns of a Parquet file are read.
pub struct ParquetColumns {
    pub levels: FieldLevels,
    /// Set when there is a page that only views are made of; `None` if they are made of all pages. They are slower
    /// where values are short.
    pub met_long_page: Option<Arc<AtomicBool>>,
}

impl ParquetColumns {
    /// Returns the columns, and the texts that their batches have.
    pub fn new(
        metadata: &ArrowReaderMetadata,
        columns: &[usize],
        as_views: bool,
    ) -> parquet::errors::Result<(ParquetColumns, Texts)> {
        let roots = ProjectionMask::roots(metadata.parquet_schema(), columns.iter().copied());
        let plain = SchemaDescriptor::new(without_texts(&metadata.parquet_schema().root_schema_ptr())?);
        let fields = metadata.schema().fields();
        let with = |leaf: &dyn Fn(&DataType) -> DataType, of: &Fields| -> Fields {
            of.iter().map(|field| mapped(field, leaf)).collect()
        };
        let texts = with(&views, fields);
        let hint = with(&bytes, &texts);
        // The decoder refuses a hint about groups without columns, which are not read.
        let hinted = || parquet_to_arrow_field_levels(&plain, roots.clone(), Some(&hint)).ok();
        let (levels, all) = match as_views.then(hinted).flatten() {
            Some(levels) => (levels, texts),
            None => (parquet_to_arrow_field_levels(&plain, roots, None)?, fields.clone()),
        };
        let declared: Fields = columns.iter().filter_map(|&column| all.get(column).cloned()).collect();
        let met_long_page = (!as_views).then(Arc::default);
        Ok((ParquetColumns { levels, met_long_page }, Texts::new(Arc::new(Schema::new(declared)))))
    }

    pub fn met_long_page(&self) -> bool {
        self.met_long_page.as_ref().is_some_and(|met| met.load(Ordering::Relaxed))
    }
}

/// Takes away what a Parquet schema says of the meaning of bytes, unless they are numbers.
fn without_texts(of: &TypePtr) -> parquet::errors::Result<TypePtr> {
    Ok(match &**of {
        Type::GroupType { basic_info, fields } => Arc::new(Type::GroupType {
            basic_info: basic_info.clone(),
            fields: fields.iter().map(without_texts).collect::<parquet::errors::Result<_>>()?,
        }),
        Type::PrimitiveType { basic_info, physical_type: PhysicalType::BYTE_ARRAY, .. } => {
            let logical = basic_info.logical_type_ref();
            if matches!(logical, Some(LogicalType::Decimal(_)))
                || logical.is_none() && basic_info.converted_type() == ConvertedType::DECIMAL
            {
                return Ok(of.clone());
            }
            let bytes = Type::primitive_type_builder(basic_info.name(), PhysicalType::BYTE_ARRAY);
            let bytes = bytes.with_repetition(basic_info.repetition());
            Arc::new(bytes.with_id(basic_info.has_id().then(|| basic_info.id())).build()?)
        }
        Type::PrimitiveType { .. } => of.clone(),
    })
}

#[cfg(test)]
#[path = "texts_tests.rs"]
mod tests;
