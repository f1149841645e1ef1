//! Foreign functions: the ones Envoy registers, by name.

use bytes::Bytes;

use crate::{
    abi::Status,
    foreign,
    guest::{Answer, Exit, Guest, put, slice, word},
};

/// Results are allocated in the module unless it passed a null pointer for them; pointer and size are written even on failure, as zeros.
pub(super) fn call(
    guest: &mut Guest<'_>,
    name: u32,
    name_len: u32,
    arguments: u32,
    arguments_len: u32,
    result_to: u32,
    size_to: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let name = slice(memory, name, name_len)?;
    let arguments = slice(memory, arguments, arguments_len)?;
    let function = foreign::Function::named(name).ok_or(Status::NotFound)?;
    let (status, result) = match foreign::call(state, function, arguments) {
        Ok(result) => (Ok(()), result),
        Err(status) => (Err(status), None),
    };
    let size = word(result.as_ref().map_or(0, Bytes::len))?;
    let mut pointer = 0;
    if let Some(result) = result
        && result_to != 0
    {
        pointer = guest.allocate(size)?;
        put(guest.memory(), pointer, &result)?;
    }
    if result_to != 0 {
        guest.write_u32(result_to, pointer)?;
    }
    if size_to != 0 {
        guest.write_u32(size_to, size)?;
    }
    status.map_err(Exit::Status)
}
