//! Answers that the gateway gives itself: redirects and direct responses.

use xds::{DataSource, DirectResponseAction, RedirectAction, RedirectResponseCode};

use crate::resource::virtual_service::{DerivePort, HttpDirectResponse, HttpRedirect};

/// `None` for a 3xx code that Envoy cannot send; istiod then makes a route without an action.
pub(super) fn action(redirect: &HttpRedirect, listener_port: u32, is_tls: bool) -> Option<RedirectAction> {
    let by_prefix = !redirect.prefix_rewrite.is_empty();
    Some(RedirectAction {
        host_redirect: redirect.authority.clone(),
        path_redirect: (!by_prefix).then(|| redirect.uri.clone()),
        prefix_rewrite: by_prefix.then(|| redirect.prefix_rewrite.clone()),
        scheme_redirect: Some(redirect.scheme.clone()).filter(|scheme| !scheme.is_empty()),
        port_redirect: port(redirect, listener_port, is_tls),
        response_code: match redirect.redirect_code {
            0 | 301 => RedirectResponseCode::MovedPermanently,
            302 => RedirectResponseCode::Found,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => return None,
        },
        ..RedirectAction::default()
    })
}

/// 0 when none is to be named: nothing was asked, or it is the scheme's own.
fn port(redirect: &HttpRedirect, listener_port: u32, is_tls: bool) -> u32 {
    let wanted = match (redirect.port, redirect.derive_port) {
        (Some(port), _) => port,
        (None, Some(DerivePort::FromRequestPort)) => listener_port,
        _ => 0,
    };
    let scheme = match redirect.scheme.as_str() {
        "" if is_tls => "https",
        "" => "http",
        scheme => scheme,
    };
    if matches!((wanted, scheme), (80, "http") | (443, "https")) { 0 } else { wanted }
}

pub(super) fn direct_response(response: &HttpDirectResponse) -> DirectResponseAction {
    let body = response.body.as_ref().filter(|body| body.string.is_some() || body.bytes.is_some());
    DirectResponseAction {
        status: response.status,
        body: body.map(|body| DataSource {
            inline_string: body.string.clone(),
            inline_bytes: body.bytes.clone(),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    }
}
