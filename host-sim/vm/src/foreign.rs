//! What Envoy's foreign functions do.

use std::collections::BTreeMap;

use bytes::Bytes;
use miniz_oxide::{deflate, inflate};

use crate::{
    abi::{LogLevel, Status},
    protobuf::{self, Wire},
    state::State,
};

/// A function Envoy 1.40 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    ClearRouteCache,
    Compress,
    Uncompress,
    DeclareProperty,
    SetEnvoyFilterState,
    VerifySignature,
    Sign,
    ExprCreate,
    ExprEvaluate,
    ExprDelete,
}

impl Function {
    pub(crate) fn named(name: &[u8]) -> Option<Function> {
        Some(match name {
            b"clear_route_cache" => Function::ClearRouteCache,
            b"compress" => Function::Compress,
            b"uncompress" => Function::Uncompress,
            b"declare_property" => Function::DeclareProperty,
            b"set_envoy_filter_state" => Function::SetEnvoyFilterState,
            b"verify_signature" => Function::VerifySignature,
            b"sign" => Function::Sign,
            b"expr_create" => Function::ExprCreate,
            b"expr_evaluate" => Function::ExprEvaluate,
            b"expr_delete" => Function::ExprDelete,
            _ => return None,
        })
    }
}

/// What a packed kilobyte may become: a bomb fails as broken data does.
const MAX_UNCOMPRESSED: usize = 16 << 20;

/// Bytes for the module, or none.
pub(crate) fn call(state: &mut State, function: Function, arguments: &[u8]) -> Result<Option<Bytes>, Status> {
    match function {
        Function::ClearRouteCache => {
            if let Some(stream) = state.stream_mut() {
                stream.route_cleared = true;
            }
            Ok(None)
        }
        Function::Compress => Ok(Some(Bytes::from(deflate::compress_to_vec_zlib(arguments, 6)))),
        Function::Uncompress => {
            let plain = inflate::decompress_to_vec_zlib_with_limit(arguments, MAX_UNCOMPRESSED);
            plain.map(|plain| Some(Bytes::from(plain))).map_err(|_| Status::SerializationFailure)
        }
        Function::DeclareProperty => declare(state, arguments).map(|()| None),
        Function::SetEnvoyFilterState => set_envoy_filter_state(state, arguments).map(|()| None),
        Function::VerifySignature
        | Function::Sign
        | Function::ExprCreate
        | Function::ExprEvaluate
        | Function::ExprDelete => {
            if !arguments.is_empty() {
                let name = state.plugin.name.clone();
                state.report(LogLevel::Warn, &format!("wasm plugin {name}: the foreign function {function:?} is not offered by this host; Envoy has it"));
            }
            Err(Status::BadArgument)
        }
    }
}

/// Properties the plugin has declared: the name, and whether it can be written once only.
pub(crate) type Declared = BTreeMap<Vec<u8>, bool>;

/// Properties one context may declare.
const MAX_DECLARED: usize = 1024;

/// A declared property stays declared. Its type and life span make no difference to the bytes a module reads back.
fn declare(state: &mut State, arguments: &[u8]) -> Result<(), Status> {
    let (mut name, mut readonly) = (Vec::new(), false);
    for field in protobuf::fields(arguments).ok_or(Status::BadArgument)? {
        match (field.number, field.value) {
            (1, Wire::Bytes(text)) => name = text.to_vec(),
            (2, Wire::Varint(yes)) => readonly = yes != 0,
            _ => {}
        }
    }
    let declared = match state.stream_mut() {
        Some(stream) => &mut stream.declared,
        None => &mut state.root.declared,
    };
    if declared.contains_key(&name) || declared.len() >= MAX_DECLARED {
        return Err(Status::BadArgument);
    }
    declared.insert(name, readonly);
    Ok(())
}

/// Filter state that Envoy itself reads, by the keys it has factories for.
const ENVOY_STATE: &[&[u8]] = &[
    b"envoy.filters.listener.original_dst.local_ip",
    b"envoy.filters.listener.original_dst.remote_ip",
    b"envoy.hashable_string",
    b"envoy.network.application_protocols",
    b"envoy.network.transport_socket.original_dst_address",
    b"envoy.network.upstream_server_name",
    b"envoy.network.upstream_subject_alt_names",
    b"envoy.ratelimit.hits_addend",
    b"envoy.string",
    b"envoy.tcp_proxy.cluster",
    b"envoy.tcp_proxy.disable_tunneling",
    b"envoy.upstream.dynamic_host",
    b"envoy.upstream.dynamic_port",
];

fn set_envoy_filter_state(state: &State, arguments: &[u8]) -> Result<(), Status> {
    let (mut path, mut value) = (&[][..], &[][..]);
    for field in protobuf::fields(arguments).ok_or(Status::BadArgument)? {
        match (field.number, field.value) {
            (1, Wire::Bytes(text)) => path = text,
            (2, Wire::Bytes(text)) => value = text,
            _ => {}
        }
    }
    if !ENVOY_STATE.contains(&path) {
        return Err(Status::NotFound);
    }
    let stream = state.stream().ok_or(Status::NotFound)?;
    stream.info.set_filter_state(path, Bytes::copy_from_slice(value));
    Ok(())
}
