//! What the host remembers for each context of a VM: the root's, and one per stream.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::{
    abi::{Direction, MapType},
    expression::Expressions,
    foreign::Declarations,
    headers::HeaderList,
    outcome::{Hold, LogMaps, Released, StreamId},
    world::StreamInfo,
};

/// The context a hostcall acts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The VM itself: while its code initialises and while it allocates.
    Vm,
    /// The plugin.
    Root,
    /// A stream, by its context id.
    Stream(u32),
}

/// One stream in the VM.
pub(crate) struct Stream {
    /// How the gateway knows it; outlives the VM it was first in.
    pub(crate) handle: StreamId,
    /// The root context of its plugin.
    pub(crate) root: u32,
    pub(crate) info: Rc<dyn StreamInfo>,
    /// The module has been told of it. Until then Envoy calls nothing but the log.
    pub(crate) created: bool,
    pub(crate) request: Half,
    pub(crate) response: Half,
    /// `Some` while the finished stream is logged.
    pub(crate) log: Option<LogMaps>,
    /// The last head or piece of body was the end of its half.
    pub(crate) end_of_stream: bool,
    /// The route is to be chosen anew; told with the next outcome.
    pub(crate) route_cleared: bool,
    /// A local reply was sent: another is ignored.
    pub(crate) replied: bool,
    /// And was replaced while it passed the module.
    pub(crate) replied_again: bool,
    /// The failure reply was given: nothing is called any more.
    pub(crate) failed: bool,
    /// What was declared on this stream: Envoy remembers it, and looks for it only on the plugin.
    pub(crate) declared: Declarations,
    /// It was in a VM that died and went on in a fresh one; that is not done twice.
    pub(crate) moved: bool,
}

/// What the vm has of one half of a stream.
#[derive(Default)]
pub(crate) struct Half {
    pub(crate) headers: Slot,
    /// The head as it came and whether it ended the stream, kept by a paused stream that could be started again.
    pub(crate) original: Option<(HeaderList, bool)>,
    /// The body the module may see now.
    pub(crate) body: Option<BytesMut>,
    /// Pieces held before `body` that the module does not see again.
    pub(crate) behind: BytesMut,
    /// The next piece is appended to `body` instead of replacing it.
    pub(crate) buffering: bool,
    pub(crate) trailers: Slot,
    /// The last verdict was to hold.
    pub(crate) paused: Option<Hold>,
}

/// A header map in the vm's keeping.
///
/// Whether the module may see it and whether it still has to go on are two things: `proxy_continue_stream` hides a head at once that moves on only after the call,
/// and a head that went on while the stream was paused stays visible in Envoy.
#[derive(Default)]
pub(crate) struct Slot {
    list: Option<HeaderList>,
    seen: bool,
    held: bool,
}

impl Slot {
    /// Takes a map in: visible, and to go on later.
    pub(crate) fn fill(&mut self, list: HeaderList) {
        *self = Slot { list: Some(list), seen: true, held: true };
    }

    /// What the module may see.
    pub(crate) fn visible(&self) -> Option<&HeaderList> {
        self.list.as_ref().filter(|_| self.seen)
    }

    pub(crate) fn visible_mut(&mut self) -> Option<&mut HeaderList> {
        self.list.as_mut().filter(|_| self.seen)
    }

    pub(crate) fn hide(&mut self) {
        self.seen = false;
        if !self.held {
            self.list = None;
        }
    }

    /// Hands the map on; the module sees it no more.
    pub(crate) fn take(&mut self) -> Option<HeaderList> {
        let list = std::mem::take(self);
        list.list.filter(|_| list.held)
    }

    /// Hands the map on; what the module could see it still sees, in a copy that goes nowhere.
    pub(crate) fn take_leaving_copy(&mut self) -> Option<HeaderList> {
        if !self.seen {
            return self.take();
        }
        if !std::mem::take(&mut self.held) {
            return None;
        }
        self.list.clone()
    }
}

impl Half {
    /// Takes everything that is held.
    pub(crate) fn let_go(&mut self) -> Released {
        let headers = self.headers.take_leaving_copy();
        let trailers = self.trailers.take_leaving_copy();
        let body = self.take_body();
        (self.buffering, self.paused, self.original) = (false, None, None);
        Released { headers, body, trailers, route_cleared: false }
    }

    /// A callback said to hold.
    pub(crate) fn hold(&mut self, hold: Hold) {
        match hold {
            Hold::BodyAndBuffer => self.buffering = true,
            Hold::BodyAndWatermark => {
                self.buffering = false;
                let body = self.body.replace(BytesMut::new()).unwrap_or_default();
                self.behind.extend_from_slice(&body);
            }
            Hold::BodyNoBuffer => {
                self.buffering = false;
                self.body = Some(BytesMut::new());
            }
            Hold::All | Hold::AllAndBuffer | Hold::HeadersOnly | Hold::Trailers => {}
        }
        if matches!(hold, Hold::BodyAndBuffer | Hold::BodyAndWatermark | Hold::BodyNoBuffer) {
            // Part of the stream is beyond its head: it cannot be started again.
            self.original = None;
        }
        self.paused = Some(hold);
    }

