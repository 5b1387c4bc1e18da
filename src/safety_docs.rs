//! Every unsafe function says in a section `# Safety` what its callers have to see to.

use std::fs;
use std::path::Path;

/// Returns the unsafe functions of a source, by the numbers of their lines, whose documentation has no such section.
/// Those of a trait are documented there.
fn undocumented(text: &str) -> Vec<usize> {
    let (mut documented, mut of_trait) = (false, false);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let is_impl = line.starts_with("impl") || line.starts_with("unsafe impl");
        of_trait = is_impl && line.contains(" for ") || of_trait && line != "}";
        let line = line.trim_start();
        if line.starts_with("///") {
            documented |= line.starts_with("/// # Safety");
            continue;
        }
        let is_unsafe = line.split(" fn ").next().is_some_and(|before| {
            before.len() < line.len() && before.split(' ').any(|word| word == "unsafe")
        });
        if is_unsafe && !line.starts_with("//") && !documented && !of_trait {
            found.push(number + 1);
        }
        documented &= line.starts_with("#[");
    }
    found
}

fn visit(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, found);
        } else if path.file_name() != Path::new(file!()).file_name() {
            let text = fs::read_to_string(&path).unwrap();
            let lines = undocumented(&text);
            found.extend(lines.iter().map(|line| format!("{}:{line}", path.display())));
        }
    }
}

#[test]
fn unsafe_functions_say_what_they_need() {
    let mut found = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.is_empty(), "no section # Safety: {found:#?}");
}

#[test]
fn missing_sections_are_found() {
    let text = "\
/// # Safety
/// A reason.
#[pg_guard]
pub unsafe extern \"C-unwind\" fn one() {}
unsafe fn two() {}
/// Words.
pub(crate) unsafe fn three() {}
let call: unsafe extern \"C\" fn(i32);
fn four() { unsafe { } }
unsafe impl Five for Six {
    unsafe fn five() {}
}
impl Six {
    unsafe fn seven() {}
}
";
    assert_eq!(undocumented(text), [5, 7, 14]);
}
