//! Imports between rooms go one way, as `ROOMS` lists them, and the files of a room do not import each other in
//! circles.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Rooms that any other may import; they import none.
const SHARED: [&str; 3] = ["interrupts", "memory", "types"];

/// Each room and, beside the shared ones, the rooms that it may import, all of which come before it.
const ROOMS: [(&str, &[&str]); 19] = [
    ("wire", &[]),
    ("slot", &["wire"]),
    ("decode", &["slot", "wire"]),
    ("encode", &[]),
    ("expr", &["wire"]),
    ("query", &["expr", "slot", "wire"]),
    ("gpu", &["decode", "encode", "query", "slot", "wire"]),
    ("fdw", &["encode", "expr"]),
    ("vcf", &["encode"]),
    ("fuzzing", &["decode", "encode", "expr", "fdw", "slot", "vcf", "wire"]),
    ("pg", &["expr", "query", "slot", "wire"]),
    ("service", &["gpu", "pg", "slot"]),
    ("foreign", &["expr", "fdw", "pg", "query"]),
    ("publish", &["encode", "fdw", "foreign", "pg"]),
    ("plan", &["pg", "publish"]),
    ("scan", &["pg", "plan", "slot", "wire"]),
    ("columnar", &["expr", "foreign", "pg", "plan", "query", "scan", "service", "slot"]),
    (
        "export",
        &[
            "decode", "encode", "fdw", "foreign", "gpu", "pg", "plan", "publish", "scan", "service", "slot",
            "vcf", "wire",
        ],
    ),
    ("api", &["encode", "export", "foreign", "pg", "plan", "service", "slot"]),
];

/// Rooms whose files still import each other in circles.
const WITH_CIRCLES: [&str; 1] = ["foreign"];

/// A source file that ships: its module path and the paths that it names.
struct Module {
    path: Vec<String>,
    /// Other modules lie below it, as `mod.rs` has them: it re-exports them, and they use what it defines.
    is_parent: bool,
    names: Vec<Vec<String>>,
}

impl Module {
    fn room(&self) -> &str {
        room(&self.path)
    }
}

fn room(path: &[String]) -> &str {
    path.first().map_or("", String::as_str)
}

fn modules() -> Vec<Module> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = Vec::new();
    let mut directories = vec![(source, Vec::new())];
    while let Some((directory, above)) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut module = above.clone();
            if path.is_dir() {
                module.push(name);
                directories.push((path, module));
                continue;
            }
            let is_top = above.is_empty() && !SHARED.contains(&&name[..]);
            if is_top || name.contains("test") || name.contains("bench") {
                continue;
            }
            let is_parent = name == "mod" || path.with_extension("").is_dir();
            if name != "mod" {
                module.push(name);
            }
            let text = fs::read_to_string(&path).unwrap();
            modules.push(Module { names: names(&text, &module), path: module, is_parent });
        }
    }
    modules
}

/// Paths from the crate's root that the code of `module` names, without its comments and unit tests.
fn names(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let code: String =
        shipped.lines().map(|line| line.split("//").next().unwrap_or(line).to_owned() + "\n").collect();
    let mut found = Vec::new();
    let mut rest = &code[..];
    while let Some(at) = ["crate::", "super::"].iter().filter_map(|start| rest.find(start)).min() {
        rest = &rest[at..];
        let mut base = module.to_vec();
        if let Some(behind) = rest.strip_prefix("crate::") {
            (base, rest) = (Vec::new(), behind);
        }
        while let Some(behind) = rest.strip_prefix("super::") {
            base.pop();
            rest = behind;
        }
        read_tree(&mut rest, base, &mut found);
    }
    found
}

/// Reads what follows the beginning of a path: more of it, or several ends in braces.
fn read_tree(rest: &mut &str, mut path: Vec<String>, found: &mut Vec<Vec<String>>) {
    *rest = rest.trim_start();
    if let Some(behind) = rest.strip_prefix('{') {
        *rest = behind;
        while !rest.starts_with('}') && !rest.is_empty() {
            read_tree(rest, path.clone(), found);
            let next = rest.find([',', '}']).unwrap_or(rest.len());
            *rest = rest[next..].trim_start_matches(',').trim_start();
        }
        *rest = rest.strip_prefix('}').unwrap_or(rest);
        return;
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    path.push(rest[..end].to_owned());
    *rest = &rest[end..];
    match rest.strip_prefix("::") {
        Some(behind) => {
            *rest = behind;
            read_tree(rest, path, found);
        }
        None => found.push(path),
    }
}

#[test]
fn rooms_import_what_comes_before_them() {
    for (number, (room, imports)) in ROOMS.iter().enumerate() {
        let is_before = |import: &&str| ROOMS[..number].iter().any(|(before, _)| before == import);
        assert!(imports.iter().all(is_before), "{room} may import only rooms before it");
    }
    let modules = modules();
    let is_room = |name: &str| SHARED.contains(&name) || ROOMS.iter().any(|(room, _)| *room == name);
    let mut reversed = BTreeSet::new();
    for module in &modules {
        let from = module.room();
        assert!(is_room(from), "{from} is not in the list of rooms");
        let allowed = ROOMS.iter().find(|(room, _)| *room == from).map_or(&[][..], |(_, imports)| imports);
        let others = module.names.iter().map(|name| room(name)).filter(|to| *to != from && is_room(to));
        let is_allowed = |to: &&str| allowed.contains(to) || SHARED.contains(to) && !SHARED.contains(&from);
        reversed.extend(others.filter(|to| !is_allowed(to)).map(|to| (module.path.join("::"), to)));
    }
    assert!(reversed.is_empty(), "imports that the list of rooms does not allow: {reversed:?}");
    assert!(modules.len() > 200 && modules.iter().map(|module| module.names.len()).sum::<usize>() > 1000);
}

#[test]
fn files_of_a_room_do_not_import_each_other_in_circles() {
    let modules = modules();
    let leaves: BTreeSet<&[String]> =
        modules.iter().filter(|module| !module.is_parent).map(|module| &module.path[..]).collect();
    let mut imports: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for module in modules.iter().filter(|module| !module.is_parent) {
        let prefixes =
            |name: &Vec<String>| (1..=name.len()).find_map(|len| leaves.get(&name[..len]).copied());
        let is_beside = |other: &&[String]| *other != &module.path[..] && room(other) == module.room();
        imports.insert(&module.path, module.names.iter().filter_map(prefixes).filter(is_beside).collect());
    }
    // A file that imports none of those left, or that none of them imports, is in no circle.
    while let Some(free) = imports.iter().find_map(|(path, others)| {
        let is_end = !others.iter().any(|other| imports.contains_key(other));
        let is_start = !imports.values().any(|others| others.contains(path));
        (is_end || is_start).then_some(*path)
    }) {
        imports.remove(free);
    }
    let in_circles: BTreeSet<&str> = imports.keys().map(|path| room(path)).collect();
    let new: Vec<_> = in_circles.iter().filter(|room| !WITH_CIRCLES.contains(room)).collect();
    assert!(new.is_empty(), "circles in {new:?}, among {:?}", imports.keys());
}
