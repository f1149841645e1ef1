//! The functions a host calls in a module: their signatures, checked once, and the typed functions, resolved once.

use wasmtime::{AsContextMut, Instance, TypedFunc};

use crate::{
    abi::{AbiVersion, Direction},
    plugin::PluginConfig,
    state::State,
};

/// A callback a module may export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as the exports are")]
pub enum Callback {
    OnTick,
    OnRequestHeaders,
    OnRequestBody,
    OnRequestTrailers,
    OnResponseHeaders,
    OnResponseBody,
    OnResponseTrailers,
    OnHttpCallResponse,
    OnGrpcReceive,
    OnQueueReady,
    OnDone,
    OnLog,
    OnDelete,
}

impl Callback {
    /// The export's name.
    pub fn name(self) -> &'static str {
        match self {
            Callback::OnTick => "proxy_on_tick",
            Callback::OnRequestHeaders => "proxy_on_request_headers",
            Callback::OnRequestBody => "proxy_on_request_body",
            Callback::OnRequestTrailers => "proxy_on_request_trailers",
            Callback::OnResponseHeaders => "proxy_on_response_headers",
            Callback::OnResponseBody => "proxy_on_response_body",
            Callback::OnResponseTrailers => "proxy_on_response_trailers",
            Callback::OnHttpCallResponse => "proxy_on_http_call_response",
            Callback::OnGrpcReceive => "proxy_on_grpc_receive",
            Callback::OnQueueReady => "proxy_on_queue_ready",
            Callback::OnDone => "proxy_on_done",
            Callback::OnLog => "proxy_on_log",
            Callback::OnDelete => "proxy_on_delete",
        }
    }
}

/// How many `i32` a function takes, and whether it answers one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) params: usize,
    pub(crate) result: bool,
}

const fn takes(params: usize) -> Signature {
    Signature { params, result: false }
}

const fn answers(params: usize) -> Signature {
    Signature { params, result: true }
}

/// What Envoy wants of each export it looks up; `None` for exports it does not know.
///
/// The two headers callbacks changed with 0.2.0. `_start` counts only without `_initialize`, `main` and `__main_void` only with it.
pub(crate) fn signature(export: &str, abi: AbiVersion) -> Option<Signature> {
    let headers = if abi == AbiVersion::V0_1_0 { answers(2) } else { answers(3) };
    Some(match export {
        "_initialize" | "_start" => takes(0),
        "main" => answers(2),
        "__main_void" => answers(0),
        "malloc" | "proxy_on_memory_allocate" => answers(1),
        "proxy_validate_configuration" | "proxy_on_vm_start" | "proxy_on_configure" => answers(2),
        "proxy_on_context_create" => takes(2),
        "proxy_on_tick" | "proxy_on_log" | "proxy_on_delete" => takes(1),
        "proxy_on_new_connection" | "proxy_on_done" => answers(1),
        "proxy_on_downstream_data" | "proxy_on_upstream_data" => answers(3),
        "proxy_on_downstream_connection_close" | "proxy_on_upstream_connection_close" | "proxy_on_queue_ready" => {
            takes(2)
        }
        "proxy_on_request_headers" | "proxy_on_response_headers" => headers,
        "proxy_on_request_body" | "proxy_on_response_body" => answers(3),
        "proxy_on_request_trailers"
        | "proxy_on_response_trailers"
        | "proxy_on_request_metadata"
        | "proxy_on_response_metadata" => answers(2),
        "proxy_on_http_call_response" => takes(5),
        "proxy_on_grpc_receive"
        | "proxy_on_grpc_close"
        | "proxy_on_grpc_receive_initial_metadata"
        | "proxy_on_grpc_receive_trailing_metadata" => takes(3),
        "proxy_on_foreign_function" if abi != AbiVersion::V0_1_0 => takes(3),
        "envoy_on_resolve_dns" => takes(3),
        "envoy_on_stats_update" => takes(2),
        _ => return None,
    })
}

/// The two forms of a headers callback.
#[derive(Clone)]
pub(crate) enum OnHeaders {
    V01(TypedFunc<(u32, u32), u32>),
    V02(TypedFunc<(u32, u32, u32), u32>),
}

impl OnHeaders {
    pub(crate) fn v01(&self) -> Option<&TypedFunc<(u32, u32), u32>> {
        if let OnHeaders::V01(function) = self { Some(function) } else { None }
    }

    pub(crate) fn v02(&self) -> Option<&TypedFunc<(u32, u32, u32), u32>> {
        if let OnHeaders::V02(function) = self { Some(function) } else { None }
    }
}

/// Root, call, and how many headers, bytes and trailers there are.
pub(crate) type FiveNumbers = (u32, u32, u32, u32, u32);

