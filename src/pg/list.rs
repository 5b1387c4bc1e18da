//! PostgreSQL's lists.

use pgrx::pg_sys;

/// Returns the members of a list of pointers.
///
/// # Safety
/// The list is NULL, or a list of pointers to `T`.
pub unsafe fn members<T>(list: *const pg_sys::List) -> Vec<*mut T> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list has as many elements as its length says.
    unsafe {
        let length = (*list).length as usize;
        (0..length).map(|index| (*(*list).elements.add(index)).ptr_value.cast()).collect()
    }
}

/// Returns the members of a list of integers.
///
/// # Safety
/// The list is NULL, or a list of integers.
pub unsafe fn integers(list: *const pg_sys::List) -> Vec<i32> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list has as many elements as its length says.
    unsafe {
        let length = (*list).length as usize;
        (0..length).map(|index| (*(*list).elements.add(index)).int_value).collect()
    }
}
