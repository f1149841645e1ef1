//! What the world brings a plugin: ticks, messages in queues, and answers to its calls. All of it goes to the root context.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    abi::Status,
    callout::CallKind,
    context::{CallResponse, Target},
    headers::HeaderList,
    instance::Instance,
    outcome::{CallId, HttpCallResponse},
    queue::QueueId,
    trace::{Entry, Record, Text, texts},
    trap::Trap,
    vm::Vm,
};

impl Vm {
    /// The timer of [`Vm::tick_period`] has rung. It is armed again after the tick, by the period as it is then.
    pub fn on_tick(&mut self) {
        self.note(|| Record::Entry(Entry::Tick));
        self.enter(None, |instance| {
            let root = instance.state().root_id;
            instance.call(Target::Root, "proxy_on_tick", |exports| exports.on_tick.as_ref(), root)
        });
    }

    /// A queue this plugin registered has something in it.
    pub fn on_queue_ready(&mut self, queue: QueueId) {
        self.note(|| Record::Entry(Entry::QueueReady { queue }));
        self.enter(None, |instance| {
            let root = instance.state().root_id;
            instance.call(
                Target::Root,
                "proxy_on_queue_ready",
                |exports| exports.on_queue_ready.as_ref(),
                (root, queue),
            )
        });
    }

    /// An http call has ended.
    pub fn on_http_call_response(&mut self, call: CallId, response: HttpCallResponse) {
        self.note(|| Record::Entry(Entry::http_call_response(call.token, &response)));
        if !self.is_open(call) {
            return;
        }
        self.enter(None, |instance| {
            let state = instance.state_mut();
            state.callouts.close(call.token);
            let count = |list: &HeaderList| u32::try_from(list.len()).unwrap_or(u32::MAX);
            let mut sizes = (0, 0, 0);
            match response {
                HttpCallResponse::Response { headers, body, trailers } => {
                    sizes = (count(&headers), u32::try_from(body.len()).unwrap_or(u32::MAX), count(&trailers));
                    state.root.call_response = Some(CallResponse { headers, body, trailers });
                }
                HttpCallResponse::Reset => {
                    state.root.status = (Status::BrokenConnection.code().unsigned_abs(), Bytes::from_static(b"reset"))
                }
            }
            let params = (state.root_id, call.token, sizes.0, sizes.1, sizes.2);
            let called = instance.call(
                Target::Root,
                "proxy_on_http_call_response",
                |exports| exports.on_http_call_response.as_ref(),
                params,
            );
            let root = &mut instance.state_mut().root;
            (root.call_response, root.status.1) = (None, Bytes::new());
            called
        });
    }

    /// The peer of a gRPC stream has sent its initial metadata. (A unary call's is not shown, as in Envoy.)
    pub fn on_grpc_initial_metadata(&mut self, call: CallId, metadata: HeaderList) {
        self.note(|| Record::Entry(Entry::GrpcInitialMetadata { call: call.token, metadata: texts(&metadata) }));
        self.deliver(call, |instance| {
            let params = (instance.state().root_id, call.token, u32::try_from(metadata.len()).unwrap_or(u32::MAX));
            instance.state_mut().root.grpc_initial_metadata = Some(metadata);
            instance.call(
                Target::Root,
                "proxy_on_grpc_receive_initial_metadata",
                |exports| exports.on_grpc_receive_initial_metadata.as_ref(),
                params,
            )
        });
    }

    /// A message has arrived: a unary call's only one, which ends it, or one of a stream.
    pub fn on_grpc_message(&mut self, call: CallId, message: Bytes) {
        self.note(|| Record::Entry(Entry::GrpcMessage { call: call.token, message: Text(message.clone()) }));
        self.deliver(call, |instance| {
            let params = (instance.state().root_id, call.token, u32::try_from(message.len()).unwrap_or(u32::MAX));
            let state = instance.state_mut();
            state.root.grpc_message = Some(message);
            if CallKind::of(call.token) == CallKind::GrpcCall {
                state.callouts.close(call.token);
            }
            instance.call(Target::Root, "proxy_on_grpc_receive", |exports| exports.on_grpc_receive.as_ref(), params)
        });
    }

