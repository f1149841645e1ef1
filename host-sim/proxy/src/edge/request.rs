//! A request's head, from what the codec read to what filters and routes see.
//!
//! Source: Envoy's `http/conn_manager_impl.cc` (`decodeHeaders`) and `http/conn_manager_utility.cc` (`mutateRequestHeaders`).

use std::net::IpAddr;

use bytes::Bytes;

use super::address::address_bytes;
use super::config::{EdgeConfig, OwnName, StripPort};
use super::connection::ConnectionInfo;
use super::path::PathVerdict;
use super::{hop, request_id, xfcc};
use crate::headers::{self, HeaderList};
use crate::local_reply::{Author, LocalReply};

/// What was found out about a request on its way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The client we believe: the peer, or an entry of `x-forwarded-for` behind trusted hops.
    pub client: IpAddr,
    /// Its port: the peer's, or 0 where `x-forwarded-for` said who it is.
    pub port: u16,
    /// The port that its authority named and that was dropped.
    pub stripped_port: Option<u32>,
    /// It came from an internal address, so its `x-envoy-*` headers were believed.
    pub internal: bool,
}

/// Removed from every external request.
const EXTERNAL: [&str; 15] = [
    "x-envoy-retriable-status-codes",
    "x-envoy-retriable-header-names",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-force-trace",
    "x-envoy-ip-tags",
    "x-envoy-original-url",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-stream-duration-ms",
];

/// Removed as well when we are the edge.
const AT_THE_EDGE: [&str; 5] = [
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-downstream-service-node",
    "x-envoy-original-path",
    "x-envoy-original-host",
];

/// Brings a request's head into the form filters and routes see, or answers it.
///
/// The codec's part is done before. `random` is 128 bits for the request id. An answer given here closes an HTTP/1 connection when it
/// is a 400.
pub fn request(
    headers: &mut HeaderList,
    connection: &ConnectionInfo,
    config: &EdgeConfig,
    random: u128,
) -> Result<Admitted, LocalReply> {
    if !headers::has(headers, ":authority") {
        return Err(LocalReply::new(400, "missing_host_header"));
    }
    let is_query = headers::get(headers, ":method").is_some_and(|method| method == "QUERY");
    if is_query && headers::get(headers, "content-type").is_none_or(Bytes::is_empty) {
        return Err(LocalReply::new(400, "query_missing_content_type"));
    }
    path(headers, config)?;
    let stripped_port = authority(headers, connection, config);
    hop_by_hop(headers);
    let admitted = Admitted { stripped_port, ..forwarded_for(headers, connection, config) };
    scheme(headers, connection);
    internal_headers(headers, config, admitted.internal);
    let edge = !admitted.internal && config.use_remote_address;
    if let Some(own) = &config.add_user_agent {
        introduce(headers, own);
    }
    if !config.via.is_empty() {
        append_via(headers, config);
    }
    if edge {
        headers::set_slot(headers, "x-envoy-external-address", address_bytes(admitted.client));
    }
    if config.generate_request_id {
        let force = edge && !config.preserve_external_request_id;
        match headers::get(headers, "x-request-id").filter(|id| !force && !id.is_empty()) {
            None => headers::set_slot(headers, "x-request-id", request_id::uuid(random)),
            // Whether it is traced is not for a stranger to say.
            Some(id) if edge => {
                if let Some(id) = request_id::untraced(id) {
                    headers::set_slot(headers, "x-request-id", id);
                }
            }
            Some(_) => {}
        }
    }
    xfcc::apply(headers, config.client_cert, connection.tls.as_deref());
    Ok(admitted)
}

fn introduce(headers: &mut HeaderList, own: &OwnName) {
    if !own.cluster.is_empty() {
        headers::set_slot(headers, "x-envoy-downstream-service-cluster", own.cluster.clone());
        if headers::get(headers, "user-agent").is_none_or(Bytes::is_empty) {
            headers::set_slot(headers, "user-agent", own.cluster.clone());
        }
    }
    if !own.id.is_empty() {
        headers::set_slot(headers, "x-envoy-downstream-service-node", own.id.clone());
    }
}