    /// Takes the body that is held, oldest piece first.
    pub(crate) fn take_body(&mut self) -> Bytes {
        let mut body = std::mem::take(&mut self.behind);
        match self.body.take() {
            Some(rest) if body.is_empty() => body = rest,
            Some(rest) => body.extend_from_slice(&rest),
            None => {}
        }
        body.freeze()
    }

    /// Bytes of body held.
    pub(crate) fn buffered(&self) -> usize {
        self.behind.len() + self.body.as_ref().map_or(0, BytesMut::len)
    }

    /// Asking for trailers to write in the last body callback makes them.
    fn trailers_to_write(&mut self, last: bool) -> Option<&mut HeaderList> {
        if self.trailers.visible().is_none() && self.body.is_some() && last {
            self.trailers.fill(HeaderList::new());
        }
        self.trailers.visible_mut()
    }
}

impl Stream {
    pub(crate) fn new(handle: StreamId, root: u32, info: Rc<dyn StreamInfo>) -> Stream {
        Stream {
            handle,
            root,
            info,
            created: false,
            request: Half::default(),
            response: Half::default(),
            log: None,
            end_of_stream: false,
            route_cleared: false,
            replied: false,
            replied_again: false,
            failed: false,
            declared: Declarations::default(),
            moved: false,
        }
    }

    pub(crate) fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    /// Everything held of one half, with the wish for a new route.
    pub(crate) fn let_go(&mut self, direction: Direction) -> Released {
        let mut released = self.half(direction).let_go();
        released.route_cleared = std::mem::take(&mut self.route_cleared);
        released
    }

    /// A callback said to go on. What it was called for is no longer the module's to see; what was held before stays visible.
    pub(crate) fn go_on(&mut self, direction: Direction, hide_headers: bool, hide_trailers: bool) -> Released {
        let half = self.half(direction);
        let headers = if hide_headers { half.headers.take() } else { half.headers.take_leaving_copy() };
        let trailers = if hide_trailers { half.trailers.take() } else { half.trailers.take_leaving_copy() };
        let body = half.take_body();
        (half.buffering, half.paused, half.original) = (false, None, None);
        Released { headers, body, trailers, route_cleared: std::mem::take(&mut self.route_cleared) }
    }

    /// The map a module may read (Envoy's `getConstMap`).
    pub(crate) fn readable(&self, map: MapType) -> Option<&HeaderList> {
        if let Some(log) = &self.log {
            return match map {
                MapType::RequestHeaders => log.request_headers.as_ref(),
                MapType::ResponseHeaders => log.response_headers.as_ref(),
                MapType::ResponseTrailers => log.response_trailers.as_ref(),
                _ => None,
            };
        }
        match map {
            MapType::RequestHeaders => self.request.headers.visible(),
            MapType::RequestTrailers => self.request.trailers.visible(),
            MapType::ResponseHeaders => self.response.headers.visible(),
            MapType::ResponseTrailers => self.response.trailers.visible(),
            _ => None,
        }
    }

    /// The map a module may write (Envoy's `getMap`). Asking for trailers in the last body callback makes them.
    pub(crate) fn writable(&mut self, map: MapType) -> Option<&mut HeaderList> {
        let last = self.end_of_stream;
        match map {
            MapType::RequestHeaders => self.request.headers.visible_mut(),
            MapType::ResponseHeaders => self.response.headers.visible_mut(),
            MapType::RequestTrailers => self.request.trailers_to_write(last),
            MapType::ResponseTrailers => self.response.trailers_to_write(last),
            _ => None,
        }
    }

    /// `proxy_continue_stream` takes these away at once, though the stream moves on only after the call.
    pub(crate) fn hide_request(&mut self) {
        self.request.headers.hide();
        self.request.trailers.hide();
    }
}

/// What the host remembers for the plugin.
#[derive(Default)]
pub(crate) struct Root {
    /// The plugin's configuration is readable: inside `proxy_on_configure`, and while the root context is created.
    pub(crate) configuration_in_view: bool,
    /// What `proxy_get_status` answers.
    pub(crate) status: (u32, Bytes),
    /// The response being delivered.
    pub(crate) call_response: Option<CallResponse>,
    pub(crate) grpc_message: Option<Bytes>,
    pub(crate) grpc_initial_metadata: Option<HeaderList>,
    pub(crate) grpc_trailing_metadata: Option<HeaderList>,
    /// Arguments of `proxy_on_foreign_function`.
    pub(crate) call_data: Bytes,
    pub(crate) shutdown: Shutdown,
    pub(crate) declared: Declarations,
    pub(crate) expressions: Expressions,
}

/// Where the plugin is on its way out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shutdown {
    #[default]
    Running,
    /// `proxy_on_done` answered "not yet".
    Pending,
    /// `proxy_done` was called since: delete it after the call.
    Finished,
    Over,
}

/// A response being delivered to `proxy_on_http_call_response`.
pub(crate) struct CallResponse {
    pub(crate) headers: HeaderList,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderList,
}
