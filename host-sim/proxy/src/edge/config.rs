//! The connection manager's part in header hygiene, compiled.

use bytes::Bytes;
use ipnet::IpNet;
use thiserror::Error;

use super::path::{EscapedSlashes, PathRules};

/// How a connection manager treats the heads that pass it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EdgeConfig {
    /// The peer's address is the client's: it is appended to `x-forwarded-for`, and forwarded headers are not believed.
    pub use_remote_address: bool,
    /// How many proxies in front of us are believed.
    pub xff_num_trusted_hops: usize,
    /// Do not append to `x-forwarded-for`.
    pub skip_xff_append: bool,
    /// Write `x-forwarded-port`.
    pub append_x_forwarded_port: bool,
    /// Addresses whose requests count as internal. None by default.
    pub internal: Vec<IpNet>,
    /// Make an `x-request-id`.
    pub generate_request_id: bool,
    /// Keep the client's `x-request-id`.
    pub preserve_external_request_id: bool,
    /// Answer with the `x-request-id`.
    pub always_set_request_id_in_response: bool,
    /// What happens to `x-forwarded-client-cert`.
    pub client_cert: ClientCert,
    /// `server`: the name, and when it is written.
    pub server_name: Bytes,
    /// When `server` is written.
    pub server_header: ServerHeader,
    /// Appended to `via` both ways; empty for nothing.
    pub via: Bytes,
    /// Set `user-agent` when it is empty and say who we are.
    pub add_user_agent: Option<OwnName>,
    /// The path's normal form.
    pub path: PathRules,
    /// Drop `:port` from the authority.
    pub strip_port: StripPort,
    /// Drop the dot at the end of the host.
    pub strip_trailing_host_dot: bool,
    /// The host of an HTTP/1.0 request that names none.
    pub default_host_for_http_10: Option<Bytes>,
    /// Further headers to be removed from external requests.
    pub internal_only_headers: Vec<Bytes>,
    /// Pass `expect: 100-continue` on.
    pub proxy_100_continue: bool,
}

/// Who the gateway is, by its bootstrap's `node`; empty where that says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnName {
    /// `node.cluster`
    pub cluster: Bytes,
    /// `node.id`
    pub id: Bytes,
}

/// What happens to `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCert {
    /// Removed.
    #[default]
    Sanitize,
    /// Kept on a mutual TLS connection.
    ForwardOnly,
    /// Kept and added to.
    AppendForward(CertDetails),
    /// Replaced.
    SanitizeSet(CertDetails),
    /// Kept always.
    AlwaysForwardOnly,
}

/// Which details of the client's certificate are written, beside its hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CertDetails {
    /// `Subject="…"`
    pub subject: bool,
    /// `Cert="…"`
    pub cert: bool,
    /// `Chain="…"`
    pub chain: bool,
    /// `DNS=…`
    pub dns: bool,
    /// `URI=…`
    pub uri: bool,
}

/// When `server` is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always.
    #[default]
    Overwrite,
    /// When the answer has none.
    AppendIfAbsent,
    /// Never.
    PassThrough,
}

/// When `:port` is dropped from the authority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StripPort {
    /// Never.
    #[default]
    Never,
    /// When it is the listener's.
    Matching,
    /// Always.
    Any,
}

/// A connection manager that asks for what is not there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {reason}")]
pub struct InvalidEdge {
    /// The field of the connection manager.
    pub field: &'static str,
    /// Why.
    pub reason: String,
}

