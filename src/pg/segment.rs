//! Shared memory of a size that is known late, in segments of their own (dsm.c): a process allocates one, and others of
//! the same statement attach it by its handle.

use pgrx::pg_sys;

pub struct Segment(*mut pg_sys::dsm_segment);

impl Segment {
    /// Allocates a segment; `None` if there is no room for one, as far as can be seen. PostgreSQL raises 53100 if the
    /// room is taken meanwhile.
    pub fn create(bytes: usize) -> Option<Segment> {
        if !has_room(bytes) {
            return None;
        }
        // SAFETY: an owner of resources exists in a statement; an error releases the segment with it.
        let segment =
            unsafe { pg_sys::dsm_create(bytes.max(1), pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32) };
        (!segment.is_null()).then_some(Segment(segment))
    }

    /// Attaches a segment of another process; `None` if it is gone.
    pub fn attach(handle: u32) -> Option<Segment> {
        // SAFETY: as in `create`; a handle of no segment is not found.
        let segment = unsafe { pg_sys::dsm_attach(handle) };
        (!segment.is_null()).then_some(Segment(segment))
    }

    /// Returns the handle, which is not 0.
    pub fn handle(&self) -> u32 {
        // SAFETY: the segment is attached.
        unsafe { pg_sys::dsm_segment_handle(self.0) }
    }

    /// Returns the bytes, which others may read once they know the handle, and nobody changes then.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the segment is attached as long as `self` lives, and mapped as a whole.
        unsafe {
            let start = pg_sys::dsm_segment_address(self.0).cast::<u8>();
            std::slice::from_raw_parts(start, pg_sys::dsm_segment_map_length(self.0))
        }
    }

    /// Returns the bytes to fill, before the handle is passed on.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; no other process knows the handle yet.
        unsafe {
            let start = pg_sys::dsm_segment_address(self.0).cast::<u8>();
            std::slice::from_raw_parts_mut(start, pg_sys::dsm_segment_map_length(self.0))
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: attached, and detached once; an abort releases it by itself.
            unsafe { pg_sys::dsm_detach(self.0) }
        }
    }
}

/// Returns whether a segment of so many bytes may be allocated. Where segments are files in /dev/shm that is its free
/// space, half of which is left to others.
pub fn has_room(bytes: usize) -> bool {
    // SAFETY: reads a process-wide setting.
    let kind = unsafe { pg_sys::dynamic_shared_memory_type };
    if kind != pg_sys::DSM_IMPL_POSIX as i32 {
        return true;
    }
    // SAFETY: zeros are a valid statvfs, which the call fills; the path is a C string.
    let free = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        match libc::statvfs(c"/dev/shm".as_ptr(), &mut found) {
            0 => found.f_bavail.saturating_mul(found.f_frsize),
            _ => return true,
        }
    };
    (bytes as u64).saturating_mul(2) <= free
}
