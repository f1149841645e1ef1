//! Preference for near endpoints: `localityLbSetting` and `zoneAwareLbSetting`.

use super::Check;
use crate::resource::destination_rule::{Distribute, Failover, LocalityLoadBalancer};

/// Labels that stand for what `failover` and zone awareness decide themselves.
const TOPOLOGY: [&str; 3] =
    ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];

impl<T> Check<'_, T> {
    pub(super) fn locality(&mut self, path: &str, setting: &LocalityLoadBalancer) {
        let fails_over = !setting.failover.is_empty();
        if fails_over && !setting.distribute.is_empty() {
            return self.refuse(path, "can not simultaneously specify \'distribute\' and \'failover\'");
        }
        if fails_over && let Some(label) = topology(&setting.failover_priority) {
            let reason = format!(
                "can not simultaneously set \'failover\' and topology label \'{label}\' in \'failover_priority\'"
            );
            return self.refuse(path, reason);
        }
        let distribute = format!("{path}.distribute");
        for share in &setting.distribute {
            self.expect(&distribute, weights(share));
            self.expect(&distribute, apart(share.to.keys().map(String::as_str)));
        }
        self.expect(&distribute, apart(setting.distribute.iter().map(|share| share.from.as_str())));
        self.failover(path, &setting.failover);
    }

    pub(super) fn zone_aware(&mut self, path: &str, setting: &LocalityLoadBalancer) {
        if let Some(label) = topology(&setting.failover_priority) {
            self.refuse(
                path,
                format!("\'failover_priority\' for zone aware lb must not use topology label \'{label}\'"),
            );
        }
        self.failover(path, &setting.failover);
    }

    fn failover(&mut self, path: &str, failover: &[Failover]) {
        for (i, Failover { from, to }) in failover.iter().enumerate() {
            let path = format!("{path}.failover[{i}]");
            let either = |found: char| from.contains(found) || to.contains(found);
            self.refuse_if(from == to, &path, "locality lb failover settings must specify different regions");
            self.refuse_if(either('/'), &path, "locality lb failover only specify region");
            self.refuse_if(either('*'), &path, "locality lb failover region should not contain \'*\' wildcard");
        }
    }
}

fn topology(labels: &[String]) -> Option<&str> {
    labels.iter().map(String::as_str).find(|label| TOPOLOGY.contains(label))
}

/// Shares of one origin make 100 together.
fn weights(share: &Distribute) -> Result<(), String> {
    if !share.to.values().all(|weight| (1..=100).contains(weight)) {
        return Err("locality weight must be in range [1, 100]".to_owned());
    }
    match share.to.values().sum::<u32>() {
        100 => Ok(()),
        total => Err(format!("total locality weight {total} != 100")),
    }
}

/// `region/zone/subzone`, a `*` at the end at most; none of them lies within another.
fn apart<'l>(localities: impl Iterator<Item = &'l str>) -> Result<(), String> {
    let mut seen: Vec<Vec<&str>> = Vec::new();
    for locality in localities {
        let stars = locality.matches('*').count();
        if stars > 1 || (stars == 1 && !locality.ends_with('*')) {
            return Err(format!("locality {locality} wildcard \'*\' number can not exceed 1 and must be in the end"));
        }
        let parts: Vec<&str> = locality.splitn(3, '/').collect();
        if parts.contains(&"") {
            return Err(format!("locality {locality} must not contain empty region/zone/subzone info"));
        }
        if seen.iter().any(|known| overlap(known, &parts)) {
            return Err(format!("locality {locality} overlap with previous specified ones"));
        }
        seen.push(parts);
    }
    Ok(())
}

/// One is the other, or lies within it.
fn overlap(one: &[&str], other: &[&str]) -> bool {
    let within = |a: &str, b: &str| a == b || a == "*";
    one.iter().zip(other).all(|(a, b)| within(a, b)) || one.first() == Some(&"*")
}

#[cfg(test)]
mod tests {
    use super::apart;

    #[test]
    fn localities_of_one_list_lie_apart() {
        for (localities, fine) in [
            (&["r/z1", "r/z2"][..], true),
            (&["r/z/*", "r/z2/*"], true),
            (&["r", "r2"], true),
            (&["r", "r/z"], false),
            (&["r/z", "r/z"], false),
            (&["*", "r"], false),
            (&["r/*/z"], false),
            (&["r//z"], false),
        ] {
            assert_eq!(apart(localities.iter().copied()).is_ok(), fine, "{localities:?}");
        }
    }
}
