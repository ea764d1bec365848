//! Who may start a connection.

mod property;

use konko_core::Time;
use konko_core::admission::{
    Addresses, Admission, AdmissionLimits, Admitted, Overflow, Penalties, Penalty, Refused,
};
use konko_core::rng::Seed;
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

const T0: Time = Time::ZERO;

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
    let mut inside: Vec<Admitted> = (0..10).map(|n| door.admit(nth(n), T0).unwrap()).collect();
    let mut dropped = 0;
    for n in 10..10_000 {
        match door.admit(nth(n), T0) {
            Ok(admitted) => inside.push(admitted),
            Err(refused) => {
                assert_eq!(refused, Refused::Startups);
                dropped += 1;
            }
        }
    }
    assert_eq!(inside.len(), 100, "with time they fill up to the limit");
    assert!(dropped > 0 && door.admit(nth(0), T0).is_err());
    // One that authenticates makes room for another start.
    door.authenticated(&mut inside[0]);
    assert_eq!((door.connections(), door.unauthenticated()), (100, 99));
    let again = (0..1000).find_map(|n| door.admit(nth(n), T0).ok());
    assert!(again.is_some());
    inside.extend(again);
    inside.into_iter().for_each(|admitted| door.ended(admitted, None, T0));
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
            inside.extend(door.admit(nth(n), T0).ok());
        }
        let tries = 10_000;
        let mut dropped = 0;
        for n in 0..tries {
            match door.admit(nth(1_000_000 + n), T0) {
                Ok(admitted) => door.ended(admitted, None, T0),
                Err(_) => dropped += 1,
            }
        }
        let share = f64::from(dropped) / f64::from(tries);
        assert!((share - expected).abs() < 0.03, "{waiting} wait: {share}, not {expected}");
        inside.into_iter().for_each(|admitted| door.ended(admitted, None, T0));
    }
}

#[test]
fn one_source_cannot_take_the_places_of_all() {
    let mut door = admission(AdmissionLimits::new().per_source(2));
    let mut first = door.admit(address("192.0.2.1"), T0).unwrap();
    let second = door.admit(address("::ffff:192.0.2.1"), T0).unwrap();
    assert_eq!(door.admit(address("192.0.2.1"), T0).unwrap_err(), Refused::Source);
    let other = door.admit(address("192.0.2.2"), T0).unwrap();
    // A whole /64 is one source.
    let six: Vec<_> = ["2001:db8::1", "2001:db8::2"].map(|a| door.admit(address(a), T0).unwrap()).into();
    assert_eq!(door.admit(address("2001:db8::ffff"), T0).unwrap_err(), Refused::Source);
    let seven = door.admit(address("2001:db8:0:1::1"), T0).unwrap();
    // Who has authenticated does not count.
    door.authenticated(&mut first);
    let third = door.admit(address("192.0.2.1"), T0).unwrap();
    for admitted in [first, second, other, seven, third].into_iter().chain(six) {
        door.ended(admitted, None, T0);
    }
    assert_eq!(door.connections(), 0);
}

#[test]
fn a6_one_source_cannot_shut_others_out() {
    // As much as it can, and never a word.
    let mut door = admission(AdmissionLimits::default());
    let silent: Vec<Admitted> = (0..1000).filter_map(|_| door.admit(address("192.0.2.1"), T0).ok()).collect();
    let six: Vec<Admitted> =
        (0..1000).filter_map(|n| door.admit(address(&format!("2001:db8::{n:x}")), T0).ok()).collect();
    for admitted in six {
        door.ended(admitted, None, T0);
    }
    for n in 0..10_000 {
        let admitted = door.admit(nth(n), T0).expect("another source");
        door.ended(admitted, None, T0);
    }
    silent.into_iter().for_each(|admitted| door.ended(admitted, None, T0));
}

// ---- penalties ----

fn at(seconds: u64) -> Time {
    T0 + Duration::from_secs(seconds)
}

