//! Reads heap pages into batches: core finds the visible tuples, and this module copies the page and lists
//! them.
//!
//! heapgetpage (15, 16) and heap_prepare_pagescan (17, 18) check visibility, prune, do the serializable checks
//! and use the bulk-read ring, all on a sequential scan's descriptor; only the block is chosen here. A tuple
//! found visible is stable while its page is pinned (heapam.c), so the page is copied under the pin and the
//! copy is read through the listed offsets alone.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::catalog::Table;
use super::error::{Code, Error, Result, error};
use crate::memory::reserve;
use crate::slot::{Batch, Tid};
use crate::wire::page::line_pointer;
use crate::wire::tuple::TupleRef;

pub const BLOCK_SIZE: usize = pg_sys::BLCKSZ as usize;

pub struct HeapScan {
    scan: pg_sys::TableScanDesc,
    // Dropped after `scan` ends, so declared second.
    pub table: Table,
}

impl HeapScan {
    /// Opens the table under the active snapshot, which leader and workers share.
    pub fn open(table: Oid) -> Result<HeapScan> {
        let table = Table::open(table)?;
        // SAFETY: the relation is open; an active snapshot exists inside a query and in a worker.
        // allow_strat keeps a large table from sweeping the buffer pool; sync scans are off because blocks are
        // chosen here.
        let scan = unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            pg_sys::table_beginscan_strat(table.relation, snapshot, 0, std::ptr::null_mut(), true, false)
        };
        Ok(HeapScan { scan, table })
    }

    /// Reads a block; `None` when no tuple on it is visible.
    pub fn pin(&mut self, block: u32) -> Option<PinnedPage<'_>> {
        let scan = self.scan.cast::<pg_sys::HeapScanDescData>();
        // SAFETY: the descriptor is a heap scan's. The block lies below the count that the leader took under
        // this snapshot, and a heap table shrinks only by tail truncation, which needs a stronger lock than
        // ours. The page stays pinned until the next call, which borrows `self` again.
        unsafe {
            prepare_page(self.scan, block);
            let count = (*scan).rs_ntuples as usize;
            if count == 0 {
                return None;
            }
            let page = pg_sys::BufferGetPage((*scan).rs_cbuf).cast::<u8>();
            let scan: &pg_sys::HeapScanDescData = &*scan;
            Some(PinnedPage { page, block, lines: &scan.rs_vistuples[..count] })
        }
    }

    /// Appends a block's visible tuples to the batch in line pointer order, and returns how many there are. The
    /// batch's arena must hold whole pages only.
    pub fn read_block(&mut self, block: u32, batch: &mut Batch) -> Result<usize> {
        let Some(page) = self.pin(block) else { return Ok(0) };
        let start = batch.arena.len();
        reserve(&mut batch.arena, BLOCK_SIZE)?;
        // SAFETY: space for a page was reserved.
        unsafe {
            page.copy(batch.arena.as_mut_ptr().add(start));
            batch.arena.set_len(start + BLOCK_SIZE);
        }
        let copy = &batch.arena[start..];
        for &offset in page.lines {
            let Some((tuple, len)) = line_pointer(copy, offset) else {
                return Err(invalid_line_pointer(Tid { block, offset }, &self.table.qualified_name()));
            };
            batch.tuples.push(TupleRef { pos: (start + tuple as usize) as u32, len: len.into() });
            batch.tids.push(Tid { block, offset });
        }
        Ok(page.lines.len())
    }
}

/// Makes the error for a visible tuple whose line pointer is invalid.
pub fn invalid_line_pointer(tid: Tid, table: &str) -> Error {
    let Tid { block, offset } = tid;
    error(Code::ERRCODE_DATA_CORRUPTED, format!("invalid line pointer ({block},{offset}) in table {table}"))
        .set_hint("Check the table with pg_amcheck.")
}

/// A page in the buffer pool and its visible tuples.
pub struct PinnedPage<'a> {
    page: *const u8,
    pub block: u32,
    /// Line pointer numbers, ascending.
    pub lines: &'a [u16],
}

impl PinnedPage<'_> {
    /// Copies the page past the caches where the processor can. What goes to a device is not read here again,
    /// and would evict what the scan needs.
    pub fn copy_to(&self, target: &mut [u8; BLOCK_SIZE]) {
        #[cfg(target_arch = "x86_64")]
        if target.as_ptr().cast::<__m128i>().is_aligned() {
            // SAFETY: both are BLOCK_SIZE long, the target is aligned, and the page is pinned.
            return unsafe { stream_page(self.page, target.as_mut_ptr()) };
        }
        // SAFETY: `target` is BLOCK_SIZE long.
        unsafe { self.copy(target.as_mut_ptr()) }
    }

    /// Copies the page.
    ///
    /// # Safety
    /// `target` has room for a page.
    unsafe fn copy(&self, target: *mut u8) {
        // SAFETY: the page is pinned and BLOCK_SIZE long; raw pointers, because others may set hint bits
        // meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(self.page, target, BLOCK_SIZE) }
    }
}

/// Copies a page with streaming stores.
///
/// # Safety
/// Both pointers are to BLOCK_SIZE bytes, and `target` is aligned to 16.
#[cfg(target_arch = "x86_64")]
unsafe fn stream_page(page: *const u8, target: *mut u8) {
    const LINE: usize = 64;
    for at in (0..BLOCK_SIZE).step_by(LINE) {
        // SAFETY: the line at `at` lies in both pages.
        unsafe {
            let (from, to) = (page.add(at).cast::<__m128i>(), target.add(at).cast::<__m128i>());
            let line = [0, 1, 2, 3].map(|part| _mm_loadu_si128(from.add(part)));
            (0..4).for_each(|part| _mm_stream_si128(to.add(part), line[part]));
        }
    }
    // SAFETY: every x86-64 has it. Streaming stores may pass later ones, and the store that submits the slot
    // must not be passed.
    unsafe { _mm_sfence() }
}

impl Drop for HeapScan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: begun by `open` and ended once; an abort releases it by itself.
            unsafe { pg_sys::table_endscan(self.scan) }
        }
    }
}

/// Pins a block and finds its visible tuples.
///
/// # Safety
/// `scan` is a heap scan's descriptor, and `block` lies in its table.
#[cfg(any(feature = "pg15", feature = "pg16"))]
unsafe fn prepare_page(scan: pg_sys::TableScanDesc, block: u32) {
    // SAFETY: the caller passes a heap scan and a block of its table.
    unsafe { pg_sys::heapgetpage(scan, block) }
}

/// Pins a block and finds its visible tuples.
///
/// # Safety
/// `scan` is a heap scan's descriptor, and `block` lies in its table.
#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe fn prepare_page(scan: pg_sys::TableScanDesc, block: u32) {
    let heap = scan.cast::<pg_sys::HeapScanDescData>();
    // SAFETY: the caller passes a heap scan and a block of its table; this is what heap_fetch_next_buffer does
    // with the next block of its stream.
    unsafe {
        if (*heap).rs_cbuf != pg_sys::InvalidBuffer as i32 {
            pg_sys::ReleaseBuffer((*heap).rs_cbuf);
            (*heap).rs_cbuf = pg_sys::InvalidBuffer as i32;
        }
        (*heap).rs_cbuf = pg_sys::ReadBufferExtended(
            (*scan).rs_rd,
            pg_sys::ForkNumber::MAIN_FORKNUM,
            block,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            (*heap).rs_strategy,
        );
        (*heap).rs_cblock = block;
        pg_sys::heap_prepare_pagescan(scan);
    }
}
