//! The kernels' machine code, from the cache or compiled now.
//!
//! A server needs driver 580 or newer, and once, for each architecture and version of the extension,
//! libnvrtc.so.13 of CUDA 13 with its libnvrtc-builtins beside it (package cuda-nvrtc-13-0, or pip's
//! nvidia-cuda-nvrtc). With a filled cache it needs no NVRTC.

use std::path::Path;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::Ptx;

use super::cache;
use super::error::{is_sticky, message};
use super::nvrtc::{Nvrtc, Unit};

/// A source of `kernels/` with the headers that it includes, in any order.
macro_rules! unit {
    ($source:literal: $($header:literal)*) => {
        Unit {
            name: $source,
            source: include_str!(concat!("../../../kernels/", $source)),
            headers: &[$(($header, include_str!(concat!("../../../kernels/", $header)))),*],
        }
    };
}

pub static DECODE: Unit = unit!("decode.cu": "types.cuh" "slot.cuh" "bytes.cuh" "varlena.cuh" "tuple.cuh" "copy_binary.cuh" "numeric.cuh" "plan.cuh" "value.cuh" "emit.cuh" "gather.cuh" "warp.cuh");

pub static COMPRESS: Unit =
    unit!("compress.cu": "types.cuh" "bytes.cuh" "warp.cuh" "copy.cuh" "match.cuh" "snappy.cuh" "lz4.cuh");

pub static ENCODE: Unit = unit!("encode.cu": "types.cuh" "bytes.cuh" "warp.cuh" "copy.cuh" "gather.cuh" "page.cuh" "hybrid.cuh" "bounds.cuh" "plain.cuh" "dictionary.cuh" "indices.cuh" "delta.cuh" "ends.cuh");

/// What the text of a query includes.
const OF_QUERIES: Unit =
    unit!("aggregate.cuh": "types.cuh" "slot.cuh" "warp.cuh" "query.cuh" "aggregate.cuh");

/// Returns the unit of a query's generated text.
pub fn query(text: &str) -> Unit<'_> {
    Unit { name: "query.cu", source: text, headers: OF_QUERIES.headers }
}

pub struct Code {
    pub cubin: Vec<u8>,
    /// "compiled by NVRTC 13.0" or "cached", with failures that did no harm.
    pub origin: String,
    /// Whether the code is from the cache: the driver may refuse it.
    pub cached: bool,
}

/// Returns the compiler's options for an architecture, 90 for compute capability 9.0. `-default-device` makes functions
/// without an annotation the device's, `--device-int128` is for numerics, line info for sanitizer and profiler.
pub fn options(architecture: u32) -> Vec<String> {
    ["--std=c++17", "--device-int128", "-default-device", "--generate-line-info"]
        .into_iter()
        .map(String::from)
        .chain([format!("--gpu-architecture=sm_{architecture}")])
        .collect()
}

/// Returns the unit's code. `nvrtc` is NVRTC's place, if the administrator names it; `fresh` code is not from the cache.
pub fn code(
    unit: &Unit,
    architecture: u32,
    nvrtc: Option<&Path>,
    folder: &Path,
    fresh: bool,
) -> Result<Code, String> {
    let options = options(architecture);
    let key = cache::key(unit, &options);
    let compiler = Nvrtc::open(nvrtc);
    let version = compiler.as_ref().ok().map(|compiler| compiler.version);
    if !fresh && let Some(cubin) = cache::get(folder, &key, version) {
        return Ok(Code { cubin, origin: "cached".into(), cached: true });
    }
    let compiler = compiler.map_err(|reason| {
        format!("{reason}; nor is {} compiled for sm_{architecture} in {}", unit.name, folder.display())
    })?;
    let (cubin, _) = compiler.compile(unit, &options)?;
    let mut origin = format!(
        "compiled by NVRTC {}.{} ({})",
        compiler.version.0,
        compiler.version.1,
        compiler.file.display()
    );
    if let Err(error) = cache::put(folder, &key, compiler.version, &cubin) {
        origin += &format!("; cannot be cached in {}: {error}", folder.display());
    }
    Ok(Code { cubin, origin, cached: false })
}

