//! The rooms that need no server never name one: they compile, and are tested, without PostgreSQL.

use std::fs;
use std::path::Path;

fn visit(path: &Path, found: &mut Vec<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            visit(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).unwrap();
        if text.contains("pgrx") || text.contains("pg_sys") {
            found.push(path.display().to_string());
        }
    }
}

#[test]
fn pure_rooms() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for room in [
        "types",
        "wire",
        "slot",
        "decode",
        "encode",
        "expr",
        "fdw",
        "gpu",
        "interrupts",
        "memory",
        "vcf",
        "fuzzing",
    ] {
        let room = source.join(room);
        for path in [room.clone(), room.with_extension("rs")] {
            if path.exists() {
                visit(&path, &mut found);
            }
        }
    }
    assert!(found.is_empty(), "these name pgrx: {found:?}");
}
