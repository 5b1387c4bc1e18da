//! Heap pages into batches: core finds the visible tuples, we copy the page and list them.
//!
//! heapgetpage (15, 16) and heap_prepare_pagescan (17, 18) do visibility, pruning, the serializable
//! checks and the bulk-read ring on a sequential scan's descriptor; we only choose the block. A tuple
//! found visible is stable while its page is pinned (heapam.c), so the page is copied under the pin and
//! the copy is read through the listed offsets alone.

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
    // Dropped after `scan` ends: declared second.
    pub table: Table,
}

impl HeapScan {
    /// Opens the table under the active snapshot, which leader and workers share.
    pub fn open(table: Oid) -> Result<HeapScan> {
        let table = Table::open(table)?;
        // SAFETY: the relation is open; an active snapshot exists inside a query and in a worker.
        // allow_strat: a large table does not sweep the buffer pool. No sync scan: we choose the blocks.
        let scan = unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            pg_sys::table_beginscan_strat(table.relation, snapshot, 0, std::ptr::null_mut(), true, false)
        };
        Ok(HeapScan { scan, table })
    }

    /// Reads a block; `None` when no tuple on it is visible.
    pub fn pin(&mut self, block: u32) -> Option<PinnedPage<'_>> {
        let scan = self.scan.cast::<pg_sys::HeapScanDescData>();
        // SAFETY: the descriptor is a heap scan's; the block lies below the count that the leader took
        // under this snapshot, and heap tables do not shrink under our lock except by tail truncation,
        // which needs a stronger one. The page stays pinned until the next call, which borrows us again.
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

    /// Appends a block's visible tuples to the batch, in line pointer order. The batch's arena holds
    /// whole pages only when this is called. How many there are.
    pub fn read_block(&mut self, block: u32, batch: &mut Batch) -> Result<usize> {
        let Some(page) = self.pin(block) else { return Ok(0) };
        let start = batch.arena.len();
        reserve(&mut batch.arena, BLOCK_SIZE)?;
        // SAFETY: as much space was reserved.
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

/// The error for a visible tuple whose line pointer leads nowhere.
pub fn invalid_line_pointer(tid: Tid, table: &str) -> Error {
    let Tid { block, offset } = tid;
    error(Code::ERRCODE_DATA_CORRUPTED, format!("invalid line pointer ({block},{offset}) in table {table}"))
        .set_hint("Check the table with pg_amcheck.")
}

/// A page in the buffer pool, and which of its tuples are visible.
pub struct PinnedPage<'a> {
    page: *const u8,
    pub block: u32,
    /// Line pointer numbers, ascending.
    pub lines: &'a [u16],
}

impl PinnedPage<'_> {
    /// Copies the page past the caches where the processor can: what goes to a device is not read here again, and
    /// would push out what the scan needs.
    pub fn copy_to(&self, target: &mut [u8; BLOCK_SIZE]) {
        #[cfg(target_arch = "x86_64")]
        if target.as_ptr().cast::<__m128i>().is_aligned() {
            // SAFETY: both are BLOCK_SIZE long, the target is aligned, and the page is pinned.
            return unsafe { stream_page(self.page, target.as_mut_ptr()) };
        }
        // SAFETY: the target is that long.
        unsafe { self.copy(target.as_mut_ptr()) }
    }

    /// # Safety
    /// The target has room for a page.
    unsafe fn copy(&self, target: *mut u8) {
        // SAFETY: the page is pinned and BLOCK_SIZE long; raw pointers because others may set hint bits
        // meanwhile.
        unsafe { std::ptr::copy_nonoverlapping(self.page, target, BLOCK_SIZE) }
    }
}

/// # Safety
/// Both are a page long, and `target` is aligned to 16.
#[cfg(target_arch = "x86_64")]
unsafe fn stream_page(page: *const u8, target: *mut u8) {
    const LINE: usize = 64;
    for at in (0..BLOCK_SIZE).step_by(LINE) {
        // SAFETY: `at` and the line behind it lie in both.
        unsafe {
            let (from, to) = (page.add(at).cast::<__m128i>(), target.add(at).cast::<__m128i>());
            let line = [0, 1, 2, 3].map(|part| _mm_loadu_si128(from.add(part)));
            (0..4).for_each(|part| _mm_stream_si128(to.add(part), line[part]));
        }
    }
    // SAFETY: every x86-64 has it. Streaming stores may pass others; the one that hands the slot on must not be passed.
    unsafe { _mm_sfence() }
}

impl Drop for HeapScan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: begun by us, ended once; an abort releases it by itself.
            unsafe { pg_sys::table_endscan(self.scan) }
        }
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
unsafe fn prepare_page(scan: pg_sys::TableScanDesc, block: u32) {
    // SAFETY: see the caller.
    unsafe { pg_sys::heapgetpage(scan, block) }
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe fn prepare_page(scan: pg_sys::TableScanDesc, block: u32) {
    let heap = scan.cast::<pg_sys::HeapScanDescData>();
    // SAFETY: as heap_fetch_next_buffer does, with a block of our choice instead of the stream's.
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
