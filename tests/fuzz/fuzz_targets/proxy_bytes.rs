//! Any bytes from the proxy: serialised headers, a service's answer, an address, a date.
#![no_main]

use fuzz::{Bytes, serve};
use libfuzzer_sys::fuzz_target;
use policy::dice::Dice;
use policy::exchange::Exchange;
use policy::metrics::Metrics;
use policy::rate_limit::RateLimit;
use policy::{Module, cidr, pairs};

const ASKS: &str = r#"{"rules": [{"name": "r", "limit": {"requests": 1, "per": "1s"},
    "global": {"cluster": "c", "domain": "d", "descriptors": [{"entries": [{"key": "k", "value": "v"}]}]}}]}"#;

fuzz_target!(|input: &[u8]| {
    let headers = pairs::read(input);
    let owned: Option<Vec<(String, Vec<u8>)>> = headers
        .iter()
        .map(|(name, value)| Some((std::str::from_utf8(name).ok()?.to_owned(), value.to_vec())))
        .collect();
    if let Some(owned) = owned.filter(|owned| !owned.is_empty()) {
        let written = pairs::write(&owned);
        assert_eq!(pairs::read(&written), headers);
    }
    if headers.iter().all(|(name, value)| *name != b":path" || value.starts_with(b"/")) {
        serve::<RateLimit>(ASKS.as_bytes(), &headers, None, 1, &mut Bytes::default());
    }
    let _ = cidr::parse_peer(input);
    let module = RateLimit::parse(ASKS.as_bytes(), &mut Metrics::default()).expect("a configuration");
    let mut exchange = Exchange::new(vec![(b":path", b"/")], Dice::new(1));
    for ask in module.decide(&mut exchange, &mut Bytes::default()).asks {
        let verdict = ask.answered(input);
        if let Some(reply) = verdict.reply {
            assert!((200..=599).contains(&reply.status));
        }
    }
});
