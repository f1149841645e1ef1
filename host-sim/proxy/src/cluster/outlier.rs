//! Outlier detection: endpoints that answer badly are left out for a while.
//!
//! Source: Envoy's `common/upstream/outlier_detection_impl.cc`. One detector per cluster, shared by all workers. Time is a monotonic clock; dice
//! serve the `enforcing_*` percentages.

use std::time::Duration;

use crate::route::error::{Errors, Path};

/// When an endpoint is left out, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierPolicy {
    /// How often ejected endpoints are looked at again and success rates compared.
    pub interval: Duration,
    base_ejection_time: Duration,
    max_ejection_time: Duration,
    max_ejection_percent: u32,
    always_eject_one: bool,
    split: bool,
    consecutive_5xx: Rule,
    consecutive_gateway_failure: Rule,
    consecutive_local_origin: Rule,
    success_rate: Rates,
    local_success_rate_enforcing: u32,
    failure_percentage: Rates,
    local_failure_percentage_enforcing: u32,
    /// Thousandths of a standard deviation.
    stdev_factor: u32,
    failure_threshold: u32,
}

/// So many in a row; in `enforcing` percent of the cases it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rule {
    threshold: u32,
    enforcing: u32,
}

/// Rates are compared among at least `hosts` endpoints with at least `volume` requests each in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rates {
    hosts: usize,
    volume: u64,
    enforcing: u32,
}

/// What came of one try, as far as the endpoint is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status.
    Status(u16),
    /// No connection.
    ConnectFailed,
    /// It took too long.
    Timeout,
    /// It broke off.
    Reset,
    /// The connection was made; counts only where local errors are told apart.
    Connected,
}

/// An endpoint that was left out or taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Left out.
    Ejected {
        /// Which.
        host: usize,
        /// Why.
        cause: Cause,
    },
    /// Taken back.
    Returned {
        /// Which.
        host: usize,
    },
}

/// Why an endpoint is left out, as Envoy's event log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// 5xx in a row.
    Consecutive5xx,
    /// 502, 503, 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures of our side of the connection in a row.
    ConsecutiveLocalOriginFailure,
    /// Fewer successes than its peers.
    SuccessRate,
    /// More failures than allowed.
    FailurePercentage,
}

/// The detector of one cluster.
#[derive(Debug, Clone)]
pub struct Detector {
    policy: OutlierPolicy,
    hosts: Vec<Monitor>,
}

#[derive(Debug, Clone, Default)]
struct Monitor {
    fives: u32,
    gateway: u32,
    local: u32,
    external: Bucket,
    own: Bucket,
    ejected_at: Option<Duration>,
    /// How many times the base ejection time it stays out.
    back_off: u32,
}

/// Requests and successes of one interval.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    total: u64,
    good: u64,
}

impl OutlierPolicy {
    /// Reads a cluster's policy.
    pub(crate) fn compile(outlier: &xds::OutlierDetection, at: &Path<'_>, errors: &mut Errors) -> OutlierPolicy {
        errors.unsupported(at, "monitors", !outlier.monitors.is_empty());
        let rule = |threshold: Option<u32>, enforcing: Option<u32>, default: u32| Rule {
            threshold: threshold.unwrap_or(5),
            enforcing: enforcing.unwrap_or(default),
        };
        let rates =
            |hosts: Option<u32>, volume: Option<u32>, volume_default: u32, enforcing: Option<u32>, default: u32| {
                Rates {
                    hosts: usize::try_from(hosts.unwrap_or(5)).unwrap_or(usize::MAX),
                    volume: volume.unwrap_or(volume_default).into(),
                    enforcing: enforcing.unwrap_or(default),
                }
            };
        let base = outlier.base_ejection_time.map_or(Duration::from_secs(30), |time| time.0);
        OutlierPolicy {
            interval: outlier.interval.map_or(Duration::from_secs(10), |time| time.0),
            base_ejection_time: base,
            max_ejection_time: outlier.max_ejection_time.map_or(base.max(Duration::from_secs(300)), |time| time.0),
            max_ejection_percent: outlier.max_ejection_percent.unwrap_or(10).min(100),
            always_eject_one: outlier.always_eject_one_host.unwrap_or(false),
            split: outlier.split_external_local_origin_errors,
            consecutive_5xx: rule(outlier.consecutive_5xx, outlier.enforcing_consecutive_5xx, 100),
            consecutive_gateway_failure: rule(
                outlier.consecutive_gateway_failure,
                outlier.enforcing_consecutive_gateway_failure,
                0,
            ),
            consecutive_local_origin: rule(
                outlier.consecutive_local_origin_failure,
                outlier.enforcing_consecutive_local_origin_failure,
                100,
            ),
            success_rate: rates(
                outlier.success_rate_minimum_hosts,
                outlier.success_rate_request_volume,
                100,
                outlier.enforcing_success_rate,
                100,
            ),
            local_success_rate_enforcing: outlier.enforcing_local_origin_success_rate.unwrap_or(100),
            failure_percentage: rates(
                outlier.failure_percentage_minimum_hosts,
                outlier.failure_percentage_request_volume,
                50,
                outlier.enforcing_failure_percentage,
                0,
            ),
            local_failure_percentage_enforcing: outlier.enforcing_failure_percentage_local_origin.unwrap_or(0),
            stdev_factor: outlier.success_rate_stdev_factor.unwrap_or(1900),
            failure_threshold: outlier.failure_percentage_threshold.unwrap_or(85),
        }
    }
}

