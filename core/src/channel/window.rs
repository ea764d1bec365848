//! Flow control (RFC 4254 §5.2): what the peer may still send, and when to let it send more.

use core::time::Duration;

use super::WindowConfig;
use crate::error::Fault;
use crate::time::Time;

/// Adjusts go out when half the window, or this much, was consumed: early enough for peers that
/// silently count only part of a large window.
const ADJUST: u32 = 1 << 20;

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
}

impl ReceiveWindow {
    pub(crate) fn new(config: WindowConfig) -> Self {
        let size = config.initial;
        ReceiveWindow { config, size, left: size, held: 0, credit: 0, total: 0, probe: None }
    }

    /// Counts data from the peer; any excess is a fault.
    pub(crate) fn receive(&mut self, len: usize, now: Time, rtt: Option<Duration>) -> Result<(), Fault> {
        let len = u32::try_from(len).map_err(|_| Fault::WindowExceeded)?;
        if len > self.left || len > self.config.packet {
            return Err(Fault::WindowExceeded);
        }
        self.left = self.left.saturating_sub(len);
        self.held = self.held.saturating_add(len);
        self.total = self.total.saturating_add(u64::from(len));
        if let (Some((mark, sent)), Some(rtt)) = (self.probe, rtt)
            && self.total > mark
        {
            self.probe = None;
            // The adjust was in use one round trip after it left: the peer had been waiting for
            // it. A peer that is slower than its window takes longer to get there.
            if now.since(sent) <= rtt.saturating_mul(3) / 2 {
                let grown = self.size.saturating_mul(2).min(self.config.max);
                self.credit = self.credit.saturating_add(grown.saturating_sub(self.size));
                self.size = grown;
            }
        }
        Ok(())
    }

    /// Gives back credit for data that the application is done with. True when an adjust is due.
    pub(crate) fn consume(&mut self, n: usize) -> bool {
        let n = u32::try_from(n).unwrap_or(u32::MAX).min(self.held);
        self.held = self.held.saturating_sub(n);
        self.credit = self.credit.saturating_add(n);
        self.due()
    }

    pub(crate) fn due(&self) -> bool {
        self.credit > 0 && self.credit >= (self.size / 2).min(ADJUST)
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

    const RTT: Option<Duration> = Some(Duration::from_millis(100));

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn c07_one_byte_beyond_the_window_is_a_fault() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 10, max: 10, packet: 8 });
        assert_eq!(w.receive(8, at(0), RTT), Ok(()));
        assert_eq!(w.receive(3, at(0), RTT), Err(Fault::WindowExceeded));
        assert_eq!(w.receive(2, at(0), RTT), Ok(()));
        assert_eq!(w.receive(1, at(0), RTT), Err(Fault::WindowExceeded));
    }

    #[test]
    fn c08_a_packet_larger_than_announced_is_a_fault() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 100, max: 100, packet: 8 });
        assert_eq!(w.receive(9, at(0), RTT), Err(Fault::WindowExceeded));
    }

    #[test]
    fn c09_credit_is_only_what_was_consumed() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 100, max: 100, packet: 100 });
        assert_eq!(w.receive(60, at(0), RTT), Ok(()));
        assert!(!w.consume(40));
        assert!(w.consume(1000), "no more than was received counts");
        assert_eq!(w.adjust(at(0)), 60);
        assert_eq!(w.receive(100, at(0), RTT), Ok(()));
        assert_eq!(w.receive(1, at(0), RTT), Err(Fault::WindowExceeded));
    }

    #[test]
    fn the_window_grows_while_the_peer_waits_for_adjusts_and_stops_when_it_does_not() {
        let mut w = ReceiveWindow::new(WindowConfig { initial: 100, max: 1000, packet: 100 });
        w.receive(100, at(0), RTT).unwrap();
        w.consume(100);
        assert_eq!(w.adjust(at(0)), 100);
        // One round trip later the peer uses it: it had been waiting.
        w.receive(50, at(100), RTT).unwrap();
        assert_eq!(w.size, 200);
        // A slow peer gets there much later.
        w.consume(50);
        w.adjust(at(100));
        w.receive(100, at(500), RTT).unwrap();
        w.receive(100, at(900), RTT).unwrap();
        assert_eq!(w.size, 200);
    }
}
