//! Builds the columns of record batches, one batch at a time.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float32Builder, Int64Builder, ListArray, RecordBatch, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use noodles_vcf::variant::RecordBuf;
use noodles_vcf::{Header, Record};

use super::column::{ColumnBuilder, Form};
use super::long_values::{ALT, LongValues, Place, REF};
use super::sample_names::SampleNames;
use super::{Cause, Samples};
use crate::interrupts::check;
use crate::memory::room_for;

pub struct Table {
    schema: SchemaRef,
    samples: Samples,
    chrom: ColumnBuilder,
    pos: Int64Builder,
    id: ColumnBuilder,
    reference: ColumnBuilder,
    alt: ColumnBuilder,
    qual: Float32Builder,
    filter: ColumnBuilder,
    infos: Vec<(String, ColumnBuilder)>,
    sample_names: SampleNames,
    /// One row for each sample of each record.
    sample: ColumnBuilder,
    formats: Vec<(String, ColumnBuilder)>,
    places: HashMap<String, usize>,
    records: usize,
}

impl Table {
    pub fn new(header: &Header, sample_names: SampleNames, samples: Samples) -> Table {
        let info = |(name, map): (&String, &_)| (name.clone(), info_column(map));
        let infos: Vec<_> = header.infos().iter().map(info).collect();
        let format = |(name, map): (&String, &_)| (name.clone(), format_column(map));
        let formats: Vec<_> = header.formats().iter().map(format).collect();
        let places = infos.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
        let mut table = Table {
            schema: Arc::new(Schema::empty()),
            samples,
            chrom: ColumnBuilder::texts(true),
            pos: Int64Builder::new(),
            id: ColumnBuilder::texts(false),
            reference: ColumnBuilder::texts(true),
            alt: ColumnBuilder::texts(false),
            qual: Float32Builder::new(),
            filter: ColumnBuilder::texts(false),
            infos,
            sample_names,
            sample: ColumnBuilder::texts(true),
            formats,
            places,
            records: 0,
        };
        table.schema = Arc::new(Schema::new(table.fields()));
        table
    }

    fn fields(&self) -> Vec<Field> {
        let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
        let mut fields = vec![
            text("chrom", false),
            Field::new("pos", DataType::Int64, false),
            Field::new("id", self.id.data_type(), true),
            text("ref", false),
            Field::new("alt", self.alt.data_type(), true),
            Field::new("qual", DataType::Float32, true),
            Field::new("filter", self.filter.data_type(), true),
        ];
        let of = |prefix: &str, (name, column): &(String, ColumnBuilder)| {
            Field::new(
                format!("{prefix}{name}"),
                column.data_type(),
                !matches!(column, ColumnBuilder::Flag(_)),
            )
        };
        fields.extend(self.infos.iter().map(|info| of("info_", info)));
        if self.sample_names.len() == 0 {
            return fields;
        }
        match self.samples {
            Samples::Rows => {
                fields.push(text("sample", false));
                fields.extend(self.formats.iter().map(|format| of("format_", format)));
            }
            Samples::Column => {
                let item = Field::new("item", DataType::Struct(self.sample_fields()), false);
                fields.push(Field::new("samples", DataType::List(Arc::new(item)), false));
            }
        }
        fields
    }

