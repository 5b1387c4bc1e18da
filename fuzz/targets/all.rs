//! All targets in one program, to be copied to another machine. TARGET chooses one.

#![no_main]

use pg_strata::fuzzing::*;

fn chosen(data: &[u8]) {
    thread_local! {
        static TARGET: String = std::env::var("TARGET").unwrap_or_default();
    }
    TARGET.with(|target| match target.as_str() {
        "heap_pages" => heap_pages(data),
        "copy_binary" => copy_binary(data),
        "parquet_metadata" => parquet_metadata(data),
        "parquet_pages" => parquet_pages(data),
        "arrow_file" => arrow_file(data),
        "options" => options(data),
        "vcf_lines" => vcf_lines(data),
        other => panic!("TARGET is \"{other}\""),
    })
}

pg_strata_fuzz::target!(chosen);
