//! HTTP rules.

mod actions;
mod traffic;

use super::Check;
use crate::{
    problem::Problem,
    resource::{
        claim,
        virtual_service::{HeaderOperations, Headers, HttpMatch, HttpRoute, StringMatch, VirtualService},
    },
    validate::{header, name, pattern},
};

const PSEUDO_HEADERS: [&str; 5] = [":method", ":scheme", ":authority", ":path", ":status"];

impl Check<'_, VirtualService> {
    pub(super) fn http_route(
        &mut self,
        path: &str,
        route: &HttpRoute,
        is_delegate: bool,
        for_gateway: bool,
        warnings: &mut Vec<Problem>,
    ) {
        self.actions_that_conflict(path, route, is_delegate);
        for (i, matched) in route.matches.iter().enumerate() {
            self.http_match(&format!("{path}.match[{i}]"), matched, for_gateway);
        }
        if let Some(headers) = &route.headers {
            self.headers(&format!("{path}.headers"), headers);
        }
        self.cors(path, route);
        self.fault(path, route, warnings);
        self.mirrors(path, route, warnings);
        self.redirect(path, route);
        self.direct_response(path, route);
        self.retries(path, route);
        self.rewrite(path, route);
        self.destinations(path, route);
        self.duration(&format!("{path}.timeout"), route.timeout);
    }

    fn http_match(&mut self, path: &str, matched: &HttpMatch, for_gateway: bool) {
        for (field, headers) in [("headers", &matched.headers), ("withoutHeaders", &matched.without_headers)] {
            for (key, value) in headers {
                let path = format!("{path}.{field}.{key}");
                self.header_match_name(&path, key, for_gateway);
                self.one_kind(&path, value);
                // `*` under withoutHeaders means presence and is let through.
                if !(field == "withoutHeaders" && value.regex.as_deref() == Some("*")) {
                    self.expect(&path, string_match(value, field));
                }
            }
        }
        if let Some(uri) = &matched.uri {
            let path = format!("{path}.uri");
            self.one_kind(&path, uri);
            self.expect(&path, uri.regex.as_ref().map_or(Ok(()), |regex| pattern::regex(regex, "uri")));
        }
        for (field, value) in
            [("scheme", &matched.scheme), ("method", &matched.method), ("authority", &matched.authority)]
        {
            if let Some(value) = value {
                let path = format!("{path}.{field}");
                self.one_kind(&path, value);
                self.expect(&path, string_match(value, field));
            }
        }
        for (key, value) in &matched.query_params {
            let path = format!("{path}.queryParams.{key}");
            self.refuse_if(key.is_empty(), &path, "query parameter name cannot be empty");
            self.one_kind(&path, value);
            self.expect(&path, string_match(value, "queryParams"));
        }
        if matched.port != 0 {
            self.port(&format!("{path}.port"), matched.port);
        }
        self.labels(&format!("{path}.sourceLabels"), &matched.source_labels);
        self.gateway_names(&format!("{path}.gateways"), &matched.gateways);
        if !matched.source_namespace.is_empty() && name::dns_label(&matched.source_namespace).is_err() {
            self.refuse(
                &format!("{path}.sourceNamespace"),
                format!("sourceNamespace match {} is invalid", matched.source_namespace),
            );
        }
    }

    fn header_match_name(&mut self, path: &str, name: &str, for_gateway: bool) {
        if claim::path(name).is_some() {
            let reason = format!("JWT claim based routing (key: {name}) is only supported for gateway");
            return self.refuse_if(!for_gateway, path, &reason);
        }
        if !PSEUDO_HEADERS.contains(&name) && !name::is_header_name(name) {
            self.refuse(path, format!("header name {name} is not a valid header name"));
        }
    }

    pub(super) fn headers(&mut self, path: &str, headers: &Headers) {
        for (field, operations, name_rule) in [
            ("request", &headers.request, header::request_name as fn(&str) -> Result<(), String>),
            ("response", &headers.response, header::other_name),
        ] {
            if let Some(operations) = operations {
                self.header_operations(&format!("{path}.{field}"), operations, name_rule);
            }
        }
    }

    fn header_operations(
        &mut self,
        path: &str,
        operations: &HeaderOperations,
        name_rule: fn(&str) -> Result<(), String>,
    ) {
        for (field, values) in [("set", &operations.set), ("add", &operations.add)] {
            for (name, value) in values {
                let path = format!("{path}.{field}.{name}");
                self.expect(&path, name_rule(name));
                self.expect(&path, header::value(value));
            }
        }
        for (i, name) in operations.remove.iter().enumerate() {
            self.expect(&format!("{path}.remove[{i}]"), header::other_name(name));
        }
    }
}

/// A prefix says something, a regex is one.
fn string_match(value: &StringMatch, place: &str) -> Result<(), String> {
    if value.prefix.as_deref() == Some("") {
        return Err(format!("{place:?}: prefix string match should not be empty"));
    }
    value.regex.as_ref().map_or(Ok(()), |regex| pattern::regex(regex, place))
}