impl EdgeConfig {
    /// Reads the connection manager's fields.
    pub fn compile(hcm: &xds::HttpConnectionManager) -> Result<EdgeConfig, InvalidEdge> {
        let http1 = hcm.http_protocol_options.as_ref();
        let unsupported = [
            ("original_ip_detection_extensions", hcm.original_ip_detection_extensions.is_empty()),
            ("early_header_mutation_extensions", hcm.early_header_mutation_extensions.is_empty()),
        ];
        if let Some((field, _)) = unsupported.iter().find(|(_, absent)| !absent) {
            return Err(InvalidEdge { field, reason: "no such extension runs here".to_owned() });
        }
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Ok(EdgeConfig {
            use_remote_address: hcm.use_remote_address.unwrap_or(false),
            xff_num_trusted_hops: usize::try_from(hcm.xff_num_trusted_hops).unwrap_or(usize::MAX),
            skip_xff_append: hcm.skip_xff_append,
            append_x_forwarded_port: hcm.append_x_forwarded_port,
            internal: internal(hcm)?,
            generate_request_id: hcm.generate_request_id.unwrap_or(true),
            preserve_external_request_id: hcm.preserve_external_request_id,
            always_set_request_id_in_response: hcm.always_set_request_id_in_response,
            client_cert: client_cert(hcm),
            server_name: bytes(if hcm.server_name.is_empty() { "envoy" } else { &hcm.server_name }),
            server_header: match hcm.server_header_transformation {
                xds::ServerHeaderTransformation::Overwrite => ServerHeader::Overwrite,
                xds::ServerHeaderTransformation::AppendIfAbsent => ServerHeader::AppendIfAbsent,
                xds::ServerHeaderTransformation::PassThrough => ServerHeader::PassThrough,
            },
            via: bytes(&hcm.via),
            // Its words are the bootstrap's, which the connection manager's message does not hold.
            add_user_agent: hcm.add_user_agent.unwrap_or(false).then(OwnName::default),
            path: path_rules(hcm),
            strip_port: match (hcm.strip_any_host_port, hcm.strip_matching_host_port) {
                (Some(true), _) => StripPort::Any,
                (_, true) => StripPort::Matching,
                _ => StripPort::Never,
            },
            strip_trailing_host_dot: hcm.strip_trailing_host_dot,
            default_host_for_http_10: http1
                .map(|options| Bytes::copy_from_slice(options.default_host_for_http_10.as_bytes()))
                .filter(|host| !host.is_empty()),
            internal_only_headers: hcm
                .route_config
                .iter()
                .flat_map(|config| &config.internal_only_headers)
                .map(|name| bytes(&name.to_ascii_lowercase()))
                .collect(),
            proxy_100_continue: hcm.proxy_100_continue,
        })
    }
}

fn path_rules(hcm: &xds::HttpConnectionManager) -> PathRules {
    use xds::PathWithEscapedSlashesAction as Action;
    PathRules {
        normalize: hcm.normalize_path.unwrap_or(false),
        merge_slashes: hcm.merge_slashes,
        escaped_slashes: match hcm.path_with_escaped_slashes_action {
            Action::ImplementationSpecificDefault | Action::KeepUnchanged => EscapedSlashes::Keep,
            Action::RejectRequest => EscapedSlashes::Reject,
            Action::UnescapeAndRedirect => EscapedSlashes::Redirect,
            Action::UnescapeAndForward => EscapedSlashes::Forward,
        },
        // Told by the bootstrap's runtime, which the connection manager's message does not hold.
        cut_fragment: false,
    }
}

fn internal(hcm: &xds::HttpConnectionManager) -> Result<Vec<IpNet>, InvalidEdge> {
    let ranges = hcm.internal_address_config.iter().flat_map(|config| &config.cidr_ranges);
    ranges
        .map(|range| {
            let text = format!("{}/{}", range.address_prefix, range.prefix_len.unwrap_or_default());
            text.parse::<IpNet>().map_err(|_| InvalidEdge {
                field: "internal_address_config",
                reason: format!("\"{text}\" is not a range of addresses"),
            })
        })
        .collect()
}

fn client_cert(hcm: &xds::HttpConnectionManager) -> ClientCert {
    let details = hcm.set_current_client_cert_details.as_ref().map_or(CertDetails::default(), |set| CertDetails {
        subject: set.subject.unwrap_or(false),
        cert: set.cert,
        chain: set.chain,
        dns: set.dns,
        uri: set.uri,
    });
    match hcm.forward_client_cert_details {
        xds::ForwardClientCertDetails::Sanitize => ClientCert::Sanitize,
        xds::ForwardClientCertDetails::ForwardOnly => ClientCert::ForwardOnly,
        xds::ForwardClientCertDetails::AppendForward => ClientCert::AppendForward(details),
        xds::ForwardClientCertDetails::SanitizeSet => ClientCert::SanitizeSet(details),
        xds::ForwardClientCertDetails::AlwaysForwardOnly => ClientCert::AlwaysForwardOnly,
    }
}
