//! The encode kernels, built for the host with sanitizers: their pages are read by the parquet crate.

use std::cmp::Ordering;
use std::sync::Arc;

use parquet::basic::{Encoding, Repetition, Type as Physical};
use parquet::column::page::{Page as ParquetPage, PageMetadata, PageReader};
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::{
    AsBytes, BoolType, ByteArrayType, DataType, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};
use proptest::prelude::*;

use super::host_encode::{Entries, Made, encode};
use super::host_program::HostProgram;
use super::specimens::Random;
use super::specimens::columns::{Columns, GOLDEN_BODIES, GOLDEN_ROWS, TYPES, Wish, golden, other_encoding};
use super::specimens::pages::digest;
use crate::gpu::encode::{Bounds, ColumnPart, LIMITS, Limits, NO_CHUNK, Order, Shape, encoding};

/// Returns the dictionary that kernels/encode.cu describes.
fn check_entries(entries: &Entries, shape: Shape, values: &[&Vec<u8>]) {
    let mut known = std::collections::HashSet::new();
    let first: Vec<_> = values.iter().filter(|value| known.insert(**value)).collect();
    let (most, state) = (entries.chunk.most as usize, entries.state);
    assert_eq!((state.failed != 0, state.values as usize), (first.len() > most, values.len()));
    if state.failed != 0 {
        assert!(state.used == 0 && entries.body.is_empty());
        return;
    }
    let put = |out: &mut Vec<u8>, value: &[u8]| {
        if shape == Shape::Strings {
            out.extend((value.len() as u32).to_le_bytes());
        }
        out.extend(value);
    };
    let (mut page, mut plain) = (Vec::new(), Vec::new());
    first.iter().for_each(|value| put(&mut page, value));
    values.iter().for_each(|value| put(&mut plain, value));
    let width = (first.len().max(2) - 1).ilog2() as usize + 1;
    let pays = 4 * (page.len() + (values.len() * width).div_ceil(8)) <= 3 * plain.len();
    let fits = page.len() <= entries.chunk.most_bytes as usize;
    assert_eq!(state.used != 0, pays && fits && !values.is_empty(), "{state:?}");
    assert!(entries.body == if state.used != 0 { page } else { Vec::new() }, "{state:?}");
}

/// Pages in order, as the parquet crate's reader takes them.
struct Pages(std::vec::IntoIter<ParquetPage>);

impl Iterator for Pages {
    type Item = parquet::errors::Result<ParquetPage>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Ok)
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> parquet::errors::Result<Option<ParquetPage>> {
        Ok(self.0.next())
    }

    fn peek_next_page(&mut self) -> parquet::errors::Result<Option<PageMetadata>> {
        Ok(None)
    }

    fn skip_next_page(&mut self) -> parquet::errors::Result<()> {
        self.0.next();
        Ok(())
    }
}

fn data_page(made: &Made, indices: bool) -> ParquetPage {
    let encoding = match u32::from(made.page.encoding) {
        _ if indices => Encoding::RLE_DICTIONARY,
        _ if made.nulls == made.page.rows => Encoding::PLAIN,
        encoding::DELTA_LENGTH_BYTE_ARRAY => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        encoding::DELTA_BINARY_PACKED => Encoding::DELTA_BINARY_PACKED,
        encoding::BYTE_STREAM_SPLIT => Encoding::BYTE_STREAM_SPLIT,
        _ => Encoding::PLAIN,
    };
    ParquetPage::DataPage {
        buf: made.body.clone().into(),
        num_values: made.page.rows,
        encoding,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    }
}

fn read_typed<T: DataType>(
    column: &ColumnPart,
    pages: Vec<ParquetPage>,
    physical: Physical,
) -> Vec<Option<Vec<u8>>> {
    let repetition = if column.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let length = if physical == Physical::FIXED_LEN_BYTE_ARRAY { 16 } else { -1 };
    let made = Type::primitive_type_builder("c", physical).with_repetition(repetition).with_length(length);
    let level = i16::from(column.nullable);
    let path = ColumnPath::new(vec!["c".into()]);
    let descriptor = ColumnDescriptor::new(Arc::new(made.build().expect("a type")), level, 0, path);
    let reader = get_column_reader(Arc::new(descriptor), Box::new(Pages(pages.into_iter())));
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let most = column.rows as usize + 1;
    let (rows, _, _) = reader.read_records(most, Some(&mut levels), None, &mut values).expect("pages");
    assert_eq!(rows, column.rows as usize);
    let mut values = values.iter().map(|value| value.as_bytes().to_vec());
    let is_null = |row: usize| column.nullable && levels[row] == 0;
    let found: Vec<_> =
        (0..rows).map(|row| (!is_null(row)).then(|| values.next().expect("a value"))).collect();
    assert!(values.next().is_none());
    found
}

