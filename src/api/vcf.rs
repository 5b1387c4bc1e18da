//! Import of VCF files.

use pgrx::prelude::*;

use super::arrow::arrow_codec;
use super::{invalid, required, text};
use crate::encode::ipc::BufferCodec;
use crate::export;
use crate::pg::error::{Error, internal};

/// Converts a VCF file on the server to an Arrow IPC file; see the comment on the SQL function, and README.
#[pg_extern(sql = r#"
CREATE FUNCTION import_vcf(
    vcf text, path text,
    samples text DEFAULT 'column',
    compression text DEFAULT 'none',
    overwrite boolean DEFAULT false)
RETURNS TABLE (record_batches bigint, rows bigint, bytes bigint)
VOLATILE PARALLEL UNSAFE COST 1000 ROWS 1 LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn import_vcf(
    vcf: Option<&[u8]>,
    path: Option<&[u8]>,
    samples: Option<&[u8]>,
    compression: Option<&[u8]>,
    overwrite: Option<bool>,
) -> Result<TableIterator<'static, (name!(record_batches, i64), name!(rows, i64), name!(bytes, i64))>, Error>
{
    let sample_rows = match text(samples)?.as_deref() {
        None | Some("column") => false,
        Some("rows") => true,
        Some(other) => return Err(invalid(format!("unknown samples \"{other}\""), "Use column or rows.")),
    };
    let codec =
        BufferCodec::parse(&arrow_codec(compression)?).map_err(|cause| internal(cause.to_string()))?;
    let (vcf, path) = (required(text(vcf)?, "vcf")?, required(text(path)?, "path")?);
    let done = export::import_vcf(&vcf, &path, sample_rows, codec, overwrite.unwrap_or(false))?;
    Ok(TableIterator::once((done.batches as i64, done.rows as i64, done.bytes as i64)))
}
