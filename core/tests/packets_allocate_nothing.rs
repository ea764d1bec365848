//! A steady-state packet costs no allocation, neither sealing nor opening.

mod crypto_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use crypto_support::*;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn sealing_and_opening_allocate_nothing() {
    for p in providers() {
        for protection in protections() {
            let keys = pattern_keys(protection);
            let mut sealer = p.sealer(protection, &keys).unwrap();
            let mut opener = p.opener(protection, &keys).unwrap();
            let head = opener.shape().head;
            for (seq, blocks) in [1usize, 7, 2048].into_iter().enumerate() {
                let mut packet = packet(sealer.shape(), blocks);
                let before = ALLOCATIONS.get();
                sealer.seal(seq as u32, &mut packet);
                opener.length(seq as u32, &mut packet[..head]);
                let opened = opener.open(seq as u32, &mut packet);
                assert_eq!(ALLOCATIONS.get(), before, "{protection:?} on {}", p.name());
                assert!(opened.is_ok());
            }
        }
    }
}
