//! A hostcall's view of the module that made it: its memory, its allocator, and the host's state.

use std::collections::BTreeMap;

use wasmtime::{AsContextMut, Caller};

use crate::{
    abi::Status,
    context::Target,
    state::{Phase, State},
    trace::{Argument, Record, Text},
};

/// The module, in the middle of a hostcall.
pub(crate) struct Guest<'a> {
    caller: Caller<'a, State>,
}

/// Why a hostcall ends early: with a result code, or with a trap of the module it re-entered.
#[derive(Debug)]
pub(crate) enum Exit {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for Exit {
    fn from(status: Status) -> Exit {
        Exit::Status(status)
    }
}

/// What a hostcall answers; `Ok` is the result code 0.
pub(crate) type Answer = Result<(), Exit>;

/// A pointer into 32-bit memory as an index.
pub(crate) fn index(pointer: u32) -> usize {
    // No host this runs on has pointers shorter than 32 bits.
    pointer as usize
}

/// The bytes a pointer and a length name.
pub(crate) fn slice(memory: &[u8], pointer: u32, len: u32) -> Result<&[u8], Status> {
    let start = index(pointer);
    memory.get(start..start + index(len)).ok_or(Status::InvalidMemoryAccess)
}

fn slice_mut(memory: &mut [u8], pointer: u32, len: usize) -> Result<&mut [u8], Status> {
    let start = index(pointer);
    memory.get_mut(start..start.saturating_add(len)).ok_or(Status::InvalidMemoryAccess)
}

pub(crate) fn put(memory: &mut [u8], pointer: u32, bytes: &[u8]) -> Result<(), Status> {
    slice_mut(memory, pointer, bytes.len())?.copy_from_slice(bytes);
    Ok(())
}

fn read(memory: &[u8], pointer: u32, len: u32) -> Option<Text> {
    slice(memory, pointer, len).ok().map(Text::from)
}

fn read_u32(memory: &[u8], pointer: i64) -> Option<u32> {
    let bytes = slice(memory, u32::try_from(pointer).ok()?, 4).ok()?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// A size in the guest's 32 bits. Nothing larger than its memory is ever handed to it.
pub(crate) fn word(size: usize) -> Result<u32, Status> {
    u32::try_from(size).map_err(|_| Status::InvalidMemoryAccess)
}

/// A parameter of a hostcall, by its name in the list of imports.
pub(crate) type Passed = (&'static str, i64);

/// Any parameter as a number for the record.
pub(crate) trait Scalar {
    fn scalar(self) -> i64;
}

impl Scalar for u32 {
    fn scalar(self) -> i64 {
        i64::from(self)
    }
}

impl Scalar for i64 {
    fn scalar(self) -> i64 {
        self
    }
}

impl Scalar for u64 {
    fn scalar(self) -> i64 {
        self.cast_signed()
    }
}

impl<'a> Guest<'a> {
    pub(crate) fn new(caller: Caller<'a, State>) -> Guest<'a> {
        Guest { caller }
    }

    pub(crate) fn state(&mut self) -> &mut State {
        self.caller.data_mut()
    }

    /// The memory and the state, to work with both.
    pub(crate) fn split(&mut self) -> (&mut [u8], &mut State) {
        match self.caller.data().memory {
            Some(memory) => memory.data_and_store_mut(&mut self.caller),
            // Only while the module's start function runs, which has no business with the host.
            None => (&mut [], self.caller.data_mut()),
        }
    }

    pub(crate) fn memory(&mut self) -> &mut [u8] {
        self.split().0
    }

    pub(crate) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Answer {
        Ok(put(self.memory(), pointer, bytes)?)
    }

    pub(crate) fn write_u32(&mut self, pointer: u32, value: u32) -> Answer {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Puts a hostcall that was answered on record.
    ///
    /// The names of its parameters say what they are: `X` and `X_len` (or a last `len`) are bytes passed, `X_to` and `size_to` are where bytes were put, any other `X_to` where a number was.
    pub(crate) fn trace(&mut self, name: &str, passed: &[Passed], status: i32) {
        if self.caller.data().trace.is_none() {
            return;
        }
        let (memory, state) = self.split();
        let (mut arguments, mut results) = (BTreeMap::new(), BTreeMap::new());
        let mut rest = passed;
        while let Some(((name, value), behind)) = rest.split_first() {
            rest = behind;
            let next = behind.first();
            if let Some(name) = name.strip_suffix("_to") {
                if status == 0 {
                    let at = |pointer: i64| read_u32(memory, pointer);
                    let bytes = next
                        .filter(|(next, _)| *next == "size_to")
                        .and_then(|(_, size_to)| read(memory, at(*value)?, at(*size_to)?));
                    let result = bytes
                        .map(Argument::Bytes)
                        .or_else(|| at(*value).map(|number| Argument::Number(i64::from(number))));
                    if !matches!(name, "size") {
                        results.extend(result.map(|result| (name.to_owned(), result)));
                    }
                }
            } else if let Some((_, len)) =
                next.filter(|(next, _)| *next == "len" || next.strip_suffix("_len") == Some(name))
            {
                let bytes = u32::try_from(*value)
                    .ok()
                    .zip(u32::try_from(*len).ok())
                    .and_then(|(pointer, len)| read(memory, pointer, len));
                arguments.insert((*name).to_owned(), bytes.map_or(Argument::Number(*value), Argument::Bytes));
                rest = behind.split_first().map_or(&[], |(_, behind)| behind);
            } else {
                arguments.insert((*name).to_owned(), Argument::Number(*value));
            }
        }
        state.note(|| Record::Hostcall { name: name.to_owned(), arguments, status, results });
    }

    /// Memory from the module's allocator, which may move and grow the memory. It sees no context and may call next to nothing meanwhile.
    pub(crate) fn allocate(&mut self, size: u32) -> Result<u32, Exit> {
        let state = self.caller.data_mut();
        // Taken out for the time of the call: a clone would cost more than the call does.
        let Some(malloc) = state.malloc.take() else { return Err(Status::InvalidMemoryAccess.into()) };
        let before = (state.phase, state.current, state.effective);
        (state.phase, state.current, state.effective) = (Phase::Allocating, Target::Vm, 0);
        let pointer = malloc.call(self.caller.as_context_mut(), size).map_err(Exit::Trap)?;
        let state = self.caller.data_mut();
        (state.phase, state.current, state.effective) = before;
        state.malloc = Some(malloc);
        if pointer == 0 {
            return Err(Status::InvalidMemoryAccess.into());
        }
        slice(self.memory(), pointer, size)?;
        Ok(pointer)
    }

    /// Hands bytes to the module: copied into memory of its own, pointer and size written where it asked.
    /// Nothing is a null pointer and size 0.
    pub(crate) fn give(&mut self, bytes: &[u8], pointer_to: u32, size_to: u32) -> Answer {
        let size = word(bytes.len())?;
        let pointer = if size == 0 { 0 } else { self.allocate(size)? };
        let memory = self.memory();
        put(memory, pointer, bytes)?;
        put(memory, pointer_to, &pointer.to_le_bytes())?;
        put(memory, size_to, &size.to_le_bytes())?;
        Ok(())
    }
}
