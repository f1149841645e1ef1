//! Filter state that Envoy itself reads: which keys there are, what they take, and what of it can be read back.

use std::net::{IpAddr, SocketAddr};

/// What is under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    Text,
    Bool,
    /// Whatever is not "true" is false.
    Flag,
    U32,
    U64,
    /// Shown without a port's number.
    Ip,
    /// Has fields, and shows none of them as a whole.
    Address,
    /// Cannot be shown.
    Hidden,
    /// A host, and the address of the proxy that knows it. Cannot be shown.
    Proxy,
}

/// The object under this key, if Envoy makes one.
pub(crate) fn named(key: &[u8]) -> Option<Object> {
    Some(match key {
        b"envoy.hashable_string"
        | b"envoy.string"
        | b"envoy.network.upstream_server_name"
        | b"envoy.network.upstream_subject_alt_names"
        | b"envoy.tcp_proxy.cluster"
        | b"envoy.network.network_namespace"
        | b"envoy.ai.model.request"
        | b"envoy.upstream.dynamic_host" => Object::Text,
        b"envoy.bool" => Object::Bool,
        b"envoy.tcp_proxy.disable_tunneling" => Object::Flag,
        b"envoy.upstream.dynamic_port" => Object::U32,
        b"envoy.ratelimit.hits_addend" | b"envoy.tcp_proxy.per_connection_idle_timeout_ms" => Object::U64,
        b"envoy.network.ip" => Object::Ip,
        b"envoy.filters.listener.original_dst.local_ip"
        | b"envoy.filters.listener.original_dst.remote_ip"
        | b"envoy.network.transport_socket.original_dst_address" => Object::Address,
        b"envoy.network.application_protocols" | b"envoy.router.debug_config" => Object::Hidden,
        b"envoy.network.transport_socket.http_11_proxy.info" => Object::Proxy,
        _ => return None,
    })
}

impl Object {
    /// The object as text, made from a text; `None` if it is none of its kind.
    pub(crate) fn parse(self, text: &str) -> Option<String> {
        match self {
            Object::Text | Object::Hidden => Some(text.to_owned()),
            Object::Bool => text.parse::<bool>().ok().map(|yes| yes.to_string()),
            Object::Flag => Some((text == "true").to_string()),
            Object::U32 => text.parse::<u32>().ok().map(|number| number.to_string()),
            Object::U64 => text.parse::<u64>().ok().map(|number| number.to_string()),
            Object::Proxy => {
                let (_, proxy) = text.split_once(',')?;
                proxy.parse::<SocketAddr>().ok().map(|_| text.to_owned())
            }
            Object::Ip => Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 0).to_string()),
            Object::Address => text.parse::<SocketAddr>().ok().map(|address| address.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn takes(key: &str, text: &str, shown: Option<&str>) {
        assert_eq!(named(key.as_bytes()).and_then(|object| object.parse(text)).as_deref(), shown, "{key}={text}");
    }

    #[test]
    fn keys_take_what_envoy_makes_objects_of() {
        takes("envoy.string", "some", Some("some"));
        takes("envoy.tcp_proxy.disable_tunneling", "perhaps", Some("false"));
        takes("envoy.upstream.dynamic_port", "99999", Some("99999"));
        takes("envoy.upstream.dynamic_port", "eighty", None);
        takes("envoy.ratelimit.hits_addend", "", None);
        takes("envoy.network.ip", "127.0.0.1", Some("127.0.0.1:0"));
        takes("envoy.network.ip", "nowhere", None);
        takes("envoy.nothing", "some", None);
    }
}