impl Detector {
    /// A detector over so many endpoints, none of them ejected.
    pub fn new(policy: OutlierPolicy, hosts: usize) -> Detector {
        Detector { policy, hosts: vec![Monitor::default(); hosts] }
    }

    /// How often [`tick`](Self::tick) wants to be called.
    pub fn interval(&self) -> Duration {
        self.policy.interval
    }

    /// Is this endpoint left out?
    pub fn is_ejected(&self, host: usize) -> bool {
        self.hosts.get(host).is_some_and(|monitor| monitor.ejected_at.is_some())
    }

    /// How many are left out.
    pub fn ejected(&self) -> usize {
        self.hosts.iter().filter(|monitor| monitor.ejected_at.is_some()).count()
    }

    /// Notes what came of a try; says whether the endpoint is left out from now on.
    pub fn report(&mut self, host: usize, outcome: Outcome, now: Duration, random: u64) -> Option<Change> {
        let (policy, monitor) = (self.policy.clone(), self.hosts.get_mut(host)?);
        let causes = monitor.note(&policy, outcome);
        causes.into_iter().flatten().find_map(|(cause, enforcing)| {
            self.eject(host, cause, enforcing, now, random).then_some(Change::Ejected { host, cause })
        })
    }

    /// Takes endpoints back whose time is over, and compares rates.
    pub fn tick(&mut self, now: Duration, random: &mut dyn FnMut() -> u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for (host, monitor) in self.hosts.iter_mut().enumerate() {
            let time =
                self.policy.base_ejection_time.saturating_mul(monitor.back_off).min(self.policy.max_ejection_time);
            if monitor.ejected_at.is_some_and(|at| now.saturating_sub(at) >= time) {
                *monitor = Monitor { back_off: monitor.back_off, ..Monitor::default() };
                changes.push(Change::Returned { host });
            } else if monitor.ejected_at.is_none() {
                monitor.back_off = monitor.back_off.saturating_sub(1);
            }
        }
        changes.extend(self.compare(|monitor| &mut monitor.external, false, now, random));
        if self.policy.split {
            changes.extend(self.compare(|monitor| &mut monitor.own, true, now, random));
        }
        changes
    }

