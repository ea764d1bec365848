//! Whether a modulus of a peer's choice is a safe prime. It is public, so arithmetic that is not constant in time will do.

use num_bigint_dig::BigUint;
use num_bigint_dig::prime::probably_prime;

/// Rounds of Miller-Rabin beside the strong Lucas test (Baillie-PSW), which nobody knows how to fool.
const ROUNDS: usize = 4;

pub(super) fn safe_prime(p: &[u8]) -> bool {
    let p = BigUint::from_bytes_be(p);
    let half = &p >> 1usize;
    // The cheaper test first: nearly every number that is no safe prime fails it.
    probably_prime(&p, 0) && probably_prime(&half, ROUNDS) && probably_prime(&p, ROUNDS)
}
