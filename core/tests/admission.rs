//! Who may start a connection.

mod property;

use konko_core::admission::{Admission, AdmissionLimits, Admitted, Refused};
use konko_core::rng::Seed;
use proptest::prelude::*;
use std::net::IpAddr;

fn admission(limits: AdmissionLimits) -> Admission {
    Admission::new(limits, &Seed::new([7; 32]))
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

/// Each from a source of its own.
fn nth(n: u32) -> Option<IpAddr> {
    Some(IpAddr::V4(n.into()))
}

#[test]
fn the_first_ten_always_come_in_and_more_than_a_hundred_never() {
    let mut door = admission(AdmissionLimits::default());
    let mut inside: Vec<Admitted> = (0..10).map(|n| door.admit(nth(n)).unwrap()).collect();
    let mut dropped = 0;
    for n in 10..10_000 {
        match door.admit(nth(n)) {
            Ok(admitted) => inside.push(admitted),
            Err(refused) => {
                assert_eq!(refused, Refused::Startups);
                dropped += 1;
            }
        }
    }
    assert_eq!(inside.len(), 100, "with time they fill up to the limit");
    assert!(dropped > 0 && door.admit(nth(0)).is_err());
    // One that authenticates makes room for another start.
    door.authenticated(&mut inside[0]);
    assert_eq!((door.connections(), door.unauthenticated()), (100, 99));
    let again = (0..1000).find_map(|n| door.admit(nth(n)).ok());
    assert!(again.is_some());
    inside.extend(again);
    inside.into_iter().for_each(|admitted| door.ended(admitted));
    assert_eq!((door.connections(), door.unauthenticated()), (0, 0));
}

#[test]
fn r_04_the_share_that_is_dropped_grows_with_those_who_wait() {
    for (waiting, expected) in [(9, 0.0), (10, 0.30), (55, 0.65), (100, 1.0)] {
        let mut door = admission(AdmissionLimits::default());
        let mut inside: Vec<Admitted> = Vec::new();
        for n in 0.. {
            if inside.len() == waiting {
                break;
            }
            inside.extend(door.admit(nth(n)).ok());
        }
        let tries = 10_000;
        let mut dropped = 0;
        for n in 0..tries {
            match door.admit(nth(1_000_000 + n)) {
                Ok(admitted) => door.ended(admitted),
                Err(_) => dropped += 1,
            }
        }
        let share = f64::from(dropped) / f64::from(tries);
        assert!((share - expected).abs() < 0.03, "{waiting} wait: {share}, not {expected}");
        inside.into_iter().for_each(|admitted| door.ended(admitted));
    }
}

#[test]
fn one_source_cannot_take_the_places_of_all() {
    let mut door = admission(AdmissionLimits { per_source: 2, ..AdmissionLimits::default() });
    let mut first = door.admit(address("192.0.2.1")).unwrap();
    let second = door.admit(address("::ffff:192.0.2.1")).unwrap();
    assert_eq!(door.admit(address("192.0.2.1")).unwrap_err(), Refused::Source);
    let other = door.admit(address("192.0.2.2")).unwrap();
    // A whole /64 is one source.
    let six: Vec<_> = ["2001:db8::1", "2001:db8::2"].map(|a| door.admit(address(a)).unwrap()).into();
    assert_eq!(door.admit(address("2001:db8::ffff")).unwrap_err(), Refused::Source);
    let seven = door.admit(address("2001:db8:0:1::1")).unwrap();
    // Who has authenticated does not count.
    door.authenticated(&mut first);
    let third = door.admit(address("192.0.2.1")).unwrap();
    for admitted in [first, second, other, seven, third].into_iter().chain(six) {
        door.ended(admitted);
    }
    assert_eq!(door.connections(), 0);
}

#[test]
fn all_connections_have_a_limit_and_pipes_have_no_source() {
    let mut door = admission(AdmissionLimits { per_source: 1, ..AdmissionLimits::unlimited(3) });
    let inside: Vec<Admitted> = (0..3).map(|_| door.admit(None).unwrap()).collect();
    assert_eq!(door.admit(None).unwrap_err(), Refused::Connections);
    inside.into_iter().for_each(|admitted| door.ended(admitted));
    let admitted = door.admit(None).unwrap();
    door.ended(admitted);
}

proptest! {
    #![proptest_config(property::config(256))]

    /// Whatever happens in whatever order, what is counted is what is there.
    #[test]
    fn counts_are_true(steps in proptest::collection::vec((0u8..4, any::<u8>()), 1..400)) {
        let limits = AdmissionLimits { per_source: 3, connections: 40, ..AdmissionLimits::default() };
        let mut door = admission(limits);
        let mut inside: Vec<(Admitted, bool)> = Vec::new();
        for (what, which) in steps {
            let i = usize::from(which) % inside.len().max(1);
            match what {
                0 | 1 => inside.extend(door.admit(nth(u32::from(which % 16))).ok().map(|a| (a, true))),
                2 => if let Some((admitted, pending)) = inside.get_mut(i) {
                    door.authenticated(admitted);
                    *pending = false;
                },
                _ => if i < inside.len() {
                    door.ended(inside.swap_remove(i).0);
                },
            }
            prop_assert_eq!(door.connections(), inside.len());
            prop_assert_eq!(door.unauthenticated(), inside.iter().filter(|(_, p)| *p).count());
        }
    }
}
