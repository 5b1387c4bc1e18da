//! Builds a column of the type that the header declares.

use std::fmt::Write;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float32Builder, Int32Builder, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use noodles_vcf::header::record::value::map::{format, info};
use noodles_vcf::variant::record_buf::info::field::value::{Array as InfoArray, Value as InfoValue};
use noodles_vcf::variant::record_buf::samples::sample::value::{Array, Value};

use super::long_values::{find, percent_decoded, pieces};
use crate::interrupts::in_text_steps;
use crate::memory::reserve;

pub enum ColumnBuilder {
    Int(Int32Builder),
    Float(Float32Builder),
    Flag(BooleanBuilder),
    Text(StringBuilder),
    Ints(ListBuilder<Int32Builder>),
    Floats(ListBuilder<Float32Builder>),
    Texts(ListBuilder<StringBuilder>),
}

const OTHER_TYPE: &str = "a value has another type than the header declares";

/// The form in which a long value is written.
#[derive(Clone, Copy)]
pub enum Form {
    /// Alleles, which are not encoded.
    Alleles,
    /// A value of an INFO or of a sample: "." is a missing one in a list, and texts are percent-encoded.
    Value,
}

impl Form {
    fn piece(self, bytes: &[u8]) -> Result<Option<&[u8]>, String> {
        match (self, bytes) {
            (Form::Value, b".") => Ok(None),
            (Form::Value, b"") => Err("a list has an empty value".into()),
            _ => Ok(Some(bytes)),
        }
    }
}

fn number<T: FromStr>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| OTHER_TYPE.to_owned())
}

const NOT_UTF8: &str = "a text is not valid UTF-8";

fn append_text(builder: &mut StringBuilder, bytes: &[u8], form: Form) -> Result<(), String> {
    let mut decoded = Vec::new();
    let bytes = match form {
        Form::Value if find(bytes, b'%').is_some() => {
            // As the crate: the line is UTF-8 before its values are decoded.
            if !in_text_steps(bytes, |_| ()) {
                return Err(NOT_UTF8.to_owned());
            }
            reserve(&mut decoded, bytes.len()).map_err(|missing| missing.to_string())?;
            percent_decoded(bytes, &mut decoded);
            &decoded
        }
        _ => bytes,
    };
    // A builder's write cannot fail.
    if !in_text_steps(bytes, |step| _ = builder.write_str(step)) {
        return Err(NOT_UTF8.to_owned());
    }
    builder.append_value("");
    Ok(())
}