fn path(headers: &mut HeaderList, config: &EdgeConfig) -> Result<(), LocalReply> {
    let connect = headers::is_connect(headers);
    let Some(target) = headers::get(headers, ":path").filter(|target| !target.is_empty()).cloned() else {
        return if connect { Ok(()) } else { Err(LocalReply::new(404, "missing_path_rejected")) };
    };
    if target.first() != Some(&b'/') {
        return Err(LocalReply::new(404, "absolute_path_rejected"));
    }
    match config.path.apply(&target) {
        PathVerdict::Unchanged => Ok(()),
        PathVerdict::Changed(target) => {
            headers::set_slot(headers, ":path", target);
            Ok(())
        }
        PathVerdict::Redirect(target) if !crate::local_reply::is_grpc(headers) => {
            headers::set_slot(headers, ":path", target.clone());
            let reply = LocalReply::new(307, "path_normalization_failed").by(Author::PathRedirect);
            Err(reply.header("location", target))
        }
        PathVerdict::Redirect(target) | PathVerdict::Reject(target) => {
            headers::set_slot(headers, ":path", target);
            Err(LocalReply::path_normalization_failed())
        }
    }
}

/// Says which port was dropped.
fn authority(headers: &mut HeaderList, connection: &ConnectionInfo, config: &EdgeConfig) -> Option<u32> {
    if config.strip_port == StripPort::Never && !config.strip_trailing_host_dot {
        return None;
    }
    let mut authority = headers::get(headers, ":authority").cloned()?;
    if config.strip_trailing_host_dot {
        authority = without_last_dot(&authority);
    }
    let (host, mut port) = split_port(&authority);
    let number = port.and_then(port_number);
    let strip = match config.strip_port {
        StripPort::Never => false,
        StripPort::Matching => number == Some(u32::from(connection.local.port())),
        StripPort::Any => number.is_some(),
    };
    if strip {
        port = None;
    }
    let mut new = host.to_vec();
    if let Some(port) = port {
        new.push(b':');
        new.extend_from_slice(port);
    }
    headers::set_slot(headers, ":authority", Bytes::from(new));
    number.filter(|_| strip)
}

/// Without its last dot, if nothing or a colon stands behind that.
fn without_last_dot(authority: &Bytes) -> Bytes {
    let dot = authority.iter().rposition(|&byte| byte == b'.');
    let halves = dot.and_then(|dot| Some((authority.get(..dot)?, authority.get(dot + 1..)?)));
    match halves {
        Some((before, behind)) if behind.is_empty() || behind.first() == Some(&b':') => {
            [before, behind].concat().into()
        }
        _ => authority.clone(),
    }
}

/// An origin that is to connect is told the port, too, unless a filter or the route has named another.
pub fn port_for_origins(headers: &mut HeaderList, stripped: Option<u32>) {
    let connect = headers::is_connect(headers);
    let Some(port) = stripped.filter(|_| connect) else { return };
    if let Some(authority) = headers::get(headers, ":authority").filter(|authority| split_port(authority).1.is_none()) {
        let authority = Bytes::from([authority.as_ref(), b":", port.to_string().as_bytes()].concat());
        headers::set_slot(headers, ":authority", authority);
    }
}

/// A port as Envoy reads numbers: zeros in front do not matter, nor does its size. What is none stays where it is.
fn port_number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.trim_ascii().parse().ok()
}

/// Host and port of an authority, brackets of an IPv6 address respected.
pub(crate) fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let after_bracket = authority.iter().rposition(|&b| b == b']').unwrap_or_default();
    let colon = authority.iter().rposition(|&b| b == b':').filter(|at| *at >= after_bracket);
    let Some((host, port)) = colon.and_then(|at| authority.split_at_checked(at)) else { return (authority, None) };
    (host, port.get(1..))
}

