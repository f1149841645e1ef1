//! What Envoy's foreign functions do.

use bytes::Bytes;

use crate::{abi::Status, state::State};

/// A function Envoy 1.40 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    ClearRouteCache,
}

impl Function {
    pub(crate) fn named(name: &[u8]) -> Option<Function> {
        Some(match name {
            b"clear_route_cache" => Function::ClearRouteCache,
            _ => return None,
        })
    }
}

/// Bytes for the module, or none.
pub(crate) fn call(state: &mut State, function: Function, _arguments: &[u8]) -> Result<Option<Bytes>, Status> {
    match function {
        Function::ClearRouteCache => {
            if let Some(stream) = state.stream_mut() {
                stream.route_cleared = true;
            }
            Ok(None)
        }
    }
}
