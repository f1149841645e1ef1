//! Proxy-Wasm 0.2.1's hostcalls, with every status as a value.
//!
//! Source: <https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1>. The only unsafe code of the filters.
#![allow(unsafe_code, reason = "hostcalls exchange pointers into this module's memory")]

use std::ptr::{null, null_mut};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: i32, message: *const u8, size: usize) -> i32;
    fn proxy_get_buffer_bytes(kind: i32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_get_header_map_pairs(map: i32, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_add_header_map_value(
        map: i32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> i32;
    fn proxy_replace_header_map_value(
        map: i32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> i32;
    fn proxy_remove_header_map_value(map: i32, key: *const u8, key_size: usize) -> i32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> i32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> i32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> i32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> i32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        cas: *mut u32,
    ) -> i32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> i32;
    fn proxy_grpc_cancel(id: u32) -> i32;
    fn proxy_define_metric(kind: i32, name: *const u8, name_size: usize, id: *mut u32) -> i32;
    fn proxy_increment_metric(id: u32, by: i64) -> i32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> i32;
    fn proxy_set_effective_context(context: u32) -> i32;
    fn proxy_continue_stream(kind: i32) -> i32;
}

#[cfg(target_os = "wasi")]
#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> i32;
    fn clock_time_get(clock: i32, precision: u64, time: *mut u64) -> i32;
}

#[cfg(not(target_os = "wasi"))]
#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> i32;
}

/// A refusal; the number is the ABI's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) i32);

/// Which headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Map {
    Request,
    Response,
}

impl Map {
    fn number(self) -> i32 {
        match self {
            Map::Request => 0,
            Map::Response => 2,
        }
    }
}

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Warn,
    Error,
}

fn done(status: i32) -> Result<(), Refused> {
    if status == 0 { Ok(()) } else { Err(Refused(status)) }
}

/// What the host wrote through its two out-pointers, if anything.
fn taken(status: i32, data: *mut u8, size: usize) -> Result<Vec<u8>, Refused> {
    done(status)?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host asked this module's allocator for exactly `size` bytes and gives them away with this call.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

pub(crate) fn log(level: Level, text: &str) {
    let level = match level {
        Level::Warn => 3,
        Level::Error => 4,
    };
    // SAFETY: the slice outlives the call. There is nowhere to report a failure to.
    let _ = unsafe { proxy_log(level, text.as_ptr(), text.len()) };
}

/// Which bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffer {
    /// What a gRPC call answered; readable while it is delivered.
    GrpcAnswer,
    /// The plugin's configuration; readable while it is being configured.
    PluginConfiguration,
}

pub(crate) fn buffer(buffer: Buffer, size: usize) -> Result<Vec<u8>, Refused> {
    let number = match buffer {
        Buffer::GrpcAnswer => 5,
        Buffer::PluginConfiguration => 7,
    };
    let (mut data, mut length) = (null_mut(), 0);
    // SAFETY: both out-pointers live through the call.
    let status = unsafe { proxy_get_buffer_bytes(number, 0, size, &raw mut data, &raw mut length) };
    taken(status, data, length)
}

/// The serialised pairs of a map; see [`pairs`](crate::pairs).
pub(crate) fn header_pairs(map: Map) -> Result<Vec<u8>, Refused> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: both out-pointers live through the call.
    let status = unsafe { proxy_get_header_map_pairs(map.number(), &raw mut data, &raw mut size) };
    taken(status, data, size)
}

