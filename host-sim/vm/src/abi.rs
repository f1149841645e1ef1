//! The numbers of the proxy-wasm ABI: versions, result codes, map, buffer, stream and metric types.
//!
//! Values are those of the proxy-wasm specification and of `proxy_wasm_common.h`.

use std::fmt;

/// The ABI a module was built for, read from the marker function it exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum AbiVersion {
    /// `proxy_abi_version_0_1_0`
    #[serde(rename = "0.1.0")]
    V0_1_0,
    /// `proxy_abi_version_0_2_0`
    #[serde(rename = "0.2.0")]
    V0_2_0,
    /// `proxy_abi_version_0_2_1`
    #[serde(rename = "0.2.1")]
    V0_2_1,
}

impl AbiVersion {
    /// Every version Envoy 1.40 hosts, oldest first.
    pub const ALL: [AbiVersion; 3] = [AbiVersion::V0_1_0, AbiVersion::V0_2_0, AbiVersion::V0_2_1];

    /// The version a marker export names; `None` for other exports and for vendors' own markers.
    pub fn from_marker(export: &str) -> Option<AbiVersion> {
        Self::ALL.into_iter().find(|version| version.marker() == export)
    }

    /// The name of the function a module of this version exports.
    pub fn marker(self) -> &'static str {
        match self {
            AbiVersion::V0_1_0 => "proxy_abi_version_0_1_0",
            AbiVersion::V0_2_0 => "proxy_abi_version_0_2_0",
            AbiVersion::V0_2_1 => "proxy_abi_version_0_2_1",
        }
    }
}

impl fmt::Display for AbiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AbiVersion::V0_1_0 => "0.1.0",
            AbiVersion::V0_2_0 => "0.2.0",
            AbiVersion::V0_2_1 => "0.2.1",
        })
    }
}

/// What a hostcall answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such key, buffer, queue, metric or property.
    NotFound = 1,
    /// A bad enum value, or an operation this object does not offer now.
    BadArgument = 2,
    /// A value that has no bytes.
    SerializationFailure = 3,
    /// Bytes that are not what they should be.
    ParseFailure = 4,
    /// An expression that does not compile.
    BadExpression = 5,
    /// A pointer outside the guest's memory, or no memory to answer into.
    InvalidMemoryAccess = 6,
    /// An empty queue.
    Empty = 7,
    /// Somebody else wrote the value first.
    CasMismatch = 8,
    /// A result of the wrong shape.
    ResultMismatch = 9,
    /// The host could not do it.
    InternalFailure = 10,
    /// The peer went away; Envoy hands it out through `proxy_get_status`.
    BrokenConnection = 11,
    /// Not offered by this host.
    Unimplemented = 12,
}

impl Status {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
#[allow(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

impl LogLevel {
    /// The number on the wire.
    pub fn code(self) -> u32 {
        self as u32
    }

    /// Envoy's word for it, as its log prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "trace",
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
        }
    }
}

/// Half of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it all")]
pub enum Direction {
    Request,
    Response,
}

macro_rules! wire_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($variant:ident = $value:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the names are the specification's")]
        $vis enum $name { $($variant = $value),* }

        impl $name {
            /// The variant of a number the guest sent.
            pub(crate) fn from_wire(value: u32) -> Option<$name> {
                match value {
                    $($value => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

wire_enum! {
    /// A level as `proxy_log` takes it.
    pub(crate) enum WireLogLevel { Trace = 0, Debug = 1, Info = 2, Warn = 3, Error = 4, Critical = 5 }
}

impl From<WireLogLevel> for LogLevel {
    fn from(level: WireLogLevel) -> LogLevel {
        match level {
            WireLogLevel::Trace => LogLevel::Trace,
            WireLogLevel::Debug => LogLevel::Debug,
            WireLogLevel::Info => LogLevel::Info,
            WireLogLevel::Warn => LogLevel::Warn,
            WireLogLevel::Error => LogLevel::Error,
            WireLogLevel::Critical => LogLevel::Critical,
        }
    }
}

wire_enum! {
    /// A header map, as hostcalls name it.
    pub(crate) enum MapType {
        RequestHeaders = 0,
        RequestTrailers = 1,
        ResponseHeaders = 2,
        ResponseTrailers = 3,
        GrpcInitialMetadata = 4,
        GrpcTrailingMetadata = 5,
        HttpCallResponseHeaders = 6,
        HttpCallResponseTrailers = 7,
    }
}

wire_enum! {
    /// A buffer, as hostcalls name it. 4 is the body of an http call's response: the specification's prose is wrong there.
    pub(crate) enum BufferType {
        HttpRequestBody = 0,
        HttpResponseBody = 1,
        DownstreamData = 2,
        UpstreamData = 3,
        HttpCallResponseBody = 4,
        GrpcReceive = 5,
        VmConfiguration = 6,
        PluginConfiguration = 7,
        CallData = 8,
    }
}

wire_enum! {
    /// A stream, as `proxy_continue_stream` and `proxy_close_stream` name it.
    pub(crate) enum StreamType { Request = 0, Response = 1, Downstream = 2, Upstream = 3 }
}

wire_enum! {
    /// A kind of metric; also the low two bits of every metric's id.
    pub(crate) enum MetricType { Counter = 0, Gauge = 1, Histogram = 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_three_published_markers_name_a_version() {
        let named = |export| AbiVersion::from_marker(export).map(|version| version.to_string());
        assert_eq!(named("proxy_abi_version_0_1_0").as_deref(), Some("0.1.0"));
        assert_eq!(named("proxy_abi_version_0_2_0").as_deref(), Some("0.2.0"));
        assert_eq!(named("proxy_abi_version_0_2_1").as_deref(), Some("0.2.1"));
        for vendor in
            ["proxy_abi_version_0_2_100", "proxy_abi_mosn_version_0_2_0", "proxy_abi_version_0_x_x", "proxy_on_tick"]
        {
            assert_eq!(named(vendor), None, "{vendor}");
        }
    }
}
