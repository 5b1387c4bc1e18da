//! Fuzzes Parquet and Arrow files, read as foreign tables read them.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::i256;

use crate::expr::{Decimals, Numeric, Pattern, Place, Prefix, Range, Scalar, Test, Type};
use crate::fdw::values::{self, Target, Words};
use crate::fdw::{FileMeta, Scanner, Selected, Source, share_of_groups};

/// The most rows that are read. A real file of a few kilobytes has fewer, but runs of one value could make any
/// number.
const MOST_ROWS: u64 = 100_000;
const MOST_COLUMNS: usize = 64;
const BATCH_ROWS: usize = 1024;

/// A file in memory that has a path.
struct Temporary(File);

impl Temporary {
    fn new(bytes: &[u8]) -> Temporary {
        // SAFETY: the name is a C string, and the descriptor that is returned belongs to nobody else.
        let mut file = unsafe {
            let descriptor = libc::memfd_create(c"fuzzed".as_ptr(), libc::MFD_CLOEXEC);
            assert!(descriptor >= 0, "no file in memory");
            File::from_raw_fd(descriptor)
        };
        file.write_all(bytes).expect("room in memory");
        Temporary(file)
    }

    fn open(&self) -> Option<Source> {
        Source::open(&format!("/proc/self/fd/{}", self.0.as_raw_fd())).ok()
    }
}

/// The input is a Parquet file without magic numbers and with any length of the footer. Only the metadata are read.
pub fn parquet_metadata(data: &[u8]) {
    let (body, length) = data.split_at(data.len().saturating_sub(4));
    let length = length.try_into().map_or(0, u32::from_le_bytes).min(body.len() as u32);
    let file = Temporary::new(&[b"PAR1", body, &length.to_le_bytes(), b"PAR1"].concat());
    let Some(source) = file.open() else { return };
    let Ok(meta) = FileMeta::read(&source) else { return };
    look_at(&source, &meta);
}

/// Reads what planning needs of a file.
fn look_at(source: &Source, meta: &FileMeta) {
    meta.key_values();
    meta.declared_types();
    meta.memory();
    assert!(meta.rows() >= (0..meta.groups()).map(|group| meta.group_rows(group)).max().unwrap_or(0));
    for column in 0..meta.schema().fields().len().min(MOST_COLUMNS) {
        let name = meta.schema().field(column).name();
        meta.find(name, None).ok();
        meta.sql_type(column);
        meta.fits_double(column);
        meta.column_bytes(&[column]);
        if let Some(bounds) = meta.bounds(column) {
            assert!(bounds.mins.len() == meta.groups() && bounds.maxes.len() == meta.groups());
            share_of_groups(&[bounds]);
        }
        for group in 0..meta.groups().min(8) {
            if let Some(pages) = meta.pages(source, group, column) {
                assert!(pages.starts().is_sorted() && pages.bounds.mins.len() + 1 == pages.starts().len());
                (0..3).for_each(|row| _ = pages.at(row));
            }
            if let Some(filter) = meta.bloom_filter(source, group, column) {
                let numeric = Numeric::scaled(i256::from(700), 2, 2);
                for (of, value) in [
                    (Type::Integer, Scalar::Integer(7)),
                    (Type::Numeric, Scalar::Numeric(numeric)),
                    (Type::Text, Scalar::bytes(Type::Text, b"text 7")),
                    (Type::Timestamp, Scalar::Integer(0)),
                ] {
                    filter.may_hold(of, &value);
                }
            }
        }
    }
}

/// The input is a Parquet file. All columns of all row groups are read as values of every type, with conditions on
/// them.
pub fn parquet_pages(data: &[u8]) {
    read_all(data, b"PAR1");
}

/// The input is an Arrow IPC file, which is read in the same way.
pub fn arrow_file(data: &[u8]) {
    read_all(data, b"ARROW1");
}

