//! `envoy.config.core.v3.GrpcService`, as far as a module's call needs it.

use crate::protobuf::{Wire, fields};

/// A gRPC target that was given as a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GrpcService {
    /// `envoy_grpc.cluster_name`; a target of another kind has none.
    pub(crate) cluster: Option<Vec<u8>>,
}

/// Reads the message; `None` if the bytes are not one. A cluster's name hardly ever is: and when it is, Envoy is misled too.
pub(crate) fn parse(message: &[u8]) -> Option<GrpcService> {
    let mut cluster = None;
    for field in fields(message)? {
        if let (1, Wire::Bytes(envoy_grpc)) = (field.number, field.value) {
            for inner in fields(envoy_grpc)? {
                if let (1, Wire::Bytes(name)) = (inner.number, inner.value) {
                    cluster = Some(name.to_vec());
                }
            }
        }
    }
    Some(GrpcService { cluster })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::put_bytes;

    #[test]
    fn a_message_names_its_cluster_and_a_plain_name_is_no_message() {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        put_bytes(&mut inner, 1, b"authz");
        put_bytes(&mut outer, 1, &inner);
        assert_eq!(parse(&outer).and_then(|service| service.cluster).as_deref(), Some(&b"authz"[..]));
        assert_eq!(parse(b"outbound|80||authz.default.svc.cluster.local"), None);
    }
}
