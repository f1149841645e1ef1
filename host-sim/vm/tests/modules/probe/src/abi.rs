//! The raw imports, and safe wrappers that keep what a call wrote.

/// Somewhere no memory of this module reaches.
pub const BAD: u32 = 0xffff_fff0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    pub fn proxy_log(level: u32, text: u32, len: u32) -> u32;
    pub fn proxy_get_log_level(level_to: u32) -> u32;
    pub fn proxy_get_current_time_nanoseconds(to: u32) -> u32;
    pub fn proxy_set_tick_period_milliseconds(millis: u32) -> u32;
    pub fn proxy_get_status(code_to: u32, message_to: u32, size_to: u32) -> u32;
    pub fn proxy_get_property(path: u32, len: u32, value_to: u32, size_to: u32) -> u32;
    pub fn proxy_set_property(path: u32, len: u32, value: u32, value_len: u32) -> u32;
    pub fn proxy_get_header_map_value(map: u32, key: u32, len: u32, value_to: u32, size_to: u32) -> u32;
    pub fn proxy_add_header_map_value(map: u32, key: u32, len: u32, value: u32, value_len: u32) -> u32;
    pub fn proxy_replace_header_map_value(map: u32, key: u32, len: u32, value: u32, value_len: u32) -> u32;
    pub fn proxy_remove_header_map_value(map: u32, key: u32, len: u32) -> u32;
    pub fn proxy_get_header_map_pairs(map: u32, pairs_to: u32, size_to: u32) -> u32;
    pub fn proxy_set_header_map_pairs(map: u32, pairs: u32, len: u32) -> u32;
    pub fn proxy_get_header_map_size(map: u32, size_to: u32) -> u32;
    pub fn proxy_get_buffer_status(buffer: u32, len_to: u32, flags_to: u32) -> u32;
    pub fn proxy_get_buffer_bytes(buffer: u32, start: u32, len: u32, to: u32, size_to: u32) -> u32;
    pub fn proxy_set_buffer_bytes(buffer: u32, start: u32, len: u32, data: u32, data_len: u32) -> u32;
    pub fn proxy_continue_stream(stream: u32) -> u32;
    pub fn proxy_close_stream(stream: u32) -> u32;
    pub fn proxy_send_local_response(
        status: u32,
        details: u32,
        details_len: u32,
        body: u32,
        body_len: u32,
        headers: u32,
        headers_len: u32,
        grpc: u32,
    ) -> u32;
    pub fn proxy_http_call(
        cluster: u32,
        cluster_len: u32,
        headers: u32,
        headers_len: u32,
        body: u32,
        body_len: u32,
        trailers: u32,
        trailers_len: u32,
        timeout: u32,
        id_to: u32,
    ) -> u32;
    pub fn proxy_grpc_call(
        target: u32,
        target_len: u32,
        service: u32,
        service_len: u32,
        method: u32,
        method_len: u32,
        metadata: u32,
        metadata_len: u32,
        message: u32,
        message_len: u32,
        timeout: u32,
        id_to: u32,
    ) -> u32;
    pub fn proxy_grpc_stream(
        target: u32,
        target_len: u32,
        service: u32,
        service_len: u32,
        method: u32,
        method_len: u32,
        metadata: u32,
        metadata_len: u32,
        id_to: u32,
    ) -> u32;
    pub fn proxy_grpc_send(id: u32, message: u32, len: u32, end: u32) -> u32;
    pub fn proxy_grpc_close(id: u32) -> u32;
    pub fn proxy_grpc_cancel(id: u32) -> u32;
    pub fn proxy_get_shared_data(key: u32, len: u32, value_to: u32, size_to: u32, cas_to: u32) -> u32;
    pub fn proxy_set_shared_data(key: u32, len: u32, value: u32, value_len: u32, cas: u32) -> u32;
    pub fn proxy_register_shared_queue(name: u32, len: u32, id_to: u32) -> u32;
    pub fn proxy_resolve_shared_queue(vm: u32, vm_len: u32, name: u32, len: u32, id_to: u32) -> u32;
    pub fn proxy_enqueue_shared_queue(id: u32, message: u32, len: u32) -> u32;
    pub fn proxy_dequeue_shared_queue(id: u32, to: u32, size_to: u32) -> u32;
    pub fn proxy_define_metric(kind: u32, name: u32, len: u32, id_to: u32) -> u32;
    pub fn proxy_increment_metric(id: u32, by: i64) -> u32;
    pub fn proxy_record_metric(id: u32, value: u64) -> u32;
    pub fn proxy_get_metric(id: u32, to: u32) -> u32;
    pub fn proxy_set_effective_context(id: u32) -> u32;
    pub fn proxy_done() -> u32;
    pub fn proxy_call_foreign_function(
        name: u32,
        len: u32,
        arguments: u32,
        arguments_len: u32,
        to: u32,
        size_to: u32,
    ) -> u32;
    pub fn pthread_equal(left: u32, right: u32) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    pub fn fd_write(fd: u32, pieces: u32, count: u32, written: u32) -> u32;
    pub fn fd_read(fd: u32, pieces: u32, count: u32, read: u32) -> u32;
    pub fn fd_seek(fd: u32, offset: i64, whence: u32, to: u32) -> u32;
    pub fn fd_close(fd: u32) -> u32;
    pub fn fd_fdstat_get(fd: u32, to: u32) -> u32;
    pub fn fd_fdstat_set_flags(fd: u32, flags: u32) -> u32;
    pub fn fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64) -> u32;
    pub fn environ_get(entries: u32, text: u32) -> u32;
    pub fn environ_sizes_get(count: u32, size: u32) -> u32;
    pub fn args_get(entries: u32, text: u32) -> u32;
    pub fn args_sizes_get(count: u32, size: u32) -> u32;
    pub fn clock_time_get(clock: u32, precision: u64, to: u32) -> u32;
    pub fn clock_res_get(clock: u32, to: u32) -> u32;
    pub fn fd_advise(fd: u32, offset: u64, len: u64, advice: u32) -> u32;
    pub fn fd_allocate(fd: u32, offset: u64, len: u64) -> u32;
    pub fn fd_datasync(fd: u32) -> u32;
    pub fn fd_filestat_set_size(fd: u32, size: u64) -> u32;
    pub fn fd_filestat_set_times(fd: u32, access: u64, change: u64, flags: u32) -> u32;
    pub fn fd_pread(fd: u32, pieces: u32, count: u32, offset: u64, read: u32) -> u32;
    pub fn fd_pwrite(fd: u32, pieces: u32, count: u32, offset: u64, written: u32) -> u32;
    pub fn fd_readdir(fd: u32, to: u32, len: u32, cookie: u64, size: u32) -> u32;
    pub fn fd_renumber(fd: u32, to: u32) -> u32;
    pub fn fd_sync(fd: u32) -> u32;
    pub fn fd_tell(fd: u32, to: u32) -> u32;
    pub fn path_create_directory(fd: u32, path: u32, len: u32) -> u32;
    pub fn path_filestat_set_times(
        fd: u32,
        flags: u32,
        path: u32,
        len: u32,
        access: u64,
        change: u64,
        times: u32,
    ) -> u32;
    pub fn path_link(fd: u32, flags: u32, path: u32, len: u32, to_fd: u32, to: u32) -> u32;
    pub fn path_readlink(fd: u32, path: u32, len: u32, to: u32, to_len: u32, size: u32) -> u32;
    pub fn path_remove_directory(fd: u32, path: u32, len: u32) -> u32;
    pub fn path_rename(fd: u32, path: u32, len: u32, to_fd: u32, to: u32, to_len: u32) -> u32;
    pub fn path_symlink(path: u32, len: u32, fd: u32, to: u32) -> u32;
    pub fn path_unlink_file(fd: u32, path: u32, len: u32) -> u32;
    pub fn sock_accept(fd: u32, flags: u32, to: u32) -> u32;
    pub fn sock_recv(fd: u32, pieces: u32, count: u32, flags: u32, len_to: u32, flags_to: u32) -> u32;
    pub fn sock_send(fd: u32, pieces: u32, count: u32, flags: u32, len_to: u32) -> u32;
    pub fn sock_shutdown(fd: u32, how: u32) -> u32;
    pub fn random_get(to: u32, len: u32) -> u32;
    pub fn sched_yield() -> u32;
    pub fn poll_oneoff(subscriptions: u32, out: u32, count: u32, events: u32) -> u32;
    pub fn path_open(
        fd: u32,
        dir_flags: u32,
        path: u32,
        len: u32,
        flags: u32,
        base: i64,
        inheriting: i64,
        fd_flags: u32,
        to: u32,
    ) -> u32;
    pub fn fd_prestat_get(fd: u32, to: u32) -> u32;
    pub fn fd_prestat_dir_name(fd: u32, path: u32, len: u32) -> u32;
    pub fn path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, to: u32) -> u32;
    pub fn fd_filestat_get(fd: u32, to: u32) -> u32;
}

