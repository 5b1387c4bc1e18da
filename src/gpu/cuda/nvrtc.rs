//! NVRTC, NVIDIA's run-time compiler, opened by path: CUDA C++ to the machine code of one architecture.
//!
//! Not through `cudarc`: it opens the first of a list of names, whichever version that is, and no path can
//! be given to it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr;

use super::dynamic::Library;

/// Environment variable that names NVRTC's file or folder, besides the linker's ways. Pip's wheel keeps it in
/// `site-packages/nvidia/cu13/lib`.
pub const VARIABLE: &str = "PG_STRATA_NVRTC";

const NAMES: [&str; 2] = ["libnvrtc.so.13", "libnvrtc.so"];
const FOLDERS: [&str; 4] =
    ["/usr/local/cuda/lib64", "/usr/local/cuda-13/lib64", "/usr/local/cuda-13.0/lib64", "/opt/cuda/lib64"];
/// Drivers from 580 on load what NVRTC of CUDA 12 and 13 makes.
const MAJORS: std::ops::RangeInclusive<c_int> = 12..=13;

type Program = *mut c_void;
type GetSize = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type GetBytes = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;

pub struct Nvrtc {
    pub file: PathBuf,
    pub version: (i32, i32),
    create: Create,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    cubin_size: GetSize,
    cubin: GetBytes,
    log_size: GetSize,
    log: GetBytes,
    error: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// A source and what it includes, by the names in its #include lines.
pub struct Unit<'t> {
    pub name: &'t str,
    pub source: &'t str,
    pub headers: &'t [(&'t str, &'t str)],
}

impl Nvrtc {
    /// `path`: a file or a folder, the only place to look at if it is given.
    pub fn open(path: Option<&Path>) -> Result<Nvrtc, String> {
        let mut tried = Vec::new();
        for candidate in candidates(path, std::env::var_os(VARIABLE).map(PathBuf::from).as_deref()) {
            match Library::open(&candidate, true).and_then(Nvrtc::from_library) {
                Ok(nvrtc) => return Ok(nvrtc),
                Err(error) => tried.push(error),
            }
        }
        Err(format!(
            "NVRTC, which compiles the GPU's kernels, cannot be loaded: libnvrtc.so.13 of CUDA 13 is needed ({})",
            tried.join("; ")
        ))
    }

    fn from_library(library: Library) -> Result<Nvrtc, String> {
        // SAFETY: the functions have these types in every version of NVRTC.
        let nvrtc = unsafe {
            let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int =
                library.function(c"nvrtcVersion")?;
            let (mut major, mut minor) = (0, 0);
            version(&mut major, &mut minor);
            Nvrtc {
                file: library.file_of(c"nvrtcVersion").unwrap_or_default(),
                version: (major, minor),
                create: library.function(c"nvrtcCreateProgram")?,
                compile: library.function(c"nvrtcCompileProgram")?,
                destroy: library.function(c"nvrtcDestroyProgram")?,
                cubin_size: library.function(c"nvrtcGetCUBINSize")?,
                cubin: library.function(c"nvrtcGetCUBIN")?,
                log_size: library.function(c"nvrtcGetProgramLogSize")?,
                log: library.function(c"nvrtcGetProgramLog")?,
                error: library.function(c"nvrtcGetErrorString")?,
            }
        };
        if !MAJORS.contains(&nvrtc.version.0) {
            let (major, minor) = nvrtc.version;
            return Err(format!("{} is NVRTC {major}.{minor}", nvrtc.file.display()));
        }
        nvrtc.load_builtins();
        Ok(nvrtc)
    }

    /// NVRTC asks the linker for this library by name alone, which fails where it lies in a folder of no
    /// fame; once it is loaded, the name is known.
    fn load_builtins(&self) {
        let Some(folder) = self.file.parent() else { return };
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so") {
                // A failure shows when something is compiled.
                let _ = Library::open(&entry.path().to_string_lossy(), true);
            }
        }
    }

    /// Machine code for the architecture that the options name, and what the compiler said.
    pub fn compile(&self, unit: &Unit, options: &[String]) -> Result<(Vec<u8>, String), String> {
        let program = Running::new(self, unit)?;
        let options: Vec<CString> = options.iter().map(|option| text(option)).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: a live program, and as many options as told.
        let code = unsafe { (self.compile)(program.handle, pointers.len() as c_int, pointers.as_ptr()) };
        let log = program.bytes(self.log_size, self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_string();
        if code != 0 {
            return Err(format!("NVRTC cannot compile {}: {}\n{log}", unit.name, self.message(code)));
        }
        let cubin = program
            .bytes(self.cubin_size, self.cubin)
            .map_err(|code| format!("NVRTC made nothing of {}: {}", unit.name, self.message(code)))?;
        Ok((cubin, log))
    }

    fn message(&self, code: c_int) -> String {
        // SAFETY: gives a static string for any number.
        unsafe { CStr::from_ptr((self.error)(code)) }.to_string_lossy().into_owned()
    }
}

