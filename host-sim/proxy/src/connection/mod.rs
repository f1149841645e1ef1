//! The connection manager: what happens on a client's connection, request by request.

mod alarm;
mod body;
mod counted;
mod executor;
mod facts;
pub(crate) mod http2;
mod http2_flood;
mod lifetime;
mod messages;
mod read_ahead;
mod refused;
mod remembered;
mod responder;
mod serve;
mod serve_http2;
mod stream;
mod timers;
mod trace;
mod wire;

pub(crate) use alarm::{Alarm, IdleTimer};
pub(crate) use body::{BodyError, BodySource, Piece};
pub(crate) use executor::LocalExecutor;
pub(crate) use facts::Facts;
pub(crate) use http2::{Outgoing, Outlet};
pub(crate) use lifetime::{Lifetime, Phase};
pub(crate) use messages::node;
pub(crate) use read_ahead::ReadAhead;
pub(crate) use refused::refused;
pub(crate) use remembered::Remembered;
pub(crate) use responder::ClientGone;
pub(crate) use serve::serve;
pub(crate) use stream::Stream;
pub(crate) use wire::{Io, ReadWrite, Wire};
