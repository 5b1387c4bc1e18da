//! PostgreSQL's lists.

use pgrx::pg_sys::{self, ListCell, Oid};

/// Returns the members of a list of pointers.
///
/// # Safety
/// The list is NULL, or a list of pointers to `T`.
pub unsafe fn members<T>(list: *const pg_sys::List) -> Vec<*mut T> {
    // SAFETY: the caller passes a list of pointers.
    unsafe { each(list, |cell| cell.ptr_value.cast()) }
}

/// Returns the members of a list of integers.
///
/// # Safety
/// The list is NULL, or a list of integers.
pub unsafe fn integers(list: *const pg_sys::List) -> Vec<i32> {
    // SAFETY: the caller passes a list of integers.
    unsafe { each(list, |cell| cell.int_value) }
}

/// Returns the members of a list of OIDs.
///
/// # Safety
/// The list is NULL, or a list of OIDs.
pub unsafe fn oids(list: *const pg_sys::List) -> Vec<Oid> {
    // SAFETY: the caller passes a list of OIDs.
    unsafe { each(list, |cell| cell.oid_value) }
}

/// # Safety
/// The list is NULL, or a live list.
unsafe fn each<T>(list: *const pg_sys::List, member: impl Fn(ListCell) -> T) -> Vec<T> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list has as many elements as its length says.
    unsafe { (0..(*list).length as usize).map(|index| member(*(*list).elements.add(index))).collect() }
}