/// A program of NVRTC's, destroyed when dropped. NVRTC copies its sources.
struct Running<'a> {
    nvrtc: &'a Nvrtc,
    handle: Program,
}

impl Running<'_> {
    fn new<'a>(nvrtc: &'a Nvrtc, unit: &Unit) -> Result<Running<'a>, String> {
        let (source, name) = (text(unit.source), text(unit.name));
        let (names, texts): (Vec<CString>, Vec<CString>) =
            unit.headers.iter().map(|(name, source)| (text(name), text(source))).unzip();
        let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<_>>();
        let (names_at, texts_at) = (pointers(&names), pointers(&texts));
        let mut handle = ptr::null_mut();
        // SAFETY: NUL-terminated strings that live through the call, as many as told.
        let code = unsafe {
            (nvrtc.create)(
                &mut handle,
                source.as_ptr(),
                name.as_ptr(),
                names.len() as c_int,
                texts_at.as_ptr(),
                names_at.as_ptr(),
            )
        };
        if code != 0 {
            return Err(format!("NVRTC refuses {}: {}", unit.name, nvrtc.message(code)));
        }
        Ok(Running { nvrtc, handle })
    }

    fn bytes(&self, size: GetSize, get: GetBytes) -> Result<Vec<u8>, c_int> {
        let mut bytes = 0;
        // SAFETY: a live program; writes one number.
        let code = unsafe { size(self.handle, &mut bytes) };
        if code != 0 {
            return Err(code);
        }
        let mut found = vec![0u8; bytes];
        // SAFETY: room for as many bytes as was said.
        match unsafe { get(self.handle, found.as_mut_ptr().cast()) } {
            0 => Ok(found),
            code => Err(code),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // SAFETY: a live program, not used after this.
        unsafe { (self.nvrtc.destroy)(&mut self.handle) };
    }
}

/// NULs end a source: there are none in the kernels, and what a wrong option loses NVRTC reports.
fn text(string: &str) -> CString {
    CString::new(string.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// Returns the names to open in order: names for the linker to find, or paths.
fn candidates(path: Option<&Path>, variable: Option<&Path>) -> Vec<String> {
    let under = |place: &Path| -> Vec<String> {
        if place.is_dir() {
            NAMES.iter().map(|name| place.join(name).display().to_string()).collect()
        } else {
            vec![place.display().to_string()]
        }
    };
    if let Some(path) = path {
        return under(path);
    }
    let mut found: Vec<String> = variable.map(under).unwrap_or_default();
    found.push(NAMES[0].to_string());
    found.extend(FOLDERS.iter().map(|folder| format!("{folder}/{}", NAMES[0])));
    found.push(NAMES[1].to_string());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_path_is_the_only_candidate() {
        let folder = std::env::temp_dir();
        assert_eq!(
            candidates(Some(Path::new("/no/such/libnvrtc.so.13")), Some(&folder)),
            ["/no/such/libnvrtc.so.13"]
        );
        assert_eq!(candidates(Some(&folder), None)[0], folder.join("libnvrtc.so.13").display().to_string());
    }

    #[test]
    fn the_variable_comes_before_the_linker() {
        let found = candidates(None, Some(Path::new("/somewhere/libnvrtc.so.13.0")));
        assert_eq!(found[..2], ["/somewhere/libnvrtc.so.13.0", "libnvrtc.so.13"]);
        assert_eq!(found.last().unwrap(), "libnvrtc.so");
    }

    #[test]
    fn a_library_that_is_another_is_refused() {
        let reason = Nvrtc::open(Some(Path::new("libm.so.6"))).err().unwrap();
        assert!(reason.contains("NVRTC") && reason.contains("nvrtcVersion"), "{reason}");
    }
}
