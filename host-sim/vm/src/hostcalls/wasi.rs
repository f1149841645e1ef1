//! The part of WASI that Envoy offers: log through stdout and stderr, clocks, dice, environment; everything else is there and says no.

use crate::{
    abi::LogLevel,
    guest::{Guest, index, put, slice},
};

/// A WASI error number.
pub(super) type Errno = i32;

pub(super) const SUCCESS: Errno = 0;
pub(super) const BADF: Errno = 8;
pub(super) const NOTDIR: Errno = 20;
const FAULT: Errno = 21;
const INVAL: Errno = 28;
pub(super) const NOENT: Errno = 44;
pub(super) const NOSYS: Errno = 52;
pub(super) const NOTSUP: Errno = 58;

/// Dice at a time.
const MAX_RANDOM: u32 = 64 << 10;
/// Pieces of one write.
const MAX_PIECES: u32 = 1024;

fn write(guest: &mut Guest<'_>, pointer: u32, bytes: &[u8]) -> Errno {
    match put(guest.memory(), pointer, bytes) {
        Ok(()) => SUCCESS,
        Err(_) => FAULT,
    }
}

fn writes(guest: &mut Guest<'_>, values: &[(u32, &[u8])]) -> Errno {
    values
        .iter()
        .map(|(pointer, bytes)| write(guest, *pointer, bytes))
        .find(|errno| *errno != SUCCESS)
        .unwrap_or(SUCCESS)
}

fn is_output(fd: u32) -> bool {
    matches!(fd, 1 | 2)
}

/// Success for stdout and stderr, "bad file descriptor" for anything else.
pub(super) fn output_only(fd: u32) -> Errno {
    if is_output(fd) { SUCCESS } else { BADF }
}

/// One line of log per write: stdout is info, stderr is error.
pub(super) fn fd_write(guest: &mut Guest<'_>, fd: u32, pieces: u32, count: u32, written_to: u32) -> Errno {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return BADF,
    };
    let (memory, state) = guest.split();
    let Some(text) = gather(memory, pieces, count) else { return FAULT };
    if !text.is_empty() {
        state.log(level, text.strip_suffix(b"\n").unwrap_or(&text));
    }
    write(guest, written_to, &u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes())
}

fn gather(memory: &[u8], pieces: u32, count: u32) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for piece in 0..count.min(MAX_PIECES) {
        let entry = slice(memory, pieces.checked_add(piece.checked_mul(8)?)?, 8).ok()?;
        let (pointer, len) = entry.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(len.try_into().ok()?);
        if len != 0 {
            let bytes = slice(memory, u32::from_le_bytes(*pointer), len).ok()?;
            // What is logged is bounded anyway; the sum of many views of one memory is not.
            if text.len() < 1 << 20 {
                text.extend_from_slice(bytes);
            }
        }
    }
    Some(text)
}

pub(super) fn fd_pwrite(guest: &mut Guest<'_>, fd: u32, pieces: u32, count: u32, written_to: u32) -> Errno {
    fd_write(guest, fd, pieces, count, written_to)
}

/// Rights: to write. The rest of the 24 bytes is zero.
pub(super) fn fd_fdstat_get(guest: &mut Guest<'_>, fd: u32, stat_to: u32) -> Errno {
    if !is_output(fd) {
        return BADF;
    }
    let mut stat = [0; 24];
    if let Some(rights) = stat.get_mut(8) {
        *rights = 64;
    }
    // Envoy does not look whether it could write this.
    write(guest, stat_to, &stat);
    SUCCESS
}

pub(super) fn fd_tell(guest: &mut Guest<'_>, fd: u32, offset_to: u32) -> Errno {
    if is_output(fd) { write(guest, offset_to, &[0; 8]) } else { BADF }
}

pub(super) fn environ_sizes_get(guest: &mut Guest<'_>, count_to: u32, size_to: u32) -> Errno {
    let env = &guest.state().made_for.env;
    let count = u32::try_from(env.len()).unwrap_or(u32::MAX).to_le_bytes();
    let size = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
    let size = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    writes(guest, &[(count_to, &count), (size_to, &size)])
}

pub(super) fn environ_get(guest: &mut Guest<'_>, entries_to: u32, text_to: u32) -> Errno {
    let (memory, state) = guest.split();
    let (mut entry, mut text) = (entries_to, text_to);
    for (name, value) in &state.made_for.env {
        let line = format!("{name}={value}\0");
        if put(memory, entry, &text.to_le_bytes()).is_err() || put(memory, text, line.as_bytes()).is_err() {
            return FAULT;
        }
        entry = entry.saturating_add(4);
        text = text.saturating_add(u32::try_from(line.len()).unwrap_or(u32::MAX));
    }
    SUCCESS
}

pub(super) fn args_sizes_get(guest: &mut Guest<'_>, count_to: u32, size_to: u32) -> Errno {
    writes(guest, &[(count_to, &[0; 4]), (size_to, &[0; 4])])
}

pub(super) fn clock_time_get(guest: &mut Guest<'_>, clock: u32, time_to: u32) -> Errno {
    let world = &mut guest.state().world;
    let now = match clock {
        0 => world.now(),
        1 => world.monotonic(),
        _ => return NOTSUP,
    };
    write(guest, time_to, &now.to_le_bytes())
}

pub(super) fn clock_res_get(guest: &mut Guest<'_>, clock: u32, resolution_to: u32) -> Errno {
    if clock > 1 {
        return NOTSUP;
    }
    write(guest, resolution_to, &1u64.to_le_bytes())
}

pub(super) fn random_get(guest: &mut Guest<'_>, to: u32, len: u32) -> Errno {
    if len > MAX_RANDOM {
        return INVAL;
    }
    if len == 0 {
        return SUCCESS;
    }
    let (memory, state) = guest.split();
    let start = index(to);
    let Some(out) = memory.get_mut(start..start + index(len)) else { return FAULT };
    state.world.random(out);
    SUCCESS
}

/// Nothing ever happens, and that is a success: Go's runtime needs it.
pub(super) fn poll_oneoff(guest: &mut Guest<'_>, events_to: u32) -> Errno {
    write(guest, events_to, &[0; 4])
}

pub(super) fn proc_exit(guest: &mut Guest<'_>) {
    guest.state().report(LogLevel::Trace, "wasi_unstable proc_exit");
}

pub(super) fn answer_zero(guest: &mut Guest<'_>, to: u32, bytes: usize, errno: Errno) -> Errno {
    match write(guest, to, [0u8; 8].get(..bytes).unwrap_or_default()) {
        SUCCESS => errno,
        fault => fault,
    }
}

pub(super) fn sock_recv(guest: &mut Guest<'_>, len_to: u32, flags_to: u32) -> Errno {
    match writes(guest, &[(len_to, &[0; 4]), (flags_to, &[0; 2])]) {
        SUCCESS => NOTSUP,
        fault => fault,
    }
}
