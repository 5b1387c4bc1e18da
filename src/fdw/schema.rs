//! Describes a file's columns as SQL declares them, and its metadata.

use arrow::datatypes::{DataType, Field, IntervalUnit};
use parquet::basic::{ConvertedType, LogicalType};

use super::meta::{FileMeta, Format};
use super::values::has_zone;
use super::values::is_writable;
use crate::encode::COLUMNS_KEY;

impl FileMeta {
    /// Returns keys and values of the file's metadata.
    pub fn key_values(&self) -> Vec<(&str, &str)> {
        match &self.format {
            Format::Parquet(metadata) => {
                let pairs = metadata.metadata().file_metadata().key_value_metadata();
                let pairs = pairs.into_iter().flatten();
                pairs.map(|pair| (pair.key.as_str(), pair.value.as_deref().unwrap_or(""))).collect()
            }
            Format::Ipc(meta) => {
                let pairs = meta.schema.metadata().iter();
                let mut pairs: Vec<_> = pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect();
                pairs.sort_unstable();
                pairs
            }
        }
    }

    pub fn value_of(&self, key: &str) -> Option<&str> {
        self.key_values().into_iter().find(|(known, _)| *known == key).map(|(_, value)| value)
    }

    /// Returns the value of a key of the file's metadata or, as `field.key`, of one of its columns.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let of_field = |(at, _): (usize, &str)| {
            let (_, field) = self.schema().fields().find(&key[..at])?;
            field.metadata().get(&key[at + 1..]).map(String::as_str)
        };
        self.value_of(key).or_else(|| key.match_indices('.').find_map(of_field))
    }

    /// Returns the PostgreSQL types that an export recorded, by column.
    pub fn declared_types(&self) -> Vec<(String, String)> {
        let columns = self.value_of(COLUMNS_KEY).and_then(|text| serde_json::from_str(text).ok());
        let columns: Vec<serde_json::Value> = columns.unwrap_or_default();
        let text = |column: &serde_json::Value, key: &str| column[key].as_str().map(str::to_owned);
        columns.iter().filter_map(|column| Some((text(column, "name")?, text(column, "pg_type")?))).collect()
    }

    /// Returns the type that suits a column; `None` if PostgreSQL has none without a name.
    pub fn sql_type(&self, column: usize) -> Option<String> {
        sql_type(self.schema().fields().get(column)?, self.annotated(column))
    }

    /// Returns the type in Parquet's annotation of a column's values, or of its lists' items, if Arrow's type
    /// does not have it.
    fn annotated(&self, column: usize) -> Option<&'static str> {
        let Format::Parquet(metadata) = &self.format else { return None };
        let mut field = metadata.parquet_schema().root_schema().get_fields().get(column)?;
        while field.is_group() {
            let [only] = field.get_fields() else { return None };
            field = only;
        }
        let info = field.get_basic_info();
        match (info.logical_type_ref(), info.converted_type()) {
            (Some(LogicalType::Uuid), _) => Some("uuid"),
            (Some(LogicalType::Json), _) | (None, ConvertedType::JSON) => Some("json"),
            (Some(LogicalType::Enum), _) | (None, ConvertedType::ENUM) => Some("text"),
            _ => None,
        }
    }
}

/// Returns how many lists are nested.
pub fn list_depth(data_type: &DataType) -> usize {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            1 + list_depth(item.data_type())
        }
        DataType::Dictionary(_, values) => list_depth(values),
        _ => 0,
    }
}

/// Returns whether a type is a struct or map, or a list of them.
fn is_document(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(_) | DataType::Map(..) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_document(item.data_type())
        }
        DataType::Dictionary(_, values) => is_document(values),
        _ => false,
    }
}

fn sql_type(field: &Field, annotated: Option<&str>) -> Option<String> {
    // An array has six dimensions at most.
    if is_document(field.data_type()) || list_depth(field.data_type()) > 6 {
        return is_writable(field.data_type()).then(|| "json".into());
    }
    let name = match field.data_type() {
        DataType::Null => "text",
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::UInt64 => "numeric(20,0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => return Some(format!("numeric({precision},{scale})")),
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, zone) if has_zone(zone) => "timestamp with time zone",
        DataType::Timestamp(..) => "timestamp without time zone",
        DataType::Duration(_)
        | DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano) => {
            "interval"
        }
        DataType::FixedSizeBinary(16) if field.extension_type_name() == Some("arrow.uuid") => "uuid",
        DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            "bytea"
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Dictionary(_, values) => {
            return sql_type(&Field::new("", DataType::clone(values), true), annotated);
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let element = sql_type(item, annotated)?;
            // An array of arrays is an array of more dimensions.
            return Some(format!("{}[]", element.trim_end_matches("[]")));
        }
        _ => return None,
    };
    Some(annotated.unwrap_or(name).to_owned())
}
