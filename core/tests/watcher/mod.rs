//! An allocator that looks at every block before it is freed for marks that must not be in it.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};

/// Bytes of a mark.
pub const MARK: usize = 16;

thread_local! {
    static MARKS: RefCell<Vec<[u8; MARK]>> = const { RefCell::new(Vec::new()) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static LEAKS: Cell<usize> = const { Cell::new(0) };
    static WHERE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Looks for the marks in each block before it is freed. Growing goes through here as well, since
/// the default `realloc` is allocate, copy, free.
struct Watcher;

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Watcher {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Zeroed, so that what a block never held is not read as uninitialised.
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WATCHING.try_with(|on| on.replace(false)).unwrap_or(false) {
            // SAFETY: the block was allocated with this layout, zeroed, and is not freed yet.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            let found = MARKS.with(|marks| {
                marks.borrow().iter().any(|mark| bytes.windows(MARK).any(|window| window == mark))
            });
            LEAKS.with(|leaks| leaks.set(leaks.get() + usize::from(found)));
            if found {
                let trace = std::backtrace::Backtrace::force_capture().to_string();
                WHERE.with(|places| places.borrow_mut().push(format!("{} bytes: {trace}", layout.size())));
            }
            WATCHING.with(|on| on.set(true));
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static WATCHER: Watcher = Watcher;

/// From now on these are looked for, and no others.
pub fn look_for(marks: Vec<[u8; MARK]>) {
    MARKS.with(|all| all.replace(marks));
}

/// One more that is looked for: the front of these bytes, if they are long enough. Not watched.
pub fn look_for_too(secret: &[u8]) {
    let watching = WATCHING.with(|on| on.replace(false));
    if let Some(mark) = secret.first_chunk::<MARK>() {
        MARKS.with(|all| all.borrow_mut().push(*mark));
    }
    WATCHING.with(|on| on.set(watching));
}

/// Counts freed blocks that hold a mark while `work` runs.
pub fn leaks(work: impl FnOnce()) -> usize {
    LEAKS.with(|leaks| leaks.set(0));
    WHERE.with(|places| places.borrow_mut().clear());
    WATCHING.with(|on| on.set(true));
    work();
    WATCHING.with(|on| on.set(false));
    LEAKS.with(Cell::get)
}

/// Who freed them, each with its size and the calls that led there.
pub fn places() -> Vec<String> {
    WHERE.with(|places| places.borrow().clone())
}

/// Something that the test does by itself, and not what is tested.
pub fn unwatched<R>(work: impl FnOnce() -> R) -> R {
    let watching = WATCHING.with(|on| on.replace(false));
    let result = work();
    WATCHING.with(|on| on.set(watching));
    result
}
