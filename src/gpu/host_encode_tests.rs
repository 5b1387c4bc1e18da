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

use super::encode::{Body, Bounds, Column, Order, Page, Shape, divide};
use super::host_program::HostProgram;
use super::specimens::Random;
use super::specimens::columns::{Columns, GOLDEN_BODIES, GOLDEN_ROWS, TYPES, Wish, golden};
use super::specimens::pages::digest;
use crate::slot::layout::{Plain, get};

// SAFETY: `repr(C)`, integers that leave no gaps.
unsafe impl Plain for Body {}
// SAFETY: as above.
unsafe impl Plain for Bounds {}

/// A page as the kernels made it.
struct Made {
    page: Page,
    bounds: Bounds,
    nulls: u32,
    body: Vec<u8>,
}

fn encode(host: &mut HostProgram, columns: &Columns, page_rows: u32, seed: u32) -> Vec<Made> {
    let (pages, room) = divide(&columns.columns, |_| page_rows);
    let sizes = [pages.len() as u32, columns.input.len() as u32, room as u32, seed];
    let mut request: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
    for page in &pages {
        let places = [page.valid_at, page.values_at, page.bytes_at, page.body_at];
        request.extend(places.iter().flat_map(|place| place.to_le_bytes()));
        request.extend([page.first, page.rows].iter().flat_map(|word| word.to_le_bytes()));
        request.extend([page.shape, page.order, page.nullable, 0, 0, 0, 0, 0]);
    }
    request.extend(&columns.input);
    host.ask(&request).expect("a program that reads");
    let mut table = |size: usize| host.answer(size * pages.len()).expect("an answer: see above");
    let (bodies, bounds) = (table(size_of::<Body>()), table(size_of::<Bounds>()));
    let mut end = 0;
    let made = pages.iter().enumerate().map(|(number, page)| {
        let body: Body = get(&bodies, number * size_of::<Body>()).expect("a body");
        assert!(body.at >= end && body.at.is_multiple_of(16), "bodies that meet");
        end = body.at + u64::from(body.bytes);
        assert!(end <= room, "a body behind the output's end");
        let bounds = get(&bounds, number * size_of::<Bounds>()).expect("bounds");
        Made {
            page: *page,
            bounds,
            nulls: body.nulls,
            body: host.answer(body.bytes as usize).expect("a body"),
        }
    });
    made.collect()
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

fn data_page(made: &Made) -> ParquetPage {
    ParquetPage::DataPage {
        buf: made.body.clone().into(),
        num_values: made.page.rows,
        encoding: Encoding::PLAIN,
        def_level_encoding: Encoding::RLE,
        rep_level_encoding: Encoding::RLE,
        statistics: None,
    }
}

fn read_typed<T: DataType>(
    column: &Column,
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

fn read(column: &Column, pages: Vec<ParquetPage>) -> Vec<Option<Vec<u8>>> {
    match column.shape {
        Shape::Bits => read_typed::<BoolType>(column, pages, Physical::BOOLEAN),
        Shape::Fixed4 => read_typed::<Int32Type>(column, pages, Physical::INT32),
        Shape::Fixed8 => read_typed::<Int64Type>(column, pages, Physical::INT64),
        Shape::Fixed16 => read_typed::<FixedLenByteArrayType>(column, pages, Physical::FIXED_LEN_BYTE_ARRAY),
        Shape::Strings => read_typed::<ByteArrayType>(column, pages, Physical::BYTE_ARRAY),
    }
}

/// The value's bits, 16 bytes as a big-endian number, and their order; `None` for NaN.
fn compare(column: &Column, left: &[u8], right: &[u8]) -> Option<Ordering> {
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

fn check_bounds(column: &Column, made: &Made, rows: &[Option<Vec<u8>>]) {
    let values: Vec<&Vec<u8>> = rows.iter().flatten().collect();
    assert_eq!(made.nulls as usize, rows.len() - values.len());
    if column.order == Order::None {
        assert_eq!(made.bounds, Bounds::default());
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

/// Every value comes back, and the bounds are right. Gives the bodies.
fn check(host: &mut HostProgram, columns: &Columns, page_rows: u32, seed: u32) -> Vec<Vec<u8>> {
    let made = encode(host, columns, page_rows, seed);
    let mut rest = &made[..];
    for (column, rows) in columns.columns.iter().zip(&columns.values) {
        let pages;
        (pages, rest) = rest.split_at((column.rows as usize).div_ceil(page_rows as usize));
        let found = read(column, pages.iter().map(data_page).collect());
        assert!(found == *rows, "{column:?}");
        for made in pages {
            let first = made.page.first as usize;
            check_bounds(column, made, &rows[first..first + made.page.rows as usize]);
        }
    }
    assert!(rest.is_empty());
    made.into_iter().map(|made| made.body).collect()
}

fn wish() -> impl Strategy<Value = Wish> {
    let rows = prop_oneof![
        4 => 0usize..100,
        2 => prop::sample::select(&[255usize, 256, 257, 1023, 1024, 1025, 1056][..]),
        1 => 1000usize..2500,
    ];
    let nulls = prop::sample::select(&[0usize, 3, 50, 97, 100][..]);
    let longest = prop::sample::select(&[0usize, 1, 9, 30, 200][..]);
    (prop::sample::select(&TYPES[..]), rows, any::<bool>(), nulls, longest).prop_map(
        |((shape, order), rows, nullable, nulls, longest)| {
            let nulls = if nullable { nulls } else { 0 };
            Wish { shape, order, nullable, rows, nulls, longest }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back(
        wishes in prop::collection::vec(wish(), 0..6),
        page_rows in prop::sample::select(&[32u32, 64, 256, 1024, 1056, 20_000][..]),
        seed: u32
    ) {
        let (mut columns, mut random) = (Columns::default(), Random::new(seed.into()));
        wishes.into_iter().for_each(|wish| columns.add(wish, &mut random));
        check(&mut HostProgram::start("encode"), &columns, page_rows, seed);
    }
}

#[test]
fn where_pages_end() {
    let mut host = HostProgram::start("encode");
    for (page_rows, about) in [(32, 32), (256, 256), (16_384, 16_384)] {
        let mut columns = Columns::default();
        let mut random = Random::new(page_rows.into());
        for rows in [about - 1, about, about + 1] {
            for (shape, order) in [TYPES[0], TYPES[1], TYPES[5], TYPES[7], TYPES[9]] {
                let wish = Wish { shape, order, nullable: true, rows, nulls: 10, longest: 12 };
                columns.add(wish, &mut random);
            }
        }
        check(&mut host, &columns, page_rows, 7);
    }
}

#[test]
fn golden_bytes() {
    let bodies = check(&mut HostProgram::start("encode"), &golden(), GOLDEN_ROWS, 1);
    assert_eq!(digest(bodies.iter().map(|body| &body[..])), GOLDEN_BODIES);
}