/// Loads the unit's module. Code from the cache is compiled again if the driver refuses it.
pub fn load(
    context: &Arc<CudaContext>,
    unit: &Unit,
    architecture: u32,
    nvrtc: Option<&Path>,
    cache: &Path,
) -> Result<Arc<CudaModule>, String> {
    let code = |fresh| code(unit, architecture, nvrtc, cache, fresh);
    let first = code(false)?;
    match context.load_module(Ptx::from_binary(first.cubin)) {
        Ok(module) => Ok(module),
        Err(error) if first.cached && !is_sticky(error) => context
            .load_module(Ptx::from_binary(code(true)?.cubin))
            .map_err(|error| message(&format!("load {}", unit.name), error)),
        Err(error) => Err(format!("{} ({})", message(&format!("load {}", unit.name), error), first.origin)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::testing::FAULT;

    /// Every file that a unit includes is embedded, or NVRTC would miss it on a server. Files that only the host's build
    /// includes lie in a folder.
    #[test]
    fn every_include_is_embedded() {
        for unit in [&DECODE, &COMPRESS, &ENCODE, &OF_QUERIES] {
            let texts = unit.headers.iter().map(|(_, text)| *text).chain([unit.source]);
            let includes = texts
                .flat_map(str::lines)
                .filter_map(|line| line.trim().strip_prefix("#include \"")?.strip_suffix('"'));
            for name in includes {
                let embedded = unit.headers.iter().any(|(header, _)| *header == name);
                assert!(name.contains('/') || embedded, "{name} of {}", unit.name);
            }
        }
    }

    #[test]
    fn without_compiler_and_cache_there_is_a_reason() {
        let nowhere = Path::new("/no/such/folder");
        let reason = code(&DECODE, 90, Some(nowhere), nowhere, false).err().unwrap();
        assert!(
            reason.contains("NVRTC") && reason.contains("sm_90") && reason.contains("/no/such/folder"),
            "{reason}"
        );
    }

    #[test]
    fn without_compiler_the_cache_serves() {
        let folder = std::env::temp_dir().join(format!("pg_strata_module_{}", std::process::id()));
        cache::put(&folder, &cache::key(&DECODE, &options(90)), (13, 9), b"code").unwrap();
        let found = code(&DECODE, 90, Some(Path::new("/no/such/folder")), &folder, false);
        let other = code(&DECODE, 80, Some(Path::new("/no/such/folder")), &folder, false);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.unwrap().cubin, b"code");
        assert!(other.is_err());
    }

    /// If there is NVRTC, everything compiles, is cached, and is compiled again when the cache is damaged.
    #[test]
    fn compiled_then_cached_then_compiled_again() {
        if Nvrtc::open(None).is_err() {
            eprintln!("skipped: no NVRTC");
            return;
        }
        let folder = std::env::temp_dir().join(format!("pg_strata_compiled_{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        for unit in [&DECODE, &COMPRESS, &ENCODE, &FAULT] {
            let first = code(unit, 90, None, &folder, false).unwrap();
            assert!(!first.cached && first.cubin.starts_with(b"\x7fELF"), "{}", first.origin);
            let second = code(unit, 90, None, &folder, false).unwrap();
            assert!(second.cached && second.cubin == first.cubin);
        }
        for entry in folder.read_dir().unwrap() {
            std::fs::write(entry.unwrap().path(), b"PGSTRCU1 damaged").unwrap();
        }
        assert!(!code(&FAULT, 90, None, &folder, false).unwrap().cached);
        assert!(code(&FAULT, 90, None, &folder, false).unwrap().cached);
        assert!(!code(&FAULT, 90, None, &folder, true).unwrap().cached);
        std::fs::remove_dir_all(&folder).unwrap();
        let broken = Unit { name: "broken.cu", source: "__global__ void f() { nonsense(); }", headers: &[] };
        let reason = Nvrtc::open(None).unwrap().compile(&broken, &options(90)).err().unwrap();
        assert!(reason.contains("nonsense"), "{reason}");
    }
}
