//! Libraries opened at run time by their path or name, so that the extension loads where they are not.

use std::ffi::{CStr, CString, c_void};
use std::path::PathBuf;

/// An open library. It is never closed: CUDA's keep threads and handlers of their own.
#[derive(Clone, Copy)]
pub struct Library(*mut c_void);

// SAFETY: a handle of dlopen may be used from any thread, and it is never closed.
unsafe impl Send for Library {}
// SAFETY: dlsym may be called with the handle from several threads at once.
unsafe impl Sync for Library {}

impl Library {
    /// `global`: its symbols, and its name, serve what is opened later.
    pub fn open(path: &str, global: bool) -> Result<Library, String> {
        let name = CString::new(path).map_err(|_| format!("\"{path}\" holds a NUL"))?;
        let flags = libc::RTLD_NOW | if global { libc::RTLD_GLOBAL } else { libc::RTLD_LOCAL };
        // SAFETY: a NUL-terminated name; the libraries named here run nothing at load that depends on us.
        let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
        if handle.is_null() { Err(last_error()) } else { Ok(Library(handle)) }
    }

    /// Returns the address of a function.
    ///
    /// # Safety
    ///
    /// `F` is the type of a C function pointer, the one that the symbol has.
    pub unsafe fn function<F: Copy>(self, name: &CStr) -> Result<F, String> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        // SAFETY: an open handle and a NUL-terminated name.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        if address.is_null() {
            return Err(last_error());
        }
        // SAFETY: the address is not null and as large as `F`, which the caller says is the symbol's type.
        Ok(unsafe { std::mem::transmute_copy(&address) })
    }

    /// The file that holds the symbol: this library's own.
    pub fn file_of(self, name: &CStr) -> Option<PathBuf> {
        // SAFETY: an open handle and a NUL-terminated name; dladdr fills `info` when it returns other than 0, with names that
        // live as long as the library.
        unsafe {
            let address = libc::dlsym(self.0, name.as_ptr());
            let mut info: libc::Dl_info = std::mem::zeroed();
            if address.is_null() || libc::dladdr(address, &mut info) == 0 || info.dli_fname.is_null() {
                return None;
            }
            Some(PathBuf::from(CStr::from_ptr(info.dli_fname).to_str().ok()?))
        }
    }
}

fn last_error() -> String {
    // SAFETY: dlerror gives NULL or a string that is this thread's until its next call.
    unsafe {
        let message = libc::dlerror();
        if message.is_null() {
            "unknown error".to_string()
        } else {
            CStr::from_ptr(message).to_string_lossy().into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_its_functions_and_its_file() {
        let math = Library::open("libm.so.6", false).unwrap();
        // SAFETY: cos has this type.
        let cos = unsafe { math.function::<unsafe extern "C" fn(f64) -> f64>(c"cos") }.unwrap();
        // SAFETY: cos takes any number.
        assert_eq!(unsafe { cos(0.0) }, 1.0);
        assert!(math.file_of(c"cos").unwrap().to_str().unwrap().contains("libm"));
        // SAFETY: never called.
        assert!(unsafe { math.function::<unsafe extern "C" fn()>(c"no_such_function") }.is_err());
        assert!(
            Library::open("libno_such_library.so.1", false).err().unwrap().contains("libno_such_library")
        );
        assert!(Library::open("a\0b", false).is_err());
    }
}