/// Lets one connection come at `now` and end with a penalty; or says why it may not come.
fn visit(door: &mut Admission, who: &str, penalty: Option<Penalty>, now: Time) -> Result<(), Refused> {
    let admitted = door.admit(address(who), now)?;
    door.ended(admitted, penalty, now);
    Ok(())
}

/// OpenSSH's regress/penalty.sh, on a virtual clock, and its numbers.
#[test]
fn a6_r05_misbehaviour_keeps_a_source_outside_for_as_long_as_it_adds_up() {
    for (penalty, seconds) in [
        (Penalty::Crash, 90),
        (Penalty::AuthFail, 5),
        (Penalty::InvalidUser, 5),
        (Penalty::NoAuth, 1),
        (Penalty::GraceExceeded, 10),
        (Penalty::RefuseConnection, 10),
    ] {
        let mut door = admission(AdmissionLimits::default());
        // Not before more than 15 seconds have added up.
        let before = 15 / seconds + 1;
        for n in 0..before {
            assert_eq!(visit(&mut door, "192.0.2.1", Some(penalty), T0), Ok(()), "{penalty} {n}");
        }
        let refused = Refused::Penalty(penalty);
        let total = before * seconds;
        for second in [0, 1, total / 2, total] {
            assert_eq!(visit(&mut door, "192.0.2.1", None, at(second)), Err(refused), "{penalty} {second}");
            assert_eq!(visit(&mut door, "192.0.2.2", None, at(second)), Ok(()), "others come and go");
        }
        assert_eq!(visit(&mut door, "192.0.2.1", None, at(total + 1)), Ok(()), "{penalty}");
        assert_eq!(door.penalised_sources(), 0);
    }
}

#[test]
fn a6_r05_penalties_add_up_to_the_maximum_and_go_by_source() {
    let mut door = admission(AdmissionLimits::default());
    // Many at once, from one network of IPv6: all were inside before the first was penalised.
    let inside: Vec<Admitted> =
        (1..8).map(|n| door.admit(address(&format!("2001:db8::{n}")), T0).unwrap()).collect();
    for admitted in inside {
        door.ended(admitted, Some(Penalty::Crash), T0);
    }
    assert_eq!(visit(&mut door, "2001:db8::ffff", None, at(600)), Err(Refused::Penalty(Penalty::Crash)));
    assert_eq!(visit(&mut door, "2001:db8:0:1::1", None, at(1)), Ok(()));
    assert_eq!(visit(&mut door, "2001:db8::ffff", None, at(601)), Ok(()), "630 s, of which 600 count");
    // A mapped address is IPv4.
    assert_eq!(visit(&mut door, "::ffff:192.0.2.1", Some(Penalty::Crash), at(700)), Ok(()));
    assert_eq!(visit(&mut door, "192.0.2.1", None, at(700)), Err(Refused::Penalty(Penalty::Crash)));
    // What was not enough is over in its time.
    for minute in 20..60 {
        assert_eq!(visit(&mut door, "192.0.2.9", Some(Penalty::AuthFail), at(60 * minute)), Ok(()));
    }
}

#[test]
fn a6_r05_who_has_authenticated_or_is_exempt_is_not_penalised() {
    let exempt = Addresses::parse(b"127.0.0.0/8,::1,!127.0.0.9");
    let mut door = admission(AdmissionLimits::new().exempt(exempt));
    for _ in 0..100 {
        assert_eq!(visit(&mut door, "127.0.0.1", Some(Penalty::Crash), T0), Ok(()));
        assert_eq!(visit(&mut door, "::1", Some(Penalty::Crash), T0), Ok(()));
        let mut admitted = door.admit(address("192.0.2.1"), T0).unwrap();
        door.authenticated(&mut admitted);
        door.ended(admitted, Some(Penalty::Crash), T0);
        let pipe = door.admit(None, T0).unwrap();
        door.ended(pipe, Some(Penalty::Crash), T0);
    }
    assert_eq!(visit(&mut door, "127.0.0.9", Some(Penalty::Crash), T0), Ok(()));
    assert_eq!(visit(&mut door, "127.0.0.9", None, T0), Err(Refused::Penalty(Penalty::Crash)));
    let mut open = admission(AdmissionLimits::new().penalties(None));
    for _ in 0..100 {
        assert_eq!(visit(&mut open, "192.0.2.1", Some(Penalty::Crash), T0), Ok(()));
    }
}

