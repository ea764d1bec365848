//! How every property test chooses its cases: always the same ones, so that a verdict does not depend on
//! luck; `conformance/test --properties N` tries N times as many fresh ones. What failed once stands as a
//! seed in `<test>.regressions` beside its source, and is tried first.

// Named for the tests inside konko-core, which has no std of its own.
use std::boxed::Box;
use std::time::UNIX_EPOCH;

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};

/// The cases of each verdict.
const FIXED: u64 = 0x6b6f_6e6b_6f00;

/// `cases`, times what KONKO_PROPERTIES says; fresh ones then, of KONKO_PROPERTY_SEED if it is set. A
/// failure shows the seed.
pub fn config(cases: u32) -> Config {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect(name));
    let times = number("KONKO_PROPERTIES");
    let fresh = || UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos() as u64;
    let seed = match times {
        None => FIXED,
        Some(_) => number("KONKO_PROPERTY_SEED").unwrap_or_else(fresh),
    };
    if let Some(times) = times {
        std::eprintln!("again: KONKO_PROPERTIES={times} KONKO_PROPERTY_SEED={seed}");
    }
    let cases = u64::from(cases).saturating_mul(times.unwrap_or(1));
    let cases = u32::try_from(cases).unwrap_or(u32::MAX);
    Config {
        cases,
        // What does not count is in proportion to what does.
        max_global_rejects: cases.saturating_mul(4).max(1024),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}
