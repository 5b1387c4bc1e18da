//! A footer around row groups that are written one after the other.
//!
//! parquet's writer takes a file's metadata whole: of tens of thousands of row groups, hundreds of megabytes of objects.
//! So it writes the metadata of none, which is what lies around the list of row groups, and that of one at a time,
//! of which the list's only element is taken. In Thrift's compact protocol (parquet.thrift, FileMetaData):
//!
//! ```text
//! head  version, schema        the same for any row groups
//!       0x16, zigzag           num_rows, the sum of the row groups'
//!       0x19, size and type    row_groups, a list of structs
//! tail  key_value_metadata, created_by, column_orders
//! ```

use parquet::file::metadata::{
    FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::schema::types::SchemaDescriptor;

use super::bits::{put_varint, put_zigzag};
use super::schema::FileSchema;
use super::{Result, invalid};

/// The first and the last bytes of every Parquet file.
pub const MAGIC: &[u8; 4] = b"PAR1";

/// A field that is a list, numbered after the one before.
const NEXT_LIST: u8 = 0x19;
const STRUCT: u8 = 12;
/// A list's size is beside its type while it is less.
const LONG_LIST: u64 = 15;
/// Behind a file's metadata: its length, and the magic bytes.
const END: usize = 4 + MAGIC.len();

pub struct Frame {
    file: FileMetaData,
    /// The metadata of a file without row groups.
    empty: Vec<u8>,
    /// Where the number of rows is.
    rows_at: usize,
}

impl Frame {
    pub fn new(file: FileMetaData, schema: &FileSchema) -> Result<Frame> {
        let mut empty = write(&file, None)?;
        let one = RowGroupMetaData::builder(schema.parquet().clone()).set_num_rows(1);
        let columns = schema
            .parquet()
            .columns()
            .iter()
            .map(|column| parquet::file::metadata::ColumnChunkMetaData::builder(column.clone()).build());
        let one = one.set_column_metadata(columns.collect::<parquet::errors::Result<_>>()?).build()?;
        let other = write(&file, Some(one))?;
        let rows_at = empty.iter().zip(&other).position(|(a, b)| a != b).unwrap_or(0);
        if !empty[rows_at..].starts_with(&[0, NEXT_LIST, STRUCT]) {
            return invalid("parquet wrote a footer in another form");
        }
        order_floats_by_type(&mut empty, schema.parquet())?;
        Ok(Frame { file, empty, rows_at })
    }

    /// What comes before so many row groups of so many rows together.
    pub fn head(&self, rows: u64, row_groups: u64) -> Vec<u8> {
        let mut head = self.empty[..self.rows_at].to_vec();
        put_zigzag(&mut head, rows as i64);
        head.push(NEXT_LIST);
        match row_groups {
            ..LONG_LIST => head.push((row_groups as u8) << 4 | STRUCT),
            _ => {
                head.push((LONG_LIST as u8) << 4 | STRUCT);
                put_varint(&mut head, row_groups);
            }
        }
        head
    }

    pub fn row_group(&self, row_group: RowGroupMetaData) -> Result<Vec<u8>> {
        let mut before = Vec::new();
        put_zigzag(&mut before, row_group.num_rows());
        before.extend([NEXT_LIST, 1 << 4 | STRUCT]);
        let mut bytes = write(&self.file, Some(row_group))?;
        if !bytes[self.rows_at..].starts_with(&before) {
            return invalid("parquet wrote a row group in another form");
        }
        bytes.truncate(bytes.len() - END - self.tail().len());
        Ok(bytes.split_off(self.rows_at + before.len()))
    }

    /// What comes behind the row groups.
    pub fn tail(&self) -> &[u8] {
        &self.empty[self.rows_at + 3..self.empty.len() - END]
    }
}

/// A file's metadata, its length and the magic bytes.
fn write(file: &FileMetaData, row_group: Option<RowGroupMetaData>) -> Result<Vec<u8>> {
    let metadata = ParquetMetaDataBuilder::new(file.clone());
    let metadata = metadata.set_row_groups(row_group.into_iter().collect()).build();
    let mut out = Vec::new();
    ParquetMetaDataWriter::new(&mut out, &metadata).finish()?;
    Ok(out)
}

/// Marks the flat float columns as ordered by their type.
///
/// parquet's writer marks all floats as IEEE 754 total order, which readers older than that order do not
/// know, so that they ignore the statistics. Ours keep the older order's rules too: see `stats`. The
/// orders are the footer's last field (parquet.thrift, FileMetaData 7): per leaf a union of one empty
/// struct, whose field header says which, then the ends of both.
pub fn order_floats_by_type(file_end: &mut [u8], descr: &SchemaDescriptor) -> Result<()> {
    const TYPE_ORDER: [u8; 3] = [0x1c, 0, 0];
    const TOTAL_ORDER: [u8; 3] = [0x2c, 0, 0];
    // After the orders come the end of the struct, the length and the magic bytes.
    let orders = file_end.len().checked_sub(1 + 4 + MAGIC.len());
    let orders = orders.and_then(|end| file_end.get_mut(end.checked_sub(3 * descr.num_columns())?..end));
    let Some(orders) = orders else { return invalid("a footer is shorter than its column orders") };
    for (order, column) in orders.as_chunks_mut::<3>().0.iter_mut().zip(descr.columns()) {
        match *order {
            TYPE_ORDER => {}
            TOTAL_ORDER if column.path().parts().len() > 1 => {}
            TOTAL_ORDER => *order = TYPE_ORDER,
            _ => return invalid("a footer's column orders are not where they were expected"),
        }
    }
    Ok(())
}
