//! konko on one `mio` event loop: tens of thousands of SSH connections a thread, client and server side by side.
//!
//! For fleets, gateways, bastions and honeypots, where a thread a connection does not go. The protocol
//! is all in [`konko_core`]; what is here reads, writes, keeps time and shares both fairly. For a
//! handful of connections the crate `konko` reads more like the standard library.
//!
//! # What you write
//!
//! An [`App`]: one value that gets the events of all connections of a loop, and can call any of them.
//! A server that says back what it is asked to run:
//!
//! ```no_run
//! use std::sync::Arc;
//! use konko_mio::core::admission::AdmissionLimits;
//! use konko_mio::core::channel::{ChannelEvent, ChannelRequest, DataStream};
//! use konko_mio::core::keys::{KeyType, PrivateKey};
//! use konko_mio::core::server::{Credential, AuthDecision};
//! use konko_mio::core::{Decision, Rng, WantReply, ServerConfig, ServerConnection, ServerAuth, ServerEvent, TransportConfig, provider};
//! use konko_mio::{App, ConnId, Hub, Loop, Settings, Sharing, Workers, seed_from_os};
//!
//! struct Echo;
//!
//! impl App for Echo {
//!     type Message = ();
//!
//!     fn on_server_event(
//!         &mut self,
//!         _id: ConnId,
//!         conn: &mut ServerConnection,
//!         event: ServerEvent<'_>,
//!         _hub: &mut Hub<()>,
//!     ) {
//!         // What a connection that is over cannot do any more is no error here.
//!         let _ = match event {
//!             ServerEvent::Auth(ServerAuth::Attempt { ticket, credential, .. }) => {
//!                 let right = matches!(credential, Credential::Password(b"wonderland"));
//!                 conn.decide_auth(ticket, if right { AuthDecision::Accept } else { AuthDecision::Reject })
//!             }
//!             ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => conn.decide_probe(ticket, Decision::Reject),
//!             ServerEvent::Open { ticket, .. } => conn.accept_channel(ticket).map(drop),
//!             ServerEvent::Channel(
//!                 channel,
//!                 ChannelEvent::Request { ticket: Some(ticket), request: ChannelRequest::Exec(command) },
//!             ) => {
//!                 let _ = conn.reply(ticket, Decision::Accept);
//!                 let _ = conn.write(channel, DataStream::Data, command.as_bytes());
//!                 let _ = conn.request(channel, ChannelRequest::ExitStatus(0), WantReply::No);
//!                 conn.close_channel(channel)
//!             }
//!             // Tickets that are dropped are denied in time.
//!             _ => Ok(()),
//!         };
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&seed_from_os()?))?;
//! let key = Arc::new(key.key_pair(provider::best())?);
//! let mut config = ServerConfig::new(TransportConfig::new(provider::best()), vec![key]);
//! // The costly part of key exchanges goes to worker threads.
//! config.offload = true;
//! let settings = Settings::new().workers(Workers::new(1)?);
//! let mut server = Loop::new(settings)?;
//! let admission = konko_mio::admission(AdmissionLimits::default())?;
//! let listener = konko_mio::bind("127.0.0.1:2222".parse()?, Sharing::Alone)?;
//! server.hub().listen(listener, Arc::new(config), admission)?;
//! server.run(&mut Echo)?;
//! # Ok(())
//! # }
//! ```
//!
//! [`Hub::connect`] makes connections from the same loop, [`Hub::connect_any`] to whichever address of a
//! host answers first. The examples of this crate are larger:
//! `echo` (a server with a shell, passwords checked on worker threads), `fleet` (one command on many
//! hosts), `bastion` (`direct-tcpip` from one connection to another without copies) and `tokio` (a
//! client in an async runtime, on the same core).
//!
//! # A turn of the loop
//!
//! 1. **Wait** until a socket is ready, a deadline comes or another thread sends something. A
//!    connection's socket is registered once, for both directions, edge-triggered; what the system said
//!    is remembered, so that a change of mind costs no system call.
//! 2. **Mail**: messages, signatures and finished jobs from other threads.
//! 3. **Accept**, at most 16 a turn. [`Admission`](core::admission) says who may come in. When
//!    descriptors run out, accepting rests until a connection ends.
//! 4. **Timers**: one heap for all connections. An entry that no longer holds is dropped when it comes up.
//! 5. **Established connections** that have something to do, each once: it polls, hands events to the
//!    application, writes and reads, until it is blocked or its budget is used up
//!    ([`Settings::turn_bytes`], [`Settings::turn_events`]). Then it goes to the end of the queue.
//! 6. **Connections that are not authenticated yet**, for [`Settings::startup_slice`]: a storm of
//!    handshakes takes what the others leave.
//!
//! What a connection is blocked on decides what is done with its socket: it is read only when input is
//! missing, not while output waits for the peer or a ticket for its answer. So a peer that sends faster
//! than it is served fills its own socket, not our memory.
//!
//! # Memory
//!
//! All connections read into one buffer; only who is in the middle of a packet keeps what there is of
//! it. Output buffers come from a small pool and go back when everything is sent. An idle connection
//! with a channel holds about 4 KiB.
//!
//! # Threads
//!
//! A loop is one thread. For more of them, run several loops that [`bind`] the same address as
//! [`Shared`](Sharing::Shared) and use the same [`SharedAdmission`] and [`Workers`]. Other threads reach a loop by its
//! [`Mailbox`]; [`Hub::spawn`] sends work the other way. Tickets are `Send`, so an answer can come
//! from anywhere, as a message.
//!
//! To have the connections in an event loop of your own, see [`Driver`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod app;
mod dial;
mod driver;
mod hub;
mod link;
mod links;
mod mailbox;
mod socket;
mod timers;
mod workers;

pub use app::{App, Closed};
pub use driver::{Driver, Loop};
pub use hub::{Hub, ListenerId, Settings, admission, seed_from_os};
pub use link::SharedAdmission;
pub use links::ConnId;
pub use mailbox::Mailbox;
pub use socket::{Sharing, Socket, bind, raise_descriptor_limit};
pub use workers::Workers;

/// The protocol itself.
pub use konko_core as core;
