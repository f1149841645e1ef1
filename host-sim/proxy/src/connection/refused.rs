//! Answers to heads that never become a stream.

use std::rc::Rc;

use bytes::Bytes;

use crate::edge;
use crate::headers::{self, HeaderList};
use crate::http1::{Refusal, RefusalKind, reason};
use crate::worker::{Manager, Worker};

/// Head and body of the answer.
pub(super) fn refused(worker: &Rc<Worker>, manager: &Rc<Manager>, refusal: Refusal) -> (HeaderList, Bytes) {
    let mut list = HeaderList::with_capacity(6);
    list.push((Bytes::from_static(b":status"), Bytes::from(refusal.status.to_string())));
    let body = match refusal.kind {
        RefusalKind::Protocol => reason(refusal.status),
        RefusalKind::Late(text) => text,
        RefusalKind::Manager { .. } => "",
    };
    let body = Bytes::from_static(body.as_bytes());
    if !body.is_empty() {
        headers::set_slot(&mut list, "content-length", Bytes::from(body.len().to_string()));
        headers::set_slot(&mut list, "content-type", Bytes::from_static(b"text/plain"));
    }
    let date = worker.date.at(worker.clock().wall(worker.clock().now()));
    edge::response(&mut list, None, &manager.config.edge, &date);
    if refusal.closes() {
        list.push((Bytes::from_static(b"connection"), Bytes::from_static(b"close")));
    }
    (list, body)
}
