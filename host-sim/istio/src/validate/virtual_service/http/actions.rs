//! What a rule does with a request: route, redirect, direct response, delegate, rewrite.

use super::{Check, header, pattern};
use crate::resource::virtual_service::{HttpRoute, VirtualService};

const LARGEST_BODY: usize = 1024 * 1024;

impl Check<'_, VirtualService> {
    pub(super) fn actions_that_conflict(&mut self, path: &str, route: &HttpRoute, is_delegate: bool) {
        if route.delegate.is_some() && !is_delegate {
            let name = &route.name;
            self.refuse_if(
                route.redirect.is_some(),
                path,
                &format!("root HTTP route {name} must not specify redirect"),
            );
            self.refuse_if(!route.route.is_empty(), path, &format!("root HTTP route {name} must not specify route"));
            return;
        }
        self.refuse_if(route.delegate.is_some(), path, "delegate HTTP route cannot contain delegate");
        let action = match (&route.redirect, &route.direct_response) {
            (Some(_), _) => "redirect",
            (None, Some(_)) => "direct_response",
            (None, None) => {
                let reason = "HTTP route, redirect or direct_response is required";
                return self.refuse_if(route.route.is_empty(), path, reason);
            }
        };
        for (set, other) in [
            (!route.route.is_empty(), "route"),
            (route.fault.is_some(), "fault"),
            (route.rewrite.is_some(), "rewrite"),
            (route.redirect.is_some() && route.direct_response.is_some(), "direct_response"),
        ] {
            let rule = if matches!(other, "route" | "fault") { "" } else { " rule" };
            self.refuse_if(set, path, &format!("HTTP route{rule} cannot contain both {other} and {action}"));
        }
    }

    pub(super) fn redirect(&mut self, path: &str, route: &HttpRoute) {
        let Some(redirect) = &route.redirect else { return };
        let path = format!("{path}.redirect");
        self.refuse_if(
            redirect.port.is_some() && redirect.derive_port.is_some(),
            &path,
            "only one of port, derivePort can be set",
        );
        if !redirect.uri.is_empty() && !redirect.prefix_rewrite.is_empty() {
            return self.refuse(&path, "redirect may only specify one of uri or prefix_rewrite");
        }
        let by_prefix = route.matches.iter().all(|matched| matched.uri.as_ref().is_none_or(|uri| uri.prefix.is_some()));
        if !redirect.prefix_rewrite.is_empty() && !by_prefix {
            return self.refuse(&path, "redirect prefix_rewrite requires all URI matches to use prefix match type");
        }
        let says_nothing = [&redirect.uri, &redirect.prefix_rewrite, &redirect.authority, &redirect.scheme]
            .iter()
            .all(|field| field.is_empty());
        if says_nothing && redirect.port.is_none() && redirect.derive_port.is_none() {
            return self.refuse(&path, "redirect must specify URI, authority, scheme, or port");
        }
        if redirect.redirect_code != 0 && !(300..=399).contains(&redirect.redirect_code) {
            return self.refuse(
                &format!("{path}.redirectCode"),
                format!("{} is not a valid redirect code, must be 3xx", redirect.redirect_code),
            );
        }
        if !matches!(redirect.scheme.as_str(), "" | "http" | "https") {
            return self.refuse(&format!("{path}.scheme"), "invalid redirect scheme, must be \"http\" or \"https\"");
        }
        if let Some(port) = redirect.port.filter(|port| *port > 0) {
            self.port(&format!("{path}.port"), port);
        }
    }

    pub(super) fn direct_response(&mut self, path: &str, route: &HttpRoute) {
        let Some(response) = &route.direct_response else { return };
        let path = format!("{path}.directResponse");
        if let Some(body) = &response.body {
            self.refuse_if(
                body.string.is_some() && body.bytes.is_some(),
                &path,
                "only one of string, bytes can be set",
            );
            let size = body.string.as_ref().or(body.bytes.as_ref()).map_or(0, String::len);
            let reason = "large direct_responses may impact control plane performance, must be less than 1MB";
            self.refuse_if(size > LARGEST_BODY, &path, reason);
            let encoded = body
                .bytes
                .as_ref()
                .is_none_or(|bytes| base64::Engine::decode(&base64::prelude::BASE64_STANDARD, bytes).is_ok());
            self.refuse_if(!encoded, &format!("{path}.body.bytes"), "not base64");
        }
        self.http_status(&format!("{path}.status"), i64::from(response.status));
    }

    /// Istio lets 600 through; Envoy then refuses the whole table.
    pub(super) fn http_status(&mut self, path: &str, status: i64) {
        self.refuse_if(!(200..=600).contains(&status), path, &format!("HTTP status {status} is not in range 200-599"));
        self.refuse_if(
            status == 600,
            path,
            "HTTP status 600 is not in range 200-599: Istio lets it through, Envoy refuses it",
        );
    }

    pub(super) fn rewrite(&mut self, path: &str, route: &HttpRoute) {
        let Some(rewrite) = &route.rewrite else { return self.authority_once(path, route) };
        let at = format!("{path}.rewrite");
        let regex = rewrite.uri_regex_rewrite.as_ref();
        if !rewrite.uri.is_empty() && regex.is_some() {
            return self.refuse(&at, "rewrite may only contain one of URI or UriRegexRewrite");
        }
        if rewrite.uri.is_empty() && regex.is_none() && rewrite.authority.is_empty() {
            let reason = "rewrite must specify at least one of URI, UriRegexRewrite, or authority. Only one of URI or UriRegexRewrite may be specified";
            return self.refuse(&at, reason);
        }
        if let Some(regex) = regex {
            let at = format!("{at}.uriRegexRewrite");
            if regex.matched.is_empty() || regex.rewrite.is_empty() {
                return self.refuse(&at, "UriRegexRewrite requires both Rewrite and Match fields to be specified");
            }
            self.expect(&at, pattern::regex(&regex.matched, "HTTPRewrite.UriRegexRewrite.Match"));
            self.expect(&at, pattern::substitution(&regex.matched, &regex.rewrite));
        }
        self.authority_once(path, route);
    }

    /// The authority can be changed in one place of a rule.
    fn authority_once(&mut self, path: &str, route: &HttpRoute) {
        let request = route.headers.as_ref().and_then(|headers| headers.request.as_ref());
        let in_headers = request.into_iter().flat_map(|request| request.set.iter().chain(&request.add));
        let mut current = route.rewrite.as_ref().map_or("", |rewrite| rewrite.authority.as_str());
        for (_, value) in in_headers.filter(|(name, _)| header::is_authority(name)) {
            if !current.is_empty() {
                let reason = format!(
                    "authority header cannot be set multiple times: have {current:?}, attempting to set {value:?}"
                );
                return self.refuse(&format!("{path}.headers.request"), reason);
            }
            current = value;
        }
    }

    pub(super) fn destinations(&mut self, path: &str, route: &HttpRoute) {
        for (i, destination) in route.route.iter().enumerate() {
            let path = format!("{path}.route[{i}]");
            self.destination(&format!("{path}.destination"), &destination.destination);
            if let Some(headers) = &destination.headers {
                self.headers(&format!("{path}.headers"), headers);
            }
        }
        let weights: Vec<_> = route.route.iter().map(|destination| destination.weight).collect();
        self.weights(&format!("{path}.route"), &weights);
    }
}
