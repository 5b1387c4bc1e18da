//! Compiled kernels kept in a folder, so that NVRTC runs once for a source, a driver's architecture and a
//! version of itself, and so that a server without NVRTC can use the code that another has compiled.
//!
//! A file is `<key>-<nvrtc version>.cubin`: `MAGIC`, the SHA-256 of the code, the code. The key is the SHA-256
//! of everything that the compiler reads. Files appear whole, by a rename; one that is not whole is ignored
//! and written again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::nvrtc::Unit;

const MAGIC: &[u8; 8] = b"PGSTRCU1";
const DIGEST: usize = 32;

/// Returns the key of what the compiler makes: a hash of every name and text with its length, so that different lists have
/// different keys.
pub fn key(unit: &Unit, options: &[String]) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(unit.name);
    add(unit.source);
    for (name, text) in unit.headers {
        add(name);
        add(text);
    }
    add("options");
    options.iter().for_each(|option| add(option));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn file_name(key: &str, version: (i32, i32)) -> String {
    format!("{key}-{}.{}.cubin", version.0, version.1)
}

/// Returns the code that this version of NVRTC made or, without a version, the newest code.
pub fn get(folder: &Path, key: &str, version: Option<(i32, i32)>) -> Option<Vec<u8>> {
    if let Some(version) = version {
        return read(&folder.join(file_name(key, version)));
    }
    let mut found: Vec<PathBuf> = folder
        .read_dir()
        .ok()?
        .flatten()
        .filter(|entry| {
            entry.file_name().to_string_lossy().strip_prefix(key).is_some_and(|rest| rest.ends_with(".cubin"))
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found.iter().rev().find_map(|path| read(path))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (digest, code) = rest.split_at_checked(DIGEST)?;
    (Sha256::digest(code).as_slice() == digest).then(|| code.to_vec())
}

pub fn put(folder: &Path, key: &str, version: (i32, i32), code: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let name = file_name(key, version);
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(MAGIC)?;
        file.write_all(&Sha256::digest(code))?;
        file.write_all(code)?;
        file.sync_all()?;
        fs::rename(&temporary, folder.join(&name))
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Unit = Unit { name: "a.cu", source: "x", headers: &[("b.cuh", "yz")] };

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("pg_strata_cache_{name}_{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_part_tells() {
        let options = |list: &[&str]| list.iter().map(|option| option.to_string()).collect::<Vec<_>>();
        let base = key(&UNIT, &options(&["--std=c++17", "--gpu-architecture=sm_90"]));
        assert_eq!(base.len(), 64);
        let others = [
            key(&UNIT, &options(&["--std=c++17", "--gpu-architecture=sm_80"])),
            key(&UNIT, &options(&["--std=c++17--gpu-architecture=sm_90"])),
            key(
                &Unit { source: "xy", headers: &[("b.cuh", "z")], ..UNIT },
                &options(&["--std=c++17", "--gpu-architecture=sm_90"]),
            ),
            key(&Unit { headers: &[], ..UNIT }, &options(&["--std=c++17", "--gpu-architecture=sm_90"])),
        ];
        assert!(!others.contains(&base));
    }

    #[test]
    fn what_was_put_is_got_until_it_is_damaged() {
        let folder = Folder::new("damage");
        assert_eq!(get(&folder.0, "k", Some((13, 0))), None);
        put(&folder.0, "k", (13, 0), b"code").unwrap();
        assert_eq!(get(&folder.0, "k", Some((13, 0))).unwrap(), b"code");
        assert_eq!(get(&folder.0, "k", Some((13, 1))), None);
        let path = folder.0.join(file_name("k", (13, 0)));
        let whole = fs::read(&path).unwrap();
        for cut in [0, 7, 8, 39, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(get(&folder.0, "k", Some((13, 0))), None, "{cut} bytes");
        }
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        fs::write(&path, &other).unwrap();
        assert_eq!(get(&folder.0, "k", None), None);
        put(&folder.0, "k", (13, 0), b"code").unwrap();
        assert_eq!(get(&folder.0, "k", None).unwrap(), b"code");
        let files = folder.0.read_dir().unwrap().count();
        assert_eq!(files, 1, "no temporary file stays");
    }

    #[test]
    fn without_a_version_any_whole_one_will_do() {
        let folder = Folder::new("versions");
        put(&folder.0, "k", (12, 9), b"old").unwrap();
        put(&folder.0, "k", (13, 0), b"new").unwrap();
        put(&folder.0, "other", (13, 1), b"other").unwrap();
        assert_eq!(get(&folder.0, "k", None).unwrap(), b"new");
        fs::write(folder.0.join(file_name("k", (13, 0))), b"").unwrap();
        assert_eq!(get(&folder.0, "k", None).unwrap(), b"old");
        assert_eq!(get(&folder.0.join("nowhere"), "k", None), None);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        assert!(put(Path::new("/dev/null/cache"), "k", (13, 0), b"code").is_err());
    }
}