    fn sample_fields(&self) -> Fields {
        let format = |(name, column): &(String, ColumnBuilder)| Field::new(name, column.data_type(), true);
        let name = Field::new("sample", DataType::Utf8, false);
        std::iter::once(name).chain(self.formats.iter().map(format)).collect()
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Returns the number of rows of the batch so far.
    pub fn rows(&self) -> usize {
        match self.samples {
            Samples::Rows => self.records * self.sample_names.len().max(1),
            Samples::Column => self.records,
        }
    }

    /// Returns the bytes that a record's columns before its samples, of `bytes` bytes, take more in several rows.
    pub fn repeated(&self, bytes: usize) -> usize {
        match self.samples {
            Samples::Rows => bytes.saturating_mul(self.sample_names.len().saturating_sub(1)),
            Samples::Column => 0,
        }
    }

    /// Appends a record, or a part of it with some of its samples: the first part also has the other columns.
    /// `written` is the same record before parsing, `long` the values that were taken out of it.
    pub fn append(
        &mut self,
        record: &RecordBuf,
        written: &Record,
        samples: Range<usize>,
        long: &LongValues,
    ) -> Result<(), String> {
        if samples.start == 0 {
            self.append_fixed(record, long)?;
            self.records += 1;
        }
        self.append_samples(record, written, samples, long)
    }

    fn append_fixed(&mut self, record: &RecordBuf, long: &LongValues) -> Result<(), String> {
        self.chrom.append_text(Some(record.reference_sequence_name()))?;
        // A telomere has position 0, which the crate reads as none.
        self.pos.append_value(record.variant_start().map_or(0, |start| usize::from(start) as i64));
        let list = |values: &mut dyn Iterator<Item = &String>| values.cloned().map(Some).collect::<Vec<_>>();
        self.id.append_texts(list(&mut record.ids().as_ref().iter()))?;
        match long.get(Place::Column(REF)) {
            Some(bytes) => {
                self.reference.append_long(bytes, Form::Alleles).map_err(|cause| format!("REF: {cause}"))?
            }
            None => self.reference.append_text(Some(record.reference_bases()))?,
        }
        match long.get(Place::Column(ALT)) {
            Some(bytes) => {
                self.alt.append_long(bytes, Form::Alleles).map_err(|cause| format!("ALT: {cause}"))?
            }
            None => self.alt.append_texts(list(&mut record.alternate_bases().as_ref().iter()))?,
        }
        self.qual.append_option(record.quality_score());
        self.filter.append_texts(list(&mut record.filters().as_ref().iter()))?;
        let info = record.info().as_ref();
        if let Some(other) = info.keys().find(|key| !self.places.contains_key(*key)) {
            return Err(format!("the header does not declare the INFO \"{other}\""));
        }
        for (name, column) in &mut self.infos {
            check();
            let value = info.get(name);
            let appended = match long.get(Place::Info(name.as_bytes())) {
                Some(bytes) => column.append_long(bytes, Form::Value),
                None => column.append_info(value.and_then(Option::as_ref), value.is_some()),
            };
            appended.map_err(|cause| format!("INFO \"{name}\": {cause}"))?;
        }
        Ok(())
    }

    fn append_samples(
        &mut self,
        record: &RecordBuf,
        written: &Record,
        names: Range<usize>,
        long: &LongValues,
    ) -> Result<(), String> {
        let samples = record.samples();
        let keys = samples.keys().as_ref();
        if let Some(other) = keys.iter().find(|key| !self.formats.iter().any(|(name, _)| name == *key)) {
            return Err(format!("the header does not declare the FORMAT \"{other}\""));
        }
        let written = written.samples();
        let mut written = written.iter();
        let first = names.start;
        for (index, name) in self.sample_names.iter(names).enumerate() {
            check();
            self.sample.append_text(Some(name))?;
            let sample = samples.get_index(index);
            let written = written.next();
            for (name, column) in &mut self.formats {
                let place = keys.get_index_of(name.as_str());
                let value = place
                    .zip(sample.as_ref())
                    .and_then(|(place, sample)| sample.values().get(place)?.as_ref());
                let text = written.as_ref().map_or("", |sample| sample.as_ref());
                let written = || text.split(':').nth(place.unwrap_or(0)).unwrap_or_default();
                let long = place.and_then(|place| long.get(Place::Sample(first + index, place)));
                let appended = match long {
                    Some(bytes) => column.append_long(bytes, Form::Value),
                    None => column.append_sample(value, written),
                };
                appended.map_err(|cause| format!("FORMAT \"{name}\": {cause}"))?;
            }
        }
        Ok(())
    }

    /// Returns the rows so far as a batch. Fails if a column's values, repeated for each sample, are too large for it.
    pub fn finish(&mut self) -> Result<RecordBatch, Cause> {
        let (records, samples) = (std::mem::take(&mut self.records), self.sample_names.len());
        let mut columns: Vec<ArrayRef> = vec![
            self.chrom.finish(),
            Arc::new(self.pos.finish()),
            self.id.finish(),
            self.reference.finish(),
            self.alt.finish(),
            Arc::new(self.qual.finish()),
            self.filter.finish(),
        ];
        columns.extend(self.infos.iter_mut().map(|(_, column)| column.finish()));
        let formats = self.formats.iter_mut().map(|(_, column)| column.finish());
        let of_samples: Vec<ArrayRef> = std::iter::once(self.sample.finish()).chain(formats).collect();
        match self.samples {
            _ if samples == 0 => {}
            Samples::Rows => {
                let records = u32::try_from(records).unwrap_or(u32::MAX);
                let rows: UInt32Array =
                    (0..records).flat_map(|row| std::iter::repeat_n(row, samples)).collect();
                room_to_repeat(&columns, samples)?;
                let repeated = columns.iter().inspect(|_| check()).map(|column| take(column, &rows, None));
                columns = repeated.collect::<Result<_, _>>().map_err(Cause::Sink)?;
                columns.extend(of_samples);
            }
            Samples::Column => {
                let structs =
                    StructArray::try_new(self.sample_fields(), of_samples, None).map_err(Cause::Sink)?;
                let item = Arc::new(Field::new("item", structs.data_type().clone(), false));
                let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(samples, records));
                let lists =
                    ListArray::try_new(item, offsets, Arc::new(structs), None).map_err(Cause::Sink)?;
                columns.push(Arc::new(lists));
            }
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(Cause::Sink)
    }
}

/// Checks that columns whose rows are repeated for each of `samples` samples can be built: an offset in a column has
/// 32 bits.
fn room_to_repeat(columns: &[ArrayRef], samples: usize) -> Result<(), Cause> {
    let mut total = 0;
    for column in columns {
        let data = column.to_data();
        let size = data.get_slice_memory_size().map_err(Cause::Sink)?.saturating_mul(samples);
        if size > i32::MAX as usize {
            let why = format!("its values, repeated for each of {samples} samples, have more than 2 GB");
            return Err(Cause::TooLarge(why));
        }
        total += size;
    }
    room_for(total).map_err(|missing| Cause::Invalid(missing.to_string()))
}

type InfoMap = noodles_vcf::header::record::value::Map<noodles_vcf::header::record::value::map::Info>;
type FormatMap = noodles_vcf::header::record::value::Map<noodles_vcf::header::record::value::map::Format>;

fn info_column(map: &InfoMap) -> ColumnBuilder {
    ColumnBuilder::of_info(map.number(), map.ty())
}

fn format_column(map: &FormatMap) -> ColumnBuilder {
    ColumnBuilder::of_format(map.number(), map.ty())
}
