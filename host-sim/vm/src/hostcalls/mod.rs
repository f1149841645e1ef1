//! Everything a module can import: names, signatures, and which version has what.

mod buffers;
mod calls;
mod foreign;
mod headers;
mod shared;
mod streams;
mod system;
mod wasi;

use std::collections::BTreeSet;

use wasmtime::{Caller, Engine, Linker};

use crate::{
    abi::{AbiVersion, Status},
    guest::{Answer, Exit, Guest, Scalar},
    state::{Phase, State},
};

/// WASI is offered under both of its names.
const WASI_MODULES: [&str; 2] = ["wasi_snapshot_preview1", "wasi_unstable"];
/// "Not capable".
const NOTCAPABLE: i32 = 76;

/// Which phases a function may be called in, besides the open one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Open,
    /// Also while the code initialises.
    Initialising,
    /// Also while memory is allocated for an answer.
    Always,
}

impl Allowed {
    fn permits(self, phase: Phase) -> bool {
        match phase {
            Phase::Open => true,
            Phase::Initialising => self != Allowed::Open,
            Phase::Allocating => self == Allowed::Always,
        }
    }
}

/// A function a module may import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) module: &'static str,
    pub(crate) name: &'static str,
    /// As V8 prints a type: `i32 i32 -> i32`, `void` for nothing.
    pub(crate) ty: String,
}

/// The list of what is offered, and the linker that is filled with it if one is wanted.
struct Offer<'a> {
    linker: Option<Linker<State>>,
    imports: Vec<Import>,
    allowed: Option<&'a BTreeSet<String>>,
}

impl Offer<'_> {
    /// Capabilities go by the import's name; a function that is not among them is a stub.
    fn is_stub(&self, name: &str) -> bool {
        self.allowed.is_some_and(|allowed| !allowed.contains(name))
    }

    /// Puts a function on the list, by the Rust types of its parameters.
    fn list(&mut self, module: &'static str, name: &'static str, params: &[&str], result: &str) {
        let words: Vec<&str> = params.iter().map(|param| if param.ends_with("64") { "i64" } else { "i32" }).collect();
        let params = if words.is_empty() { "void".to_owned() } else { words.join(" ") };
        self.imports.push(Import { module, name, ty: format!("{params} -> {result}") });
    }
}

/// Calls into the host while it may not be called are traps, as in Envoy.
fn enter<'a>(caller: Caller<'a, State>, allowed: Allowed, name: &'static str) -> wasmtime::Result<Guest<'a>> {
    if allowed.permits(caller.data().phase) {
        Ok(Guest::new(caller))
    } else {
        Err(wasmtime::Error::new(crate::trap::Restricted(name)))
    }
}

fn answer(result: Answer) -> wasmtime::Result<i32> {
    match result {
        Ok(()) => Ok(Status::Ok.code()),
        Err(Exit::Status(status)) => Ok(status.code()),
        Err(Exit::Trap(trap)) => Err(trap),
    }
}

fn restricted(mut caller: Caller<'_, State>, what: &str) {
    caller.data_mut().report(crate::abi::LogLevel::Error, &format!("Attempted call to restricted {what}"));
}

macro_rules! proxy {
    ($offer:ident, $phase:ident, $name:literal, $function:path $(, $arg:ident: $ty:ty)*) => {
        $offer.list("env", $name, &[$(stringify!($ty)),*], "i32");
        let stub = $offer.is_stub($name);
        match &mut $offer.linker {
            Some(linker) if stub => {
                linker.func_wrap("env", $name, |caller: Caller<'_, State>, $($arg: $ty),*| -> i32 {
                    $(let _ = $arg;)*
                    restricted(caller, concat!("proxy-wasm capability: ", $name));
                    Status::InternalFailure.code()
                })?;
            }
            Some(linker) => {
                linker.func_wrap("env", $name, |caller: Caller<'_, State>, $($arg: $ty),*| -> wasmtime::Result<i32> {
                    let mut guest = enter(caller, Allowed::$phase, concat!("env.", $name))?;
                    let status = answer($function(&mut guest, $($arg),*))?;
                    guest.trace($name, &[$((stringify!($arg), Scalar::scalar($arg))),*], status);
                    Ok(status)
                })?;
            }
            None => {}
        }
    };
}

