//! Tests with libraries built from pg_test/helpers/nvcomp_stub.c, which look like nvCOMP, or almost, and work on the host.

use std::process::Command;

use super::*;
use crate::gpu::testing::fake;
use crate::slot::encode::{PLAIN_BODIES, SNAPPY, ZSTD};

fn stub(name: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("pg_test/helpers/nvcomp_stub.c");
    let built = std::env::current_exe().unwrap().with_file_name(format!("nvcomp_{name}.so"));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(compiler);
    command
        .args([
            "-shared",
            "-fPIC",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-Wno-unused-parameter",
            "-Wno-unused-function",
        ])
        .args(flags);
    let made = command.arg(source).arg("-o").arg(&built).output().expect("a C compiler");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    built
}

fn opened(name: &str, flags: &[&str]) -> Result<Nvcomp, String> {
    Nvcomp::open(&stub(name, flags))
}

fn pages() -> Vec<Vec<u8>> {
    let page = |(seed, bytes): (usize, usize)| (0..bytes).map(|at| (at * at / 7 + seed) as u8).collect();
    [1, 100, 131_072, 131_073, 300_000, 7 << 20, 7 << 20, 7 << 20].into_iter().enumerate().map(page).collect()
}

fn are_read_back(frames: &[Vec<u8>], pages: &[Vec<u8>]) {
    assert_eq!(frames.len(), pages.len());
    for (frame, page) in frames.iter().zip(pages) {
        assert!(zstd::bulk::decompress(frame, page.len()).unwrap() == *page, "{} bytes", page.len());
    }
}

#[test]
fn pages_become_frames() {
    let nvcomp = opened("whole", &[]).unwrap();
    assert!(nvcomp.to_string().starts_with("nvCOMP 6.0.0 (/"), "{nvcomp}");
    let pages = pages();
    are_read_back(&nvcomp.compress_here(&pages).unwrap(), &pages);
    assert!(nvcomp.compress_here(&[]).unwrap().is_empty());
}

#[test]
fn frames_have_room_and_batches_little_memory() {
    let nvcomp = opened("plans", &[]).unwrap();
    let plan = nvcomp.plan([(4096, 100), (8192, MAX_PAGE), (0, 1), (0, 1)]).unwrap();
    assert_eq!((plan.frames[0].clone(), plan.frames[1].start), (0..112, 112));
    assert!(
        plan.frames.windows(2).all(|two| two[0].end <= two[1].start && two[1].start.is_multiple_of(ALIGN))
    );
    assert!(nvcomp.plan([(0, MAX_PAGE + 1)]).unwrap_err().contains("16 MB"));
    let none = std::ptr::null_mut();
    // As much as the pages, and 1000 bytes.
    let (batches, bytes) = nvcomp.batches(&plan, MAX_PAGE + 1102, none).unwrap();
    assert_eq!((batches.len(), batches[0].clone(), bytes), (1, 0..4, MAX_PAGE + 1102));
    let halves = Ok((vec![0..2, 2..4], MAX_PAGE + 1100));
    assert_eq!(nvcomp.batches(&plan, MAX_PAGE + 1101, none), halves);
    assert!(nvcomp.batches(&plan, MAX_PAGE, none).unwrap_err().contains("temporary memory"));
    assert!(nvcomp.frames(&plan, &[112, 9, 9, 9], &[0; 4]).is_ok());
    assert!(nvcomp.frames(&plan, &[113, 9, 9, 9], &[0; 4]).is_err());
    assert!(nvcomp.frames(&plan, &[0, 9, 9, 9], &[0; 4]).is_err());
}

#[test]
fn libraries_that_cannot_be_used_are_refused() {
    let reason = |opened: Result<Nvcomp, String>| opened.err().unwrap();
    let missing = reason(Nvcomp::open(Path::new("/no/such/libnvcomp.so.6")));
    assert!(missing.contains("/no/such/libnvcomp.so.6"), "{missing}");
    let text = reason(Nvcomp::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")));
    assert!(text.contains("Cargo.toml"), "{text}");
    let other = reason(Nvcomp::open(Path::new("libm.so.6")));
    assert!(other.contains("nvcompGetProperties"), "{other}");
    let old = reason(opened("old", &["-DVERSION=5301"]));
    assert!(old.ends_with("is nvCOMP 5.3.1, not 6"), "{old}");
    let new = reason(opened("new", &["-DVERSION=7000"]));
    assert!(new.ends_with("is nvCOMP 7.0.0, not 6"), "{new}");
    let lacking = reason(opened("lacking", &["-DLACKS"]));
    assert!(lacking.contains("nvcompBatchedZstdCompressAsync"), "{lacking}");
}

#[test]
fn pages_that_are_not_compressed_stay_as_they_are() {
    let pages = pages();
    let compress = |codec, zstd: &Zstd| fake::compress(&pages, codec, zstd).unwrap();
    let none = Zstd::new(None);
    assert!(compress(ZSTD, &none) == (PLAIN_BODIES, pages.clone()) && none.take_notes().is_empty());
    let whole = Zstd::new(Some(opened("used", &[])));
    let (codec, frames) = compress(ZSTD, &whole);
    assert_eq!(
        (codec, compress(PLAIN_BODIES, &whole).0, compress(SNAPPY, &whole).0),
        (ZSTD, PLAIN_BODIES, SNAPPY)
    );
    are_read_back(&frames, &pages);
    assert!(
        matches!(&whole.take_notes()[..], [line] if line.starts_with("zstd pages are compressed by nvCOMP 6.0.0"))
    );

    let lacking = Zstd::new(Some(opened("lost", &["-DLACKS"])));
    assert!(compress(ZSTD, &lacking) == (PLAIN_BODIES, pages.clone()));
    assert!(
        matches!(&lacking.take_notes()[..], [line] if line.starts_with("zstd pages are left to the CPU: "))
    );
    for (name, flag, why) in
        [("refusing", "-DREFUSES", "start to compress pages"), ("spoiling", "-DSPOILS", "compress a page")]
    {
        let failing = Zstd::new(Some(opened(name, &[flag])));
        for _ in 0..3 {
            assert!(compress(ZSTD, &failing) == (PLAIN_BODIES, pages.clone()));
        }
        let expected = format!("zstd pages are left to the CPU: nvCOMP cannot {why}: cannot compress (19)");
        assert_eq!(failing.take_notes()[1..], [expected]);
    }
}
