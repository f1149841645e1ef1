//! The `host-sim` program: see `host-sim --help`, and the library beside this file.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    host_sim::main(std::env::args_os())
}