macro_rules! wasi {
    ($offer:ident, $phase:ident, $name:literal, |$guest:ident $(, $arg:ident: $ty:ty)*| $body:expr) => {
        for module in WASI_MODULES {
            $offer.list(module, $name, &[$(stringify!($ty)),*], "i32");
            let stub = $offer.is_stub($name);
            match &mut $offer.linker {
                Some(linker) if stub => {
                    linker.func_wrap(module, $name, |caller: Caller<'_, State>, $($arg: $ty),*| -> i32 {
                        $(let _ = $arg;)*
                        restricted(caller, concat!("WASI capability: ", $name));
                        NOTCAPABLE
                    })?;
                }
                Some(linker) => {
                    linker.func_wrap(module, $name, |caller: Caller<'_, State>, $($arg: $ty),*| -> wasmtime::Result<i32> {
                        $(let _ = $arg;)*
                        let mut $guest = enter(caller, Allowed::$phase, $name)?;
                        let errno = $body;
                        $guest.trace($name, &[$((stringify!($arg), Scalar::scalar($arg))),*], errno);
                        Ok(errno)
                    })?;
                }
                None => {}
            }
        }
    };
}

/// All imports Envoy offers a module of this version; with `allowed`, those not named in it are stubs.
pub(crate) fn linker(
    engine: &Engine,
    abi: AbiVersion,
    allowed: Option<&BTreeSet<String>>,
) -> wasmtime::Result<Linker<State>> {
    let mut offer = Offer { linker: Some(Linker::new(engine)), imports: Vec::new(), allowed };
    fill(&mut offer, abi)?;
    offer.linker.ok_or_else(|| wasmtime::Error::msg("no linker"))
}

/// The list of those imports.
pub(crate) fn imports(abi: AbiVersion) -> Vec<Import> {
    let mut offer = Offer { linker: None, imports: Vec::new(), allowed: None };
    // Only a linker can fail.
    let _ = fill(&mut offer, abi);
    offer.imports
}

fn fill(offer: &mut Offer<'_>, abi: AbiVersion) -> wasmtime::Result<()> {
    emscripten(offer)?;
    proxy(offer)?;
    proxy_of_version(offer, abi)?;
    envoy(offer)?;
    wasi_working(offer)?;
    wasi_refusing(offer)
}

fn emscripten(offer: &mut Offer<'_>) -> wasmtime::Result<()> {
    offer.list("env", "pthread_equal", &["u32", "u32"], "i32");
    offer.list("env", "emscripten_notify_memory_growth", &["u32"], "void");
    let Some(linker) = &mut offer.linker else { return Ok(()) };
    linker.func_wrap(
        "env",
        "pthread_equal",
        |caller: Caller<'_, State>, left: u32, right: u32| -> wasmtime::Result<i32> {
            enter(caller, Allowed::Open, "env.pthread_equal").map(|_| i32::from(left == right))
        },
    )?;
    // Not while memory is allocated, though that is when memory grows: Envoy traps such a module.
    linker.func_wrap(
        "env",
        "emscripten_notify_memory_growth",
        |caller: Caller<'_, State>, _memory: u32| -> wasmtime::Result<()> {
            enter(caller, Allowed::Initialising, "env.emscripten_notify_memory_growth").map(drop)
        },
    )?;
    Ok(())
}

