//! The two roles, and what each adds to the machine that both share.

use core::fmt;

use super::event::Event;
use super::machine::Machine;
use crate::auth::Told;
use crate::error::Failure;
use crate::wire::Part;

/// The role of a [`Connection`](crate::Connection): [`Client`](crate::client::ClientSide) or
/// [`Server`](crate::server::ServerSide). Nobody else can be one.
///
/// Code that serves both is generic over it, or takes either behind `dyn Side`, which has all methods
/// but `poll`; [`role`](crate::Connection::role) tells which it is.
///
/// ```
/// use konko_core::channel::{ChannelId, DataStream};
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
///     let _ = conn.write(channel, DataStream::Data, b"hello");
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
    /// The first NEWKEYS are through.
    fn keyed(&mut self, core: &mut Machine);

    /// The peer has proved that it has a host key.
    fn host_key(&mut self, core: &mut Machine) -> Option<Self::Auth<'static>>
    where
        Self: Side + Sized;

    /// A message below the connection layer.
    fn message<'p>(
        &mut self,
        core: &mut Machine,
        number: u8,
        payload: &'p [u8],
    ) -> Result<Option<Told<Self::Auth<'p>>>, Failure>
    where
        Self: Side + Sized;

    /// Something that waits to be told, without new input.
    fn pending(&mut self, core: &mut Machine) -> Result<Option<Told<Self::Auth<'static>>>, Failure>
    where
        Self: Side + Sized;

    /// The application has to answer before input is looked at.
    fn awaits_decision(&self) -> bool;

    /// The delay of a refusal has ended.
    fn delayed(&mut self, core: &mut Machine);

    /// The same event in other bytes.
    fn over<'a, 'b>(auth: Self::Auth<'a>, part: &mut impl Part<'a, 'b>) -> Option<Self::Auth<'b>>
    where
        Self: Side + Sized;

    /// Shows an event, which came by this message, in a recording: kinds and numbers, never what a peer or
    /// a user wrote.
    fn show(auth: &Self::Auth<'_>, number: Option<u8>, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        Self: Side + Sized;
}
