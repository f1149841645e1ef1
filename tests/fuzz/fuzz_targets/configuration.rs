//! Any bytes as a module's configuration. The first byte names the module.
#![no_main]

use fuzz::{Bytes, serve};
use libfuzzer_sys::fuzz_target;
use policy::Module;
use policy::fault_inject::FaultInject;
use policy::header_match::HeaderMatch;
use policy::metrics::Metrics;
use policy::rate_limit::RateLimit;
use policy::suite::Suite;
use policy::traffic_shift::TrafficShift;
use policy::uri_rewrite::UriRewrite;

const REQUEST: &[(&[u8], &[u8])] = &[
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"shop.example:8443"),
    (b":path", b"/api/v1/a%2Fb/../c//d;e=1?k=v&k=w#f"),
    (b"x-user", b"ann"),
    (b"x-user", b"\xff\xfe"),
    (b"cookie", b"sid=1; beta=\"1\""),
    (b"content-type", b"application/grpc"),
];

fn check<M: Module>(config: &[u8]) {
    let said = || M::parse(config, &mut Metrics::default()).err().map(|invalid| invalid.to_string());
    let first = said();
    assert_eq!(first, said());
    match first {
        Some(reason) => assert!(!reason.is_empty()),
        None => serve::<M>(config, REQUEST, "10.1.2.3".parse().ok(), 7, &mut Bytes::default()),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((module, config)) = input.split_first() else { return };
    match module % 6 {
        0 => check::<HeaderMatch>(config),
        1 => check::<UriRewrite>(config),
        2 => check::<TrafficShift>(config),
        3 => check::<FaultInject>(config),
        4 => check::<RateLimit>(config),
        _ => check::<Suite>(config),
    }
});