fn hop_by_hop(headers: &mut HeaderList) {
    let upgrades = hop::upgrade(headers).is_some();
    if upgrades && !headers::has(headers, "transfer-encoding") && !headers::has(headers, "content-length") {
        headers::set_slot(headers, "content-length", Bytes::from_static(b"0"));
    }
    headers.retain(|(name, _)| match name.as_ref() {
        b"x-envoy-internal" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" => false,
        b"connection" | b"upgrade" => upgrades,
        _ => true,
    });
    if !upgrades {
        hop::sanitize_te(headers);
    }
    super::referer::sanitize(headers);
}

fn forwarded_for(headers: &mut HeaderList, connection: &ConnectionInfo, config: &EdgeConfig) -> Admitted {
    let peer = connection.remote.ip();
    let is_internal = |address: IpAddr| config.internal.iter().any(|range| range.contains(&address));
    if !config.use_remote_address {
        let said = from_the_right(headers, config.xff_num_trusted_hops);
        let (client, single) = said.unwrap_or((peer, false));
        let port = said.map_or(connection.remote.port(), |_| 0);
        if !headers::has(headers, "x-forwarded-proto") {
            forwarded_proto(headers, connection);
        }
        if config.append_x_forwarded_port && !headers::has(headers, "x-forwarded-port") {
            forwarded_port(headers, connection);
        }
        return Admitted { client, port, stripped_port: None, internal: single && is_internal(client) };
    }
    let first_hop = !headers::has(headers, "x-forwarded-for");
    let behind = config.xff_num_trusted_hops.checked_sub(1);
    let said = behind.and_then(|hops| from_the_right(headers, hops));
    let (client, port) = said.map_or((peer, connection.remote.port()), |(client, _)| (client, 0));
    if !config.skip_xff_append {
        let address = if peer.is_loopback() { connection.node_address } else { peer };
        let address = address_bytes(address);
        let value = headers::get(headers, "x-forwarded-for")
            .map_or_else(|| address.clone(), |old| headers::joined(old, &address));
        headers::set_slot(headers, "x-forwarded-for", value);
    }
    if config.xff_num_trusted_hops == 0 || !headers::has(headers, "x-forwarded-proto") {
        forwarded_proto(headers, connection);
    }
    if config.append_x_forwarded_port
        && (config.xff_num_trusted_hops == 0 || !headers::has(headers, "x-forwarded-port"))
    {
        forwarded_port(headers, connection);
    }
    Admitted { client, port, stripped_port: None, internal: first_hop && is_internal(client) }
}

fn forwarded_proto(headers: &mut HeaderList, connection: &ConnectionInfo) {
    headers::set_slot(headers, "x-forwarded-proto", Bytes::from_static(own_scheme(connection)));
}

fn forwarded_port(headers: &mut HeaderList, connection: &ConnectionInfo) {
    headers::set_slot(headers, "x-forwarded-port", Bytes::from(connection.local.port().to_string()));
}

fn own_scheme(connection: &ConnectionInfo) -> &'static [u8] {
    if connection.tls.is_some() { b"https" } else { b"http" }
}

/// The entry of `x-forwarded-for` with `hops` entries to its right, and whether it is the only one.
fn from_the_right(headers: &[(Bytes, Bytes)], hops: usize) -> Option<(IpAddr, bool)> {
    let value = headers::get(headers, "x-forwarded-for")?;
    let entry = value.rsplit(|&b| b == b',').nth(hops)?;
    let text = std::str::from_utf8(entry.trim_ascii()).ok()?;
    Some((text.parse().ok()?, !value.contains(&b',')))
}

