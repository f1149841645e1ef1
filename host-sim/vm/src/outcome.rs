//! What the gateway is to do after it entered a module: the verdict on the stream it entered for, and events for everything else.

use std::time::Duration;

use bytes::Bytes;

use crate::{abi::Direction, headers::HeaderList};

/// One stream in one plugin.
///
/// `context` is the id the module sees; `instance` tells a stream of a VM that has died since from one of its successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct StreamId {
    pub(crate) instance: u32,
    pub(crate) context: u32,
}

impl StreamId {
    /// The context id the module knows the stream by.
    pub fn context(self) -> u32 {
        self.context
    }
}

/// A call the module made to a cluster. Ids step by four, the low bits say which kind, as in Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    pub(crate) instance: u32,
    pub(crate) token: u32,
}

impl CallId {
    /// The id the module knows the call by.
    pub fn token(self) -> u32 {
        self.token
    }
}

/// What the policy says about a request that is to pass this plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Filter it under this id.
    Stream(StreamId),
    /// The VM is dead and the policy is to leave the filter out.
    Bypass,
    /// The VM is dead and the policy is to answer [`LocalReply::wasm_failure`].
    Fail,
}

/// The answer of one entry for one stream.
#[derive(Debug)]
#[must_use]
pub struct Outcome {
    /// What becomes of the stream.
    pub verdict: Verdict,
    /// What the vm hands back. On [`Verdict::Pause`] the vm keeps it all, and a later [`Event::Resume`] or outcome carries it;
    /// but for one case: a headers callback that continues its own stream and then says "pause" lets the head go on and holds what is behind it, in Envoy and here.
    pub released: Released,
}

/// What becomes of a stream after a callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Go on with what was released.
    Continue,
    /// Hold the stream.
    Pause(Hold),
    /// Answer the client; the reply runs through the response callbacks of the chain, this filter's included.
    Reply(LocalReply),
    /// Reset the stream (`proxy_close_stream`). Response code details: `wasm_close_stream`.
    Reset,
    /// The VM died under this stream: answer [`LocalReply::wasm_failure`], or reset when the response has begun. This filter's callbacks are not to be called again.
    Fail,
}

/// How much of the stream a pause holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Headers are held and so is everything behind them: do not call body callbacks until the resume. The body waits in the connection, with back-pressure.
    All,
    /// As `All`, and the body that arrives meanwhile is buffered up to the limit (413, or 500 for a response, beyond).
    AllAndBuffer,
    /// Headers are held, body callbacks run; the outcome of one of them releases the headers.
    HeadersOnly,
    /// This piece of the body is held in the vm with those before it; the next callback sees them all. Check [`Vm::buffered`](crate::Vm::buffered) against the limit.
    BodyAndBuffer,
    /// As `BodyAndBuffer` for the wire, with back-pressure instead of a limit; the next callback sees only the new piece.
    BodyAndWatermark,
    /// This piece of the body is swallowed.
    BodyNoBuffer,
    /// Trailers are held, and what is buffered before them.
    Trailers,
}

/// What goes on to the next filter, in this order. Also what is handed back for the access log when the verdict is not to go on.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Released {
    /// The head, if this entry let it go.
    pub headers: Option<HeaderList>,
    /// Body bytes let go, those held before and the new ones.
    pub body: Bytes,
    /// The trailers, if this entry let them go or made them (a filter can add trailers in its last body callback).
    pub trailers: Option<HeaderList>,
    /// A write to the request's headers, or the module itself, asked for a new route to be chosen.
    pub route_cleared: bool,
}

/// An answer made by a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReply {
    /// As the module gave it: Envoy does not check it. Hardened: 200 to 599, anything else became 500.
    pub status: u32,
    /// For `%RESPONSE_CODE_DETAILS%`, white space already replaced by `_`.
    pub details: String,
    /// Further headers, lower-case names, in order: [`add`](crate::headers::add) them. `:status` among them has no effect.
    pub headers: HeaderList,
    /// The body; content type `text/plain` unless `headers` has one.
    pub body: Bytes,
    /// For gRPC requests, which get it in a trailers-only answer; `None` lets the HTTP status decide.
    pub grpc_status: Option<u32>,
}

