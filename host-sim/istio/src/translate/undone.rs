//! What the manifests ask for and is not done: refused where answers would be wrong, warned about where they only may differ.
//!
//! | field | what becomes of it |
//! |---|---|
//! | `redirect.redirectCode` other than 301, 302, 303, 307, 308 | refused: istiod makes a route without an action of it, and Envoy refuses the whole table |
//! | `ServiceEntry.resolution: DYNAMIC_DNS` | refused: forwarding to names taken from requests |
//! | `localityLbSetting`, `zoneAwareLbSetting` | warned about: they compare localities, and this gateway has none |
//! | `retryBudget.budgetInterval` | warned about: requests under way are counted, not those of the last while |
//! | `EndpointSlice`'s `targetRef` to a Pod that is not there | warned about: istiod leaves the address out, and so does this gateway |
//! | `warmup`, `warmupDurationSecs` | warned about: all endpoints are there from the start |
//! | Telemetry's `tracing` | warned about: `--otlp` names the collector here. MeshConfig's `defaultProviders.tracing` and `defaultConfig.tracing` likewise, as they are read |
//! | `tunnel` | warned about: it concerns TCP and TLS routes of sidecars and egress |

use super::{Context, options::Options, registry::left_out};
use crate::{
    problem::Problem,
    resource::{
        destination_rule::{LoadBalancer, TrafficPolicy},
        service_entry::Resolution,
    },
};

const CODES: [u32; 6] = [0, 301, 302, 303, 307, 308];

/// Why providers of traces change nothing.
pub(crate) const NO_TRACES: &str =
    "not done here: traces go to the collector that --otlp names, all of them, with Envoy's own tags";

/// Adds what was found.
pub(crate) fn check(
    context: &Context<'_>,
    options: &Options,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) {
    for rule in context.virtual_services.iter().flat_map(|bound| &bound.http) {
        let code = rule.route.redirect.as_ref().map_or(0, |redirect| redirect.redirect_code);
        if !CODES.contains(&code) {
            let path = format!("{}.redirect.redirectCode", rule.place.path());
            let reason = format!("Istio makes a route without an action of code {code}, and Envoy refuses that");
            let problem = rule.place.object.problem(&path, reason).cure("301, 302, 303, 307 or 308".to_owned());
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    for entry in &context.resources.service_entries {
        if entry.spec.resolution == Resolution::DynamicDns {
            let reason = "forwarding to whatever name a request bears is not done here";
            let problem = entry.problem("spec.resolution", reason);
            if options.allows("ServiceEntry") {
                warnings.push(problem);
            } else {
                problems
                    .push(problem.cure("--allow-unsupported ServiceEntry goes on; such hosts then have no cluster"));
            }
        }
    }
    warnings.extend(left_out(context.resources));
    for telemetry in context.resources.others.iter().filter(|object| object.origin.kind.as_ref() == "Telemetry") {
        let spec = telemetry.origin.root.get("spec");
        if spec.and_then(|spec| spec.get("tracing")).is_some_and(|tracing| !tracing.items().is_empty()) {
            warnings.push(telemetry.problem("spec.tracing", NO_TRACES));
        }
    }
    for rule in &context.resources.destination_rules {
        let own = rule.spec.traffic_policy.iter().map(|policy| ("spec.trafficPolicy".to_owned(), policy));
        let of_subsets = rule.spec.subsets.iter().enumerate();
        let of_subsets = of_subsets.filter_map(|(at, subset)| {
            Some((format!("spec.subsets[{at}].trafficPolicy"), subset.traffic_policy.as_ref()?))
        });
        for (path, policy) in own.chain(of_subsets) {
            for (field, reason) in unheeded(policy) {
                warnings.push(rule.problem(&format!("{path}.{field}"), reason));
            }
        }
    }
}

/// Fields of a policy that change nothing here, with the reason.
fn unheeded(policy: &TrafficPolicy) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let mut note = |is: bool, field: &str, reason| {
        if is {
            found.push((field.to_owned(), reason));
        }
    };
    let budget = policy.retry_budget.as_ref();
    note(
        budget.is_some_and(|budget| budget.budget_interval.is_some()),
        "retryBudget.budgetInterval",
        "not done here: the budget is a share of the requests under way",
    );
    note(policy.tunnel.is_some(), "tunnel", "has no effect on an ingress gateway's HTTP routes");
    let of_ports = policy.port_level_settings.iter().enumerate();
    let balancers = of_ports.map(|(at, port)| (format!("portLevelSettings[{at}]."), port.load_balancer.as_ref()));
    for (path, balancer) in std::iter::once((String::new(), policy.load_balancer.as_ref())).chain(balancers) {
        for (field, reason) in balancer.map(of_balancer).unwrap_or_default() {
            note(true, &format!("{path}loadBalancer.{field}"), reason);
        }
    }
    found
}

fn of_balancer(balancer: &LoadBalancer) -> Vec<(&'static str, &'static str)> {
    const NOWHERE: &str = "not done here: it compares localities, and this gateway has none";
    const AT_ONCE: &str = "not done here: every endpoint is there from the start";
    [
        (balancer.locality_lb_setting.is_some(), "localityLbSetting", NOWHERE),
        (balancer.zone_aware_lb_setting.is_some(), "zoneAwareLbSetting", NOWHERE),
        (balancer.warmup.is_some(), "warmup", AT_ONCE),
        (balancer.warmup_duration_secs.is_some(), "warmupDurationSecs", AT_ONCE),
    ]
    .into_iter()
    .filter_map(|(is, field, reason)| is.then_some((field, reason)))
    .collect()
}
