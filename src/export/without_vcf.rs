//! `import_vcf` in a library that was built without the feature `vcf`.

use crate::encode::ipc::BufferCodec;
use crate::pg::error::{Code, Result, error};

pub struct Imported {
    pub batches: u64,
    pub rows: u64,
    pub bytes: u64,
}

/// Raises an error.
pub fn import_vcf(_: &str, _: &str, _: bool, _: BufferCodec, _: bool) -> Result<Imported> {
    Err(error(Code::ERRCODE_FEATURE_NOT_SUPPORTED, "the library was built without support for VCF")
        .set_hint("Build pg_strata with the feature vcf, which is on by default."))
}
