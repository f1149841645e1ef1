//! What is tried in every callback. Nothing here moves the stream.

use crate::{abi::*, report};

/// Runs a raw call on a fresh answer.
macro_rules! call {
    ($function:ident($($arg:expr),*)) => {{
        reset();
        // SAFETY: the host checks every pointer; those that are valid point into this module's memory.
        unsafe { $function($($arg),*) }
    }};
}

/// Pairs in wire form.
pub fn pairs(list: &[(&str, &str)]) -> Vec<u8> {
    let mut out = (list.len() as u32).to_le_bytes().to_vec();
    for (key, value) in list {
        out.extend((key.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    for (key, value) in list {
        out.extend(key.as_bytes());
        out.push(0);
        out.extend(value.as_bytes());
        out.push(0);
    }
    out
}

/// The names and values of a map, without those a gateway adds of its own.
pub fn read_map(map: u32) -> String {
    call!(proxy_get_header_map_pairs(map, word(0), word(1)));
    let bytes = given();
    if bytes.is_empty() {
        return "none".to_owned();
    }
    let at = |index: usize| u32::from_le_bytes(bytes[index..index + 4].try_into().unwrap()) as usize;
    let (count, mut position) = (at(0), 4 + at(0) * 8);
    let mut out = String::new();
    for index in 0..count {
        let (key_len, value_len) = (at(4 + index * 8), at(8 + index * 8));
        let key = String::from_utf8_lossy(&bytes[position..position + key_len]).into_owned();
        position += key_len + 1;
        let value = String::from_utf8_lossy(&bytes[position..position + value_len]).into_owned();
        position += value_len + 1;
        if key.starts_with("x-p") || key.starts_with("x-orig") || key.starts_with(':') && !key.starts_with(":status") {
            out += &format!(" {key}={value:?}");
        }
    }
    out
}

pub fn maps(phase: &str) {
    for map in 0..10 {
        let (path, missing, mixed) = (at(b":path"), at(b"x-missing"), at(b"X-PROBE"));
        let size = call!(proxy_get_header_map_size(map, word(0)));
        let pairs = call!(proxy_get_header_map_pairs(map, word(0), word(1)));
        let empty = answer(1) == 0;
        let null = answer(0) == 0;
        report(
            phase,
            &format!("map {map} size, pairs"),
            format!("{size} {pairs} {}", if empty && null { "null" } else { "some" }),
        );
        let path_code = call!(proxy_get_header_map_value(map, path.0, path.1, word(0), word(1)));
        let missing_code = call!(proxy_get_header_map_value(map, missing.0, missing.1, word(0), word(1)));
        let mixed_code = call!(proxy_get_header_map_value(map, mixed.0, mixed.1, word(0), word(1)));
        report(
            phase,
            &format!("map {map} :path, missing, X-PROBE"),
            format!("{path_code} {missing_code} {mixed_code} {:?}", String::from_utf8_lossy(&given())),
        );
        let (key, value) = (at(b"X-P-Added"), at(b"1"));
        let add = call!(proxy_add_header_map_value(map, key.0, key.1, value.0, value.1));
        let again = call!(proxy_add_header_map_value(map, key.0, key.1, value.0, value.1));
        let read = call!(proxy_get_header_map_value(map, key.0, key.1, word(0), word(1)));
        let got = String::from_utf8_lossy(&given()).into_owned();
        let replace = call!(proxy_replace_header_map_value(map, key.0, key.1, key.0, key.1));
        let remove = call!(proxy_remove_header_map_value(map, key.0, key.1));
        let remove_missing = call!(proxy_remove_header_map_value(map, missing.0, missing.1));
        report(
            phase,
            &format!("map {map} add add get replace remove remove"),
            format!("{add} {again} {read} {got:?} {replace} {remove} {remove_missing}"),
        );
    }
    let key = at(b"x-p");
    let bad = [
        call!(proxy_get_header_map_value(0, BAD, 100, word(0), word(1))),
        call!(proxy_get_header_map_value(0, key.0, key.1, BAD, word(1))),
        call!(proxy_get_header_map_value(99, BAD, 100, word(0), word(1))),
        call!(proxy_get_header_map_pairs(0, BAD, word(1))),
        call!(proxy_get_header_map_pairs(0, word(0), BAD)),
        call!(proxy_get_header_map_size(0, BAD)),
        call!(proxy_add_header_map_value(0, BAD, 100, key.0, key.1)),
        call!(proxy_add_header_map_value(0, key.0, key.1, BAD, 100)),
        call!(proxy_add_header_map_value(99, BAD, 100, key.0, key.1)),
        call!(proxy_replace_header_map_value(0, key.0, key.1, 1, 0xffff_ffff)),
        call!(proxy_remove_header_map_value(0, BAD, 100)),
        call!(proxy_set_header_map_pairs(0, BAD, 100)),
        call!(proxy_set_header_map_pairs(9, key.0, key.1)),
    ];
    report(phase, "maps with bad arguments", format!("{bad:?}"));
}

pub fn buffers(phase: &str) {
    for buffer in 0..11 {
        let status = call!(proxy_get_buffer_status(buffer, word(0), word(1)));
        let (len, flags) = if status == 0 { (answer(0), answer(1)) } else { (0, 0) };
        let mut reads = String::new();
        for (start, len) in [(0, 10), (2, 3), (1000, 1), (0, u32::MAX), (u32::MAX, u32::MAX), (3, 0)] {
            let code = call!(proxy_get_buffer_bytes(buffer, start, len, word(0), word(1)));
            reads += &format!(" {code}:{}", String::from_utf8_lossy(&given()));
        }
        // The scratch buffer of foreign functions shows whatever was looked at last: not to be relied on.
        if buffer != 8 {
            report(phase, &format!("buffer {buffer}"), format!("{status} len {len} flags {flags} reads{reads}"));
        }
    }
    let data = at(b"data");
    let bad = [
        call!(proxy_get_buffer_status(0, BAD, word(1))),
        call!(proxy_get_buffer_status(0, word(0), BAD)),
        call!(proxy_get_buffer_bytes(0, 0, 10, BAD, word(1))),
        call!(proxy_get_buffer_bytes(0, 0, 10, word(0), BAD)),
        call!(proxy_set_buffer_bytes(0, 0, 0, BAD, 100)),
        call!(proxy_set_buffer_bytes(99, 0, 0, BAD, 100)),
        call!(proxy_set_buffer_bytes(4, 0, 0, data.0, data.1)),
        call!(proxy_set_buffer_bytes(5, 0, 0, data.0, data.1)),
        call!(proxy_set_buffer_bytes(6, 0, 0, data.0, data.1)),
        call!(proxy_set_buffer_bytes(2, 0, 0, data.0, data.1)),
        call!(proxy_set_buffer_bytes(3, 0, 0, data.0, data.1)),
    ];
    report(phase, "buffers with bad arguments", format!("{bad:?}"));
}

/// Attributes whose value does not depend on who runs the stream.
const STABLE: &[&str] = &[
    "",
    "\0",
    "request",
    "response",
    "connection",
    "upstream",
    "source",
    "destination",
    "metadata",
    "filter_state",
    "xds",
    "node",
    "cluster_name",
    "route_name",
    "listener_direction",
    "nothing",
    "request.path",
    "request\0path",
    "request\0url_path",
    "request\0query",
    "request\0host",
    "request\0method",
    "request\0scheme",
    "request\0headers\0x-probe",
    "request\0headers\0X-PROBE",
    "request\0headers\0x-orig",
    "request\0headers\0missing",
    "request\0headers\0x-probe\0deeper",
    "request\0path\0deeper",
    "request\0referer",
    "request\0useragent",
    "request\0nothing",
    "request\0path\0",
    "response\0headers\0x-orig",
    "response\0trailers\0x-orig",
    "response\0nothing",
    "plugin_name",
    "plugin_root_id",
    "plugin_vm_id",
    "plugin_name\0deeper",
    "plugin_nothing",
    "xds\0node\0id",
    "xds\0node\0nothing",
    "xds\0nothing",
];

pub fn properties(phase: &str) {
    for path in STABLE {
        let (pointer, len) = at(path.as_bytes());
        let code = call!(proxy_get_property(pointer, len, word(0), word(1)));
        report(phase, &format!("property {path:?}"), format!("{code} {:?}", String::from_utf8_lossy(&given())));
    }
    // Whole maps come in an order of their own.
    for path in ["request\0headers", "response\0headers", "response\0trailers"] {
        let (pointer, len) = at(path.as_bytes());
        let code = call!(proxy_get_property(pointer, len, word(0), word(1)));
        report(phase, &format!("property {path:?}"), format!("{code} {}", given().len() > 4));
    }
    let (name, value) = (at(b"probe.set"), at(b"some value"));
    let set = call!(proxy_set_property(name.0, name.1, value.0, value.1));
    let get = call!(proxy_get_property(name.0, name.1, word(0), word(1)));
    let got = String::from_utf8_lossy(&given()).into_owned();
    let deep = at(b"probe.set\0deeper");
    let below = call!(proxy_get_property(deep.0, deep.1, word(0), word(1)));
    let builtin = at(b"plugin_name");
    let shadow = call!(proxy_set_property(builtin.0, builtin.1, value.0, value.1));
    report(phase, "set_property, get, below it, over a builtin", format!("{set} {get} {got:?} {below} {shadow}"));
    let bad = [
        call!(proxy_get_property(BAD, 100, word(0), word(1))),
        call!(proxy_get_property(builtin.0, builtin.1, BAD, word(1))),
        call!(proxy_get_property(builtin.0, builtin.1, word(0), BAD)),
        call!(proxy_set_property(BAD, 100, value.0, value.1)),
        call!(proxy_set_property(name.0, name.1, BAD, 100)),
    ];
    report(phase, "properties with bad arguments", format!("{bad:?}"));
}

/// Versions are told as steps: their absolute values depend on what else the process did.
pub fn shared_data(phase: &str) {
    let key = format!("probe {phase}");
    let (key, one, two) = (at(key.as_bytes()), at(b"one"), at(b"two"));
    let mut seen = String::new();
    let mut last = 0u32;
    let mut look = |what: &str, code: u32| {
        let get = call!(proxy_get_shared_data(key.0, key.1, word(0), word(1), word(2)));
        let (value, cas) = (String::from_utf8_lossy(&given()).into_owned(), if get == 0 { answer(2) } else { 0 });
        let step = if last == 0 || cas == 0 { 0 } else { cas.wrapping_sub(last) };
        last = cas;
        seen += &format!("{what}:{code}/{get}:{value}+{step} ");
        cas
    };
    look("absent", 0);
    look("never", call!(proxy_set_shared_data(key.0, key.1, one.0, one.1, u32::MAX)));
    look("never", call!(proxy_set_shared_data(key.0, key.1, two.0, two.1, u32::MAX)));
    let cas = look("blind", call!(proxy_set_shared_data(key.0, key.1, two.0, two.1, 0)));
    look("right", call!(proxy_set_shared_data(key.0, key.1, one.0, one.1, cas)));
    look("stale", call!(proxy_set_shared_data(key.0, key.1, two.0, two.1, cas)));
    look("empty", call!(proxy_set_shared_data(key.0, key.1, 0, 0, 0)));
    let null = answer(0);
    let bad = [
        call!(proxy_get_shared_data(BAD, 100, word(0), word(1), word(2))),
        call!(proxy_get_shared_data(key.0, key.1, BAD, word(1), word(2))),
        call!(proxy_get_shared_data(key.0, key.1, word(0), BAD, word(2))),
        call!(proxy_get_shared_data(key.0, key.1, word(0), word(1), BAD)),
        call!(proxy_set_shared_data(BAD, 100, one.0, one.1, 0)),
        call!(proxy_set_shared_data(key.0, key.1, BAD, 100, 0)),
    ];
    report(phase, "shared data", format!("{seen}null {null} bad {bad:?}"));
}

pub fn queues(phase: &str) {
    let (name, message) = (at(b"probe queue"), at(b"message"));
    let unknown = call!(proxy_resolve_shared_queue(0, 0, message.0, message.1, word(0)));
    let register = call!(proxy_register_shared_queue(name.0, name.1, word(0)));
    let id = answer(0);
    let resolve = call!(proxy_resolve_shared_queue(0, 0, name.0, name.1, word(0)));
    let same = answer(0) == id;
    let other_vm = call!(proxy_resolve_shared_queue(name.0, name.1, name.0, name.1, word(0)));
    let bad = [
        call!(proxy_dequeue_shared_queue(99, word(0), word(1))),
        call!(proxy_enqueue_shared_queue(99, message.0, message.1)),
        call!(proxy_enqueue_shared_queue(id, BAD, 100)),
        call!(proxy_register_shared_queue(BAD, 100, word(0))),
        call!(proxy_register_shared_queue(name.0, name.1, BAD)),
        call!(proxy_resolve_shared_queue(BAD, 100, name.0, name.1, word(0))),
        call!(proxy_resolve_shared_queue(0, 0, name.0, name.1, BAD)),
        call!(proxy_dequeue_shared_queue(id, BAD, word(1))),
    ];
    report(
        phase,
        "queues",
        format!("unknown {unknown} register {register} resolve {resolve} {same} other vm {other_vm} bad {bad:?}"),
    );
}

/// Values are told as steps, ids as they are: but for their beginning, which counts definitions.
pub fn metrics(phase: &str) {
    let mut ids = Vec::new();
    let mut line = String::new();
    for kind in 0..4 {
        let name = format!("probe.{phase}.{kind}");
        let (pointer, len) = at(name.as_bytes());
        let define = call!(proxy_define_metric(kind, pointer, len, word(0)));
        let first = answer(0);
        call!(proxy_define_metric(kind, pointer, len, word(0)));
        let step = answer(0).wrapping_sub(first);
        line += &format!("define {kind}: {define} low {} step {step}; ", if define == 0 { first & 3 } else { 9 });
        ids.push((define, first));
    }
    for (define, id) in ids {
        if define != 0 {
            continue;
        }
        let value = || {
            if call!(proxy_get_metric(id, word(0))) == 0 {
                u64::from(answer(0)) | u64::from(answer(1)) << 32
            } else {
                0
            }
        };
        let before = value();
        let mut step = |code: u32| line += &format!("{code}/{} ", value().wrapping_sub(before));
        step(call!(proxy_get_metric(id, word(0))));
        step(call!(proxy_increment_metric(id, 5)));
        step(call!(proxy_increment_metric(id, -2)));
        step(call!(proxy_increment_metric(id, 0)));
        step(call!(proxy_record_metric(id, 7)));
        step(call!(proxy_get_metric(id, BAD)));
        line += "; ";
    }
    for id in [0u32, 1, 2, 3, 4000, 4001, 4002, 4003, u32::MAX] {
        line += &format!(
            "{id}: {} {} {} ",
            call!(proxy_get_metric(id, word(0))),
            call!(proxy_increment_metric(id, 1)),
            call!(proxy_record_metric(id, 1))
        );
    }
    line += &format!(
        "bad {} {}",
        call!(proxy_define_metric(0, BAD, 100, word(0))),
        call!(proxy_define_metric(0, word(0), 4, BAD))
    );
    report(phase, "metrics", line);
}

pub fn system(phase: &str) {
    let text = at(b"P-noise");
    let logs: Vec<u32> = [0, 1, 6, 7, u32::MAX].iter().map(|level| call!(proxy_log(*level, text.0, text.1))).collect();
    report(phase, "log", format!("{logs:?} bad {} {}", call!(proxy_log(2, BAD, 100)), call!(proxy_log(9, BAD, 100))));
    report(
        phase,
        "get_log_level",
        format!("{} {} bad {}", call!(proxy_get_log_level(word(0))), answer(0), call!(proxy_get_log_level(BAD))),
    );
    report(
        phase,
        "time",
        format!(
            "{} bad {}",
            call!(proxy_get_current_time_nanoseconds(word(0))),
            call!(proxy_get_current_time_nanoseconds(BAD))
        ),
    );
    let status = call!(proxy_get_status(word(2), word(0), word(1)));
    report(phase, "get_status", format!("{status} {} {:?}", answer(2), String::from_utf8_lossy(&given())));
    report(
        phase,
        "get_status bad",
        format!(
            "{} {}",
            call!(proxy_get_status(BAD, word(0), word(1))),
            call!(proxy_get_status(word(2), BAD, word(1)))
        ),
    );
    let contexts: Vec<u32> = [9999, u32::MAX, 1, 0].iter().map(|id| call!(proxy_set_effective_context(*id))).collect();
    report(phase, "set_effective_context 9999, -1, 1, 0", format!("{contexts:?}"));
    let streams: Vec<u32> = [2, 3, 4, 7, u32::MAX].iter().map(|stream| call!(proxy_continue_stream(*stream))).collect();
    let closes: Vec<u32> = [2, 3, 4, u32::MAX].iter().map(|stream| call!(proxy_close_stream(*stream))).collect();
    report(phase, "continue 2 3 4 7 -1, close 2 3 4 -1", format!("{streams:?} {closes:?}"));
    report(phase, "done", format!("{}", call!(proxy_done())));
    report(phase, "pthread_equal", format!("{} {}", call!(pthread_equal(1, 1)), call!(pthread_equal(1, 2))));
}

pub fn calls(phase: &str) {
    let (nowhere, here) = (at(b"nowhere"), at(b"origin"));
    let good = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    let (good, without_path) = (at(&good), pairs(&[(":method", "GET"), (":authority", "a")]));
    let without_path = at(&without_path);
    let http = |cluster: (u32, u32), headers: (u32, u32), timeout: u32| {
        call!(proxy_http_call(cluster.0, cluster.1, headers.0, headers.1, 0, 0, 0, 0, timeout, word(0)))
    };
    report(
        phase,
        "http_call unknown, incomplete, negative, garbage, bad",
        format!(
            "{} {} {} {} {} {} id {}",
            http(nowhere, good, 10),
            http(here, without_path, 10),
            http(here, good, u32::MAX),
            http(here, here, 10),
            http((BAD, 100), good, 10),
            call!(proxy_http_call(here.0, here.1, good.0, good.1, 0, 0, 0, 0, 10, BAD)),
            {
                http(nowhere, good, 10);
                answer(0)
            }
        ),
    );
    let grpc = |cluster: (u32, u32)| {
        call!(proxy_grpc_call(cluster.0, cluster.1, here.0, here.1, here.0, here.1, 0, 0, 0, 0, 10, word(0)))
    };
    let stream = |cluster: (u32, u32)| {
        call!(proxy_grpc_stream(cluster.0, cluster.1, here.0, here.1, here.0, here.1, 0, 0, word(0)))
    };
    report(
        phase,
        "grpc unknown cluster, bad pointer",
        format!("{} {} {} {}", grpc(nowhere), stream(nowhere), grpc((BAD, 100)), stream((BAD, 100))),
    );
    let mut line = String::new();
    for id in [0u32, 4, 4001, 4002, 4003, u32::MAX] {
        line += &format!(
            "{id}: {} {} {} ",
            call!(proxy_grpc_send(id, here.0, here.1, 0)),
            call!(proxy_grpc_close(id)),
            call!(proxy_grpc_cancel(id))
        );
    }
    report(
        phase,
        "grpc send, close, cancel of unknown ids",
        line + &format!("bad {}", call!(proxy_grpc_send(4002, BAD, 100, 0))),
    );
}

pub fn foreign(phase: &str) {
    let garbage = at(b"\xff\xff\xff");
    for name in [
        "verify_signature",
        "sign",
        "compress",
        "uncompress",
        "set_envoy_filter_state",
        "clear_route_cache",
        "declare_property",
        "expr_create",
        "expr_evaluate",
        "expr_delete",
        "nothing",
        "get_cluster",
    ] {
        let (pointer, len) = at(name.as_bytes());
        // In a request's callback this one does something.
        let empty = call!(proxy_call_foreign_function(pointer, len, 0, 0, word(0), word(1)));
        let got = if empty == 0 && name != "expr_create" { given().len() } else { 0 };
        let bytes = call!(proxy_call_foreign_function(pointer, len, garbage.0, garbage.1, word(0), word(1)));
        report(phase, &format!("foreign {name} with nothing, garbage"), format!("{empty} ({got}) {bytes}"));
    }
    let name = at(b"uncompress");
    let packed = at(b"\x78\x9c\x4b\xcb\xcf\x07\x00\x02\x82\x01\x45");
    let code = call!(proxy_call_foreign_function(name.0, name.1, packed.0, packed.1, word(0), word(1)));
    report(phase, "foreign uncompress", format!("{code} {:?}", String::from_utf8_lossy(&given())));
    let bad = [
        call!(proxy_call_foreign_function(BAD, 100, 0, 0, word(0), word(1))),
        call!(proxy_call_foreign_function(name.0, name.1, BAD, 100, word(0), word(1))),
        call!(proxy_call_foreign_function(name.0, name.1, packed.0, packed.1, 0, 0)),
        call!(proxy_call_foreign_function(name.0, name.1, packed.0, packed.1, BAD, word(1))),
        call!(proxy_call_foreign_function(name.0, name.1, packed.0, packed.1, word(0), BAD)),
    ];
    report(phase, "foreign with bad arguments", format!("{bad:?}"));
}

pub fn wasi(phase: &str) {
    let text = at(b"x");
    let mut line = String::new();
    for clock in 0..4 {
        line += &format!("{} {} ", call!(clock_time_get(clock, 0, word(0))), call!(clock_res_get(clock, word(0))));
    }
    line += &format!("bad {} {}", call!(clock_time_get(0, 0, BAD)), call!(clock_res_get(0, BAD)));
    report(phase, "wasi clocks", line);
    report(
        phase,
        "wasi random",
        format!(
            "{} {} {} {} {}",
            call!(random_get(word(0), 16)),
            call!(random_get(word(0), 0)),
            call!(random_get(BAD, 16)),
            call!(random_get(word(0), 65_537)),
            call!(random_get(0, 65_536))
        ),
    );
    let sizes = call!(environ_sizes_get(word(0), word(1)));
    report(
        phase,
        "wasi environ",
        format!(
            "{sizes} {} {} get {} bad {}",
            answer(0),
            answer(1),
            call!(environ_get(word(0), word(6))),
            call!(environ_sizes_get(BAD, word(1)))
        ),
    );
    let args = call!(args_sizes_get(word(0), word(1)));
    report(
        phase,
        "wasi args",
        format!(
            "{args} {} {} {} bad {}",
            answer(0),
            answer(1),
            call!(args_get(BAD, BAD)),
            call!(args_sizes_get(word(0), BAD))
        ),
    );
    for fd in [0, 1, 2, 3] {
        let stat = call!(fd_fdstat_get(fd, word(0)));
        let rights = if stat == 0 { answer(2) } else { 0 };
        let line = [
            stat,
            rights,
            call!(fd_fdstat_set_flags(fd, 0)),
            call!(fd_fdstat_set_rights(fd, 0, 0)),
            call!(fd_filestat_get(fd, word(0))),
            call!(fd_filestat_set_size(fd, 0)),
            call!(fd_filestat_set_times(fd, 0, 0, 0)),
            call!(fd_advise(fd, 0, 0, 0)),
            call!(fd_allocate(fd, 0, 0)),
            call!(fd_datasync(fd)),
            call!(fd_sync(fd)),
            call!(fd_read(fd, word(0), 1, word(2))),
            call!(fd_pread(fd, word(0), 1, 0, word(2))),
            call!(fd_seek(fd, 0, 0, word(0))),
            call!(fd_close(fd)),
            call!(fd_tell(fd, word(0))),
            call!(fd_tell(fd, BAD)),
            call!(fd_readdir(fd, word(0), 4, 0, word(2))),
            call!(fd_readdir(fd, word(0), 4, 0, BAD)),
            call!(fd_renumber(fd, 1)),
            call!(fd_prestat_get(fd, word(0))),
            call!(fd_prestat_dir_name(fd, word(0), 4)),
            call!(fd_write(fd, BAD, 1, word(4))),
            call!(fd_write(fd, word(0), 0, BAD)),
            call!(fd_write(fd, word(0), 0, word(4))),
            call!(fd_pwrite(fd, word(0), 0, 0, word(4))),
            call!(sock_accept(fd, 0, word(0))),
            call!(sock_accept(fd, 0, BAD)),
            call!(sock_recv(fd, word(0), 1, 0, word(4), word(5))),
            call!(sock_recv(fd, word(0), 1, 0, word(4), BAD)),
            call!(sock_send(fd, word(0), 1, 0, word(4))),
            call!(sock_shutdown(fd, 0)),
        ];
        report(phase, &format!("wasi fd {fd}"), format!("{line:?}"));
    }
    let paths = [
        call!(path_open(3, 0, text.0, text.1, 0, 0, 0, 0, word(0))),
        call!(path_create_directory(3, text.0, text.1)),
        call!(path_filestat_get(3, 0, text.0, text.1, word(0))),
        call!(path_filestat_set_times(3, 0, text.0, text.1, 0, 0, 0)),
        call!(path_link(3, 0, text.0, text.1, 3, text.0)),
        call!(path_readlink(3, text.0, text.1, word(0), 4, word(2))),
        call!(path_readlink(3, text.0, text.1, word(0), 4, BAD)),
        call!(path_remove_directory(3, text.0, text.1)),
        call!(path_rename(3, text.0, text.1, 3, text.0, text.1)),
        call!(path_symlink(text.0, text.1, 3, text.0)),
        call!(path_unlink_file(3, text.0, text.1)),
    ];
    report(phase, "wasi paths", format!("{paths:?}"));
    report(
        phase,
        "wasi others",
        format!(
            "{} {} {} {}",
            call!(sched_yield()),
            call!(poll_oneoff(word(0), word(1), 0, word(4))),
            answer(4),
            call!(poll_oneoff(word(0), word(1), 0, BAD))
        ),
    );
}

/// All of it.
pub fn everything(phase: &str) {
    system(phase);
    maps(phase);
    buffers(phase);
    properties(phase);
    shared_data(phase);
    queues(phase);
    metrics(phase);
    calls(phase);
    foreign(phase);
    wasi(phase);
}
