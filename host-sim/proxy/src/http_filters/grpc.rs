//! gRPC calls and streams of modules, as Envoy's gRPC client makes them: `common/grpc/async_client_impl.cc`.

use std::cell::Cell;
use std::future::pending;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vm::{CallId, GrpcRequest};

use super::callout::{self, unreachable};
use super::wasm::Plugin;
use crate::connection::{BodySource, Piece};
use crate::headers::{self, HeaderList};
use crate::local_reply::{LocalReply, RequestKind, grpc_status_of};
use crate::upstream::{Attempt, Broken, Outline};
use crate::worker::Surroundings;

/// A message larger than this is not kept whole, and no more than this may wait to be sent: the stream is reset. Envoy would grow.
const LARGEST: usize = 4 * 1024 * 1024;

const OK: u32 = 0;
const UNKNOWN: u32 = 2;
/// Too much waits to be sent.
pub(super) const EXHAUSTED: u32 = 8;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
/// What Envoy says of an answer that came from there.
const VIA_UPSTREAM: &str = "via_upstream";
/// A `grpc-status` that is no status.
const INVALID: u32 = u32::MAX;

/// The module's end of a stream.
pub(super) struct Outbox {
    sender: UnboundedSender<Sending>,
    waiting: Rc<Cell<usize>>,
}

/// The client's end.
pub(super) struct Inbox {
    receiver: UnboundedReceiver<Sending>,
    waiting: Rc<Cell<usize>>,
}

enum Sending {
    Message(Bytes),
    End,
}

/// What a module writes goes in one end and is sent from the other.
pub(super) fn channel() -> (Outbox, Inbox) {
    let (sender, receiver) = unbounded_channel();
    let waiting = Rc::new(Cell::new(0));
    (Outbox { sender, waiting: Rc::clone(&waiting) }, Inbox { receiver, waiting })
}

impl Outbox {
    /// Sends a message, and perhaps closes our side. False when more waits than may wait.
    pub(super) fn send(&self, message: Bytes, end: bool) -> bool {
        let waiting = self.waiting.get().saturating_add(message.len());
        self.waiting.set(waiting);
        // A stream that is over takes nothing any more.
        let _ = self.sender.send(Sending::Message(message));
        if end {
            self.end();
        }
        waiting <= LARGEST
    }

    /// Closes our side.
    pub(super) fn end(&self) {
        // As above.
        let _ = self.sender.send(Sending::End);
    }
}

/// What is heard on a stream, in this order; the last is always [`Heard::Close`].
enum Heard {
    Initial(HeaderList),
    Message(Bytes),
    Trailing(HeaderList),
    Close(u32, Bytes),
}

/// Makes a unary call and tells the plugin how it ended.
pub(super) async fn call(plugin: Weak<Plugin>, call: CallId, request: GrpcRequest, message: Bytes, timeout: Duration) {
    let Some(surroundings) = plugin.upgrade().map(|plugin| Rc::clone(plugin.surroundings())) else { return };
    let (outbox, inbox) = channel();
    outbox.send(message, true);
    let (mut answer, mut closed) = (None, None);
    let conversation = converse(&surroundings, &request, Some(timeout), inbox, |heard| {
        match heard {
            Heard::Message(message) => answer = Some(message),
            Heard::Close(status, text) => closed = Some((status, text)),
            Heard::Initial(_) | Heard::Trailing(_) => {}
        }
        true
    });
    let in_time = if timeout.is_zero() {
        conversation.await;
        true
    } else {
        tokio::time::timeout(timeout, conversation).await.is_ok()
    };
    if !in_time {
        closed = Some((INTERNAL, Bytes::from_static(b"response_timeout")));
    }
    let Some(plugin) = plugin.upgrade().filter(|plugin| plugin.ended(call)) else { return };
    match (closed.unwrap_or((INTERNAL, Bytes::new())), answer) {
        ((OK, _), Some(message)) => plugin.enter(|vm| vm.on_grpc_message(call, message)),
        ((OK, _), None) => plugin.enter(|vm| vm.on_grpc_close(call, INTERNAL, Bytes::new())),
        ((status, text), _) => plugin.enter(|vm| vm.on_grpc_close(call, status, text)),
    }
}

/// Makes a unary call; `None` for any end but a message with status OK, and for none in time.
pub(super) async fn unary(
    surroundings: &Rc<Surroundings>,
    request: &GrpcRequest,
    message: Bytes,
    timeout: Option<Duration>,
) -> Option<Bytes> {
    let (outbox, inbox) = channel();
    outbox.send(message, true);
    let (mut answer, mut closed) = (None, None);
    let conversation = converse(surroundings, request, timeout, inbox, |heard| {
        match heard {
            Heard::Message(message) => answer = Some(message),
            Heard::Close(status, _) => closed = Some(status),
            Heard::Initial(_) | Heard::Trailing(_) => {}
        }
        true
    });
    match timeout {
        Some(timeout) => tokio::time::timeout(timeout, conversation).await.ok()?,
        None => conversation.await,
    }
    answer.filter(|_| closed == Some(OK))
}

