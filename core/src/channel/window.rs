//! Flow control (RFC 4254 §5.2): what the peer may still send, and when to let it send more.

use core::time::Duration;

use super::WindowConfig;
use crate::error::Fault;
use crate::time::Time;
use crate::transport::RoundTrip;

/// Credit is never held back beyond this: early enough for peers that silently count only part of a large window.
const HELD_BACK: u32 = 1 << 20;

/// The receiving window of one channel.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    config: WindowConfig,
    /// Its size now; grows up to `config.max`.
    size: u32,
    /// What the peer may still send.
    left: u32,
    /// Received and not consumed yet.
    held: u32,
    /// Consumed and not granted again yet.
    credit: u32,
    /// Received since the start.
    total: u64,
    /// Data beyond this mark was made possible by the adjust that went out at that time.
    probe: Option<(u64, Time)>,
    /// When what is counted as one round trip's worth began, and the total then.
    round: (Time, u64),
}

impl ReceiveWindow {
    pub(crate) fn new(config: WindowConfig) -> Self {
        let size = config.initial;
        ReceiveWindow {
            config,
            size,
            left: size,
            held: 0,
            credit: 0,
            total: 0,
            probe: None,
            round: (Time::ZERO, 0),
        }
    }

    /// Counts data from the peer; any excess is a fault.
    ///
    /// `rtt` is the shortest round trip seen, and learns from this one.
    pub(crate) fn receive(&mut self, len: usize, now: Time, rtt: &mut RoundTrip) -> Result<(), Fault> {
        let len = u32::try_from(len).map_err(|_| Fault::WindowExceeded)?;
        if len > self.left || len > self.config.packet {
            return Err(Fault::WindowExceeded);
        }
        self.left = self.left.saturating_sub(len);
        self.held = self.held.saturating_add(len);
        self.total = self.total.saturating_add(u64::from(len));
        if let Some((_, sent)) = self.probe.filter(|(mark, _)| self.total > *mark) {
            self.probe = None;
            // The adjust was in use one round trip after it left, or later.
            let took = now.since(sent);
            rtt.sample(took);
        }
        if let Some(rtt) = rtt.best().filter(|_| self.size < self.config.max) {
            self.grow(now, rtt);
        }
        Ok(())
    }

    /// Once a round trip: a window that is to keep a peer busy holds what arrives in one round trip. Half as much again
    /// is for what the peer could send if it were larger, so a window that is too small grows each round trip, and one
    /// that is as large as the link, the peer or the application is fast stays. Much more than that does harm: OpenSSH
    /// takes in as much of its program's output as the window allows, and slows down with that up to tenfold.
    fn grow(&mut self, now: Time, rtt: Duration) {
        let took = now.since(self.round.0);
        if took < rtt || took.is_zero() {
            return;
        }
        let arrived = u128::from(self.total.saturating_sub(self.round.1));
        self.round = (now, self.total);
        let arrived = arrived.saturating_mul(rtt.as_micros()).checked_div(took.as_micros()).unwrap_or(0);
        let wanted = arrived.saturating_add(arrived / 2).saturating_add(u128::from(HELD_BACK));
        let size = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(self.size, self.config.max.max(self.size));
        self.credit = self.credit.saturating_add(size.saturating_sub(self.size));
        self.size = size;
    }

    /// Gives back credit for data that the application is done with. True when an adjust is due.
    pub(crate) fn consume(&mut self, n: usize) -> bool {
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(self.held);
        self.held = self.held.saturating_sub(n);
        self.credit = self.credit.saturating_add(n);
        self.due()
    }

    /// An eighth of the window may be held back, and three packets (as OpenSSH) or a quarter of a window that is small
    /// beside them: what is held back, a peer at the end of a long link cannot send in that time.
    pub(crate) fn due(&self) -> bool {
        let packets = self.config.packet.saturating_mul(3).min(self.size / 4);
        self.credit > 0 && self.credit >= (self.size / 8).max(packets).min(HELD_BACK)
    }

