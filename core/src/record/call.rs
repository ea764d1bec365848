//! What an application calls: one row a method.

use alloc::borrow::Cow;
use core::fmt;

use super::field::{AuthFields, Field, Rest, Texts};
use crate::auth::server::AuthDecision;
use crate::channel::{ChannelId, ChannelRequest, DataStream, OpenKind, WindowConfig};
use crate::wire::{DecodeError, Reader, Sink};

/// Makes the calls of their rows: number in a transcript, name of the method, arguments in the order in
/// which they are written.
macro_rules! calls {
    ($l:lifetime $($number:literal $name:ident $call:ident { $($field:ident: $type:ty),* })*) => {
        /// A call that changes a connection: see the method of its name.
        pub(crate) enum Call<$l> {
            $($call { $($field: $type),* },)*
        }

        impl<$l> Call<$l> {
            /// Writes the call: its number, its arguments.
            pub(crate) fn put(&self, out: &mut dyn Sink) {
                match self {$(
                    Call::$call { $($field),* } => {
                        out.put_u8($number);
                        $(Field::put($field, out);)*
                    }
                )*}
            }

            /// Reads a call.
            pub(crate) fn read(r: &mut Reader<$l>) -> Result<Self, DecodeError> {
                Ok(match r.u8()? {
                    $($number => Call::$call { $($field: Field::read(r)?),* },)*
                    _ => return Err(DecodeError::Invalid),
                })
            }
        }

        /// What may be shown: the method and its numbers, never a name, a text or a secret.
        impl fmt::Display for Call<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {$(
                    Call::$call { $($field),* } => {
                        f.write_str(stringify!($name))?;
                        $(Field::show($field, f)?;)*
                    }
                )*}
                Ok(())
            }
        }
    };
}

calls! { 'a
    0 accept_channel AcceptChannel { channel: ChannelId }
    1 reject_channel RejectChannel { channel: ChannelId, why: u32, text: &'a str }
    2 request Request { channel: ChannelId, want_reply: bool, request: ChannelRequest<'a> }
    3 reply Reply { channel: ChannelId, number: u64, ok: bool }
    4 write Write { channel: ChannelId, stream: DataStream, data: Rest<'a> }
    5 slot Slot { channel: ChannelId, stream: DataStream, want: u64 }
    6 consume Consume { channel: ChannelId, n: u64 }
    7 send_eof SendEof { channel: ChannelId }
    8 close_channel CloseChannel { channel: ChannelId }
    16 open_with OpenWith { window: WindowConfig, kind: OpenKind<'a> }
    17 commit Commit { data: Rest<'a> }
    18 request_global RequestGlobal { want_reply: bool, name: &'a str, fields: Rest<'a> }
    19 reply_global ReplyGlobal { number: u64, ok: bool, port: Option<u32> }
    20 rekey Rekey {}
    21 disconnect Disconnect { code: u32, text: &'a str }
    32 decide_host_key DecideHostKey { number: u32, accept: bool }
    33 authenticate Authenticate { user: &'a [u8], proof: AuthFields<'a> }
    34 provide_signature ProvideSignature { number: u32, signature: Rest<'a> }
    35 cancel_signature CancelSignature { number: u32 }
    36 answer_prompts AnswerPrompts { number: u32, answers: Texts<'a> }
    48 decide_auth DecideAuth { number: u32, decision: Cow<'a, AuthDecision> }
    49 finish_job FinishJob { generation: u32 }
    50 decide_probe DecideProbe { number: u32, usable: bool }
    51 accept_probe AcceptProbe { number: u32, touch: bool, verify: bool }
}
