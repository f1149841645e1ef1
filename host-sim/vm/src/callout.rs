//! Calls a module has under way, and the events they ask for.
//!
//! Ids are Envoy's: 4, 8 … for http calls, 5, 9 … for gRPC calls, 6, 10 … for gRPC streams. Names being resolved are 2, 3 … to the module, and
//! 11, 15 … here, so that no two things share an id.

use std::collections::BTreeMap;

use crate::outcome::Event;

/// What an id stands for; its low two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallKind {
    Http = 0,
    GrpcCall = 1,
    GrpcStream = 2,
    Dns = 3,
}

impl CallKind {
    /// The kind an id claims.
    pub(crate) fn of(token: u32) -> CallKind {
        match token & 3 {
            0 => CallKind::Http,
            1 => CallKind::GrpcCall,
            2 => CallKind::GrpcStream,
            _ => CallKind::Dns,
        }
    }
}

/// Calls under way, and events not yet taken.
pub(crate) struct Callouts {
    next: [u32; 4],
    open: BTreeMap<u32, Closed>,
    limit: usize,
    pub(crate) events: Vec<Event>,
}

/// Which sides of a gRPC stream are closed. Calls have neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) local: bool,
    pub(crate) remote: bool,
}

impl Callouts {
    pub(crate) fn new(limit: usize) -> Callouts {
        Callouts { next: [0, 1, 2, 7], open: BTreeMap::new(), limit, events: Vec::new() }
    }

    /// The next id of a kind: counted up even for a call that then cannot start.
    pub(crate) fn next_token(&mut self, kind: CallKind) -> u32 {
        let [http, call, stream, dns] = &mut self.next;
        let next = match kind {
            CallKind::Http => http,
            CallKind::GrpcCall => call,
            CallKind::GrpcStream => stream,
            CallKind::Dns => dns,
        };
        *next = next.wrapping_add(4);
        *next
    }

    /// Counts on where another left off.
    pub(crate) fn go_on_after(&mut self, other: &Callouts) {
        self.next = other.next;
    }

    /// Can one more be under way?
    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < self.limit
    }

    pub(crate) fn open(&mut self, token: u32) {
        self.open.insert(token, Closed::default());
    }

    pub(crate) fn get(&mut self, token: u32) -> Option<&mut Closed> {
        self.open.get_mut(&token)
    }

    /// Forgets a call; was it under way?
    pub(crate) fn close(&mut self, token: u32) -> bool {
        self.open.remove(&token).is_some()
    }

    /// All that are under way, which are so no more.
    pub(crate) fn close_all(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.open).into_keys().collect()
    }
}
