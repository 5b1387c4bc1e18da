//! The statistics that a file states of its row groups and record batches: least and greatest values, and
//! numbers of NULLs.
//!
//! Statistics only serve to skip groups without a matching row, so what is not certain counts as unknown;
//! `trust` decides that. Two kinds are ignored: Parquet's old statistics (`min`, `max`) where their order was
//! not that of the values, and statistics of Arrow files that pg2arrow may have rounded or cut: bounds of texts
//! and fractions count only in files of our own.

use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::nullif;
use arrow::datatypes::*;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::parquet_column;
use parquet::basic::{ColumnOrder, SortOrder, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use super::error::guarded;
use super::ipc::IpcMeta;
use super::meta::{FileMeta, Format};
use super::trust::{self, Doubts};
use crate::encode::COLUMNS_KEY;

/// One column's statistics, with an element for each group; NULL if unknown.
pub struct Bounds {
    pub mins: ArrayRef,
    pub maxes: ArrayRef,
    pub nulls: Vec<Option<u64>>,
}

/// The prefix of the keys in a record batch's metadata.
const KEY: &str = "min_max_stats.";

impl FileMeta {
    /// Returns a column's statistics; `None` for a nested column, or if they are of no use.
    pub fn bounds(&self, column: usize) -> Option<Bounds> {
        // Statistics that make the decoder panic are ignored; other damage shows when rows are read.
        let bounds = guarded(&self.id.path, || {
            Ok::<_, Infallible>(match &self.format {
                Format::Parquet(metadata) => parquet_bounds(self, metadata, column),
                Format::Ipc(meta) => Some(ipc_bounds(meta, column)),
            })
        });
        bounds.ok().flatten().map(Bounds::sound)
    }
}

impl Bounds {
    fn sound(self) -> Bounds {
        let (mins, maxes) = trust::in_order(without_nan(self.mins), without_nan(self.maxes));
        Bounds { mins, maxes, nulls: self.nulls }
    }
}

/// Makes bounds that are NaN unknown, as they bound nothing.
fn without_nan(bounds: ArrayRef) -> ArrayRef {
    match bounds.data_type() {
        DataType::Float16 => Arc::new(
            bounds.as_primitive::<Float16Type>().unary_opt::<_, Float16Type>(|v| (!v.is_nan()).then_some(v)),
        ),
        DataType::Float32 => Arc::new(
            bounds.as_primitive::<Float32Type>().unary_opt::<_, Float32Type>(|v| (!v.is_nan()).then_some(v)),
        ),
        DataType::Float64 => Arc::new(
            bounds.as_primitive::<Float64Type>().unary_opt::<_, Float64Type>(|v| (!v.is_nan()).then_some(v)),
        ),
        _ => bounds,
    }
}

/// Returns the Parquet column of a column; `None` for a nested one.
pub fn leaf_of(metadata: &ArrowReaderMetadata, column: usize) -> Option<usize> {
    let descr = metadata.parquet_schema();
    let (leaf, _) = parquet_column(descr, metadata.schema(), metadata.schema().fields().get(column)?.name())?;
    (descr.get_column_root_idx(leaf) == column).then_some(leaf)
}

fn parquet_bounds(meta: &FileMeta, metadata: &ArrowReaderMetadata, column: usize) -> Option<Bounds> {
    let field = metadata.schema().fields().get(column)?;
    let descr = metadata.parquet_schema();
    let leaf = leaf_of(metadata, column)?;
    let of = descr.column(leaf);
    let file = metadata.metadata().file_metadata();
    let groups = metadata.metadata().row_groups();
    let converter = StatisticsConverter::from_column_index(leaf, field, descr)
        .ok()?
        .with_missing_null_counts_as_zero(false)
        .with_column_orders(file.column_orders().map(|orders| &orders[..]));
    let number = is_number(of.physical_type(), of.sort_order());
    let order = order_of(metadata, leaf);
    let raw = is_raw(meta, field, column);
    let doubts = doubts(metadata, leaf);
    let ordered = |statistics: &Statistics| match order {
        _ if raw || doubts.bounds => false,
        None | Some(ColumnOrder::UNDEFINED) => number,
        Some(ColumnOrder::UNKNOWN) => false,
        Some(_) => number || !statistics.is_min_max_deprecated(),
    };
    let unknown: BooleanArray =
        groups.iter().map(|group| Some(!group.column(leaf).statistics().is_some_and(ordered))).collect();
    let nulls = groups.iter().map(|group| {
        let statistics = group.column(leaf).statistics()?;
        let is_bounded = statistics.min_bytes_opt().or(statistics.max_bytes_opt()).is_some();
        doubts.nulls(statistics.null_count_opt(), u64::try_from(group.num_rows()).ok()?, is_bounded)
    });
    Some(Bounds {
        mins: nullif(&converter.row_group_mins(groups).ok()?, &unknown).ok()?,
        maxes: nullif(&converter.row_group_maxes(groups).ok()?, &unknown).ok()?,
        nulls: if is_required(metadata, leaf) { vec![Some(0); groups.len()] } else { nulls.collect() },
    })
}

/// Returns whether the schema excludes NULLs.
fn is_required(metadata: &ArrowReaderMetadata, leaf: usize) -> bool {
    metadata.parquet_schema().column(leaf).max_def_level() == 0
}

fn doubts(metadata: &ArrowReaderMetadata, leaf: usize) -> Doubts {
    let created_by = metadata.metadata().file_metadata().created_by();
    Doubts::about(created_by, &metadata.parquet_schema().column(leaf))
}

/// Returns the bounds of a column's pages in one row group, which have the given numbers of rows; `None` if the
/// index contradicts itself, or its bounds may be in another order than the values.
pub fn page_bounds(
    meta: &FileMeta,
    index: &dyn PageIndexProvider,
    group: usize,
    column: usize,
    rows: &[u64],
) -> Option<Bounds> {
    let Format::Parquet(metadata) = &meta.format else { return None };
    let (field, leaf) = (metadata.schema().field(column), leaf_of(metadata, column)?);
    let descr = metadata.parquet_schema();
    let of = descr.column(leaf);
    let doubts = doubts(metadata, leaf);
    let ordered = match order_of(metadata, leaf) {
        _ if is_raw(meta, field, column) => false,
        None | Some(ColumnOrder::UNDEFINED) => is_number(of.physical_type(), of.sort_order()),
        Some(ColumnOrder::UNKNOWN) => false,
        Some(_) => true,
    };
    let stated = index.column_index(group, leaf)?;
    if !ordered || doubts.bounds || is_cut(stated, of.type_length()) {
        return None;
    }
    let orders = metadata.metadata().file_metadata().column_orders();
    let bounds = guarded(&meta.id.path, || {
        if !trust::is_consistent(stated, rows, is_required(metadata, leaf)) {
            return Ok(None);
        }
        let converter = StatisticsConverter::from_column_index(leaf, field, descr)?
            .with_missing_null_counts_as_zero(false)
            .with_column_orders(orders.map(|orders| &orders[..]));
        let nulls = converter.data_page_null_counts(index, &[group])?;
        let nulls = rows.iter().zip(&nulls).enumerate().map(|(page, (&rows, nulls))| match nulls {
            _ if is_required(metadata, leaf) => Some(0),
            _ if stated.is_null_page(page) => Some(rows),
            nulls => doubts.nulls(nulls, rows, true),
        });
        Ok::<_, ParquetError>(Some(Bounds {
            mins: converter.data_page_mins(index, &[group])?,
            maxes: converter.data_page_maxes(index, &[group])?,
            nulls: nulls.collect(),
        }))
    });
    bounds.ok().flatten().map(Bounds::sound)
}

/// Returns whether the column is read as bytes, whose order is not that of the values.
fn is_raw(meta: &FileMeta, read_as: &Field, column: usize) -> bool {
    meta.schema().field(column).data_type() != read_as.data_type()
}

/// Returns whether bounds of fixed length lack some of their bytes, so that they mean something else.
fn is_cut(index: &ColumnIndexMetaData, length: i32) -> bool {
    let ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index) = index else { return false };
    let mut values = index.min_values_iter().chain(index.max_values_iter()).flatten();
    values.any(|value| i32::try_from(value.len()) != Ok(length))
}

