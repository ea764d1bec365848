//! What this process holds: threads of konko, descriptors, memory. For tests that have a process to
//! themselves.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::fs;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

struct Counting;

static HEAP: AtomicIsize = AtomicIsize::new(0);

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HEAP.fetch_add(size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A count of everything.
#[derive(Clone, Copy)]
pub struct Census {
    /// Threads whose name begins with "konko".
    pub threads: usize,
    pub descriptors: usize,
    /// Bytes allocated and not freed.
    pub heap: isize,
    /// Bytes that the system has given us; the allocator gives back little of them.
    pub resident: usize,
}

impl Census {
    pub fn now() -> Self {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names = tasks.filter_map(|t| fs::read_to_string(t.ok()?.path().join("comm")).ok());
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        Census {
            threads: names.filter(|name| name.starts_with("konko")).count(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            heap: HEAP.load(Ordering::Relaxed),
            resident: statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096,
        }
    }

    /// What there is once nothing of konko runs but `threads` threads.
    pub fn at_rest(threads: usize) -> Self {
        let start = Instant::now();
        loop {
            let now = Census::now();
            if now.threads == threads {
                return now;
            }
            assert!(start.elapsed() < Duration::from_secs(15), "no rest: {now}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until threads and descriptors are as many as before, and no more than `heap` bytes and
    /// `resident` bytes were added.
    pub fn returns(&self, what: &str, heap: isize, resident: usize) {
        let start = Instant::now();
        loop {
            let now = Census::now();
            let back = now.threads == self.threads
                && now.descriptors == self.descriptors
                && now.heap - self.heap <= heap
                && now.resident <= self.resident + resident;
            if back {
                eprintln!("{what}: {self} before, {now} after");
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(15), "{what}: {self} before, {now} after");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Census { threads, descriptors, heap, resident } = self;
        let (heap, resident) = (heap / 1024, resident / 1024);
        write!(f, "{threads} threads, {descriptors} descriptors, {heap} KiB heap, {resident} KiB resident")
    }
}
