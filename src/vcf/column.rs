//! A column of values as the header types them.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float32Builder, Int32Builder, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use noodles_vcf::header::record::value::map::{format, info};
use noodles_vcf::variant::record_buf::info::field::value::{Array as InfoArray, Value as InfoValue};
use noodles_vcf::variant::record_buf::samples::sample::value::{Array, Value};

pub enum Column {
    Int(Int32Builder),
    Float(Float32Builder),
    Flag(BooleanBuilder),
    Text(StringBuilder),
    Ints(ListBuilder<Int32Builder>),
    Floats(ListBuilder<Float32Builder>),
    Texts(ListBuilder<StringBuilder>),
}

/// A value of an INFO or of a sample.
enum Found<'v> {
    Int(i32),
    Float(f32),
    Flag,
    Text(String),
    Ints(&'v [Option<i32>]),
    Floats(&'v [Option<f32>]),
    Texts(Vec<Option<String>>),
}

impl Column {
    pub fn of_info(number: info::Number, kind: info::Type) -> Column {
        let single = number == info::Number::Count(1);
        match kind {
            info::Type::Integer => Column::ints(single),
            info::Type::Float => Column::floats(single),
            info::Type::Flag => Column::Flag(BooleanBuilder::new()),
            info::Type::Character | info::Type::String => Column::texts(single),
        }
    }

    pub fn of_format(number: format::Number, kind: format::Type) -> Column {
        let single = number == format::Number::Count(1);
        match kind {
            format::Type::Integer => Column::ints(single),
            format::Type::Float => Column::floats(single),
            format::Type::Character | format::Type::String => Column::texts(single),
        }
    }

    fn ints(single: bool) -> Column {
        if single {
            Column::Int(Int32Builder::new())
        } else {
            Column::Ints(ListBuilder::new(Int32Builder::new()))
        }
    }

    fn floats(single: bool) -> Column {
        match single {
            true => Column::Float(Float32Builder::new()),
            false => Column::Floats(ListBuilder::new(Float32Builder::new())),
        }
    }

    pub fn texts(single: bool) -> Column {
        if single {
            Column::Text(StringBuilder::new())
        } else {
            Column::Texts(ListBuilder::new(StringBuilder::new()))
        }
    }

    pub fn data_type(&self) -> DataType {
        let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
        match self {
            Column::Int(_) => DataType::Int32,
            Column::Float(_) => DataType::Float32,
            Column::Flag(_) => DataType::Boolean,
            Column::Text(_) => DataType::Utf8,
            Column::Ints(_) => list(DataType::Int32),
            Column::Floats(_) => list(DataType::Float32),
            Column::Texts(_) => list(DataType::Utf8),
        }
    }

    /// A flag that a record does not name is not set; every other value is not known.
    pub fn append_info(&mut self, value: Option<&InfoValue>, named: bool) -> Result<(), String> {
        if let Column::Flag(builder) = self {
            builder.append_value(named);
            return Ok(());
        }
        self.append(value.map(|value| match value {
            InfoValue::Integer(value) => Found::Int(*value),
            InfoValue::Float(value) => Found::Float(*value),
            InfoValue::Flag => Found::Flag,
            InfoValue::Character(value) => Found::Text(value.to_string()),
            InfoValue::String(value) => Found::Text(value.clone()),
            InfoValue::Array(InfoArray::Integer(values)) => Found::Ints(values),
            InfoValue::Array(InfoArray::Float(values)) => Found::Floats(values),
            InfoValue::Array(InfoArray::Character(values)) => Found::Texts(texts(values)),
            InfoValue::Array(InfoArray::String(values)) => Found::Texts(values.clone()),
        }))
    }

    /// `written`: the value in the file, which tells of a genotype what the parsed one does not, as |0|1 is 0|1.
    pub fn append_sample<'w>(
        &mut self,
        value: Option<&Value>,
        written: impl Fn() -> &'w str,
    ) -> Result<(), String> {
        self.append(value.map(|value| match value {
            Value::Integer(value) => Found::Int(*value),
            Value::Float(value) => Found::Float(*value),
            Value::Character(value) => Found::Text(value.to_string()),
            Value::String(value) => Found::Text(value.clone()),
            Value::Genotype(_) => Found::Text(written().to_owned()),
            Value::Array(Array::Integer(values)) => Found::Ints(values),
            Value::Array(Array::Float(values)) => Found::Floats(values),
            Value::Array(Array::Character(values)) => Found::Texts(texts(values)),
            Value::Array(Array::String(values)) => Found::Texts(values.clone()),
        }))
    }

    pub fn append_text(&mut self, value: Option<&str>) -> Result<(), String> {
        self.append(value.map(|value| Found::Text(value.to_owned())))
    }

    /// NULL for none.
    pub fn append_texts(&mut self, values: Vec<Option<String>>) -> Result<(), String> {
        self.append((!values.is_empty()).then_some(Found::Texts(values)))
    }

    fn append(&mut self, value: Option<Found>) -> Result<(), String> {
        match (self, value) {
            (Column::Int(builder), None) => builder.append_null(),
            (Column::Float(builder), None) => builder.append_null(),
            (Column::Flag(builder), None) => builder.append_null(),
            (Column::Text(builder), None) => builder.append_null(),
            (Column::Ints(builder), None) => builder.append_null(),
            (Column::Floats(builder), None) => builder.append_null(),
            (Column::Texts(builder), None) => builder.append_null(),
            (Column::Int(builder), Some(Found::Int(value))) => builder.append_value(value),
            (Column::Float(builder), Some(Found::Float(value))) => builder.append_value(value),
            (Column::Flag(builder), Some(Found::Flag)) => builder.append_value(true),
            (Column::Text(builder), Some(Found::Text(value))) => builder.append_value(value),
            (Column::Ints(builder), Some(Found::Ints(values))) => {
                builder.append_value(values.iter().copied())
            }
            (Column::Floats(builder), Some(Found::Floats(values))) => {
                builder.append_value(values.iter().copied())
            }
            (Column::Texts(builder), Some(Found::Texts(values))) => builder.append_value(values),
            _ => return Err("a value has another type than the header declares".into()),
        }
        Ok(())
    }

    pub fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Int(builder) => Arc::new(builder.finish()),
            Column::Float(builder) => Arc::new(builder.finish()),
            Column::Flag(builder) => Arc::new(builder.finish()),
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Ints(builder) => Arc::new(builder.finish()),
            Column::Floats(builder) => Arc::new(builder.finish()),
            Column::Texts(builder) => Arc::new(builder.finish()),
        }
    }
}

fn texts(characters: &[Option<char>]) -> Vec<Option<String>> {
    characters.iter().map(|found| found.map(String::from)).collect()
}