fn order_of(metadata: &ArrowReaderMetadata, leaf: usize) -> Option<ColumnOrder> {
    metadata.metadata().file_metadata().column_orders().and_then(|orders| orders.get(leaf).copied())
}

/// Returns whether old writers' statistics of the type were in the order of its values, too.
fn is_number(physical: PhysicalType, order: SortOrder) -> bool {
    match physical {
        PhysicalType::BOOLEAN => true,
        PhysicalType::INT32 | PhysicalType::INT64 | PhysicalType::FLOAT | PhysicalType::DOUBLE => {
            order == SortOrder::SIGNED
        }
        _ => false,
    }
}

fn ipc_bounds(meta: &IpcMeta, column: usize) -> Bounds {
    let field = meta.schema.field(column);
    let data_type = field.data_type();
    let ours = meta.schema.metadata().contains_key(COLUMNS_KEY);
    let key = format!("{KEY}{}", field.name());
    // The keys have names alone, which do not tell columns of the same name apart.
    let is_one = meta.schema.fields().iter().filter(|other| other.name() == field.name()).count() == 1;
    let stated: Vec<Option<(&str, &str)>> = meta
        .batches
        .iter()
        .map(|batch| batch.metadata.get(&key)?.split_once(','))
        .map(|pair| pair.filter(|_| is_one && (ours || is_whole(data_type))))
        .collect();
    let mins = parse(data_type, stated.iter().map(|pair| pair.map(|(min, _)| min)));
    let maxes = parse(data_type, stated.iter().map(|pair| pair.map(|(_, max)| max)));
    // A dictionary may have NULL among its values, and NULLs of type Null need not be counted.
    let counted = !matches!(data_type, DataType::Dictionary(..) | DataType::Null);
    let nulls = meta.batches.iter().map(|batch| {
        let stated = batch.nulls.get(column).copied().filter(|_| counted);
        Doubts::default().nulls(stated, batch.rows, batch.metadata.contains_key(&key))
    });
    let nulls = nulls.collect();
    Bounds { mins, maxes, nulls }
}