/// Runs a stream, and tells the plugin what comes.
pub(super) async fn stream(plugin: Weak<Plugin>, call: CallId, request: GrpcRequest, inbox: Inbox) {
    let Some(surroundings) = plugin.upgrade().map(|plugin| Rc::clone(plugin.surroundings())) else { return };
    converse(&surroundings, &request, None, inbox, |heard| {
        let Some(plugin) = plugin.upgrade().filter(|plugin| plugin.is_open(call)) else { return false };
        match heard {
            Heard::Initial(metadata) => plugin.enter(|vm| vm.on_grpc_initial_metadata(call, metadata)),
            Heard::Message(message) => plugin.enter(|vm| vm.on_grpc_message(call, message)),
            Heard::Trailing(metadata) => plugin.enter(|vm| vm.on_grpc_trailing_metadata(call, metadata)),
            Heard::Close(status, text) => {
                plugin.ended(call);
                plugin.enter(|vm| vm.on_grpc_close(call, status, text));
            }
        }
        true
    })
    .await;
}

/// Sends and hears until the stream is closed, or `hear` says that nobody listens any more.
async fn converse(
    surroundings: &Rc<Surroundings>,
    request: &GrpcRequest,
    timeout: Option<Duration>,
    inbox: Inbox,
    mut hear: impl FnMut(Heard) -> bool,
) {
    let Some(cluster) = surroundings.cluster(&request.cluster) else {
        hear(Heard::Close(UNAVAILABLE, Bytes::from_static(b"Cluster not available")));
        return;
    };
    let Some(endpoint) = cluster.pick(&surroundings.dice, None, &[], 1).map(Rc::clone) else {
        return refused(&LocalReply::no_healthy_upstream(), &mut hear);
    };
    let head = head(request, timeout);
    let protocol = cluster.config.protocol.for_client(false);
    let opened = async {
        let attempt =
            Attempt::open(&cluster, &endpoint, protocol, &Outline::of(&head), surroundings.clock.now()).await?;
        attempt.write_head(&head, false)?;
        attempt.begin(false).await?;
        attempt.flush().await?;
        Ok(attempt)
    };
    let attempt = match opened.await {
        Ok(attempt) => attempt,
        Err(broken) => return refused(&unreachable(&broken), &mut hear),
    };
    let complete = Cell::new(None);
    let sent = async {
        // What breaks while it is sent is heard, too.
        if send(&attempt, inbox).await.is_ok() {
            complete.set(Some(surroundings.clock.now()));
        }
        pending::<()>().await;
    };
    let heard = async {
        match attempt.head().await {
            Ok(mut head) => {
                if let Some(complete) = complete.get() {
                    callout::say_how_long(&mut head.headers, surroundings.clock.now().saturating_sub(complete));
                }
                receive(head.status, head.headers, head.body, &mut hear).await
            }
            Err(broken) => {
                refused(&unreachable(&broken), &mut hear);
                false
            }
        }
    };
    let whole = tokio::select! {
        whole = heard => whole,
        () = sent => false,
    };
    if whole {
        attempt.complete(surroundings.clock.now());
    }
}

/// An answer of ours, as a gRPC client hears it.
fn refused(reply: &LocalReply, hear: &mut dyn FnMut(Heard) -> bool) {
    let (list, _) = reply.encode(&RequestKind { grpc: true, head: false });
    if hear(Heard::Initial(HeaderList::new())) {
        close_with(list, &reply.details, hear);
    }
}

async fn send(attempt: &Attempt, mut inbox: Inbox) -> Result<(), Broken> {
    while let Some(next) = inbox.receiver.recv().await {
        match next {
            Sending::Message(message) => {
                inbox.waiting.set(inbox.waiting.get().saturating_sub(message.len()));
                attempt.send(Piece::Data(framed(&message))).await?;
                attempt.flush().await?;
            }
            Sending::End => {
                attempt.finish().await?;
                return Ok(());
            }
        }
    }
    // Our side stays open, though nobody will write any more.
    pending().await
}

/// Hears an answer; true when it was read to its end.
async fn receive(status: u16, list: HeaderList, mut body: BodySource, hear: &mut dyn FnMut(Heard) -> bool) -> bool {
    let end = body.is_over();
    let shown = if end { HeaderList::new() } else { list.clone() };
    if !hear(Heard::Initial(shown)) {
        return false;
    }
    if status != 200 && !(end && headers::has(&list, "grpc-status")) {
        failed(grpc_status_of(status), VIA_UPSTREAM, hear);
        return false;
    }
    if end {
        close_with(list, VIA_UPSTREAM, hear);
        return true;
    }
    let mut buffer = BytesMut::new();
    loop {
        match body.next().await {
            Some(Ok(Piece::Data(data))) => buffer.put(data),
            Some(Ok(Piece::Trailers(trailers))) => {
                close_with(trailers, VIA_UPSTREAM, hear);
                return true;
            }
            Some(Err(_)) => {
                failed(INTERNAL, "upstream_reset_after_response_started{remote_reset}", hear);
                return false;
            }
            None => {
                failed(UNKNOWN, VIA_UPSTREAM, hear);
                return false;
            }
        }
        loop {
            match frame(&mut buffer) {
                Ok(Some(message)) => {
                    if !hear(Heard::Message(message)) {
                        return false;
                    }
                }
                Ok(None) => break,
                Err(Unreadable) => {
                    failed(INTERNAL, VIA_UPSTREAM, hear);
                    return false;
                }
            }
        }
    }
}

