//! `SLU0118`: credentials for every origin. `SLU0119`: an origin that no browser sends.

use super::example;
use crate::{
    analysis::{Finding, Level},
    resource::{Resources, virtual_service::StringMatch},
};

/// All CORS policies.
pub(super) fn policies(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        for (i, route) in object.spec.http.iter().enumerate() {
            let Some(policy) = &route.cors_policy else { continue };
            for (j, origin) in policy.allow_origins.iter().enumerate() {
                let field = format!("spec.http[{i}].corsPolicy.allowOrigins[{j}]");
                if policy.allow_credentials == Some(true) && takes_strangers(origin) {
                    let message = "every site may read answers to requests with the user's cookies: the origin takes any site, and credentials are allowed";
                    let fix = "list the origins, escape the dots of a regex, or set allowCredentials: false";
                    found.push(Finding::new("SLU0118", Level::Warning, object, &field, message).fix(fix));
                }
                if let Some(right) = origin.exact.as_ref().and_then(|text| as_browsers_send(text)) {
                    let text = origin.exact.clone().unwrap_or_default();
                    let message =
                        format!("no browser sends the origin {text:?}: an origin is scheme, host and port alone");
                    found.push(
                        Finding::new("SLU0119", Level::Warning, object, &field, message)
                            .fix(format!("write {right:?}")),
                    );
                }
            }
        }
    }
}

fn takes_strangers(origin: &StringMatch) -> bool {
    origin.exact.as_deref() == Some("*")
        || ["https://attacker.invalid", "http://x.invalid:8080"]
            .iter()
            .all(|site| !origin.is_presence() && example::fits(origin, site))
}

/// What the author means, when it differs.
fn as_browsers_send(text: &str) -> Option<String> {
    if text == "*" || text == "null" || text.is_empty() {
        return None;
    }
    let Some((scheme, rest)) = text.split_once("://") else { return Some(format!("https://{text}")) };
    let host = rest.split('/').next().unwrap_or_default();
    let right = format!("{scheme}://{host}").to_lowercase();
    let default = match scheme {
        "http" => right.strip_suffix(":80"),
        _ => right.strip_suffix(":443"),
    };
    let right = default.unwrap_or(&right).to_owned();
    (right != text).then_some(right)
}
