//! Runs every body over its corpus and over mutations of it, within a bound of memory.
//!
//! `KONKO_FUZZ_SECONDS=60` gives each target so much time and as many mutations as fit, others than
//! last time. An input that fails is kept in the directory for temporary files.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use konko_fuzz::TARGETS;

/// Mutations of each target, and the time after which it stops short of them.
const MUTATIONS: usize = 10_000;
const TIME: Duration = Duration::from_millis(1200);
/// What one run may hold at a time.
const MAX_MEMORY: usize = 64 << 20;

struct Metered;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Metered {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Metered = Metered;

/// xorshift64*: the same mutations every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    fn mutate(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut data = seeds[self.roll(seeds.len())].clone();
        for _ in 0..1 + self.roll(4) {
            let at = self.roll(data.len().max(1));
            match self.roll(7) {
                0 if !data.is_empty() => data[at] ^= 1 << self.roll(8),
                1 if !data.is_empty() => data[at] = self.roll(256) as u8,
                2 => data.truncate(at),
                3 => data.insert(at.min(data.len()), self.roll(256) as u8),
                4 if !data.is_empty() => drop(data.remove(at)),
                5 => {
                    let other = &seeds[self.roll(seeds.len())];
                    let from = self.roll(other.len().max(1)).min(other.len());
                    data.truncate(at);
                    data.extend_from_slice(&other[from..]);
                }
                _ => {
                    let n = self.roll(12);
                    let piece: Vec<u8> = (0..n).map(|_| self.roll(256) as u8).collect();
                    let at = at.min(data.len());
                    data.splice(at..at, piece);
                }
            }
        }
        data
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(dir).expect("a corpus").map(|f| f.unwrap().path()).collect();
    files.sort();
    files.iter().map(|f| fs::read(f).unwrap()).collect()
}

fn check(name: &str, body: fn(&[u8]), data: &[u8]) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    if catch_unwind(AssertUnwindSafe(|| body(data))).is_err() {
        let path = std::env::temp_dir().join(format!("konko-fuzz-{name}"));
        let _ = fs::write(&path, data);
        panic!("{name}: the input is in {}", path.display());
    }
    let held = PEAK.load(Ordering::Relaxed) - before;
    assert!(held < MAX_MEMORY, "{name}: {held} bytes held at a time for {data:02x?}");
}

#[test]
fn every_body_over_its_corpus_and_mutations_of_it() {
    let seconds = std::env::var("KONKO_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok());
    let (time, most, dice) = match seconds {
        Some(s) => (Duration::from_secs(s), usize::MAX, u64::from(std::process::id()) << 20 | 1),
        None => (TIME, MUTATIONS, 0x6b6f_6e6b_6f21),
    };
    for (name, body) in TARGETS {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        for seed in &seeds {
            check(name, *body, seed);
        }
        let (mut dice, start) = (Dice(dice), Instant::now());
        let mut runs = 0;
        while runs < most && start.elapsed() < time {
            check(name, *body, &dice.mutate(&seeds));
            runs += 1;
        }
        println!("{name}: {} seeds, {runs} mutations, {:?}", seeds.len(), start.elapsed());
    }
}

/// Terrapin (CVE-2023-48795) as it is: one packet in front of the server's NEWKEYS, and as many bytes
/// gone behind it as EXT_INFO has, whatever that is. Without strict key exchange the body fails here.
#[test]
fn terrapin_with_every_length() {
    for suite in 0..4 {
        for cut in 36..200u8 {
            konko_fuzz::run("mitm", &[suite, 7, 2, 0, 0, 9, 5, cut / 4, cut % 4]);
        }
    }
}

/// What is committed holds what the generator makes.
#[test]
fn the_corpora_are_those_of_the_generator() {
    for (name, _) in TARGETS {
        let committed = corpus(name);
        for (seed, bytes) in konko_fuzz::seeds::seeds(name) {
            assert!(committed.contains(&bytes), "{name}/{seed}: run the example `seeds` again");
        }
    }
}