    fn compare(
        &mut self,
        bucket: impl Fn(&mut Monitor) -> &mut Bucket,
        local: bool,
        now: Duration,
        random: &mut dyn FnMut() -> u64,
    ) -> Vec<Change> {
        let rates: Vec<(usize, Bucket)> =
            self.hosts.iter_mut().enumerate().map(|(at, monitor)| (at, std::mem::take(bucket(monitor)))).collect();
        let policy = self.policy.clone();
        let enough = |rule: Rates| -> Option<Vec<(usize, f64)>> {
            let valid: Vec<(usize, f64)> = rates
                .iter()
                .filter(|(_, one)| one.total >= rule.volume.max(1))
                .map(|(at, one)| (*at, one.rate()))
                .collect();
            (valid.len() >= rule.hosts.max(1)).then_some(valid)
        };
        let mut found = Vec::new();
        if let Some(valid) = enough(policy.success_rate) {
            let threshold = success_threshold(&valid, policy.stdev_factor);
            let enforcing = if local { policy.local_success_rate_enforcing } else { policy.success_rate.enforcing };
            found.extend(
                valid.iter().filter(|(_, rate)| *rate < threshold).map(|(at, _)| (*at, Cause::SuccessRate, enforcing)),
            );
        }
        if let Some(valid) = enough(policy.failure_percentage) {
            let threshold = f64::from(policy.failure_threshold);
            let enforcing =
                if local { policy.local_failure_percentage_enforcing } else { policy.failure_percentage.enforcing };
            let bad = valid.iter().filter(|(_, rate)| 100.0 - rate >= threshold);
            found.extend(bad.map(|(at, _)| (*at, Cause::FailurePercentage, enforcing)));
        }
        found
            .into_iter()
            .filter(|(host, cause, enforcing)| self.eject(*host, *cause, *enforcing, now, random()))
            .map(|(host, cause, _)| Change::Ejected { host, cause })
            .collect()
    }

    /// Leaves an endpoint out, if the percentages allow it.
    fn eject(&mut self, host: usize, _cause: Cause, enforcing: u32, now: Duration, random: u64) -> bool {
        let (ejected, all) = (self.ejected(), self.hosts.len());
        let policy = &self.policy;
        let percent = policy.max_ejection_percent;
        let within = usize::try_from(percent)
            .ok()
            .and_then(|percent| all.checked_mul(percent))
            .is_some_and(|allowed| ejected.saturating_add(1).saturating_mul(100) <= allowed);
        let allowed = within || (policy.always_eject_one && ejected == 0);
        let enforced = random.checked_rem(100).is_some_and(|draw| draw < u64::from(enforcing));
        let Some(monitor) = self.hosts.get_mut(host).filter(|monitor| monitor.ejected_at.is_none()) else {
            return false;
        };
        if !allowed || !enforced {
            return false;
        }
        monitor.ejected_at = Some(now);
        let longest = policy.max_ejection_time.saturating_add(policy.base_ejection_time);
        if policy.base_ejection_time.saturating_mul(monitor.back_off) < longest {
            monitor.back_off = monitor.back_off.saturating_add(1);
        }
        true
    }
}

/// A cause found, and in how many percent of the cases it counts.
type Found = Option<(Cause, u32)>;

impl Monitor {
    fn note(&mut self, policy: &OutlierPolicy, outcome: Outcome) -> [Found; 3] {
        match outcome {
            Outcome::Status(status) => self.status(policy, status),
            Outcome::Reset => self.status(policy, 500),
            Outcome::ConnectFailed | Outcome::Timeout if policy.split => self.local_failure(policy),
            Outcome::ConnectFailed => self.status(policy, 503),
            Outcome::Timeout => self.status(policy, 504),
            Outcome::Connected => {
                if policy.split {
                    self.own.count(true);
                    self.local = 0;
                }
                [None; 3]
            }
        }
    }

    fn local_failure(&mut self, policy: &OutlierPolicy) -> [Found; 3] {
        self.own.count(false);
        let rule = policy.consecutive_local_origin;
        [reached(&mut self.local, rule).then_some((Cause::ConsecutiveLocalOriginFailure, rule.enforcing)), None, None]
    }

    fn status(&mut self, policy: &OutlierPolicy, status: u16) -> [Found; 3] {
        let bad = (500..600).contains(&status);
        self.external.count(!bad);
        if !bad {
            self.fives = 0;
            self.gateway = 0;
            return [None; 3];
        }
        let gateway = (502..=504).contains(&status);
        if !gateway {
            self.gateway = 0;
        }
        let gateway = gateway && reached(&mut self.gateway, policy.consecutive_gateway_failure);
        let fives = reached(&mut self.fives, policy.consecutive_5xx);
        [
            gateway.then_some((Cause::ConsecutiveGatewayFailure, policy.consecutive_gateway_failure.enforcing)),
            fives.then_some((Cause::Consecutive5xx, policy.consecutive_5xx.enforcing)),
            None,
        ]
    }
}

/// Counts one more; at the threshold the count starts anew.
fn reached(count: &mut u32, rule: Rule) -> bool {
    *count = count.saturating_add(1);
    let reached = *count == rule.threshold;
    if reached {
        *count = 0;
    }
    reached
}