/// A value of an INFO or of a sample.
enum FieldValue<'v> {
    Int(i32),
    Float(f32),
    Flag,
    Text(String),
    Ints(&'v [Option<i32>]),
    Floats(&'v [Option<f32>]),
    Texts(Vec<Option<String>>),
}

impl ColumnBuilder {
    pub fn of_info(number: info::Number, kind: info::Type) -> ColumnBuilder {
        let single = number == info::Number::Count(1);
        match kind {
            info::Type::Integer => ColumnBuilder::ints(single),
            info::Type::Float => ColumnBuilder::floats(single),
            info::Type::Flag => ColumnBuilder::Flag(BooleanBuilder::new()),
            info::Type::Character | info::Type::String => ColumnBuilder::texts(single),
        }
    }

    pub fn of_format(number: format::Number, kind: format::Type) -> ColumnBuilder {
        let single = number == format::Number::Count(1);
        match kind {
            format::Type::Integer => ColumnBuilder::ints(single),
            format::Type::Float => ColumnBuilder::floats(single),
            format::Type::Character | format::Type::String => ColumnBuilder::texts(single),
        }
    }

    fn ints(single: bool) -> ColumnBuilder {
        if single {
            ColumnBuilder::Int(Int32Builder::new())
        } else {
            ColumnBuilder::Ints(ListBuilder::new(Int32Builder::new()))
        }
    }

    fn floats(single: bool) -> ColumnBuilder {
        match single {
            true => ColumnBuilder::Float(Float32Builder::new()),
            false => ColumnBuilder::Floats(ListBuilder::new(Float32Builder::new())),
        }
    }

    pub fn texts(single: bool) -> ColumnBuilder {
        if single {
            ColumnBuilder::Text(StringBuilder::new())
        } else {
            ColumnBuilder::Texts(ListBuilder::new(StringBuilder::new()))
        }
    }

    pub fn data_type(&self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        match self {
            ColumnBuilder::Int(_) => DataType::Int32,
            ColumnBuilder::Float(_) => DataType::Float32,
            ColumnBuilder::Flag(_) => DataType::Boolean,
            ColumnBuilder::Text(_) => DataType::Utf8,
            ColumnBuilder::Ints(_) => list(DataType::Int32),
            ColumnBuilder::Floats(_) => list(DataType::Float32),
            ColumnBuilder::Texts(_) => list(DataType::Utf8),
        }
    }

    /// Appends an INFO. If a record does not have it, a flag is false and any other value NULL.
    pub fn append_info(&mut self, value: Option<&InfoValue>, named: bool) -> Result<(), String> {
        if let ColumnBuilder::Flag(builder) = self {
            builder.append_value(named);
            return Ok(());
        }
        self.append(value.map(|value| match value {
            InfoValue::Integer(value) => FieldValue::Int(*value),
            InfoValue::Float(value) => FieldValue::Float(*value),
            InfoValue::Flag => FieldValue::Flag,
            InfoValue::Character(value) => FieldValue::Text(value.to_string()),
            InfoValue::String(value) => FieldValue::Text(value.clone()),
            InfoValue::Array(InfoArray::Integer(values)) => FieldValue::Ints(values),
            InfoValue::Array(InfoArray::Float(values)) => FieldValue::Floats(values),
            InfoValue::Array(InfoArray::Character(values)) => FieldValue::Texts(texts(values)),
            InfoValue::Array(InfoArray::String(values)) => FieldValue::Texts(values.clone()),
        }))
    }

    /// Appends a value of a sample. `written` returns the value as in the file, which a parsed genotype does not
    /// preserve: |0|1 becomes 0|1.
    pub fn append_sample<'w>(
        &mut self,
        value: Option<&Value>,
        written: impl Fn() -> &'w str,
    ) -> Result<(), String> {
        self.append(value.map(|value| match value {
            Value::Integer(value) => FieldValue::Int(*value),
            Value::Float(value) => FieldValue::Float(*value),
            Value::Character(value) => FieldValue::Text(value.to_string()),
            Value::String(value) => FieldValue::Text(value.clone()),
            Value::Genotype(_) => FieldValue::Text(written().to_owned()),
            Value::Array(Array::Integer(values)) => FieldValue::Ints(values),
            Value::Array(Array::Float(values)) => FieldValue::Floats(values),
            Value::Array(Array::Character(values)) => FieldValue::Texts(texts(values)),
            Value::Array(Array::String(values)) => FieldValue::Texts(values.clone()),
        }))
    }

    pub fn append_text(&mut self, value: Option<&str>) -> Result<(), String> {
        self.append(value.map(|value| FieldValue::Text(value.to_owned())))
    }

    /// Appends a list; NULL if it is empty.
    pub fn append_texts(&mut self, values: Vec<Option<String>>) -> Result<(), String> {
        self.append((!values.is_empty()).then_some(FieldValue::Texts(values)))
    }

    /// Appends a long value from its bytes in the line, in steps.
    pub fn append_long(&mut self, bytes: &[u8], form: Form) -> Result<(), String> {
        let pieces = || pieces(bytes, b',').map(|piece| form.piece(&bytes[piece]));
        match self {
            ColumnBuilder::Int(builder) => builder.append_value(number(bytes)?),
            ColumnBuilder::Float(builder) => builder.append_value(number(bytes)?),
            ColumnBuilder::Flag(_) => return Err(OTHER_TYPE.into()),
            ColumnBuilder::Text(builder) => append_text(builder, bytes, form)?,
            ColumnBuilder::Ints(builder) => {
                for piece in pieces() {
                    builder.values().append_option(piece?.map(number).transpose()?);
                }
                builder.append(true);
            }
            ColumnBuilder::Floats(builder) => {
                for piece in pieces() {
                    builder.values().append_option(piece?.map(number).transpose()?);
                }
                builder.append(true);
            }
            ColumnBuilder::Texts(builder) => {
                for piece in pieces() {
                    match piece? {
                        None => builder.values().append_null(),
                        Some(text) => append_text(builder.values(), text, form)?,
                    }
                }
                builder.append(true);
            }
        }
        Ok(())
    }

    fn append(&mut self, value: Option<FieldValue>) -> Result<(), String> {
        match (self, value) {
            (ColumnBuilder::Int(builder), None) => builder.append_null(),
            (ColumnBuilder::Float(builder), None) => builder.append_null(),
            (ColumnBuilder::Flag(builder), None) => builder.append_null(),
            (ColumnBuilder::Text(builder), None) => builder.append_null(),
            (ColumnBuilder::Ints(builder), None) => builder.append_null(),
            (ColumnBuilder::Floats(builder), None) => builder.append_null(),
            (ColumnBuilder::Texts(builder), None) => builder.append_null(),
            (ColumnBuilder::Int(builder), Some(FieldValue::Int(value))) => builder.append_value(value),
            (ColumnBuilder::Float(builder), Some(FieldValue::Float(value))) => builder.append_value(value),
            (ColumnBuilder::Flag(builder), Some(FieldValue::Flag)) => builder.append_value(true),
            (ColumnBuilder::Text(builder), Some(FieldValue::Text(value))) => builder.append_value(value),
            (ColumnBuilder::Ints(builder), Some(FieldValue::Ints(values))) => {
                builder.append_value(values.iter().copied())
            }
            (ColumnBuilder::Floats(builder), Some(FieldValue::Floats(values))) => {
                builder.append_value(values.iter().copied())
            }
            (ColumnBuilder::Texts(builder), Some(FieldValue::Texts(values))) => builder.append_value(values),
            _ => return Err(OTHER_TYPE.into()),
        }
        Ok(())
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Int(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Flag(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Text(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Ints(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Floats(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Texts(builder) => Arc::new(builder.finish()),
        }
    }
}

fn texts(characters: &[Option<char>]) -> Vec<Option<String>> {
    characters.iter().map(|found| found.map(String::from)).collect()
}
