//! A request's last steps before it is sent on: timeouts, attempt count, header operations, host and path.
//!
//! Source: Envoy's `router/router.cc` (`decodeHeaders`, `FilterUtility::finalTimeout`, `setTimeoutHeaders`) and `router/config_impl.cc`
//! (`finalizeRequestHeaders`), in their order.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use policy::path::split_target;
use policy::rewrite;

use super::entry::{Destination, Forward, HostRewrite, Mirror, PathRewrite, RouteEntry};
use crate::edge::ConnectionInfo;
use crate::header_ops::{Facts, Format, Missing, StreamInfo};
use crate::headers::{self, HeaderList};
use crate::retry::RetryState;

/// The router filter's options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterOptions {
    /// Write no `x-envoy-*` header.
    pub suppress_envoy_headers: bool,
    /// Believe `x-envoy-expected-rq-timeout-ms`.
    pub respect_expected_rq_timeout: bool,
}

/// What was settled about a request when it was made ready.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// How long it may take.
    pub timeouts: Timeouts,
    /// Its retries.
    pub retry: Option<RetryState>,
}

/// How long a request and its tries may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request to the end of the answer.
    pub global: Option<Duration>,
    /// One try.
    pub per_try: Option<Duration>,
    /// How long a try may last, whatever comes of it: what the request asks for.
    pub stream: Option<Duration>,
    /// Answer 204 when time is up, not 504.
    pub alternative_response: bool,
    /// Write `grpc-timeout` as well.
    rewrite_grpc: bool,
    /// The request asks for hedging: what one try may take is no promise then.
    hedging: bool,
}

impl RouteEntry {
    /// Makes a request ready to be sent to its destination. Tries after the first only need [`Timeouts::write`] and
    /// [`write_attempt_count`].
    pub fn prepare(
        &self,
        destination: &Destination,
        request: &mut HeaderList,
        connection: &ConnectionInfo,
        stream: &StreamInfo,
        options: RouterOptions,
    ) -> Prepared {
        let Some(forward) = self.forward() else {
            return Prepared { timeouts: Timeouts::default(), retry: None };
        };
        let timeouts = Timeouts::take(forward, request, options);
        timeouts.write(request, Duration::ZERO, options);
        if headers::has(request, "x-envoy-upstream-alt-stat-name") {
            headers::remove(request, b"x-envoy-upstream-alt-stat-name");
        }
        if self.virtual_host.attempt_count_in_request {
            write_attempt_count(request, 1);
        }
        if let Some(entry) = self.weighted(destination) {
            entry.request_ops.apply_to_request(request, connection, stream);
            if let Some(host) = &entry.host {
                headers::set_slot(request, ":authority", host.clone());
            }
        }
        self.apply_request_ops(request, connection, stream);
        self.rewrite_host(forward, request, connection, stream, options);
        self.rewrite_path(forward, request, connection, stream, options);
        Prepared { timeouts, retry: RetryState::new(forward.retry.as_ref(), request) }
    }

    fn rewrite_host(
        &self,
        forward: &Forward,
        request: &mut HeaderList,
        connection: &ConnectionInfo,
        stream: &StreamInfo,
        options: RouterOptions,
    ) {
        let host = match &forward.host {
            HostRewrite::Keep | HostRewrite::Endpoint => return,
            HostRewrite::Literal(host) => host.clone(),
            HostRewrite::Header(name) => headers::get(request, name).cloned().unwrap_or_default(),
            HostRewrite::PathRegex(regex, with) => {
                let target = headers::get(request, ":path").cloned().unwrap_or_default();
                Bytes::from(regex.replace_all(split_target(&target).0, with))
            }
            HostRewrite::Format(format) => render(format, request, connection, stream),
        };
        set_host(request, forward, host, options);
    }

    /// Writes the endpoint's name as the host, for routes that ask for it.
    pub fn host_of_endpoint(&self, request: &mut HeaderList, endpoint: &str, options: RouterOptions) {
        if let Some(forward) = self.forward()
            && matches!(forward.host, HostRewrite::Endpoint)
        {
            set_host(request, forward, Bytes::copy_from_slice(endpoint.as_bytes()), options);
        }
    }

    fn rewrite_path(
        &self,
        forward: &Forward,
        request: &mut HeaderList,
        connection: &ConnectionInfo,
        stream: &StreamInfo,
        options: RouterOptions,
    ) {
        if matches!(forward.path, PathRewrite::Keep) {
            return;
        }
        let Some(old) = headers::get(request, ":path").cloned() else { return };
        let new = match &forward.path {
            PathRewrite::Keep => return,
            PathRewrite::Matched(with) => {
                let matched = self.matcher.request.path.matched_len().unwrap_or_else(|| split_target(&old).0.len());
                rewrite::envoy_prefix_rewrite(&old, matched, with)
            }
            PathRewrite::Regex(regex, with) => rewrite::regex_rewrite(&old, regex, with),
            PathRewrite::Whole(format) => {
                let with = render(format, request, connection, stream);
                if with.is_empty() { old.to_vec() } else { rewrite::replace_path(&old, &with) }
            }
            PathRewrite::Template(filling) => {
                let template = self.matcher.request.path.as_template();
                let captures = template.and_then(|template| template.captures(split_target(&old).0));
                captures.map_or_else(|| old.to_vec(), |captures| rewrite::replace_path(&old, &filling.fill(&captures)))
            }
        };
        if !options.suppress_envoy_headers {
            headers::set_slot(request, "x-envoy-original-path", old);
        }
        headers::set_slot(request, ":path", Bytes::from(new));
    }
}

