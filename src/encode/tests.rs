//! Whole files, written by this module and read back by parquet's Arrow reader.

use std::sync::Arc;

use arrow::array::*;
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Encoding;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
};
use proptest::prelude::*;

use super::chunk::PAGE_ROWS;
use super::dict::MAX_BYTES;
use super::footer::{CREATED_BY, MAGIC, RowGroupMeta, write_footer};
use super::*;
use crate::types::{Cell, Field, Kind, Lane, Shapes, Values};

/// One column's rows and the arena that its cells point into.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub lane: Lane,
    pub arena: Vec<u8>,
}

pub fn field(name: &str, kind: Kind, nullable: bool) -> Field {
    Field { name: name.into(), pg_type: "\"odd\\type\"".into(), nullable, kind }
}

pub fn strings<S: AsRef<[u8]>>(values: impl IntoIterator<Item = S>) -> Rows {
    let mut arena = b"before".to_vec();
    let mut cells = Vec::new();
    for value in values {
        cells.push(Cell::new(arena.len(), value.as_ref().len()));
        arena.extend_from_slice(value.as_ref());
    }
    Rows { lane: Lane { valid: Vec::new(), values: Values::Bytes(cells) }, arena }
}

pub fn rows(values: Values) -> Rows {
    Rows { lane: Lane { valid: Vec::new(), values }, arena: Vec::new() }
}

macro_rules! over {
    ($values:expr, $v:ident => $call:expr) => {
        match $values {
            Values::Bool($v) => Values::Bool($call),
            Values::I32($v) => Values::I32($call),
            Values::I64($v) => Values::I64($call),
            Values::F32($v) => Values::F32($call),
            Values::F64($v) => Values::F64($call),
            Values::Fixed16($v) => Values::Fixed16($call),
            Values::Bytes($v) => Values::Bytes($call),
        }
    };
}

impl Rows {
    /// Drops the values of the rows for which `null` is true.
    pub fn with_nulls(self, null: impl Fn(usize) -> bool) -> Rows {
        let valid: Vec<u8> = (0..self.lane.values.len()).map(|i| u8::from(!null(i))).collect();
        let values = over!(&self.lane.values, v => v.iter().zip(&valid).filter(|(_, ok)| **ok == 1).map(|(v, _)| *v).collect());
        Rows { lane: Lane { valid, values }, arena: self.arena }
    }

    pub fn len(&self) -> usize {
        if self.lane.valid.is_empty() { self.lane.values.len() } else { self.lane.valid.len() }
    }

    pub fn slice(&self, start: usize, len: usize) -> Lane {
        let count = |valid: &[u8]| valid.iter().filter(|&&v| v == 1).count();
        let (valid, from, taken) = if self.lane.valid.is_empty() {
            (Vec::new(), start, len)
        } else {
            let valid = self.lane.valid[start..start + len].to_vec();
            (valid.clone(), count(&self.lane.valid[..start]), count(&valid))
        };
        Lane { valid, values: over!(&self.lane.values, v => v[from..from + taken].to_vec()) }
    }

    fn options<T: Clone>(&self, values: &[T]) -> Vec<Option<T>> {
        let mut values = values.iter().cloned();
        if self.lane.valid.is_empty() {
            return values.map(Some).collect();
        }
        self.lane.valid.iter().map(|&v| if v == 1 { values.next() } else { None }).collect()
    }