/// Kept in lower case if the client sent one; else what `x-forwarded-proto` says, if that is a scheme; else the connection's own.
fn scheme(headers: &mut HeaderList, connection: &ConnectionInfo) {
    if let Some(sent) = headers::get(headers, ":scheme") {
        if sent.iter().any(u8::is_ascii_uppercase) {
            let lower = Bytes::from(sent.to_ascii_lowercase());
            headers::set_slot(headers, ":scheme", lower);
        }
        return;
    }
    let scheme = match forwarded_scheme(headers) {
        Some(said) if said.eq_ignore_ascii_case(b"https") => &b"https"[..],
        Some(_) => b"http",
        None => own_scheme(connection),
    };
    headers::put(headers, Bytes::from_static(b":scheme"), Bytes::from_static(scheme));
}

/// An origin is sent a scheme it may know, whatever the client said.
pub fn scheme_for_origins(headers: &mut HeaderList, connection: &ConnectionInfo) {
    if headers::get(headers, ":scheme").is_none_or(|sent| sent != "http" && sent != "https") {
        // As somebody in front wrote it.
        let scheme = forwarded_scheme(headers).cloned();
        let scheme = scheme.unwrap_or_else(|| Bytes::from_static(own_scheme(connection)));
        headers::set_slot(headers, ":scheme", scheme);
    }
}

fn forwarded_scheme(headers: &[(Bytes, Bytes)]) -> Option<&Bytes> {
    let known = |said: &&Bytes| [&b"http"[..], b"https"].iter().any(|known| known.eq_ignore_ascii_case(said));
    headers::get(headers, "x-forwarded-proto").filter(known)
}

fn internal_headers(headers: &mut HeaderList, config: &EdgeConfig, internal: bool) {
    if internal {
        headers::set_slot(headers, "x-envoy-internal", Bytes::from_static(b"true"));
        return;
    }
    let listed = |list: &[&str], name: &[u8]| list.iter().any(|known| known.as_bytes() == name);
    headers.retain(|(name, _)| {
        let stripped = name.starts_with(b"x-envoy-")
            && (listed(&EXTERNAL, name) || (config.use_remote_address && listed(&AT_THE_EDGE, name)));
        !stripped && !config.internal_only_headers.contains(name)
    });
}

/// `via: a, b`
pub(super) fn append_via(headers: &mut HeaderList, config: &EdgeConfig) {
    let value = match headers::get(headers, "via").filter(|old| !old.is_empty()) {
        Some(old) => Bytes::from([old.as_ref(), b", ", config.via.as_ref()].concat()),
        None => config.via.clone(),
    };
    headers::set_slot(headers, "via", value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, &str)]) -> HeaderList {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        pairs.iter().map(|(name, value)| (bytes(name), bytes(value))).collect()
    }

    #[test]
    fn the_last_dot_goes_if_it_ends_the_host() {
        for (authority, without) in [
            ("a.", "a"),
            ("a.:80", "a:80"),
            ("a..", "a."),
            ("a.b", "a.b"),
            ("a", "a"),
            (".:,a.example", ".:,a.example"),
            ("a.:1:2", "a:1:2"),
            ("", ""),
        ] {
            assert_eq!(without_last_dot(&Bytes::from_static(authority.as_bytes())), without, "{authority}");
        }
    }

    #[test]
    fn a_port_that_was_dropped_is_told_to_who_is_to_connect() {
        for (method, authority, stripped, told) in [
            ("CONNECT", "a", Some(80), "a:80"),
            ("CONNECT", "[::1]", Some(80), "[::1]:80"),
            ("CONNECT", "b:1", Some(80), "b:1"),
            ("CONNECT", "a", None, "a"),
            ("GET", "a", Some(80), "a"),
        ] {
            let mut headers = list(&[(":authority", authority), (":method", method)]);
            port_for_origins(&mut headers, stripped);
            assert_eq!(headers::get(&headers, ":authority").unwrap(), told, "{method} {authority}");
        }
    }
}