impl Bucket {
    fn count(&mut self, good: bool) {
        self.total = self.total.saturating_add(1);
        self.good = self.good.saturating_add(u64::from(good));
    }

    /// Percent.
    fn rate(self) -> f64 {
        let float = |number: u64| u32::try_from(number).map_or(f64::from(u32::MAX), f64::from);
        100.0 * float(self.good) / float(self.total)
    }
}

/// Mean less so many thousandths of the standard deviation.
fn success_threshold(rates: &[(usize, f64)], stdev_factor: u32) -> f64 {
    let count = u32::try_from(rates.len()).map_or(f64::from(u32::MAX), f64::from);
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / count;
    mean - f64::from(stdev_factor) / 1000.0 * variance.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector(outlier: xds::OutlierDetection, hosts: usize) -> Detector {
        let mut errors = Errors::default();
        let policy = OutlierPolicy::compile(&outlier, &Path::Root, &mut errors);
        errors.into_result(()).unwrap();
        Detector::new(policy, hosts)
    }

    fn after(percent: u32) -> xds::OutlierDetection {
        xds::OutlierDetection { consecutive_5xx: Some(3), max_ejection_percent: Some(percent), ..Default::default() }
    }

    const ZERO: Duration = Duration::ZERO;

    #[test]
    fn three_in_a_row_are_three_in_a_row() {
        let mut detector = detector(after(100), 3);
        for status in [500, 503, 200, 500, 504] {
            assert_eq!(detector.report(1, Outcome::Status(status), ZERO, 0), None);
        }
        let change = detector.report(1, Outcome::Reset, ZERO, 0);
        assert_eq!(change, Some(Change::Ejected { host: 1, cause: Cause::Consecutive5xx }));
        assert!(detector.is_ejected(1) && !detector.is_ejected(0));
    }

    #[test]
    fn ten_percent_of_three_endpoints_is_none() {
        for (percent, ejects) in [(10, false), (33, false), (34, true)] {
            let mut detector = detector(after(percent), 3);
            let changes = (0..3).filter_map(|_| detector.report(0, Outcome::Status(500), ZERO, 0)).count();
            assert_eq!(changes == 1, ejects, "{percent} %");
        }
    }

    #[test]
    fn an_ejection_lasts_longer_each_time_and_never_ends_between_ticks() {
        let mut detector = detector(after(100), 1);
        let second = Duration::from_secs;
        let eject = |detector: &mut Detector, at| {
            (0..3).find_map(|_| detector.report(0, Outcome::ConnectFailed, second(at), 0))
        };
        assert!(eject(&mut detector, 0).is_some());
        assert!(detector.tick(second(29), &mut || 0).is_empty());
        assert_eq!(detector.tick(second(30), &mut || 0), [Change::Returned { host: 0 }]);
        assert!(eject(&mut detector, 31).is_some());
        assert!(detector.tick(second(90), &mut || 0).is_empty());
        assert_eq!(detector.tick(second(91), &mut || 0), [Change::Returned { host: 0 }]);
    }

    #[test]
    fn gateway_failures_count_only_when_enforced() {
        let gateway = xds::OutlierDetection {
            consecutive_gateway_failure: Some(2),
            enforcing_consecutive_gateway_failure: Some(100),
            ..after(100)
        };
        let mut detector = detector(gateway, 1);
        assert_eq!(detector.report(0, Outcome::Status(502), ZERO, 0), None);
        let change = detector.report(0, Outcome::Status(503), ZERO, 0);
        assert_eq!(change, Some(Change::Ejected { host: 0, cause: Cause::ConsecutiveGatewayFailure }));
    }

    #[test]
    fn a_low_success_rate_stands_out_among_peers() {
        let mut detector = detector(
            xds::OutlierDetection { max_ejection_percent: Some(50), consecutive_5xx: Some(1000), ..Default::default() },
            6,
        );
        for host in 0..6 {
            for n in 0..100 {
                let status = if host == 2 && n % 2 == 0 { 500 } else { 200 };
                detector.report(host, Outcome::Status(status), ZERO, 0);
            }
        }
        assert_eq!(detector.tick(ZERO, &mut || 0), [Change::Ejected { host: 2, cause: Cause::SuccessRate }]);
    }
}