/// Returns whether no writer rounds texts of the type.
fn is_whole(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Date32
                | DataType::Date64
                | DataType::Time32(_)
                | DataType::Time64(_)
                | DataType::Timestamp(..)
        )
}

/// Parses the texts as values of a type; NULL for those that are none, and for types without statistics.
fn parse<'a>(data_type: &DataType, texts: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let texts: Vec<Option<&str>> = texts.collect();
    macro_rules! numbers {
        ($($pattern:pat => $arrow:ty as $native:ty),* $(,)?) => {
            match data_type {
                $($pattern => {
                    let parsed = texts.iter().map(|text| text.and_then(|text| text.parse::<$native>().ok()));
                    let array: PrimitiveArray<$arrow> = parsed.collect();
                    // Timestamps carry a time zone: their type is not that of the native values alone.
                    let data = array.into_data().into_builder().data_type(data_type.clone());
                    data.build().map(make_array).ok()
                })*
                DataType::Boolean => {
                    let bit = |text: &str| match text { "0" => Some(false), "1" => Some(true), _ => None };
                    let bits: BooleanArray = texts.iter().map(|text| text.and_then(bit)).collect();
                    Some(Arc::new(bits) as ArrayRef)
                }
                DataType::Decimal128(precision, scale) => {
                    let parsed = texts.iter().map(|text| text.and_then(|text| decimal(text, *scale)));
                    let array: Decimal128Array = parsed.collect();
                    array.with_precision_and_scale(*precision, *scale).map(|array| Arc::new(array) as ArrayRef).ok()
                }
                DataType::Utf8 => Some(Arc::new(StringArray::from(texts.clone())) as ArrayRef),
                _ => None,
            }
        };
    }
    let parsed = numbers! {
        DataType::Int8 => Int8Type as i8,
        DataType::Int16 => Int16Type as i16,
        DataType::Int32 => Int32Type as i32,
        DataType::Int64 => Int64Type as i64,
        DataType::UInt8 => UInt8Type as u8,
        DataType::UInt16 => UInt16Type as u16,
        DataType::UInt32 => UInt32Type as u32,
        DataType::UInt64 => UInt64Type as u64,
        DataType::Float32 => Float32Type as f32,
        DataType::Float64 => Float64Type as f64,
        DataType::Date32 | DataType::Time32(_) => Int32Type as i32,
        DataType::Date64 | DataType::Time64(_) | DataType::Timestamp(..) => Int64Type as i64,
    };
    parsed.unwrap_or_else(|| new_null_array(data_type, texts.len()))
}

/// Returns a decimal's text as an integer at `scale`, if it is exactly one.
fn decimal(text: &str, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > scale || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{whole}{fraction:0<scale$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_values() {
        assert_eq!(decimal("-0.5", 2), Some(-50));
        assert_eq!(decimal("12", 3), Some(12_000));
        assert_eq!(decimal("1.234", 2), None);
        assert_eq!(decimal("1.-2", 3), None);
        let parsed = |data_type: &DataType, text| parse(data_type, [Some(text), None].into_iter());
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (data_type, text) in
            [(&zoned, "-5"), (&DataType::UInt32, "4294967295"), (&DataType::Boolean, "1")]
        {
            let array = parsed(data_type, text);
            assert_eq!(array.data_type(), data_type);
            assert!(array.is_valid(0) && array.is_null(1), "{data_type}");
            assert!(parsed(data_type, "x").is_null(0));
        }
        assert!(parsed(&DataType::Binary, "x").is_null(0));
    }
}