pub(crate) fn add_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    // SAFETY: the slices outlive the call.
    done(unsafe { proxy_add_header_map_value(map.number(), name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn replace_header(map: Map, name: &[u8], value: &[u8]) -> Result<(), Refused> {
    // SAFETY: the slices outlive the call.
    done(unsafe {
        proxy_replace_header_map_value(map.number(), name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

pub(crate) fn remove_header(map: Map, name: &[u8]) -> Result<(), Refused> {
    // SAFETY: the slice outlives the call.
    done(unsafe { proxy_remove_header_map_value(map.number(), name.as_ptr(), name.len()) })
}

/// A property; the path's segments are joined by NUL.
pub(crate) fn property(path: &str) -> Result<Vec<u8>, Refused> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: the slice and both out-pointers live through the call.
    let status = unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut data, &raw mut size) };
    taken(status, data, size)
}

pub(crate) fn set_property(path: &str, value: &[u8]) -> Result<(), Refused> {
    // SAFETY: the slices outlive the call.
    done(unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) })
}

/// Answers the stream; `headers` are serialised pairs.
pub(crate) fn send_local_response(
    status: u16,
    details: &str,
    body: &[u8],
    headers: &[u8],
    grpc_status: Option<u8>,
) -> Result<(), Refused> {
    let grpc_status = grpc_status.map_or(-1, i32::from);
    // SAFETY: the slices outlive the call.
    done(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// Calls a function of the proxy that the ABI does not know; what it returns is dropped.
pub(crate) fn call_foreign(name: &str) -> Result<(), Refused> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: the slice and both out-pointers live through the call; no argument is passed.
    let status =
        unsafe { proxy_call_foreign_function(name.as_ptr(), name.len(), null(), 0, &raw mut data, &raw mut size) };
    taken(status, data, size).map(drop)
}

/// What all workers share under a key, and the number of the write; status 1 for a key nobody wrote.
pub(crate) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Refused> {
    let (mut data, mut size, mut cas) = (null_mut(), 0, 0);
    // SAFETY: the slice and the three out-pointers live through the call.
    let status = unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), &raw mut data, &raw mut size, &raw mut cas) };
    taken(status, data, size).map(|value| (value, cas))
}

/// Writes unless the number has moved on (status 8).
pub(crate) fn set_shared_data(key: &str, value: &[u8], cas: u32) -> Result<(), Refused> {
    // SAFETY: the slices outlive the call.
    done(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) })
}

/// Nobody waits for that answer any more.
pub(crate) fn cancel_grpc(id: u32) -> Result<(), Refused> {
    // SAFETY: a plain number.
    done(unsafe { proxy_grpc_cancel(id) })
}

/// Nanoseconds on the process's monotonic clock: one clock for all its workers.
pub(crate) fn monotonic() -> u64 {
    let mut time = 0;
    #[cfg(target_os = "wasi")]
    // SAFETY: the out-pointer lives through the call. A refusal leaves 0: no time passes, so limits err towards refusing.
    let _ = unsafe { clock_time_get(1, 1, &raw mut time) };
    #[cfg(not(target_os = "wasi"))]
    // SAFETY: the same; without WASI the wall clock has to do.
    let _ = unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    time
}

/// Nanoseconds since 1970.
pub(crate) fn wall() -> u64 {
    let mut time = 0;
    #[cfg(target_os = "wasi")]
    // SAFETY: the out-pointer lives through the call. A refusal leaves 1970.
    let _ = unsafe { clock_time_get(0, 1, &raw mut time) };
    #[cfg(not(target_os = "wasi"))]
    // SAFETY: the same.
    let _ = unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
    time
}

/// Makes a counter known, or finds it.
pub(crate) fn define_counter(name: &str) -> Result<u32, Refused> {
    let mut id = 0;
    // SAFETY: the slice and the out-pointer live through the call.
    done(unsafe { proxy_define_metric(0, name.as_ptr(), name.len(), &raw mut id) }).map(|()| id)
}

pub(crate) fn increment(id: u32, by: i64) -> Result<(), Refused> {
    // SAFETY: plain numbers.
    done(unsafe { proxy_increment_metric(id, by) })
}

/// 0 stops the tick.
pub(crate) fn tick_every(millis: u32) -> Result<(), Refused> {
    // SAFETY: a plain number.
    done(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// Lets the calls that follow act on this stream; refused when it is gone.
pub(crate) fn act_on(context: u32) -> Result<(), Refused> {
    // SAFETY: a plain number.
    done(unsafe { proxy_set_effective_context(context) })
}

pub(crate) fn resume_request() -> Result<(), Refused> {
    // SAFETY: a plain number.
    done(unsafe { proxy_continue_stream(0) })
}

/// Random bytes of the proxy; unguessable where its WASI is.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    #[cfg_attr(not(target_os = "wasi"), expect(unused_mut, reason = "only WASI fills it"))]
    let mut bytes = [0; N];
    #[cfg(target_os = "wasi")]
    // SAFETY: the array outlives the call. A refusal leaves zeros.
    let _ = unsafe { random_get(bytes.as_mut_ptr(), N) };
    bytes
}