    /// The peer of a gRPC stream has sent its trailing metadata.
    pub fn on_grpc_trailing_metadata(&mut self, call: CallId, metadata: HeaderList) {
        self.note(|| Record::Entry(Entry::GrpcTrailingMetadata { call: call.token, metadata: texts(&metadata) }));
        self.deliver(call, |instance| {
            let params = (instance.state().root_id, call.token, u32::try_from(metadata.len()).unwrap_or(u32::MAX));
            instance.state_mut().root.grpc_trailing_metadata = Some(metadata);
            instance.call(
                Target::Root,
                "proxy_on_grpc_receive_trailing_metadata",
                |exports| exports.on_grpc_receive_trailing_metadata.as_ref(),
                params,
            )
        });
    }

    /// A unary call has failed, or the peer has closed a stream: with this gRPC status.
    pub fn on_grpc_close(&mut self, call: CallId, status: u32, message: Bytes) {
        self.note(|| Record::Entry(Entry::GrpcClose { call: call.token, status, message: Text(message.clone()) }));
        self.deliver(call, |instance| {
            let state = instance.state_mut();
            state.root.status = (status, message);
            let half_open = CallKind::of(call.token) == CallKind::GrpcStream
                && state.callouts.get(call.token).is_some_and(|closed| !closed.local);
            match state.callouts.get(call.token) {
                Some(closed) if half_open => closed.remote = true,
                _ => drop(state.callouts.close(call.token)),
            }
            let root = instance.state().root_id;
            let called = instance.call(
                Target::Root,
                "proxy_on_grpc_close",
                |exports| exports.on_grpc_close.as_ref(),
                (root, call.token, status),
            );
            instance.state_mut().root.status.1 = Bytes::new();
            called
        });
    }

    /// A gRPC call or stream could not start: "unavailable".
    pub(crate) fn on_grpc_failed(&mut self, token: u32) {
        self.enter(None, |instance| {
            let state = instance.state_mut();
            state.root.status = (14, Bytes::new());
            let root = state.root_id;
            instance.call(
                Target::Root,
                "proxy_on_grpc_close",
                |exports| exports.on_grpc_close.as_ref(),
                (root, token, 14),
            )
        });
    }

    /// A name has been looked up; nothing was found when there are no addresses. They are told as from a hosts file: without a port, to be kept for no time.
    pub fn on_dns(&mut self, call: CallId, addresses: &[IpAddr]) {
        self.note(|| Record::Entry(Entry::Dns { call: call.token, addresses: addresses.to_vec() }));
        if !self.is_open(call) {
            return;
        }
        self.enter(None, |instance| {
            let state = instance.state_mut();
            state.callouts.close(call.token);
            state.root.call_data = resolved(addresses);
            let size = u32::try_from(state.root.call_data.len()).unwrap_or(u32::MAX);
            let params = (state.root_id, call.token >> 2, size);
            let called =
                instance.call(Target::Root, "envoy_on_resolve_dns", |exports| exports.on_resolve_dns.as_ref(), params);
            instance.state_mut().root.call_data = Bytes::new();
            called
        });
    }

    fn is_open(&mut self, call: CallId) -> bool {
        let Some(instance) = self.alive_mut() else { return false };
        let state = instance.state_mut();
        state.instance == call.instance && state.callouts.get(call.token).is_some()
    }

    /// Something of a gRPC call or stream, visible only while it is delivered.
    fn deliver(&mut self, call: CallId, what: impl FnOnce(&mut Instance) -> Result<Option<()>, Trap>) {
        if !self.is_open(call) {
            return;
        }
        self.enter(None, |instance| {
            let called = what(instance);
            let root = &mut instance.state_mut().root;
            (root.grpc_initial_metadata, root.grpc_trailing_metadata, root.grpc_message) = (None, None, None);
            called
        });
    }
}

/// Envoy's form: how many, seconds each may be kept, and each as text that a zero byte ends; numbers in four bytes, the lowest first.
fn resolved(addresses: &[IpAddr]) -> Bytes {
    let mut data = BytesMut::new();
    data.put_u32_le(u32::try_from(addresses.len()).unwrap_or(u32::MAX));
    data.put_bytes(0, addresses.len() * 4);
    for address in addresses {
        data.extend_from_slice(SocketAddr::new(*address, 0).to_string().as_bytes());
        data.put_u8(0);
    }
    data.freeze()
}