/// Where calls write their answers: 64 bytes, set to 0xaa before each call so that what was not written shows.
static mut ANSWER: [u8; 64] = [0xaa; 64];

/// The address of word `index` of the answer.
pub fn word(index: u32) -> u32 {
    (&raw mut ANSWER) as u32 + index * 4
}

/// Word `index` of the answer.
pub fn answer(index: u32) -> u32 {
    // SAFETY: one thread, and the address is inside `ANSWER`.
    unsafe { (word(index) as *const u32).read_unaligned() }
}

/// Forgets the last answer.
pub fn reset() {
    // SAFETY: one thread.
    unsafe { (&raw mut ANSWER).write([0xaa; 64]) };
}

/// Pointer and length of text.
pub fn at(text: &[u8]) -> (u32, u32) {
    (text.as_ptr() as u32, text.len() as u32)
}

/// The bytes the last call handed out: pointer in word 0, size in word 1.
pub fn given() -> Vec<u8> {
    let (pointer, size) = (answer(0), answer(1));
    if pointer == 0 || pointer == 0xaaaa_aaaa {
        return Vec::new();
    }
    // SAFETY: the host allocated them through `malloc` below.
    unsafe { std::slice::from_raw_parts(pointer as *const u8, size as usize).to_vec() }
}

/// The host's way to memory. It is never given back: a probe does not live long.
#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: u32) -> u32 {
    Box::leak(vec![0u8; size as usize].into_boxed_slice()).as_mut_ptr() as u32
}