fn proxy(offer: &mut Offer<'_>) -> wasmtime::Result<()> {
    proxy!(offer, Always, "proxy_log", system::log, level: u32, text: u32, len: u32);
    proxy!(offer, Open, "proxy_get_status", system::get_status, code_to: u32, message_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_set_property", system::set_property, path: u32, path_len: u32, value: u32, value_len: u32);
    proxy!(offer, Open, "proxy_get_property", system::get_property, path: u32, path_len: u32, value_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_set_tick_period_milliseconds", system::set_tick_period, millis: u32);
    proxy!(offer, Open, "proxy_get_current_time_nanoseconds", system::get_current_time, nanos_to: u32);
    proxy!(offer, Open, "proxy_get_shared_data", shared::get_data, key: u32, key_len: u32, value_to: u32, size_to: u32, cas_to: u32);
    proxy!(offer, Open, "proxy_set_shared_data", shared::set_data, key: u32, key_len: u32, value: u32, value_len: u32, cas: u32);
    proxy!(offer, Open, "proxy_register_shared_queue", shared::register_queue, name: u32, name_len: u32, id_to: u32);
    proxy!(offer, Open, "proxy_resolve_shared_queue", shared::resolve_queue, vm_id: u32, vm_id_len: u32, name: u32, name_len: u32, id_to: u32);
    proxy!(offer, Open, "proxy_dequeue_shared_queue", shared::dequeue, queue: u32, message_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_enqueue_shared_queue", shared::enqueue, queue: u32, message: u32, len: u32);
    proxy!(offer, Open, "proxy_define_metric", shared::define_metric, kind: u32, name: u32, name_len: u32, id_to: u32);
    proxy!(offer, Open, "proxy_increment_metric", shared::increment_metric, id: u32, by: i64);
    proxy!(offer, Open, "proxy_record_metric", shared::record_metric, id: u32, value: u64);
    proxy!(offer, Open, "proxy_get_metric", shared::get_metric, id: u32, value_to: u32);
    proxy!(offer, Open, "proxy_get_header_map_value", headers::get_value, map: u32, key: u32, key_len: u32, value_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_add_header_map_value", headers::add_value, map: u32, key: u32, key_len: u32, value: u32, value_len: u32);
    proxy!(offer, Open, "proxy_replace_header_map_value", headers::replace_value, map: u32, key: u32, key_len: u32, value: u32, value_len: u32);
    proxy!(offer, Open, "proxy_remove_header_map_value", headers::remove_value, map: u32, key: u32, key_len: u32);
    proxy!(offer, Open, "proxy_get_header_map_pairs", headers::get_pairs, map: u32, pairs_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_set_header_map_pairs", headers::set_pairs, map: u32, pairs: u32, len: u32);
    proxy!(offer, Open, "proxy_get_header_map_size", headers::get_size, map: u32, size_to: u32);
    proxy!(offer, Open, "proxy_get_buffer_status", buffers::get_status, buffer: u32, len_to: u32, flags_to: u32);
    proxy!(offer, Open, "proxy_get_buffer_bytes", buffers::get_bytes, buffer: u32, start: u32, len: u32, bytes_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_set_buffer_bytes", buffers::set_bytes, buffer: u32, start: u32, len: u32, data: u32, data_len: u32);
    proxy!(offer, Open, "proxy_send_local_response", streams::send_local_response, status: u32, details: u32, details_len: u32, body: u32, body_len: u32, headers: u32, headers_len: u32, grpc_status: u32);
    proxy!(offer, Open, "proxy_set_effective_context", streams::set_effective_context, context: u32);
    proxy!(offer, Open, "proxy_done", streams::done);
    proxy!(offer, Open, "proxy_call_foreign_function", foreign::call, name: u32, name_len: u32, arguments: u32, arguments_len: u32, result_to: u32, size_to: u32);
    proxy!(offer, Open, "proxy_http_call", calls::http_call, cluster: u32, cluster_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32, trailers: u32, trailers_len: u32, timeout: u32, id_to: u32);
    proxy!(offer, Open, "proxy_grpc_call", calls::grpc_call, target: u32, target_len: u32, service: u32, service_len: u32, method: u32, method_len: u32, metadata: u32, metadata_len: u32, message: u32, message_len: u32, timeout: u32, id_to: u32);
    proxy!(offer, Open, "proxy_grpc_stream", calls::grpc_stream, target: u32, target_len: u32, service: u32, service_len: u32, method: u32, method_len: u32, metadata: u32, metadata_len: u32, id_to: u32);
    proxy!(offer, Open, "proxy_grpc_send", calls::grpc_send, id: u32, message: u32, len: u32, end: u32);
    proxy!(offer, Open, "proxy_grpc_close", calls::grpc_close, id: u32);
    proxy!(offer, Open, "proxy_grpc_cancel", calls::grpc_cancel, id: u32);
    Ok(())
}

fn proxy_of_version(offer: &mut Offer<'_>, abi: AbiVersion) -> wasmtime::Result<()> {
    if abi == AbiVersion::V0_1_0 {
        proxy!(offer, Open, "proxy_get_configuration", buffers::get_configuration, value_to: u32, size_to: u32);
        proxy!(offer, Open, "proxy_continue_request", streams::continue_request);
        proxy!(offer, Open, "proxy_continue_response", streams::continue_response);
        proxy!(offer, Open, "proxy_clear_route_cache", streams::clear_route_cache);
    } else {
        proxy!(offer, Open, "proxy_continue_stream", streams::continue_stream, stream: u32);
        proxy!(offer, Open, "proxy_close_stream", streams::close_stream, stream: u32);
    }
    if abi == AbiVersion::V0_2_1 {
        proxy!(offer, Open, "proxy_get_log_level", system::get_log_level, level_to: u32);
    }
    Ok(())
}

/// Envoy's own import, which no list of capabilities restricts.
fn envoy(offer: &mut Offer<'_>) -> wasmtime::Result<()> {
    let allowed = offer.allowed.take();
    proxy!(offer, Open, "envoy_resolve_dns", calls::resolve_dns, address: u32, address_len: u32, token_to: u32);
    offer.allowed = allowed;
    Ok(())
}

fn wasi_working(offer: &mut Offer<'_>) -> wasmtime::Result<()> {
    wasi!(offer, Always, "fd_write", |guest, fd: u32, pieces: u32, count: u32, written: u32| wasi::fd_write(
        &mut guest, fd, pieces, count, written
    ));
    wasi!(offer, Always, "clock_time_get", |guest, clock: u32, precision: u64, time: u32| wasi::clock_time_get(
        &mut guest, clock, time
    ));
    wasi!(offer, Always, "poll_oneoff", |guest, subscriptions: u32, out: u32, count: u32, events: u32| {
        wasi::poll_oneoff(&mut guest, events)
    });
    wasi!(offer, Initialising, "clock_res_get", |guest, clock: u32, resolution: u32| wasi::clock_res_get(
        &mut guest, clock, resolution
    ));
    wasi!(offer, Initialising, "random_get", |guest, to: u32, len: u32| wasi::random_get(&mut guest, to, len));
    wasi!(offer, Initialising, "environ_get", |guest, entries: u32, text: u32| wasi::environ_get(
        &mut guest, entries, text
    ));
    wasi!(offer, Initialising, "environ_sizes_get", |guest, count: u32, size: u32| wasi::environ_sizes_get(
        &mut guest, count, size
    ));
    wasi!(offer, Initialising, "args_get", |guest, entries: u32, text: u32| wasi::SUCCESS);
    wasi!(offer, Initialising, "args_sizes_get", |guest, count: u32, size: u32| wasi::args_sizes_get(
        &mut guest, count, size
    ));
    wasi!(offer, Initialising, "fd_fdstat_get", |guest, fd: u32, stat: u32| wasi::fd_fdstat_get(&mut guest, fd, stat));
    wasi!(offer, Initialising, "fd_pwrite", |guest, fd: u32, pieces: u32, count: u32, offset: u64, written: u32| {
        wasi::fd_pwrite(&mut guest, fd, pieces, count, written)
    });
    wasi!(offer, Initialising, "fd_tell", |guest, fd: u32, offset: u32| wasi::fd_tell(&mut guest, fd, offset));
    wasi!(offer, Initialising, "fd_advise", |guest, fd: u32, offset: u64, len: u64, advice: u32| wasi::SUCCESS);
    wasi!(offer, Initialising, "fd_allocate", |guest, fd: u32, offset: u64, len: u64| wasi::output_only(fd));
    wasi!(offer, Initialising, "fd_datasync", |guest, fd: u32| wasi::output_only(fd));
    wasi!(offer, Initialising, "fd_sync", |guest, fd: u32| wasi::output_only(fd));
    wasi!(offer, Initialising, "fd_fdstat_set_rights", |guest, fd: u32, base: u64, inheriting: u64| wasi::output_only(
        fd
    ));
    wasi!(offer, Initialising, "fd_filestat_set_size", |guest, fd: u32, size: u64| wasi::output_only(fd));
    wasi!(offer, Initialising, "fd_filestat_set_times", |guest, fd: u32, access: u64, change: u64, flags: u32| {
        wasi::output_only(fd)
    });
    wasi!(offer, Open, "sched_yield", |guest| wasi::SUCCESS);
    wasi!(offer, Open, "fd_seek", |guest, fd: u32, offset: i64, whence: u32, to: u32| wasi::SUCCESS);
    wasi!(offer, Open, "fd_close", |guest, fd: u32| wasi::SUCCESS);
    // It returns, in Envoy; most modules then run into `unreachable`.
    for module in WASI_MODULES {
        offer.list(module, "proc_exit", &["u32"], "void");
        let stub = offer.is_stub("proc_exit");
        let Some(linker) = &mut offer.linker else { continue };
        if stub {
            linker.func_wrap(module, "proc_exit", |caller: Caller<'_, State>, _code: u32| {
                restricted(caller, "WASI capability: proc_exit")
            })?;
        } else {
            linker.func_wrap(module, "proc_exit", |caller: Caller<'_, State>, _code: u32| -> wasmtime::Result<()> {
                wasi::proc_exit(&mut enter(caller, Allowed::Open, "proc_exit")?);
                Ok(())
            })?;
        }
    }
    Ok(())
}

fn wasi_refusing(offer: &mut Offer<'_>) -> wasmtime::Result<()> {
    wasi!(offer, Initialising, "fd_fdstat_set_flags", |guest, fd: u32, flags: u32| wasi::NOSYS);
    wasi!(offer, Initialising, "fd_filestat_get", |guest, fd: u32, stat: u32| wasi::BADF);
    wasi!(offer, Initialising, "fd_prestat_get", |guest, fd: u32, stat: u32| wasi::BADF);
    wasi!(offer, Initialising, "fd_prestat_dir_name", |guest, fd: u32, path: u32, len: u32| wasi::NOSYS);
    wasi!(offer, Initialising, "fd_pread", |guest, fd: u32, pieces: u32, count: u32, offset: u64, read: u32| {
        wasi::NOSYS
    });
    wasi!(offer, Initialising, "fd_readdir", |guest, fd: u32, to: u32, len: u32, cookie: u64, read: u32| {
        wasi::answer_zero(&mut guest, read, 4, wasi::NOTDIR)
    });
    wasi!(offer, Initialising, "fd_renumber", |guest, fd: u32, to: u32| if wasi::output_only(fd) == wasi::SUCCESS
        && wasi::output_only(to) == wasi::SUCCESS
    {
        wasi::NOTSUP
    } else {
        wasi::BADF
    });
    wasi!(offer, Open, "fd_read", |guest, fd: u32, pieces: u32, count: u32, read: u32| wasi::NOSYS);
    wasi!(offer, Open, "path_open", |guest,
                                     fd: u32,
                                     dir_flags: u32,
                                     path: u32,
                                     len: u32,
                                     flags: u32,
                                     base: i64,
                                     inheriting: i64,
                                     fd_flags: u32,
                                     to: u32| wasi::NOENT);
    wasi!(offer, Initialising, "path_create_directory", |guest, fd: u32, path: u32, len: u32| wasi::NOTSUP);
    wasi!(offer, Initialising, "path_filestat_get", |guest, fd: u32, flags: u32, path: u32, len: u32, to: u32| {
        wasi::NOTSUP
    });
    wasi!(
        offer,
        Initialising,
        "path_filestat_set_times",
        |guest, fd: u32, flags: u32, path: u32, len: u32, access: u64, change: u64, times: u32| wasi::NOTSUP
    );
    wasi!(offer, Initialising, "path_link", |guest, fd: u32, flags: u32, path: u32, len: u32, to_fd: u32, to: u32| {
        wasi::NOTSUP
    });
    wasi!(offer, Initialising, "path_readlink", |guest,
                                                 fd: u32,
                                                 path: u32,
                                                 len: u32,
                                                 to: u32,
                                                 to_len: u32,
                                                 size: u32| {
        wasi::answer_zero(&mut guest, size, 4, wasi::NOTSUP)
    });
    wasi!(offer, Initialising, "path_remove_directory", |guest, fd: u32, path: u32, len: u32| wasi::NOTSUP);
    wasi!(offer, Initialising, "path_rename", |guest,
                                               fd: u32,
                                               path: u32,
                                               len: u32,
                                               to_fd: u32,
                                               to: u32,
                                               to_len: u32| wasi::NOTSUP);
    wasi!(offer, Initialising, "path_symlink", |guest, path: u32, len: u32, fd: u32, to: u32| wasi::NOTSUP);
    wasi!(offer, Initialising, "path_unlink_file", |guest, fd: u32, path: u32, len: u32| wasi::NOTSUP);
    wasi!(offer, Initialising, "sock_accept", |guest, fd: u32, flags: u32, to: u32| wasi::answer_zero(
        &mut guest,
        to,
        8,
        wasi::NOTSUP
    ));
    wasi!(offer, Initialising, "sock_recv", |guest,
                                             fd: u32,
                                             pieces: u32,
                                             count: u32,
                                             flags: u32,
                                             len_to: u32,
                                             flags_to: u32| {
        wasi::sock_recv(&mut guest, len_to, flags_to)
    });
    wasi!(offer, Initialising, "sock_send", |guest, fd: u32, pieces: u32, count: u32, flags: u32, len_to: u32| {
        wasi::answer_zero(&mut guest, len_to, 4, wasi::NOTSUP)
    });
    wasi!(offer, Initialising, "sock_shutdown", |guest, fd: u32, how: u32| wasi::NOTSUP);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(abi: AbiVersion) -> Vec<String> {
        imports(abi).into_iter().map(|import| format!("{}.{}", import.module, import.name)).collect()
    }

    #[test]
    fn each_version_has_the_functions_of_its_own_alone() {
        let has = |abi, name: &str| named(abi).iter().any(|import| import == &format!("env.{name}"));
        for (name, versions) in [
            ("proxy_get_configuration", [true, false, false]),
            ("proxy_continue_request", [true, false, false]),
            ("proxy_clear_route_cache", [true, false, false]),
            ("proxy_continue_stream", [false, true, true]),
            ("proxy_close_stream", [false, true, true]),
            ("proxy_get_log_level", [false, false, true]),
            ("proxy_log", [true, true, true]),
        ] {
            assert_eq!(AbiVersion::ALL.map(|abi| has(abi, name)), versions, "{name}");
        }
    }

    #[test]
    fn wasi_is_there_whole_and_under_both_names() {
        let wasi = |module: &str| {
            imports(AbiVersion::V0_2_1)
                .into_iter()
                .filter(|import| import.module == module)
                .map(|import| import.name)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(wasi("wasi_snapshot_preview1").len(), 45);
        assert_eq!(wasi("wasi_snapshot_preview1"), wasi("wasi_unstable"));
    }
}
