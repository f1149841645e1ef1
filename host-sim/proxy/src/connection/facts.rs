//! What is known of one request beyond its headers, shared by everything that asks: routes, logs, modules.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use vm::Value;

use super::messages;
use crate::edge::ConnectionInfo;
use crate::header_ops::StreamInfo;
use crate::local_reply::Flags;
use crate::worker::Manager;

/// One request's.
pub(crate) struct Facts {
    pub(crate) connection: Rc<ConnectionInfo>,
    pub(crate) info: RefCell<StreamInfo>,
    pub(crate) request_header_bytes: Cell<u64>,
    pub(crate) response_header_bytes: Cell<u64>,
    manager: Rc<Manager>,
    filter_state: RefCell<HashMap<Vec<u8>, Bytes>>,
}

impl Facts {
    pub(crate) fn new(connection: &Rc<ConnectionInfo>, manager: &Rc<Manager>, info: StreamInfo) -> Facts {
        Facts {
            connection: Rc::clone(connection),
            manager: Rc::clone(manager),
            info: RefCell::new(info),
            request_header_bytes: Cell::new(0),
            response_header_bytes: Cell::new(0),
            filter_state: RefCell::default(),
        }
    }

    fn request(&self, name: &[u8]) -> Option<Value> {
        let info = self.info.borrow();
        Some(match name {
            b"time" => Value::Timestamp(nanos(info.start)),
            b"size" => Value::Uint(info.bytes_received),
            b"total_size" => Value::Uint(info.bytes_received.saturating_add(self.request_header_bytes.get())),
            b"duration" => Value::Duration(nanos(info.complete?)),
            b"protocol" => text(self.connection.protocol.as_str()),
            _ => return None,
        })
    }

    fn response(&self, name: &[u8]) -> Option<Value> {
        let info = self.info.borrow();
        Some(match name {
            b"code" => Value::Int(i64::from(info.response_code?)),
            b"code_details" => text(info.details.as_deref()?),
            b"flags" => Value::Int(flag_bits(info.flags)),
            b"size" => Value::Uint(info.bytes_sent),
            b"total_size" => Value::Uint(info.bytes_sent.saturating_add(self.response_header_bytes.get())),
            b"backend_latency" => Value::Duration(nanos(info.first_upstream_rx?)),
            _ => return None,
        })
    }

    fn connection(&self, name: &[u8]) -> Option<Value> {
        let tls = self.connection.tls.as_deref();
        let peer = tls.and_then(|tls| tls.peer.as_ref());
        Some(match name {
            b"mtls" => Value::Bool(peer.is_some()),
            b"requested_server_name" => text(&tls?.server_name),
            b"tls_version" => text(&tls?.version),
            b"id" => Value::Uint(self.connection.id),
            b"subject_local_certificate" => text(&tls?.local_subject),
            b"subject_peer_certificate" => text(&peer?.subject),
            b"dns_san_local_certificate" => text(tls?.local_dns_sans.first()?),
            b"dns_san_peer_certificate" => text(peer?.dns_sans.first()?),
            b"uri_san_local_certificate" => text(tls?.local_uri_sans.first()?),
            b"uri_san_peer_certificate" => text(peer?.uri_sans.first()?),
            b"sha256_peer_certificate_digest" => text(&peer?.sha256),
            b"termination_details" if !self.info.borrow().termination_details.is_empty() => {
                text(&self.info.borrow().termination_details)
            }
            _ => return None,
        })
    }

    fn upstream(&self, name: &[u8]) -> Option<Value> {
        let info = self.info.borrow();
        let upstream = &info.upstream;
        Some(match name {
            b"address" => text(&upstream.host?.to_string()),
            b"port" => Value::Int(i64::from(upstream.host?.port())),
            b"local_address" => text(&upstream.local?.to_string()),
            b"transport_failure_reason" => text(&upstream.transport_failure),
            b"request_attempt_count" => Value::Uint(u64::from(upstream.attempts)),
            b"tls_version" => text(upstream.tls_version.as_ref()?),
            _ => return None,
        })
    }

