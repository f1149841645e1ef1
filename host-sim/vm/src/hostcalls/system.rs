//! Log, clock, ticks, status, and properties.

use crate::{
    abi::{Status, WireLogLevel},
    attributes,
    context::Target,
    guest::{Answer, Guest, slice},
};

pub(super) fn log(guest: &mut Guest<'_>, level: u32, text: u32, len: u32) -> Answer {
    let level = WireLogLevel::from_wire(level).ok_or(Status::BadArgument)?;
    let (memory, state) = guest.split();
    let text = slice(memory, text, len)?;
    state.log(level.into(), text);
    Ok(())
}

pub(super) fn get_log_level(guest: &mut Guest<'_>, level_to: u32) -> Answer {
    let level = guest.state().world.log_level().code();
    guest.write_u32(level_to, level)
}

pub(super) fn get_current_time(guest: &mut Guest<'_>, nanos_to: u32) -> Answer {
    let now = guest.state().world.now();
    guest.write(nanos_to, &now.to_le_bytes())
}

/// One timer per plugin, whoever asks; 0 stops it.
pub(super) fn set_tick_period(guest: &mut Guest<'_>, millis: u32) -> Answer {
    let state = guest.state();
    (state.tick_period_millis, state.tick_changed) = (millis, true);
    Ok(())
}

pub(super) fn get_status(guest: &mut Guest<'_>, code_to: u32, message_to: u32, size_to: u32) -> Answer {
    let (code, message) = guest.state().root.status.clone();
    guest.write_u32(code_to, code)?;
    guest.give(&message, message_to, size_to)
}

pub(super) fn get_property(guest: &mut Guest<'_>, path: u32, path_len: u32, value_to: u32, size_to: u32) -> Answer {
    let (memory, state) = guest.split();
    let value = attributes::find(state, slice(memory, path, path_len)?)?;
    guest.give(&value, value_to, size_to)
}

/// Kept as filter state `wasm.<path>`; there is none outside a stream.
pub(super) fn set_property(guest: &mut Guest<'_>, path: u32, path_len: u32, value: u32, value_len: u32) -> Answer {
    let (memory, state) = guest.split();
    let (path, value) = (slice(memory, path, path_len)?, slice(memory, value, value_len)?);
    let Target::Stream(_) = state.target() else { return Err(Status::NotFound.into()) };
    attributes::set(state, path, value)?;
    Ok(())
}