    /// Returns what the reader should return.
    pub fn expected(&self, data_type: &DataType) -> ArrayRef {
        match (&self.lane.values, data_type) {
            (Values::Bool(v), _) => Arc::new(BooleanArray::from(self.options(v))),
            (Values::I32(v), DataType::Decimal128(p, s)) => {
                let wide: Vec<_> = self.options(v).iter().map(|v| v.map(i128::from)).collect();
                Arc::new(Decimal128Array::from(wide).with_precision_and_scale(*p, *s).unwrap())
            }
            (Values::I64(v), DataType::Decimal128(p, s)) => {
                let wide: Vec<_> = self.options(v).iter().map(|v| v.map(i128::from)).collect();
                Arc::new(Decimal128Array::from(wide).with_precision_and_scale(*p, *s).unwrap())
            }
            (Values::Fixed16(v), DataType::Decimal128(p, s)) => {
                let wide: Vec<_> = self.options(v).iter().map(|v| v.map(i128::from_be_bytes)).collect();
                Arc::new(Decimal128Array::from(wide).with_precision_and_scale(*p, *s).unwrap())
            }
            (Values::I32(v), DataType::UInt32) => {
                let bits: Vec<_> = self.options(v).iter().map(|v| v.map(|v| v as u32)).collect();
                Arc::new(UInt32Array::from(bits))
            }
            (Values::I32(v), DataType::Int16) => {
                let short: Vec<_> = self.options(v).iter().map(|v| v.map(|v| v as i16)).collect();
                Arc::new(Int16Array::from(short))
            }
            (Values::I32(v), DataType::Date32) => Arc::new(Date32Array::from(self.options(v))),
            (Values::I32(v), _) => Arc::new(Int32Array::from(self.options(v))),
            (Values::I64(v), DataType::Timestamp(_, tz)) => {
                let stamps = TimestampMicrosecondArray::from(self.options(v));
                Arc::new(stamps.with_timezone_opt(tz.clone()))
            }
            (Values::I64(v), DataType::Time64(_)) => Arc::new(Time64MicrosecondArray::from(self.options(v))),
            (Values::I64(v), _) => Arc::new(Int64Array::from(self.options(v))),
            (Values::F32(v), _) => Arc::new(Float32Array::from(self.options(v))),
            (Values::F64(v), _) => Arc::new(Float64Array::from(self.options(v))),
            (Values::Fixed16(v), _) => Arc::new(
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(self.options(v).into_iter(), 16)
                    .unwrap(),
            ),
            (Values::Bytes(cells), DataType::Utf8) => {
                let text =
                    |c: &Option<Cell>| c.map(|c| std::str::from_utf8(c.of(&self.arena)).unwrap().to_string());
                Arc::new(StringArray::from_iter(self.options(cells).iter().map(text)))
            }
            (Values::Bytes(cells), _) => Arc::new(BinaryArray::from_iter(
                self.options(cells).iter().map(|c| c.map(|c| c.of(&self.arena))),
            )),
        }
    }
}

/// A file of the given row groups, each a list of columns, appended in batches of `batch` rows.
pub fn write_file(
    fields: &[Field],
    shapes: &Shapes,
    codec: Codec,
    groups: &[Vec<Rows>],
    batch: usize,
) -> Vec<u8> {
    let schema = FileSchema::new(fields, shapes).unwrap();
    let mut writer =
        RowGroupWriter::new(&schema, fields, shapes, &Options { codec, values_only: false, split: true })
            .unwrap();
    let mut file = MAGIC.to_vec();
    let mut metas = Vec::new();
    for group in groups {
        for (index, column) in group.iter().enumerate() {
            for start in (0..column.len()).step_by(batch) {
                let lane = column.slice(start, batch.min(column.len() - start));
                writer.append(index, &lane, &column.arena).unwrap();
            }
        }
        let encoded = writer.finish().unwrap();
        let meta = encoded.metadata_at(file.len() as u64).unwrap();
        encoded.buffers().for_each(|b| file.extend_from_slice(b));
        metas.push(RowGroupMeta::decode(&meta).unwrap());
        writer.recycle(encoded);
    }
    finish_file(&mut file, &schema, &metas);
    file
}

pub fn finish_file(file: &mut Vec<u8>, schema: &FileSchema, metas: &[RowGroupMeta]) {
    let mut tail = Vec::new();
    let len = write_footer(&mut tail, file.len() as u64, schema, metas, Vec::new(), CREATED_BY).unwrap();
    assert_eq!(len, tail.len() as u64);
    file.extend_from_slice(&tail);
}

