//! Converts a VCF file to an Arrow IPC file, as `import_vcf` does on a server.
//!
//!   cargo run --release --example vcf2arrow -- IN.vcf[.gz] OUT.arrow [column|rows]

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::process::ExitCode;

use pg_strata::encode::ipc::BufferCodec;
use pg_strata::vcf::{FileSink, Samples, convert};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (from, to, samples) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [from, to] | [from, to, "column"] => (from, to, Samples::Column),
        [from, to, "rows"] => (from, to, Samples::Rows),
        _ => {
            eprintln!("usage: vcf2arrow IN.vcf[.gz] OUT.arrow [column|rows]");
            return ExitCode::from(2);
        }
    };
    match run(from, to, samples) {
        Ok(rows) => {
            println!("{rows} rows");
            ExitCode::SUCCESS
        }
        Err(cause) => {
            eprintln!("vcf2arrow: {cause}");
            ExitCode::FAILURE
        }
    }
}

/// The file appears whole or not at all.
fn run(from: &str, to: &str, samples: Samples) -> Result<u64, String> {
    let input = File::open(from).map_err(|cause| format!("{from}: {cause}"))?;
    let temporary = format!("{to}.{}.tmp", std::process::id());
    let converted =
        File::create_new(&temporary).map_err(|cause| format!("{temporary}: {cause}")).and_then(|output| {
            let mut sink = FileSink::new(BufWriter::new(output), BufferCodec::None);
            let rows = convert(BufReader::new(input), samples, 65_536, &mut sink)
                .map_err(|cause| format!("{from}: {cause}"))?;
            let (mut output, _) = sink.finish().map_err(|cause| cause.to_string())?;
            output.flush().map_err(|cause| cause.to_string())?;
            fs::rename(&temporary, to).map_err(|cause| format!("{to}: {cause}"))?;
            Ok(rows)
        });
    if converted.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    converted
}