    fn xds(&self, name: &[u8], below: &[&[u8]]) -> Option<Value> {
        let (info, entrance) = (self.info.borrow(), &self.manager.config.entrance);
        let routed = || info.is_routed.then_some(());
        let metadata = |of: Option<&xds::Metadata>| messages::metadata(of, below);
        // An endpoint without any is null, others are empty.
        let or_null = |of: Option<&xds::Metadata>| match of {
            None => below.is_empty().then_some(Value::Opaque),
            some => metadata(some),
        };
        match name {
            b"cluster_metadata" => {
                return info.upstream.cluster.as_ref().and(metadata(info.upstream.cluster_metadata.as_deref()));
            }
            b"route_metadata" => return routed().and(metadata(info.route_metadata.as_deref())),
            b"virtual_host_metadata" => return routed().and(metadata(info.virtual_host_metadata.as_deref())),
            b"listener_metadata" => return metadata(entrance.listener.metadata.as_ref()),
            b"upstream_host_metadata" => {
                info.upstream.host?;
                return or_null(info.upstream.host_metadata.as_deref());
            }
            b"upstream_host_locality_metadata" => {
                return or_null(info.upstream.locality.as_ref()?.metadata.as_deref());
            }
            _ if !below.is_empty() => return None,
            _ => {}
        }
        Some(match name {
            b"cluster_name" => text(info.upstream.cluster.as_ref()?),
            b"route_name" => routed().map(|()| text(&info.route_name))?,
            b"virtual_host_name" => routed().map(|()| text(&info.virtual_host))?,
            b"filter_chain_name" => text(&entrance.chain),
            b"listener_direction" => Value::Int(match entrance.listener.traffic_direction.as_deref() {
                Some("INBOUND") => 1,
                Some("OUTBOUND") => 2,
                _ => 0,
            }),
            _ => return None,
        })
    }
}

impl vm::StreamInfo for Facts {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        match path {
            [b"request", name] => self.request(name),
            [b"response", name] => self.response(name),
            [b"connection", name] => self.connection(name),
            [b"upstream", b"locality", below @ ..] => {
                messages::locality(&self.info.borrow().upstream.locality.as_ref()?.place, below)
            }
            [b"upstream", name] => self.upstream(name),
            [b"xds", name, below @ ..] => self.xds(name, below),
            [b"metadata", below @ ..] => messages::dynamic_metadata(&self.info.borrow().dynamic_metadata, below),
            [b"connection_id"] => Some(Value::Uint(self.connection.id)),
            [b"source", b"address"] => {
                Some(text(&self.info.borrow().remote.unwrap_or(self.connection.remote).to_string()))
            }
            [b"source", b"port"] => {
                Some(Value::Int(i64::from(self.info.borrow().remote.unwrap_or(self.connection.remote).port())))
            }
            [b"destination", b"address"] => Some(text(&self.connection.local.to_string())),
            [b"destination", b"port"] => Some(Value::Int(i64::from(self.connection.local.port()))),
            [
                b"request" | b"response" | b"connection" | b"upstream" | b"source" | b"destination" | b"xds"
                | b"filter_state",
            ] => Some(Value::Opaque),
            _ => None,
        }
    }

    fn filter_state(&self, key: &[u8]) -> Option<Bytes> {
        self.filter_state.borrow().get(key).cloned()
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes) {
        let logged = String::from_utf8_lossy(key).into_owned();
        self.info.borrow_mut().filter_state.insert(logged, value.clone());
        self.filter_state.borrow_mut().insert(key.to_vec(), value);
    }
}

fn text(text: &str) -> Value {
    Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))
}

fn nanos(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// Envoy's bits are those of its enumeration, which is the order flags are printed in.
fn flag_bits(flags: Flags) -> i64 {
    flags.iter().fold(0, |bits, flag| bits | 1i64.wrapping_shl(flag.bit()))
}