pub fn read_metadata(file: &[u8]) -> ParquetMetaData {
    ParquetMetaDataReader::new()
        .with_metadata_options(Some(ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false)))
        .with_page_index_policy(PageIndexPolicy::Optional)
        .parse_and_finish(&::bytes::Bytes::copy_from_slice(file))
        .unwrap()
}

pub fn read(file: &[u8]) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(::bytes::Bytes::copy_from_slice(file)).unwrap();
    let schema = builder.schema().clone();
    let batches: Vec<_> = builder.build().unwrap().map(|b| b.unwrap()).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Writes, reads and compares; returns the file.
pub fn check(fields: &[Field], shapes: &Shapes, codec: Codec, groups: &[Vec<Rows>], batch: usize) -> Vec<u8> {
    let file = write_file(fields, shapes, codec, groups, batch);
    let read = read(&file);
    let arrow = FileSchema::new(fields, shapes).unwrap().arrow().clone();
    for (index, field) in fields.iter().enumerate() {
        let expected: Vec<ArrayRef> =
            groups.iter().map(|g| g[index].expected(arrow.field(index).data_type())).collect();
        let expected: Vec<&dyn Array> = expected.iter().map(|a| a.as_ref()).collect();
        let expected = arrow::compute::concat(&expected).unwrap();
        assert_eq!(read.column(index).data_type(), expected.data_type(), "{}", field.name);
        assert!(read.column(index).to_data() == expected.to_data(), "{} {codec:?}", field.name);
    }
    file
}