fn render(format: &Format, request: &HeaderList, connection: &ConnectionInfo, stream: &StreamInfo) -> Bytes {
    let facts = Facts::of_request(request, connection, stream);
    format.render(&facts, Missing::Empty)
}

fn set_host(request: &mut HeaderList, forward: &Forward, host: Bytes, options: RouterOptions) {
    if host.is_empty() {
        return;
    }
    let old = headers::get(request, ":authority").cloned().unwrap_or_default();
    if !options.suppress_envoy_headers && !old.is_empty() {
        headers::set_slot(request, "x-envoy-original-host", old.clone());
    }
    if forward.append_x_forwarded_host && !old.is_empty() {
        let hosts =
            headers::get(request, "x-forwarded-host").map_or_else(|| old.clone(), |hosts| headers::joined(hosts, &old));
        headers::set_slot(request, "x-forwarded-host", hosts);
    }
    headers::set_slot(request, ":authority", host);
}

/// Writes `x-envoy-attempt-count`; `attempt` counts from 1.
pub fn write_attempt_count(headers: &mut HeaderList, attempt: u32) {
    let value = if attempt == 1 { Bytes::from_static(b"1") } else { Bytes::from(attempt.to_string()) };
    headers::set_slot(headers, "x-envoy-attempt-count", value);
}

impl Timeouts {
    /// Settles the timeouts of a request; takes the headers away that ask for some.
    fn take(forward: &Forward, request: &mut HeaderList, options: RouterOptions) -> Timeouts {
        let grpc_max = forward.max_grpc_timeout.filter(|_| crate::local_reply::is_grpc(request));
        let mut global = match grpc_max {
            Some(max) => grpc_timeout(request, forward.grpc_timeout_offset, max),
            None => forward.timeout,
        };
        let mut per_try = forward.retry.as_ref().and_then(|retry| retry.per_try_timeout);
        let millis = |value: &Bytes| std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
        let some = |millis: u64| (millis > 0).then(|| Duration::from_millis(millis));
        let (mut alternative_response, mut hedging, mut stream) = (false, false, None);
        // The usual request has none of these headers.
        if request.iter().any(|(name, _)| name.starts_with(b"x-envoy-")) {
            let mut take = |name: &str| {
                let value = headers::get(request, name).cloned();
                if value.is_some() {
                    headers::remove(request, name.as_bytes());
                }
                value
            };
            let asked = take("x-envoy-upstream-rq-timeout-ms");
            let asked_per_try = take("x-envoy-upstream-rq-per-try-timeout-ms");
            alternative_response = take("x-envoy-upstream-rq-timeout-alt-response").is_some();
            let asked_stream = take("x-envoy-upstream-stream-duration-ms");
            stream = asked_stream.as_ref().and_then(millis).and_then(some);
            // Nobody hedges here: a second try begins when the first is given up. The origin is told what it would be told.
            hedging = take("x-envoy-hedge-on-per-try-timeout").is_some_and(|value| value == "true");
            let expected =
                headers::get(request, "x-envoy-expected-rq-timeout-ms").filter(|_| options.respect_expected_rq_timeout);
            if let Some(asked) = expected.and_then(millis).or_else(|| asked.as_ref().and_then(millis)) {
                global = some(asked);
            }
            if let Some(asked) = asked_per_try.as_ref().and_then(millis) {
                per_try = some(asked);
            }
        }
        let per_try = per_try.filter(|per_try| global.is_none_or(|global| *per_try < global));
        Timeouts { global, per_try, stream, alternative_response, rewrite_grpc: grpc_max.is_some(), hedging }
    }

    /// Tells the upstream how long it has, `elapsed` after the start: whole milliseconds of it count.
    pub fn write(&self, request: &mut HeaderList, elapsed: Duration, options: RouterOptions) {
        let asked = if self.hedging { self.global.or(self.per_try) } else { self.per_try.or(self.global) };
        let Some(mut expected) = asked else { return };
        let elapsed = elapsed - Duration::from_nanos(u64::from(elapsed.subsec_nanos() % 1_000_000));
        if let Some(global) = self.global {
            let left = global.checked_sub(elapsed).filter(|left| !left.is_zero());
            expected = left.map_or(Duration::from_millis(1), |left| expected.min(left));
        }
        let millis = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
        if !options.suppress_envoy_headers {
            headers::set_slot(request, "x-envoy-expected-rq-timeout-ms", Bytes::from(millis.to_string()));
        }
        if self.rewrite_grpc {
            headers::set_slot(request, "grpc-timeout", Bytes::from(grpc_text(millis)));
        }
    }
}

