//! `--otlp URL`: every connection manager tells a collector of its requests, as it would with an OpenTelemetry provider in
//! Istio's MeshConfig.

use std::net::ToSocketAddrs;
use std::str::FromStr;

use http::Uri;

use crate::failure::Failure;

/// Where a collector is, and what it is spoken to in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpUrl {
    grpc: bool,
    host: String,
    port: u16,
    path: String,
}

/// The cluster that stands for the collector.
const CLUSTER: &str = "otlp-collector";

impl FromStr for OtlpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || {
            "expected http://HOST[:4318][/v1/traces] for OTLP over HTTP or grpc://HOST[:4317] for OTLP over gRPC"
                .to_owned()
        };
        let uri: Uri = text.parse().map_err(|_| form())?;
        let grpc = match uri.scheme_str() {
            Some("http") => false,
            Some("grpc") => true,
            Some("https") => return Err("collectors are reached in plain text here: use http:// or grpc://".to_owned()),
            _ => return Err(form()),
        };
        let path = if uri.path().len() > 1 { uri.path() } else { "/v1/traces" };
        Ok(Self {
            grpc,
            host: uri.host().ok_or_else(form)?.to_owned(),
            port: uri.port_u16().unwrap_or(if grpc { 4317 } else { 4318 }),
            path: path.to_owned(),
        })
    }
}

/// Writes the provider into every connection manager, as Istio writes it for a gateway, every request sampled.
///
/// # Errors
/// Exit 5 when the collector's name leads nowhere.
pub(crate) fn trace(bootstrap: &mut xds::Bootstrap, url: &OtlpUrl) -> Result<(), Failure> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, url.port).to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    let address = found.ok_or_else(|| Failure::World(format!("--otlp: nobody knows where {} is", url.host)))?;
    let tracing = tracing(url, &service(bootstrap.node.as_ref()));
    let resources = bootstrap.static_resources.get_or_insert_default();
    resources.clusters.retain(|cluster| cluster.name != CLUSTER);
    resources.clusters.push(cluster(url, address));
    for listener in &mut resources.listeners {
        let chains = listener.filter_chains.iter_mut().chain(&mut listener.default_filter_chain);
        for filter in chains.flat_map(|chain| &mut chain.filters) {
            if let Some(xds::NetworkFilterConfig::HttpConnectionManager(manager)) = &mut filter.typed_config {
                manager.tracing = Some(tracing.clone());
            }
        }
    }
    Ok(())
}

/// `workload.namespace`, as Istio names a proxy's service.
fn service(node: Option<&xds::Node>) -> String {
    let metadata = node.and_then(|node| node.metadata.as_ref());
    let field = |name: &str| metadata.and_then(|metadata| metadata.get(name)?.as_str()).filter(|text| !text.is_empty());
    match (field("WORKLOAD_NAME"), field("NAMESPACE")) {
        (Some(name), Some(namespace)) => format!("{name}.{namespace}"),
        _ => "istio-ingressgateway".to_owned(),
    }
}

fn tracing(url: &OtlpUrl, service: &str) -> xds::Tracing {
    let all = Some(xds::Percent { value: 100.0 });
    let mut tracer = xds::OpenTelemetryConfig { service_name: service.to_owned(), ..Default::default() };
    if url.grpc {
        let envoy_grpc = xds::EnvoyGrpc {
            cluster_name: CLUSTER.to_owned(),
            authority: format!("{}:{}", url.host, url.port),
            ..Default::default()
        };
        tracer.grpc_service = Some(xds::GrpcService { envoy_grpc: Some(envoy_grpc), ..Default::default() });
    } else {
        let http_uri = xds::HttpUri {
            uri: format!("http://{}:{}{}", url.host, url.port, url.path),
            cluster: CLUSTER.to_owned(),
            timeout: Some(xds::Duration(std::time::Duration::from_secs(5))),
        };
        tracer.http_service = Some(xds::HttpService { http_uri: Some(http_uri), ..Default::default() });
    }
    xds::Tracing {
        client_sampling: all.clone(),
        random_sampling: all.clone(),
        overall_sampling: all,
        spawn_upstream_span: Some(true),
        provider: Some(xds::TracingProvider {
            name: "envoy.tracers.opentelemetry".to_owned(),
            typed_config: Some(xds::TracerConfig::OpenTelemetry(Box::new(tracer))),
        }),
        ..Default::default()
    }
}

fn cluster(url: &OtlpUrl, address: std::net::SocketAddr) -> xds::Cluster {
    let protocol = if url.grpc {
        serde_json::json!({ "http2_protocol_options": {} })
    } else {
        serde_json::json!({ "http_protocol_options": {} })
    };
    let cluster = serde_json::json!({
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": protocol,
        } },
        "load_assignment": { "cluster_name": CLUSTER, "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": {
            "socket_address": { "address": address.ip().to_string(), "port_value": address.port() },
        } } }] }] },
    });
    serde_json::from_value(cluster).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_has_the_ports_and_the_path_of_the_field_unless_it_says_otherwise() {
        for (text, grpc, host, port, path) in [
            ("http://127.0.0.1", false, "127.0.0.1", 4318, "/v1/traces"),
            ("http://127.0.0.1:9/", false, "127.0.0.1", 9, "/v1/traces"),
            ("http://localhost:4318/otlp/v1/traces", false, "localhost", 4318, "/otlp/v1/traces"),
            ("grpc://[::1]", true, "[::1]", 4317, "/v1/traces"),
        ] {
            let expected = OtlpUrl { grpc, host: host.into(), port, path: path.into() };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["127.0.0.1:4318", "https://collector", "ftp://a", ""] {
            assert!(text.parse::<OtlpUrl>().is_err(), "{text}");
        }
    }
}