/// Everything a host calls, resolved. An export that is missing, or restricted by the plugin's configuration, is `None`.
pub(crate) struct Exports {
    pub(crate) initialize: Option<TypedFunc<(), ()>>,
    pub(crate) start: Option<TypedFunc<(), ()>>,
    pub(crate) main: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) main_void: Option<TypedFunc<(), u32>>,
    pub(crate) malloc: Option<TypedFunc<u32, u32>>,
    pub(crate) on_context_create: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) on_vm_start: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) on_configure: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) on_tick: Option<TypedFunc<u32, ()>>,
    pub(crate) on_request_headers: Option<OnHeaders>,
    pub(crate) on_request_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) on_request_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) on_response_headers: Option<OnHeaders>,
    pub(crate) on_response_body: Option<TypedFunc<(u32, u32, u32), u32>>,
    pub(crate) on_response_trailers: Option<TypedFunc<(u32, u32), u32>>,
    pub(crate) on_http_call_response: Option<TypedFunc<FiveNumbers, ()>>,
    pub(crate) on_grpc_receive: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) on_grpc_close: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) on_resolve_dns: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) on_grpc_receive_initial_metadata: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) on_grpc_receive_trailing_metadata: Option<TypedFunc<(u32, u32, u32), ()>>,
    pub(crate) on_queue_ready: Option<TypedFunc<(u32, u32), ()>>,
    pub(crate) on_done: Option<TypedFunc<u32, u32>>,
    pub(crate) on_log: Option<TypedFunc<u32, ()>>,
    pub(crate) on_delete: Option<TypedFunc<u32, ()>>,
}

impl Exports {
    /// Resolves all of them. Signatures were checked when the module was loaded, so a mismatch reads as "not there".
    pub(crate) fn resolve(
        instance: &Instance,
        mut store: impl AsContextMut<Data = State>,
        abi: AbiVersion,
        plugin: &PluginConfig,
    ) -> Exports {
        macro_rules! get {
            ($name:literal) => {
                instance.get_typed_func(&mut store, $name).ok()
            };
        }
        macro_rules! allowed {
            ($name:literal) => {
                if plugin.capability_allowed($name) { get!($name) } else { None }
            };
        }
        macro_rules! headers {
            ($name:literal) => {
                if abi == AbiVersion::V0_1_0 {
                    allowed!($name).map(OnHeaders::V01)
                } else {
                    allowed!($name).map(OnHeaders::V02)
                }
            };
        }
        let initialize = get!("_initialize");
        let reactor = initialize.is_some();
        Exports {
            start: if reactor { None } else { get!("_start") },
            main: if reactor { get!("main") } else { None },
            main_void: if reactor { get!("__main_void") } else { None },
            initialize,
            malloc: get!("malloc").or_else(|| get!("proxy_on_memory_allocate")),
            on_context_create: allowed!("proxy_on_context_create"),
            on_vm_start: allowed!("proxy_on_vm_start"),
            on_configure: allowed!("proxy_on_configure"),
            on_tick: allowed!("proxy_on_tick"),
            on_request_headers: headers!("proxy_on_request_headers"),
            on_request_body: allowed!("proxy_on_request_body"),
            on_request_trailers: allowed!("proxy_on_request_trailers"),
            on_response_headers: headers!("proxy_on_response_headers"),
            on_response_body: allowed!("proxy_on_response_body"),
            on_response_trailers: allowed!("proxy_on_response_trailers"),
            on_http_call_response: allowed!("proxy_on_http_call_response"),
            on_grpc_receive: allowed!("proxy_on_grpc_receive"),
            on_grpc_close: allowed!("proxy_on_grpc_close"),
            on_resolve_dns: get!("envoy_on_resolve_dns"),
            on_grpc_receive_initial_metadata: allowed!("proxy_on_grpc_receive_initial_metadata"),
            on_grpc_receive_trailing_metadata: allowed!("proxy_on_grpc_receive_trailing_metadata"),
            on_queue_ready: allowed!("proxy_on_queue_ready"),
            on_done: allowed!("proxy_on_done"),
            on_log: allowed!("proxy_on_log"),
            on_delete: allowed!("proxy_on_delete"),
        }
    }

    pub(crate) fn on_headers(&self, direction: Direction) -> Option<&OnHeaders> {
        match direction {
            Direction::Request => self.on_request_headers.as_ref(),
            Direction::Response => self.on_response_headers.as_ref(),
        }
    }

    /// Is this callback there to be called?
    pub(crate) fn has(&self, callback: Callback) -> bool {
        match callback {
            Callback::OnTick => self.on_tick.is_some(),
            Callback::OnRequestHeaders => self.on_request_headers.is_some(),
            Callback::OnRequestBody => self.on_request_body.is_some(),
            Callback::OnRequestTrailers => self.on_request_trailers.is_some(),
            Callback::OnResponseHeaders => self.on_response_headers.is_some(),
            Callback::OnResponseBody => self.on_response_body.is_some(),
            Callback::OnResponseTrailers => self.on_response_trailers.is_some(),
            Callback::OnHttpCallResponse => self.on_http_call_response.is_some(),
            Callback::OnGrpcReceive => self.on_grpc_receive.is_some(),
            Callback::OnQueueReady => self.on_queue_ready.is_some(),
            Callback::OnDone => self.on_done.is_some(),
            Callback::OnLog => self.on_log.is_some(),
            Callback::OnDelete => self.on_delete.is_some(),
        }
    }
}
