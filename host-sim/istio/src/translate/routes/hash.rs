//! Hash policies: what of a request decides on its endpoint, by the destination's DestinationRule.

use xds::{
    CookieAttribute, HashPolicy, HashPolicyConnectionProperties, HashPolicyCookie, HashPolicyHeader,
    HashPolicyQueryParameter,
};

use crate::{
    resource::{
        destination_rule::{ConsistentHash, LoadBalancer, TrafficPolicy},
        virtual_service::Destination,
    },
    translate::{Context, duration},
};

/// The consistent hash that holds for a destination: of the subset's port, else the subset, else the rule's port, else the rule.
pub(super) fn of_destination<'a>(context: &Context<'a>, destination: &Destination) -> Option<&'a ConsistentHash> {
    let service = context.registry.get(&destination.host)?;
    let rule = context.rule_for(service)?;
    let policy = rule.policy;
    let subset = rule.subset(&destination.subset).and_then(|subset| subset.traffic_policy.as_ref());
    let port = destination.port.as_ref().map(|port| port.number);
    let at_port = |policy: Option<&'a TrafficPolicy>| {
        let mut settings = policy?.port_level_settings.iter();
        let own = settings.find(|settings| settings.port.as_ref().map(|port| port.number) == port && port.is_some())?;
        hash(own.load_balancer.as_ref())
    };
    let at_level = |policy: Option<&'a TrafficPolicy>| hash(policy?.load_balancer.as_ref());
    at_port(subset).or_else(|| at_level(subset)).or_else(|| at_port(policy)).or_else(|| at_level(policy))
}

fn hash(balancer: Option<&LoadBalancer>) -> Option<&ConsistentHash> {
    balancer?.consistent_hash.as_ref()
}

/// Envoy's form of the key.
pub(super) fn policy(hash: &ConsistentHash) -> Option<HashPolicy> {
    let mut policy = HashPolicy::default();
    if let Some(header_name) = &hash.http_header_name {
        policy.header = Some(HashPolicyHeader { header_name: header_name.clone(), ..HashPolicyHeader::default() });
    } else if let Some(cookie) = &hash.http_cookie {
        policy.cookie = Some(HashPolicyCookie {
            name: cookie.name.clone(),
            ttl: cookie.ttl.map(duration),
            path: cookie.path.clone(),
            attributes: cookie
                .attributes
                .iter()
                .map(|own| CookieAttribute { name: own.name.clone(), value: own.value.clone() })
                .collect(),
        });
    } else if let Some(source_ip) = hash.use_source_ip {
        policy.connection_properties = Some(HashPolicyConnectionProperties { source_ip });
    } else if let Some(name) = &hash.http_query_parameter_name {
        policy.query_parameter = Some(HashPolicyQueryParameter { name: name.clone() });
    } else {
        return None;
    }
    Some(policy)
}