    /// Takes the credit to be granted now.
    pub(crate) fn adjust(&mut self, now: Time) -> u32 {
        let credit = core::mem::take(&mut self.credit);
        if self.size < self.config.max && self.probe.is_none() {
            self.probe = Some((self.total.saturating_add(u64::from(self.left)), now));
        }
        self.left = self.left.saturating_add(credit);
        credit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// To a peer that is so far away.
    fn far(rtt: Duration) -> RoundTrip {
        let mut round_trip = RoundTrip::default();
        round_trip.sample(rtt);
        round_trip
    }

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn c07_one_byte_beyond_the_window_is_a_fault() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 10, max: 10, packet: 8 });
        assert_eq!(w.receive(8, at(0), &mut far(RTT)), Ok(()));
        assert_eq!(w.receive(3, at(0), &mut far(RTT)), Err(Fault::WindowExceeded));
        assert_eq!(w.receive(2, at(0), &mut far(RTT)), Ok(()));
        assert_eq!(w.receive(1, at(0), &mut far(RTT)), Err(Fault::WindowExceeded));
    }

    #[test]
    fn c08_a_packet_larger_than_announced_is_a_fault() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 100, max: 100, packet: 8 });
        assert_eq!(w.receive(9, at(0), &mut far(RTT)), Err(Fault::WindowExceeded));
    }

    #[test]
    fn c09_credit_is_only_what_was_consumed() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 100, max: 100, packet: 100 });
        assert_eq!(w.receive(60, at(0), &mut far(RTT)), Ok(()));
        assert!(!w.consume(20));
        assert!(w.consume(1000), "no more than was received counts");
        assert_eq!(w.adjust(at(0)), 60);
        assert_eq!(w.receive(100, at(0), &mut far(RTT)), Ok(()));
        assert_eq!(w.receive(1, at(0), &mut far(RTT)), Err(Fault::WindowExceeded));
    }

    /// A peer at `rtt` that sends as fast as a link of `rate` bytes a second and the window allow: the window in the end.
    fn settled(rtt: Duration, rate: u64) -> u32 {
        let mut w = ReceiveWindow::new(WindowConfig::default());
        let (mut best, mut granted, mut sent, mut got) =
            (far(rtt), alloc::vec![(Time::ZERO, 2u64 << 20)], 0u64, 0u64);
        let mut now = Time::ZERO;
        for _ in 0..20_000 {
            now = now + Duration::from_micros(250);
            let may: u64 = granted.iter().filter(|(at, _)| *at <= now).map(|(_, n)| n).sum();
            sent = may.min(sent + rate / 4000);
            while sent > got {
                let n = (sent - got).min(32 << 10);
                w.receive(usize::try_from(n).unwrap(), now, &mut best).unwrap();
                got += n;
                if w.consume(usize::try_from(n).unwrap()) {
                    granted.push((now + rtt, u64::from(w.adjust(now))));
                }
            }
        }
        w.size
    }

    #[test]
    fn b4_the_window_becomes_what_the_link_holds_and_little_more() {
        for rate in [1_000_000, 12_500_000, 125_000_000] {
            for ms in [1, 10, 20, 50, 100, 150] {
                let size = u64::from(settled(Duration::from_millis(ms), rate));
                let holds = rate * ms / 1000;
                assert!(size >= holds + holds / 4, "{size} of {holds}, {ms} ms, {rate} bytes a second");
                assert!(
                    size <= (2 * holds + (1 << 20)).max(2 << 20),
                    "{size} of {holds}, {ms} ms, {rate} bytes a second"
                );
            }
        }
    }

    #[test]
    fn b4_most_of_a_fixed_window_can_be_used() {
        for size in [64 << 10, 1 << 20, 2 << 20, 16 << 20] {
            let config = WindowConfig { initial: size, max: size, packet: 32 << 10 };
            let mut w = ReceiveWindow::new(config);
            let (mut held, mut adjusts) = (0, 0);
            for _ in 0..100 {
                w.receive(8 << 10, at(0), &mut far(RTT)).unwrap();
                held += 8 << 10;
                if w.consume(8 << 10) {
                    held -= w.adjust(at(0));
                    adjusts += 1;
                }
                assert!(held <= (size / 8).max((96 << 10).min(size / 4)), "{held} of {size}");
            }
            assert!(size < 384 << 10 || adjusts <= 100 / 12, "{adjusts} for {size}");
        }
    }
}