fn read(column: &ColumnPart, pages: Vec<ParquetPage>) -> Vec<Option<Vec<u8>>> {
    match column.shape {
        Shape::Bits => read_typed::<BoolType>(column, pages, Physical::BOOLEAN),
        Shape::Fixed4 => read_typed::<Int32Type>(column, pages, Physical::INT32),
        Shape::Fixed8 => read_typed::<Int64Type>(column, pages, Physical::INT64),
        Shape::Fixed16 => read_typed::<FixedLenByteArrayType>(column, pages, Physical::FIXED_LEN_BYTE_ARRAY),
        Shape::Strings => read_typed::<ByteArrayType>(column, pages, Physical::BYTE_ARRAY),
    }
}

/// The value's bits, 16 bytes as a big-endian number, and their order; `None` for NaN.
fn compare(column: &ColumnPart, left: &[u8], right: &[u8]) -> Option<Ordering> {
    let long = |bytes: &[u8]| {
        let mut all = [0; 8];
        all[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(all)
    };
    match (column.shape, column.order) {
        (Shape::Fixed16, Order::Signed) => {
            let number = |bytes: &[u8]| i128::from_be_bytes(bytes.try_into().expect("16 bytes"));
            Some(number(left).cmp(&number(right)))
        }
        (Shape::Fixed16, _) => Some(left.cmp(right)),
        (Shape::Fixed4, Order::Signed) => Some((long(left) as i32).cmp(&(long(right) as i32))),
        (Shape::Fixed8, Order::Signed) => Some((long(left) as i64).cmp(&(long(right) as i64))),
        (Shape::Fixed4, Order::Floating) => {
            f32::from_bits(long(left) as u32).partial_cmp(&f32::from_bits(long(right) as u32))
        }
        (Shape::Fixed8, Order::Floating) => {
            f64::from_bits(long(left)).partial_cmp(&f64::from_bits(long(right)))
        }
        _ => Some(long(left).cmp(&long(right))),
    }
}

fn check_bounds(column: &ColumnPart, made: &Made, rows: &[Option<Vec<u8>>]) {
    let values: Vec<&Vec<u8>> = rows.iter().flatten().collect();
    assert_eq!(made.nulls as usize, rows.len() - values.len());
    if column.order == Order::None {
        assert_eq!(made.bounds, Bounds::default());
        return;
    }
    if column.shape == Shape::Strings {
        // The reference has checked the ends.
        assert_eq!(made.bounds.min_low as usize, values.iter().map(|value| value.len()).sum::<usize>());
        assert_eq!(made.bounds.values as usize, values.len());
        return;
    }
    let is_nan = |value: &&Vec<u8>| compare(column, value, value).is_none();
    let ordered: Vec<&Vec<u8>> = values.iter().filter(|value| !is_nan(value)).copied().collect();
    assert_eq!(made.bounds.nans as usize, values.len() - ordered.len());
    assert_eq!(made.bounds.values as usize, ordered.len());
    let Some((min, max)) = made.bounds.bits(column.shape, column.order) else {
        assert!(ordered.is_empty());
        return;
    };
    let bytes = |bits: u128| match column.shape {
        Shape::Fixed16 => bits.to_be_bytes().to_vec(),
        _ => bits.to_le_bytes()[..ordered[0].len()].to_vec(),
    };
    let (min, max) = (bytes(min), bytes(max));
    let order = |left: &Vec<u8>, right: &Vec<u8>| compare(column, left, right).expect("no NaN");
    assert!(ordered.iter().all(|value| order(&min, value).is_le() && order(&max, value).is_ge()));
    assert!(ordered.iter().any(|value| order(&min, value).is_eq()));
    assert!(ordered.iter().any(|value| order(&max, value).is_eq()));
    if column.order == Order::Floating {
        let zero = |bytes: &[u8], negative: u8| bytes[bytes.len() - 1] == negative;
        let is_zero = |bytes: &[u8]| bytes[..bytes.len() - 1].iter().all(|&byte| byte == 0);
        assert!(!is_zero(&min) || !zero(&min, 0), "the least zero is -0");
        assert!(!is_zero(&max) || !zero(&max, 0x80), "the greatest zero is +0");
    }
}

/// Every value comes back, and bounds and dictionaries are right. Gives all bodies.
fn check(
    host: &mut HostProgram,
    columns: &Columns,
    page_rows: u32,
    limits: Limits,
    seed: u32,
) -> Vec<Vec<u8>> {
    let (made, entries) = encode(host, columns, page_rows, limits, seed);
    let mut rest = &made[..];
    let mut chunks = vec![Vec::new(); entries.len()];
    for (column, rows) in columns.columns.iter().zip(&columns.values) {
        let pages;
        (pages, rest) = rest.split_at((column.rows as usize).div_ceil(page_rows as usize));
        let entries = pages.first().and_then(|made| entries.get(made.page.chunk as usize));
        let used = entries.filter(|entries| entries.state.used != 0);
        let dictionary = used.map(|entries| ParquetPage::DictionaryPage {
            buf: entries.body.clone().into(),
            num_values: entries.state.entries,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        });
        let data = pages.iter().map(|made| data_page(made, used.is_some()));
        let found = read(column, dictionary.into_iter().chain(data).collect());
        assert!(found == *rows, "{column:?}");
        for made in pages {
            let first = made.page.first as usize;
            check_bounds(column, made, &rows[first..first + made.page.rows as usize]);
            if made.page.chunk != NO_CHUNK {
                let rows = &rows[first..first + made.page.rows as usize];
                chunks[made.page.chunk as usize].extend(rows.iter().flatten());
            }
        }
    }
    assert!(rest.is_empty());
    for (entries, values) in entries.iter().zip(&chunks) {
        let shape = made[entries.chunk.first_page as usize].page.shape;
        let shape =
            TYPES.iter().map(|(shape, _)| *shape).find(|known| *known as u8 == shape).expect("a shape");
        check_entries(entries, shape, values);
    }
    let dictionaries = entries.into_iter().map(|entries| entries.body);
    made.into_iter().map(|made| made.body).chain(dictionaries).collect()
}

fn wish() -> impl Strategy<Value = Wish> {
    let rows = prop_oneof![
        4 => 0usize..100,
        2 => prop::sample::select(&[255usize, 256, 257, 1023, 1024, 1025, 1056][..]),
        1 => 1000usize..2500,
    ];
    let nulls = prop::sample::select(&[0usize, 3, 50, 97, 100][..]);
    let longest = prop::sample::select(&[0usize, 1, 9, 30, 200][..]);
    let distinct = prop::sample::select(&[0usize, 0, 1, 2, 9, 200][..]);
    let alike = prop::sample::select(&[0usize, 0, 45, 150, 1000][..]);
    let types = prop::sample::select(&TYPES[..]);
    (types, rows, any::<bool>(), nulls, longest, (alike, distinct), any::<bool>()).prop_map(
        |((shape, order), rows, nullable, nulls, longest, (alike, distinct), other)| {
            let order = if shape == Shape::Strings && other { Order::Unsigned } else { order };
            let encoding = if other { other_encoding(shape, order) } else { encoding::PLAIN };
            let nulls = if nullable { nulls } else { 0 };
            Wish { shape, order, nullable, rows, nulls, longest, alike, distinct, continues: false, encoding }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back(
        wishes in prop::collection::vec(wish(), 0..6),
        page_rows in prop::sample::select(&[32u32, 64, 256, 1024, 1056, 20_000][..]),
        most in prop::sample::select(&[0u32, 1, 10, 300, 65_536][..]),
        seed: u32
    ) {
        let (mut columns, mut random) = (Columns::default(), Random::new(seed.into()));
        for wish in wishes {
            columns.add(wish, &mut random);
            if random.percent(30) {
                columns.add(Wish { continues: true, rows: random.below(200), ..wish }, &mut random);
            }
        }
        let limits = Limits { entries: most, ..LIMITS };
        check(&mut HostProgram::start("encode"), &columns, page_rows, limits, seed);
    }
}

#[test]
fn where_pages_end() {
    let mut host = HostProgram::start("encode");
    for (page_rows, about) in [(32, 32), (256, 256), (16_384, 16_384)] {
        let mut columns = Columns::default();
        let mut random = Random::new(page_rows.into());
        for rows in [about - 1, about, about + 1] {
            for (shape, order) in [TYPES[0], TYPES[1], TYPES[3], TYPES[5], TYPES[7], TYPES[9]] {
                let wish = Wish {
                    shape,
                    order,
                    nullable: true,
                    rows,
                    nulls: 10,
                    longest: 12,
                    alike: 0,
                    distinct: 0,
                    continues: false,
                    encoding: encoding::PLAIN,
                };
                columns.add(wish, &mut random);
                columns.add(Wish { distinct: 7, ..wish }, &mut random);
                columns
                    .add(Wish { encoding: other_encoding(shape, order), longest: 99, ..wish }, &mut random);
            }
        }
        check(&mut host, &columns, page_rows, LIMITS, 7);
    }
}

/// Stretches of equal values and of NULLs about as long as an RLE run is at least, in pages as large as they come.
#[test]
fn runs() {
    let mut host = HostProgram::start("encode");
    let (mut columns, mut random) = (Columns::default(), Random::new(39));
    let (shape, order) = TYPES[4];
    for (alike, distinct, nulls) in
        [(45, 2, 0), (45, 300, 30), (80, 3000, 0), (80, 300, 3), (20_000, 2, 0), (9000, 40, 50), (0, 1, 0)]
    {
        let wish = Wish {
            shape,
            order,
            nullable: true,
            rows: 20_003,
            nulls,
            longest: 0,
            alike,
            distinct,
            continues: false,
            encoding: encoding::PLAIN,
        };
        columns.add(wish, &mut random);
    }
    for (seed, page_rows) in [20_000, 5024].into_iter().enumerate() {
        check(&mut host, &columns, page_rows, LIMITS, seed as u32);
    }
}

/// One value more than a dictionary may have, and it is given up; up to there slots are shared.
#[test]
fn at_the_limit_of_entries() {
    let mut host = HostProgram::start("encode");
    for distinct in [63, 64, 65] {
        let (mut columns, mut random) = (Columns::default(), Random::new(distinct as u64));
        for (shape, order) in [TYPES[1], TYPES[4], TYPES[7], TYPES[9]] {
            let wish = Wish {
                shape,
                order,
                nullable: true,
                rows: 1200,
                nulls: 10,
                longest: 20,
                alike: 0,
                distinct,
                continues: false,
                encoding: encoding::PLAIN,
            };
            columns.add(wish, &mut random);
        }
        let limits = Limits { entries: 64, ..LIMITS };
        let (_, entries) = encode(&mut host, &columns, 256, limits, 3);
        assert!(entries.iter().all(|entries| (entries.state.used != 0) == (distinct <= 64)));
        check(&mut host, &columns, 256, limits, 4);
        // A dictionary that is too large by one byte.
        let bytes = entries[3].state.bytes;
        if bytes > 0 {
            for (most, used) in [(bytes, 1), (bytes - 1, 0)] {
                let limits = Limits { entries: 64, bytes: most };
                assert_eq!(encode(&mut host, &columns, 256, limits, 5).1[3].state.used, used);
            }
        }
    }
}

/// Whatever order the threads run in.
#[test]
fn golden_bytes() {
    let bodies = check(&mut HostProgram::start("encode"), &golden(), GOLDEN_ROWS, LIMITS, 1);
    assert_eq!(digest(bodies.iter().map(|body| &body[..])), GOLDEN_BODIES);
    let (made, entries) = encode(&mut HostProgram::start("encode"), &golden(), GOLDEN_ROWS, LIMITS, 99);
    let again = made.into_iter().map(|made| made.body).chain(entries.into_iter().map(|entries| entries.body));
    assert!(again.eq(bodies));
}
