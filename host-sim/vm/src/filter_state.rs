//! What modules leave for others on a stream: bytes, and what `declare_property` said they are.

use bytes::Bytes;

use crate::world::StreamInfo;

/// A value on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FilterState {
    pub(crate) value: Bytes,
    pub(crate) declared: Declared,
}

/// What was declared of it, once and for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) form: Form,
    /// It takes no second value.
    pub(crate) read_only: bool,
}

/// What the bytes are. It makes a difference to CEL alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// So are messages, as long as nobody selects from them.
    #[default]
    Bytes,
    Text,
}

/// Where the declaration is kept: beside the value, under a key that no property has.
fn beside(key: &[u8]) -> Vec<u8> {
    [b"\0declared\0", key].concat()
}

/// The value under a key.
pub(crate) fn get(info: &dyn StreamInfo, key: &[u8]) -> Option<FilterState> {
    let value = info.filter_state(key)?;
    let declared = match info.filter_state(&beside(key)).as_deref() {
        Some([form, read_only]) => {
            Declared { form: if *form == 1 { Form::Text } else { Form::Bytes }, read_only: *read_only == 1 }
        }
        _ => Declared::default(),
    };
    Some(FilterState { value, declared })
}

/// Sets a value, and what was declared of it if that is anything.
pub(crate) fn set(info: &dyn StreamInfo, key: &[u8], state: FilterState) {
    if state.declared != Declared::default() {
        let mark = [u8::from(state.declared.form == Form::Text), u8::from(state.declared.read_only)];
        info.set_filter_state(&beside(key), Bytes::copy_from_slice(&mark));
    }
    info.set_filter_state(key, state.value);
}