/// How long streams of a route may last: its `max_stream_duration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamLimit {
    /// So long; zero for ever. `None` leaves it to the connection manager.
    pub most: Option<Duration>,
    /// Instead, what `grpc-timeout` asks for, up to this; zero for anything. `None`: the header is not looked at.
    pub grpc_max: Option<Duration>,
    /// Taken off that.
    pub grpc_offset: Option<Duration>,
}

impl StreamLimit {
    /// How long this request's stream may last, and a gRPC request's `grpc-timeout` from now on, where that decides.
    pub fn of(&self, request: &[(Bytes, Bytes)]) -> (Option<Duration>, Option<Bytes>) {
        let Some(max) = self.grpc_max else { return (self.most, None) };
        let asked = headers::get(request, "grpc-timeout").and_then(|value| grpc_duration(value));
        let Some(asked) = asked else { return (self.most, None) };
        let capped = if max.is_zero() { asked } else { asked.min(max) };
        let left =
            self.grpc_offset.filter(|offset| *offset < capped).map_or(capped, |offset| capped.saturating_sub(offset));
        let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let told = crate::local_reply::is_grpc(request).then(|| Bytes::from(grpc_text(millis)));
        // Who has no time is out of time.
        (Some(left.max(Duration::from_nanos(1))), told)
    }
}

/// What `grpc-timeout` asks for, less the offset, up to the most; zero is for ever on both sides.
fn grpc_timeout(request: &[(Bytes, Bytes)], offset: Option<Duration>, max: Duration) -> Option<Duration> {
    let mut asked = headers::get(request, "grpc-timeout").and_then(|value| grpc_duration(value)).unwrap_or_default();
    if let Some(offset) = offset.filter(|offset| *offset < asked) {
        asked = asked.saturating_sub(offset);
    }
    if !max.is_zero() && (asked.is_zero() || asked > max) {
        asked = max;
    }
    (!asked.is_zero()).then_some(asked)
}

/// Up to eight digits and a unit, rounded up to milliseconds.
fn grpc_duration(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let millis = match unit {
        b'H' => number.saturating_mul(3_600_000),
        b'M' => number.saturating_mul(60_000),
        b'S' => number.saturating_mul(1000),
        b'm' => number,
        b'u' => number.div_ceil(1000),
        b'n' => number.div_ceil(1_000_000),
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// At most eight digits, in the smallest unit that does.
fn grpc_text(millis: u64) -> String {
    const MAX: u64 = 99_999_999;
    let mut number = millis;
    for (unit, next) in [('m', 1000), ('S', 60), ('M', 60)] {
        if number <= MAX {
            return format!("{number}{unit}");
        }
        number = number.checked_div(next).unwrap_or_default();
    }
    format!("{}H", number.min(MAX))
}

impl Mirror {
    /// The cluster that gets a copy of this request, if the draw says so. `random` is the stream's.
    pub fn cluster(&self, request: &[(Bytes, Bytes)], random: u64) -> Option<Arc<str>> {
        if !self.share.takes(random) {
            return None;
        }
        match &self.cluster_header {
            None => Some(self.cluster.clone()),
            Some(name) => headers::get(request, name).and_then(|value| std::str::from_utf8(value).ok()).map(Arc::from),
        }
    }

    /// The copy, made of the request as it is sent on. `node` is the gateway's own address.
    pub fn copy(
        &self,
        request: &HeaderList,
        connection: &ConnectionInfo,
        stream: &StreamInfo,
        node: IpAddr,
    ) -> HeaderList {
        let mut copy = request.clone();
        self.mutations.apply_to_request(&mut copy, connection, stream);
        if let Some(host) = &self.host {
            headers::set_slot(&mut copy, ":authority", host.clone());
        } else if !self.keep_host {
            shadow_host(&mut copy);
        }
        headers::set_slot(&mut copy, "x-envoy-internal", Bytes::from_static(b"true"));
        let node = Bytes::from(node.to_string());
        let hops =
            headers::get(&copy, "x-forwarded-for").map_or_else(|| node.clone(), |hops| headers::joined(hops, &node));
        headers::set_slot(&mut copy, "x-forwarded-for", hops);
        copy
    }
}

/// `a:8080` becomes `a-shadow:8080`.
fn shadow_host(copy: &mut HeaderList) {
    let Some(host) = headers::get(copy, ":authority").cloned() else { return };
    let (name, port) = super::split_port(&host);
    let mut new = [name, b"-shadow"].concat();
    if let Some(port) = port {
        new.push(b':');
        new.extend_from_slice(port);
    }
    headers::set_slot(copy, ":authority", Bytes::from(new));
}