/// The peer has said how it ended.
fn close_with(trailers: HeaderList, details: &str, hear: &mut dyn FnMut(Heard) -> bool) {
    let status = match headers::get(&trailers, "grpc-status") {
        None => UNKNOWN,
        Some(text) => {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            number.filter(|status| *status <= 16).unwrap_or(INVALID)
        }
    };
    let text = told(headers::get(&trailers, "grpc-message").map_or(&[], |text| text), details);
    if hear(Heard::Trailing(trailers)) {
        hear(Heard::Close(status, text));
    }
}

/// It ended otherwise.
fn failed(status: u32, details: &str, hear: &mut dyn FnMut(Heard) -> bool) {
    if hear(Heard::Trailing(HeaderList::new())) {
        hear(Heard::Close(status, told(&[], details)));
    }
}

/// Envoy hangs the response code's details behind the message.
fn told(message: &[u8], details: &str) -> Bytes {
    if message.is_empty() {
        return Bytes::copy_from_slice(details.as_bytes());
    }
    [message, b"{", details.as_bytes(), b"}"].concat().into()
}

struct Unreadable;

/// Takes a whole message out of what has arrived.
fn frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, Unreadable> {
    let Some(([flags, length @ ..], _)) = buffer.split_first_chunk::<5>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if *flags != 0 || length > LARGEST {
        return Err(Unreadable);
    }
    if buffer.len() - 5 < length {
        return Ok(None);
    }
    buffer.advance(5);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// gRPC's frame: not compressed, so long.
fn framed(message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

fn head(request: &GrpcRequest, timeout: Option<Duration>) -> HeaderList {
    let mut head: HeaderList = vec![
        (Bytes::from_static(b":method"), Bytes::from_static(b"POST")),
        (Bytes::from_static(b":path"), Bytes::from(format!("/{}/{}", request.service, request.method))),
        (Bytes::from_static(b":authority"), authority(&request.cluster)),
        (Bytes::from_static(b":scheme"), Bytes::from_static(b"http")),
        (Bytes::from_static(b"te"), Bytes::from_static(b"trailers")),
    ];
    if let Some(timeout) = timeout {
        let value = Bytes::from(format!("{}m", timeout.as_millis().min(99_999_999)));
        head.push((Bytes::from_static(b"grpc-timeout"), value));
    }
    head.push((Bytes::from_static(b"content-type"), Bytes::from_static(b"application/grpc")));
    for (name, value) in &request.metadata {
        match name.first() {
            Some(b':') => headers::replace(&mut head, name.clone(), value.clone()),
            _ => head.push((name.clone(), value.clone())),
        }
    }
    callout::mark_internal(&mut head, timeout);
    head
}

/// The cluster's name, as Envoy's client has it; `_` for what the HTTP/2 client below refuses in an authority, as `|` in Istio's names.
fn authority(cluster: &str) -> Bytes {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
    cluster.chars().map(|c| if allowed(c) { c } else { '_' }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_goes_to_a_cluster_of_istios_too() {
        for (cluster, said) in
            [("rls", "rls"), ("outbound|80||a.b.svc", "outbound_80__a.b.svc"), ("[::1]:80", "[::1]:80")]
        {
            assert_eq!(authority(cluster), said);
            assert!(http::uri::Authority::try_from(said).is_ok());
        }
    }

    #[test]
    fn messages_come_out_of_the_bytes_whole_and_one_by_one() {
        let mut buffer = BytesMut::new();
        let bytes =
            [framed(&Bytes::from_static(b"one")), framed(&Bytes::new()), framed(&Bytes::from_static(b"two"))].concat();
        let mut heard = Vec::new();
        for byte in bytes {
            buffer.put_u8(byte);
            while let Ok(Some(message)) = frame(&mut buffer) {
                heard.push(message);
            }
        }
        assert_eq!(heard, [&b"one"[..], b"", b"two"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_compressed_or_too_long_is_not_read() {
        for bytes in [[1, 0, 0, 0, 0], [0, 0x7f, 0, 0, 0]] {
            assert!(frame(&mut BytesMut::from(&bytes[..])).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_status_that_is_none_is_said_to_be_none() {
        let status = |value: &'static str| {
            let mut closed = None;
            let list = vec![(Bytes::from_static(b"grpc-status"), Bytes::from_static(value.as_bytes()))];
            close_with(list, "", &mut |heard| {
                if let Heard::Close(status, _) = heard {
                    closed = Some(status);
                }
                true
            });
            closed
        };
        assert_eq!(
            [status("0"), status("16"), status("17"), status("x")],
            [Some(0), Some(16), Some(INVALID), Some(INVALID)]
        );
    }
}
