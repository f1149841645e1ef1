//! A module that means harm, in many ways. The host answers each, serves the next request, stays small, and lets nothing onto the wire or into the log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

#[path = "support/misdeeds.rs"]
mod misdeeds;
mod support;

use std::rc::Rc;

use bytes::Bytes;
use misdeeds::{DATA, IMPORTS, WAYS};
use support::*;
use vm::{Admission, Direction, Fidelity, Module, NoInfo, Outcome, PluginConfig, Shared, Verdict, Vm};

fn module(way: &str) -> Module {
    load_text(&misdeeds::module(way)).expect("a module that loads")
}

fn ask(vm: &mut Vm, evil: bool) -> Option<Outcome> {
    let id = match vm.create_stream(Rc::new(NoInfo)) {
        Admission::Stream(id) => id,
        Admission::Bypass | Admission::Fail => return None,
    };
    let head = if evil { request(&[("x-evil", "yes")]) } else { request(&[]) };
    let mut outcome = vm.on_request_headers(id, head, true);
    if let Verdict::Pause(_) = outcome.verdict {
        outcome.released = vm.reclaim(id, Direction::Request);
    }
    if let Verdict::Reply(_) = outcome.verdict {
        let answer = vm.on_response_headers(id, headers(&[(":status", "403")]), true);
        assert_eq!(answer.verdict, Verdict::Continue, "the module's own answer gets past it");
    }
    vm.on_done(id);
    vm.take_events();
    Some(outcome)
}

#[test]
fn a_module_writes_a_thousand_lines_a_second_and_what_is_left_out_is_counted() {
    let log = r#"(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))"#;
    let module = load(
        log,
        r#"(func (export "proxy_on_tick") (param i32) (local $n i32)
            (loop $again
                i32.const 2 i32.const 0 i32.const 0 call $log drop
                local.get $n i32.const 1 i32.add local.tee $n i32.const 1500 i32.lt_u br_if $again))"#,
    );
    let (mut vm, world) = start(&module);
    vm.on_tick();
    vm.on_tick();
    assert_eq!(world.log().len(), 1000);
    world.advance(1000);
    vm.on_tick();
    let lines = world.log();
    assert_eq!(lines.len(), 2001);
    assert!(lines[1000].contains(": 2000 lines of this module's log left out"), "{}", lines[1000]);
}

#[test]
fn hardened_every_misdeed_is_answered_and_the_next_request_is_served() {
    for (name, way) in WAYS {
        let (vm, world) = start_with(&module(way), PluginConfig { fidelity: Fidelity::Hardened, ..config() });
        let mut vm = vm.unwrap();
        let outcome = ask(&mut vm, true).unwrap_or_else(|| panic!("{name}: not answered"));
        match &outcome.verdict {
            Verdict::Reply(reply) => {
                assert!((200..600).contains(&reply.status), "{name}: {}", reply.status);
                assert!(
                    !reply.details.contains(|character: char| character.is_whitespace()),
                    "{name}: {:?}",
                    reply.details
                );
            }
            Verdict::Continue | Verdict::Fail | Verdict::Reset | Verdict::Pause(_) => {}
        }
        let head = outcome.released.headers.unwrap_or_else(|| panic!("{name}: the head is lost"));
        for (header, value) in &head {
            assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "{name}: {header:?}: {value:?}");
            assert!(!header.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0 | b' ')), "{name}: {header:?}");
            assert!(![&b"content-length"[..], b"transfer-encoding"].contains(&&header[..]), "{name}: {header:?}");
        }
        for (pseudo, value) in [(":path", "/"), (":method", "GET"), (":authority", "a.example")] {
            assert_eq!(
                vm::headers::first(&head, pseudo.as_bytes()),
                Some(&Bytes::from_static(value.as_bytes())),
                "{name}: {pseudo}"
            );
        }
        let next = ask(&mut vm, false).unwrap_or_else(|| panic!("{name}: the next request is not served"));
        assert_eq!(
            (next.verdict, next.released.headers),
            (Verdict::Continue, Some(request(&[]))),
            "{name}: the next request"
        );
        assert!(world.log().len() <= 1100, "{name}: {} lines of log", world.log().len());
        assert!(vm.memory_bytes() <= 64 << 20, "{name}");
    }
}

#[test]
fn as_envoy_no_misdeed_is_the_hosts_end() {
    for (name, way) in WAYS {
        let (mut vm, _) = start(&module(way));
        assert!(ask(&mut vm, true).is_some(), "{name}");
        ask(&mut vm, false);
    }
}

#[test]
fn all_of_it_together_leaves_the_process_small() {
    let shared = Shared::default();
    for (_, way) in WAYS {
        let config = PluginConfig { fidelity: Fidelity::Hardened, ..config() };
        let mut vm = Vm::start(&module(way), config, &shared, Box::new(Still::default())).unwrap();
        for _ in 0..3 {
            ask(&mut vm, true);
        }
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .unwrap();
    assert!(peak < 256 << 10, "{peak} kB at the worst moment");
}

/// Dice for the test itself: xorshift.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn a_thousand_broken_modules_are_refused_or_run_and_none_ends_the_host() {
    let good = wat::parse_str(module_text(IMPORTS, &format!(r#"{DATA} (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (drop (call $get (i32.const 0) (i32.const 336) (i32.const 5) (i32.const 0) (i32.const 4))) (i32.const 0))"#))).unwrap();
    let mut seed = 0x5109_ce00_0000_0001;
    let mut ran = 0;
    for _ in 0..1000 {
        let mut broken = good.clone();
        for _ in 0..1 + next(&mut seed) % 4 {
            let at = usize::try_from(next(&mut seed)).unwrap() % broken.len();
            match next(&mut seed) % 4 {
                0 => broken[at] ^= 1 << (next(&mut seed) % 8),
                1 => broken[at] = 0xff,
                2 => broken.truncate(at.max(8)),
                _ => broken.insert(at, u8::try_from(next(&mut seed) % 256).unwrap()),
            }
        }
        vm::inspect(&broken);
        let Ok(module) = ENGINE.load(&broken) else { continue };
        if let (Ok(mut vm), _) = start_with(&module, config()) {
            ask(&mut vm, true);
            ran += 1;
        }
    }
    assert!(ran > 10, "some still run: {ran}");
}
