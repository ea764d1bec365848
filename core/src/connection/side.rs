//! The two roles, and what each adds to the machine that both share.

use core::fmt;

use super::event::Event;
use super::machine::Machine;
use super::run::Raw;
use crate::error::Failure;

/// The role of a [`Connection`](crate::Connection): [`Client`](crate::client::Client) or
/// [`Server`](crate::server::Server). Nobody else can be one.
///
/// Code that serves both is generic over it, or takes either behind `dyn Side`, which has all methods
/// but `poll`; [`role`](crate::Connection::role) tells which it is.
///
/// ```
/// use konko_core::channel::{ChannelId, Stream};
/// use konko_core::{Connection, RxBuf, Side, Step, Time};
///
/// /// Polls until there is nothing more to tell.
/// fn drain<S: Side>(conn: &mut Connection<S>, rx: &mut RxBuf) -> Result<(), konko_core::Error> {
///     while let Step::Event(event) = conn.poll(Time::ZERO, rx)? {
///         println!("{event:?}");
///     }
///     Ok(())
/// }
///
/// fn greet(conn: &mut Connection<dyn Side>, channel: ChannelId) {
///     let _ = conn.write(channel, Stream::Data, b"hello");
/// }
/// ```
#[allow(private_bounds, reason = "it seals the trait")]
pub trait Side: Logic + Send + 'static {
    /// What only this role is asked.
    type Auth<'b>: fmt::Debug
    where
        Self: Sized;
}

/// What happens on a connection of role `S`.
pub type EventOf<'b, S> = Event<'b, <S as Side>::Auth<'b>>;

/// What a role adds to the shared machine. Nobody outside can name it, which seals [`Side`].
pub(crate) trait Logic {
    /// An event of the role before it borrows from the receive buffer. `Debug` goes into recordings:
    /// kinds and numbers, never what a peer or a user wrote.
    type Raw: fmt::Debug
    where
        Self: Sized;

    /// The first NEWKEYS are through.
    fn keyed(&mut self, core: &mut Machine);

    /// The peer has proved that it has a host key.
    fn host_key(&mut self, core: &mut Machine) -> Option<Self::Raw>
    where
        Self: Sized;

    /// A message below the connection layer.
    fn message(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &[u8],
    ) -> Result<Option<Raw<Self::Raw>>, Failure>
    where
        Self: Sized;

    /// Something that waits to be told, without new input.
    fn pending(&mut self, core: &mut Machine) -> Result<Option<Raw<Self::Raw>>, Failure>
    where
        Self: Sized;

    /// The application has to answer before input is looked at.
    fn awaits_decision(&self) -> bool;

    /// The delay of a refusal has ended.
    fn delayed(&mut self, core: &mut Machine);

    /// Makes the application's view of an event.
    fn present<'b>(&self, raw: Self::Raw, payload: &'b [u8]) -> Self::Auth<'b>
    where
        Self: Side + Sized;
}