pub fn random(mut i: u64) -> u64 {
    i = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    i = (i ^ i >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    i = (i ^ i >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    i ^ i >> 31
}

/// One column for each kind and manner of data, each of `n` rows.
pub fn columns(n: usize, nulls: bool) -> (Vec<Field>, Vec<Rows>) {
    let decimal = |precision, scale| Kind::Decimal { precision, scale };
    let n64 = n as u64;
    let word = |i: u64| format!("word{}é", random(i) % 300);
    let list: Vec<(&str, Kind, Rows)> = vec![
        ("bool", Kind::Bool, rows(Values::Bool((0..n64).map(|i| random(i).is_multiple_of(3)).collect()))),
        ("int2", Kind::Int2, rows(Values::I32((0..n64).map(|i| random(i) as i16 as i32).collect()))),
        ("int4_few", Kind::Int4, rows(Values::I32((0..n64).map(|i| (random(i) % 7) as i32).collect()))),
        ("int4_any", Kind::Int4, rows(Values::I32((0..n64).map(|i| random(i) as i32).collect()))),
        ("int8_key", Kind::Int8, rows(Values::I64((0..n64).map(|i| i as i64 / 4).collect()))),
        ("int8_any", Kind::Int8, rows(Values::I64((0..n64).map(|i| random(i) as i64).collect()))),
        ("oid", Kind::Oid, rows(Values::I32((0..n64).map(|i| random(i) as i32).collect()))),
        ("float4", Kind::Float4, rows(Values::F32((0..n64).map(|i| (random(i) % 99) as f32).collect()))),
        ("float8", Kind::Float8, rows(Values::F64((0..n64).map(|i| random(i) as f64).collect()))),
        ("dec9", decimal(9, 2), rows(Values::I32((0..n64).map(|i| (random(i) % 999) as i32).collect()))),
        ("dec18", decimal(18, 0), rows(Values::I64((0..n64).map(|i| -(i as i64)).collect()))),
        (
            "dec38",
            decimal(38, 9),
            rows(Values::Fixed16(
                (0..n64).map(|i| (i128::from(random(i) as i64) * 1000).to_be_bytes()).collect(),
            )),
        ),
        ("date", Kind::Date, rows(Values::I32((0..n64).map(|i| (random(i) % 2500) as i32).collect()))),
        ("time", Kind::Time, rows(Values::I64((0..n64).map(|i| (random(i) % 86_400) as i64).collect()))),
        ("ts", Kind::Timestamp, rows(Values::I64((0..n64).map(|i| i as i64 * 1_000_003).collect()))),
        ("tstz", Kind::TimestampTz, rows(Values::I64((0..n64).map(|i| i as i64 % 11).collect()))),
        (
            "uuid",
            Kind::Uuid,
            rows(Values::Fixed16(
                (0..n64)
                    .map(|i| (u128::from(random(i)) << 64 | u128::from(random(i + n64))).to_be_bytes())
                    .collect(),
            )),
        ),
        ("text_few", Kind::Text, strings((0..n64).map(word))),
        ("text_any", Kind::Text, strings((0..n64).map(|i| format!("{:x} {:x}", random(i), i)))),
        ("json", Kind::Json, strings((0..n64).map(|i| format!("{{\"a\":{}}}", random(i) % 50_000)))),
        (
            "bytea",
            Kind::Bytea,
            strings((0..n64).map(|i| random(i).to_le_bytes()[..(i % 9) as usize].to_vec())),
        ),
    ];
    list.into_iter()
        .enumerate()
        .map(|(c, (name, kind, rows))| {
            let null = move |i: usize| random((i / (c + 1)) as u64).is_multiple_of(5);
            (field(name, kind, nulls), if nulls { rows.with_nulls(null) } else { rows })
        })
        .unzip()
}

pub const ALL_CODECS: [Codec; 6] =
    [Codec::None, Codec::Snappy, Codec::Gzip(6), Codec::Brotli(1), Codec::Lz4Raw, Codec::Zstd(1)];

#[test]
fn every_kind_and_codec_comes_back() {
    let mut seen = Vec::new();
    for (codec, nulls) in ALL_CODECS.into_iter().flat_map(|c| [(c, false), (c, true)]) {
        let (fields, first) = columns(41_000, nulls);
        let (_, second) = columns(3, nulls);
        let file = check(&fields, &Shapes::default(), codec, &[first, second], 4096);
        for column in read_metadata(&file).row_group(0).columns() {
            seen.extend(column.encodings());
        }
    }
    for encoding in [
        Encoding::PLAIN,
        Encoding::RLE_DICTIONARY,
        Encoding::DELTA_BINARY_PACKED,
        Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Encoding::BYTE_STREAM_SPLIT,
    ] {
        assert!(seen.contains(&encoding), "{encoding} was never chosen");
    }
}

#[test]
fn pages_end_where_they_should() {
    for n in [1, PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 2 * PAGE_ROWS] {
        for nulls in [false, true] {
            let (fields, columns) = columns(n, nulls);
            let file = check(&fields, &Shapes::default(), Codec::Snappy, &[columns], 7001);
            let metadata = read_metadata(&file);
            let index = metadata.page_index_for_row_group(0);
            assert_eq!(index.num_data_pages(2), Some(n.div_ceil(PAGE_ROWS)));
        }
    }
}

#[test]
fn dictionaries_end_at_their_cap() {
    let cap = MAX_BYTES / 8;
    for distinct in [cap - 1, cap, cap + 1] {
        // Every value three times in a row: each page adds a third of its values.
        let values = (0..distinct * 3).map(|i| random(i as u64 / 3) as i64).collect();
        let fields = [field("a", Kind::Int8, false)];
        let file = check(&fields, &Shapes::default(), Codec::None, &[vec![rows(Values::I64(values))]], 5000);
        let metadata = read_metadata(&file);
        let encodings: Vec<_> = metadata.row_group(0).column(0).encodings().collect();
        assert!(encodings.contains(&Encoding::RLE_DICTIONARY));
        let stats = metadata.row_group(0).column(0).page_encoding_stats().unwrap();
        assert_eq!(stats.len() == 2, distinct <= cap, "{distinct} {stats:?}");
    }
}

#[test]
fn string_dictionaries_end_at_their_cap() {
    let text = |i: usize| format!("{:026x}", random(i as u64 / 3)); // 30 bytes an entry
    let cap = MAX_BYTES / 30;
    for distinct in [cap, cap + 1] {
        let fields = [field("a", Kind::Text, false)];
        let column = strings((0..distinct * 3).map(text));
        let file = check(&fields, &Shapes::default(), Codec::None, &[vec![column]], 5000);
        let metadata = read_metadata(&file);
        let stats = metadata.row_group(0).column(0).page_encoding_stats().unwrap();
        assert_eq!(stats.len() == 2, distinct <= cap, "{distinct} {stats:?}");
    }
}

#[test]
fn dictionaries_are_left_when_they_stop_paying() {
    let text = |i: u64| if i < 30_000 { format!("{}", i % 9) } else { format!("{}", random(i)) };
    let number = |i: u64| if i < 30_000 { random(i % 9) as i64 } else { random(i) as i64 };
    let fields = [field("t", Kind::Text, true), field("n", Kind::Int8, true)];
    let columns = vec![
        strings((0..90_000).map(text)).with_nulls(|i| i % 7 == 0),
        rows(Values::I64((0..90_000).map(number).collect())).with_nulls(|i| i % 7 == 0),
    ];
    check(&fields, &Shapes::default(), Codec::Zstd(1), &[columns.clone(), columns], 3000);
}

#[test]
fn extremes_come_back() {
    let longest = vec![b'x'; 3 << 20];
    let fields = [
        field("null", Kind::Int4, true),
        field("empty", Kind::Text, true),
        field("one", Kind::Text, false),
        field("i8", Kind::Int8, false),
        field("i4", Kind::Int4, false),
        field("f8", Kind::Float8, false),
        field("big", Kind::Bytea, true),
    ];
    let n = 25_000;
    let columns = vec![
        rows(Values::I32(vec![0; n])).with_nulls(|_| true),
        strings((0..n).map(|_| "")).with_nulls(|i| i % 2 == 0),
        strings((0..n).map(|_| "the one")),
        rows(Values::I64(
            (0..n).map(|i| [i64::MIN, i64::MAX, 0, -1][random(i as u64) as usize % 4]).collect(),
        )),
        rows(Values::I32((0..n).map(|i| if i % 2 == 0 { i32::MIN } else { i32::MAX }).collect())),
        rows(Values::F64((0..n).map(|i| [f64::NAN, -0.0, 0.0, -f64::INFINITY][i % 4]).collect())),
        strings((0..n).map(|i| if i % 9000 == 5 { &longest[..] } else { &[] })).with_nulls(|i| i > 20_000),
    ];
    check(&fields, &Shapes::default(), Codec::Lz4Raw, &[columns], 8192);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_numbers_come_back(
        values in prop::collection::vec((any::<i64>(), 1usize..600, 0u8..4), 0..30),
        codec in 0usize..6, batch in 1usize..900
    ) {
        // Runs: a repeated value, a rising one, random ones, NULLs.
        let (mut numbers, mut valid) = (Vec::new(), Vec::new());
        for &(value, run, manner) in &values {
            for i in 0..run as i64 {
                valid.push(u8::from(manner != 3));
                match manner {
                    0 => numbers.push(value),
                    1 => numbers.push(value.wrapping_add(i)),
                    2 => numbers.push(random(value as u64 ^ i as u64) as i64),
                    _ => {}
                }
            }
        }
        let narrow = numbers.iter().map(|&v| v as i32).collect();
        let doubles = numbers.iter().map(|&v| f64::from_bits(v as u64)).collect();
        let floats = numbers.iter().map(|&v| f32::from_bits(v as u32)).collect();
        let text = strings(numbers.iter().map(|v| v.to_string()));
        let column = |values: Values, arena| Rows { lane: Lane { valid: valid.clone(), values }, arena };
        let columns = vec![
            column(Values::I64(numbers), Vec::new()),
            column(Values::I32(narrow), Vec::new()),
            column(text.lane.values, text.arena),
            column(Values::F64(doubles), Vec::new()),
            column(Values::F32(floats), Vec::new()),
        ];
        let kinds = [Kind::Int8, Kind::Int4, Kind::Text, Kind::Float8, Kind::Float4];
        let fields = kinds.map(|kind| field("a", kind, true));
        if columns[0].len() > 0 {
            check(&fields, &Shapes::default(), ALL_CODECS[codec], &[columns], batch);
        }
    }
}