#[test]
fn a6_r05_what_is_remembered_is_bounded() {
    let v4 = |n: u32| IpAddr::V4(n.into()).to_string();
    let mut door = admission(AdmissionLimits::default());
    for n in 0..65_537 {
        assert_eq!(
            visit(&mut door, &v4(n), Some(Penalty::Crash), T0 + Duration::from_micros(n.into())),
            Ok(())
        );
    }
    assert_eq!(door.penalised_sources(), 65_536);
    // Whose penalty ends first is forgotten; the other family has a table of its own.
    assert_eq!(visit(&mut door, &v4(0), None, at(1)), Ok(()));
    assert_eq!(visit(&mut door, &v4(1), None, at(1)), Err(Refused::Penalty(Penalty::Crash)));
    assert_eq!(visit(&mut door, "2001:db8::1", Some(Penalty::Crash), at(1)), Ok(()));
    assert_eq!(door.penalised_sources(), 65_537);
    // Or nobody comes in.
    let overflow = [Overflow::DenyAll, Overflow::Permissive];
    let penalties = Some(Penalties::new().sources([2, 2]).overflow(overflow));
    let mut door = admission(AdmissionLimits::new().penalties(penalties));
    for n in 0..2 {
        assert_eq!(visit(&mut door, &v4(n), Some(Penalty::NoAuth), T0), Ok(()));
    }
    assert_eq!(visit(&mut door, &v4(9), None, T0), Err(Refused::PenalisedSources));
    assert_eq!(visit(&mut door, "2001:db8::1", None, T0), Ok(()));
    assert_eq!(visit(&mut door, &v4(9), None, at(2)), Ok(()));
}

#[test]
fn all_connections_have_a_limit_and_pipes_have_no_source() {
    let mut door = admission(AdmissionLimits::unlimited(3).per_source(1));
    let inside: Vec<Admitted> = (0..3).map(|_| door.admit(None, T0).unwrap()).collect();
    assert_eq!(door.admit(None, T0).unwrap_err(), Refused::Connections);
    inside.into_iter().for_each(|admitted| door.ended(admitted, None, T0));
    let admitted = door.admit(None, T0).unwrap();
    door.ended(admitted, None, T0);
}

proptest! {
    #![proptest_config(property::config(256))]

    /// Whatever happens in whatever order, what is counted is what is there.
    #[test]
    fn counts_are_true(steps in proptest::collection::vec((0u8..4, any::<u8>()), 1..400)) {
        let limits = AdmissionLimits::new().per_source(3).connections(40);
        let mut door = admission(limits);
        let mut inside: Vec<(Admitted, bool)> = Vec::new();
        for (what, which) in steps {
            let i = usize::from(which) % inside.len().max(1);
            match what {
                0 | 1 => inside.extend(door.admit(nth(u32::from(which % 16)), T0).ok().map(|a| (a, true))),
                2 => if let Some((admitted, pending)) = inside.get_mut(i) {
                    door.authenticated(admitted);
                    *pending = false;
                },
                _ => if i < inside.len() {
                    door.ended(inside.swap_remove(i).0, None, T0);
                },
            }
            prop_assert_eq!(door.connections(), inside.len());
            prop_assert_eq!(door.unauthenticated(), inside.iter().filter(|(_, p)| *p).count());
        }
    }
}