fn read_all(data: &[u8], magic: &[u8]) {
    if !data.starts_with(magic) {
        return;
    }
    let file = Temporary::new(data);
    let Some(source) = file.open() else { return };
    let Ok(meta) = FileMeta::read(&source) else { return };
    look_at(&source, &meta);
    if meta.rows() > MOST_ROWS {
        return;
    }
    let meta = Arc::new(meta);
    let columns: Vec<usize> = (0..meta.schema().fields().len().min(MOST_COLUMNS)).collect();
    read(&source, &meta, columns.clone(), false);
    for column in columns {
        // Each column is read alone, so that an error in one does not keep the others from being read.
        read(&source, &meta, vec![column], true);
    }
}

fn read(source: &Source, meta: &Arc<FileMeta>, columns: Vec<usize>, by_pages: bool) {
    let Ok(mut scanner) = Scanner::new(source.clone(), meta.clone(), columns, BATCH_ROWS) else { return };
    for group in 0..meta.groups() {
        let selected = by_pages.then(|| some_rows(&scanner, group)).flatten();
        let wanted = selected.as_ref().map_or(meta.group_rows(group), Selected::count);
        if scanner.open_group(group, selected).is_err() {
            continue;
        }
        let (mut found, mut failed) = (0, false);
        loop {
            match scanner.next_batch() {
                Ok(Some(rows)) => {
                    found += rows.count as u64;
                    assert!((0..rows.count).all(|row| rows.before(row) < meta.group_rows(group)));
                    let arrays = rows.batch.iter().flat_map(|batch| batch.columns());
                    arrays.for_each(values_of);
                }
                Ok(None) => break,
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
        // If the page index is wrong, the whole group is read.
        let is_all = found == wanted || found == meta.group_rows(group);
        assert!(failed || is_all, "{found} rows of {wanted}");
    }
}

/// Selects every second page.
fn some_rows(scanner: &Scanner, group: usize) -> Option<Selected> {
    let pages = scanner.pages(group, 0)?;
    let mut selected = Selected::default();
    pages.starts().windows(2).step_by(2).for_each(|page| selected.push(page[0]..page[1]));
    Some(selected)
}

fn values_of(array: &ArrayRef) {
    use Target as T;
    let limit = values::NumericLimit { precision: 9, scale: 2 };
    let targets = [
        T::Bool,
        T::Int2,
        T::Int4,
        T::Int8,
        T::Oid,
        T::Float4,
        T::Float8,
        T::Numeric(None),
        T::Numeric(Some(limit)),
        T::Date,
        T::Time(6),
        T::Timestamp(3),
        T::TimestampTz(6),
        T::Interval,
        T::Uuid,
        T::Text(None),
        T::Bpchar(Some(5)),
        T::Bytea,
    ];
    let mut words = Words::default();
    for target in targets.iter().filter(|target| values::fits(array.data_type(), target)) {
        if values::convert(array, target, &mut words).is_ok() {
            assert!(words.words.len() == array.len() && words.nulls.len() == array.len());
            conditions(&words);
        }
    }
    if values::is_writable(array.data_type()) {
        for json in [false, true] {
            let written = values::written(array, array.data_type(), json);
            assert!(written.is_ok_and(|texts| texts.len() == array.len()) || !array.is_empty());
        }
    }
    if let Ok(Some(decimals)) = values::decimals(array, None) {
        numbers(&decimals, array.len());
    }
}

fn conditions(words: &Words) {
    let range = Range::new(Test::Less, Place::At(7, false)).narrow();
    assert!(words.words.iter().all(|&word| range.contains(word as i64) == (word as i64 <= 7)));
    Prefix::new(Pattern::Literal, b"text").may_lie(None, None);
}

/// The values of all rows are those of each one.
fn numbers(decimals: &Decimals, rows: usize) {
    let all: Vec<u32> = (0..rows as u32).collect();
    let (mut words, mut wide) = (Vec::new(), Vec::new());
    decimals.gather_wide(&all, &mut wide);
    if decimals.gather(&all, &mut words) {
        assert!(words.iter().zip(&wide).all(|(word, wide)| i128::from(*word) == *wide));
    }
    for (row, &value) in wide.iter().enumerate() {
        let wanted = (!decimals.is_null(row)).then(|| decimals.numeric(value));
        assert_eq!(decimals.at(row), wanted);
    }
}
