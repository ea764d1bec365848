//! Addresses of a host on a virtual clock (RFC 8305): what is tried when, and when it is over.

mod property;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use konko_core::Time;
use konko_core::dial::{ATTEMPT_DELAY, Dial, MAX_ADDRESSES, Step};
use proptest::prelude::*;

const TIMEOUT: Duration = Duration::from_secs(30);

fn v4(n: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, n], 22))
}

fn v6(n: u16) -> SocketAddr {
    SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 22))
}

/// What becomes of an address: when, after its start, and whether it connects. Absent: silence.
type World = BTreeMap<SocketAddr, (Duration, bool)>;

/// How a dial went.
#[derive(Debug, Default)]
struct Story {
    starts: Vec<(SocketAddr, Duration)>,
    ends: Vec<SocketAddr>,
    /// The address that connected.
    winner: Option<SocketAddr>,
    took: Duration,
}

fn tell(addresses: &[SocketAddr], world: &World) -> Story {
    let mut dial = Dial::new(addresses.iter().copied(), Some(TIMEOUT));
    let (mut story, mut now) = (Story::default(), Time::ZERO);
    let mut events: Vec<(Time, SocketAddr, bool)> = Vec::new();
    for _ in 0..10_000 {
        story.took = now.since(Time::ZERO);
        match dial.next(now) {
            Step::Start(address) => {
                story.starts.push((address, story.took));
                events
                    .extend(world.get(&address).map(|(after, connects)| (now + *after, address, *connects)));
            }
            Step::Expired(address) => {
                events.retain(|(_, of, _)| *of != address);
                story.ends.push(address);
            }
            Step::Wait(until) => {
                events.sort();
                let due = events.first().filter(|(at, ..)| until.is_none_or(|until| *at < until)).copied();
                let Some((at, address, connects)) = due else {
                    now = until.expect("nothing happens any more");
                    continue;
                };
                now = at;
                events.remove(0);
                if connects {
                    story.winner = Some(address);
                    story.took = now.since(Time::ZERO);
                    return story;
                }
                story.ends.push(address);
                dial.failed(address, now);
            }
            Step::Over => return story,
        }
    }
    panic!("it never ends: {story:?}")
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn c19_a_dead_first_address_costs_a_quarter_of_a_second() {
    let world = World::from([(v4(1), (ms(20), true))]);
    let story = tell(&[v6(1), v4(1)], &world);
    assert_eq!((story.winner, story.took), (Some(v4(1)), ATTEMPT_DELAY + ms(20)));
    // A refusal costs nothing more than itself.
    let world = World::from([(v6(1), (ms(3), false)), (v4(1), (ms(20), true))]);
    assert_eq!(tell(&[v6(1), v4(1)], &world).took, ms(23));
    // A slow first address is not given up, and wins if it is the first to answer.
    let world = World::from([(v6(1), (ms(300), true)), (v4(1), (ms(100), true))]);
    let story = tell(&[v6(1), v4(1)], &world);
    assert_eq!((story.winner, story.took), (Some(v6(1)), ms(300)));
}

#[test]
fn c19_families_take_turns() {
    let story = tell(&[v6(1), v6(2), v6(3), v6(2), v4(1), v4(2)], &World::new());
    let order: Vec<_> = story.starts.iter().map(|(address, _)| *address).collect();
    assert_eq!(order, [v6(1), v4(1), v6(2), v4(2), v6(3)]);
    let times: Vec<_> = story.starts.iter().map(|(_, at)| *at).collect();
    assert_eq!(times, [0, 250, 500, 750, 1000].map(ms));
    assert_eq!((story.ends.len(), story.took), (5, TIMEOUT + ms(1000)));
    assert_eq!(tell(&[v4(1), v6(1)], &World::new()).starts[0].0, v4(1), "the first stays the first");
    assert_eq!(tell(&[], &World::new()).took, ms(0));
}

#[test]
fn c19_a_name_with_very_many_addresses_has_its_limit() {
    let many: Vec<_> = (0..10_000u16).map(v6).chain((0..=255).map(v4)).collect();
    assert_eq!(tell(&many, &World::new()).starts.len(), MAX_ADDRESSES);
}

proptest! {
    #![proptest_config(property::config(512))]

    /// Any mixture of dead, refusing and living addresses: every one is tried once unless another won
    /// before, each loser has its end, and what lives is found no later than it is tried.
    #[test]
    fn c19_whatever_lives_is_found(list in proptest::collection::vec((any::<bool>(), 0u64..40_000, 0u8..3), 0..12)) {
        let (mut addresses, mut world) = (Vec::new(), World::new());
        for (n, (six, after, fate)) in (1u8..).zip(list) {
            let address = if six { v6(n.into()) } else { v4(n) };
            addresses.push(address);
            if fate > 0 {
                world.insert(address, (ms(after), fate == 2));
            }
        }
        let story = tell(&addresses, &world);
        let lives = |(after, connects): &(Duration, bool)| *connects && *after < TIMEOUT;
        prop_assert_eq!(story.winner.is_some(), world.values().any(lives));
        let mut seen: Vec<_> = story.starts.iter().map(|(address, _)| *address).collect();
        seen.sort();
        seen.dedup();
        prop_assert_eq!(seen.len(), story.starts.len(), "nothing is tried twice");
        match story.winner {
            None => prop_assert_eq!(story.ends.len(), addresses.len()),
            Some(winner) => {
                let soonest = world.values().filter(|w| lives(w)).map(|(after, _)| *after).min().unwrap();
                prop_assert!(story.took <= soonest + ATTEMPT_DELAY * addresses.len() as u32, "{:?}", story);
                prop_assert!(world[&winner].1);
            }
        }
    }
}