impl LocalReply {
    /// What Envoy answers for a stream whose VM failed: an empty 503, details `wasm_fail_stream`, gRPC status 14 (unavailable).
    pub fn wasm_failure() -> LocalReply {
        LocalReply {
            status: 503,
            details: "wasm_fail_stream".to_owned(),
            headers: HeaderList::new(),
            body: Bytes::new(),
            grpc_status: Some(14),
        }
    }
}

/// Something the gateway has to do that is not the verdict on the stream it entered for.
/// Drained by [`Vm::take_events`](crate::Vm::take_events) after every entry, and to be done in order.
#[derive(Debug)]
pub enum Event {
    /// A paused stream goes on.
    Resume {
        /// Which one.
        stream: StreamId,
        /// Which half.
        direction: Direction,
        /// With what.
        released: Released,
    },
    /// A stream is answered from outside its own callbacks (a tick, a call's response).
    Reply {
        /// Which one.
        stream: StreamId,
        /// With what.
        reply: LocalReply,
        /// What the vm held of it.
        released: Released,
    },
    /// A stream is to be reset.
    Reset {
        /// Which one.
        stream: StreamId,
    },
    /// The VM died and this stream was waiting in it. Only in hardened fidelity: in Envoy it waits for its timeout.
    Fail {
        /// Which one.
        stream: StreamId,
        /// What the vm held of it.
        released: Released,
    },
    /// Start an http call; answer with [`Vm::on_http_call_response`](crate::Vm::on_http_call_response).
    HttpCall {
        /// Name it by this.
        call: CallId,
        /// Where to.
        request: HttpCall,
    },
    /// Start a unary gRPC call.
    GrpcCall {
        /// Name it by this.
        call: CallId,
        /// Where to.
        request: GrpcRequest,
        /// The message, without gRPC's frame.
        message: Bytes,
        /// Give up after this long; zero is at once, as Envoy has it.
        timeout: Duration,
    },
    /// Open a gRPC stream.
    GrpcStream {
        /// Name it by this.
        call: CallId,
        /// Where to.
        request: GrpcRequest,
    },
    /// Send a message on a gRPC stream.
    GrpcSend {
        /// On which one.
        call: CallId,
        /// The message, without gRPC's frame.
        message: Bytes,
        /// And close our side.
        end_of_stream: bool,
    },
    /// Close our side of a gRPC stream.
    GrpcClose {
        /// Which one.
        call: CallId,
    },
    /// Look a host's name up; answer with [`Vm::on_dns`](crate::Vm::on_dns).
    ResolveDns {
        /// Name it by this.
        call: CallId,
        /// Whatever the module took for a name.
        name: Bytes,
    },
    /// Give up a call or a gRPC stream; nothing is to be delivered for it any more.
    Cancel {
        /// Which one.
        call: CallId,
    },
    /// [`Vm::tick_period`](crate::Vm::tick_period) has changed: re-arm the timer from now.
    TickPeriod(Option<Duration>),
}

/// An http call to be made. The gateway adds nothing but what its client must (no `x-forwarded-for`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// The cluster.
    pub cluster: String,
    /// Head; `content-length` is set when there is a body.
    pub headers: HeaderList,
    /// Body.
    pub body: Bytes,
    /// Trailers, possibly none.
    pub trailers: HeaderList,
    /// `None` waits for ever.
    pub timeout: Option<Duration>,
}

/// Where a gRPC call or stream goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcRequest {
    /// The cluster.
    pub cluster: String,
    /// `package.Service`
    pub service: String,
    /// `Method`
    pub method: String,
    /// Initial metadata.
    pub metadata: HeaderList,
}

/// How an http call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpCallResponse {
    /// With a response. A refused connection is one too (503 with a text), and so is a timeout (504 `upstream request timeout`).
    Response {
        /// Head, `:status` first.
        headers: HeaderList,
        /// Body.
        body: Bytes,
        /// Trailers, possibly none.
        trailers: HeaderList,
    },
    /// The stream was reset, or the response was beyond the buffer limit.
    Reset,
}

/// Header maps a filter may read while it logs a finished stream. Lent, and handed back unchanged.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it all")]
pub struct LogMaps {
    pub request_headers: Option<HeaderList>,
    pub response_headers: Option<HeaderList>,
    pub response_trailers: Option<HeaderList>,
}
