//! See `konko_fuzz::TARGETS`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| konko_fuzz::run("krl", data));
