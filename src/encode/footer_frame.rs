//! A footer whose row groups are written one at a time.
//!
//! parquet's writer takes the metadata of a whole file: for tens of thousands of row groups, hundreds of megabytes of
//! objects. So it is asked for a footer without row groups, which is what surrounds their list, and for a footer of
//! each single one, from which the list's only element is taken. In Thrift's compact protocol (parquet.thrift,
//! FileMetaData):
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

/// The header of a list field that is numbered after the field before it.
const NEXT_LIST: u8 = 0x19;
const STRUCT: u8 = 12;
/// The size from which a list's size no longer fits beside its type.
const LONG_LIST: u64 = 15;
/// The bytes after a file's metadata: its length and the magic bytes.
const END: usize = 4 + MAGIC.len();

pub struct Frame {
    file: FileMetaData,
    /// The metadata of a file without row groups.
    empty: Vec<u8>,
    /// The place of the number of rows.
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

    /// Returns what precedes the row groups, given their number and that of their rows.
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

    /// Returns what follows the row groups.
    pub fn tail(&self) -> &[u8] {
        &self.empty[self.rows_at + 3..self.empty.len() - END]
    }
}

/// Encodes a file's metadata, its length and the magic bytes.
fn write(file: &FileMetaData, row_group: Option<RowGroupMetaData>) -> Result<Vec<u8>> {
    let metadata = ParquetMetaDataBuilder::new(file.clone());
    let metadata = metadata.set_row_groups(row_group.into_iter().collect()).build();
    let mut out = Vec::new();
    ParquetMetaDataWriter::new(&mut out, &metadata).finish()?;
    Ok(out)
}

/// Marks the flat float columns as ordered by their type.
///
/// parquet's writer marks all floats as ordered by IEEE 754 total order. Readers that are older than that order do
/// not know it and ignore the statistics. Ours follow the rules of the older order as well: see `stats`. The orders
/// are the footer's last field (parquet.thrift, FileMetaData 7): for each leaf a union of one empty struct, whose
/// field header says which, then the ends of both.
pub fn order_floats_by_type(file_end: &mut [u8], descr: &SchemaDescriptor) -> Result<()> {
    const TYPE_ORDER: [u8; 3] = [0x1c, 0, 0];
    const TOTAL_ORDER: [u8; 3] = [0x2c, 0, 0];
    // The end of the struct, the length and the magic bytes follow the orders.
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
