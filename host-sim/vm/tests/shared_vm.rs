//! Plugins that share a VM: its memory, its death, and that one which does not start costs the others nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod support;

use bytes::Bytes;
use support::*;
use vm::{Module, PluginConfig, Shared, SharedVms, StartError, Verdict, Vm};

/// Configured with four bytes it traps, with six it refuses; a request traps.
const BODY: &str = r#"
    (func (export "proxy_on_configure") (param i32 i32) (result i32)
        (if (i32.eq (local.get 1) (i32.const 4)) (then unreachable))
        (i32.ne (local.get 1) (i32.const 6)))
    (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable)"#;

fn at(vms: &SharedVms, module: &Module, configuration: &'static str) -> Result<Vm, StartError> {
    let plugin = PluginConfig { configuration: Bytes::from_static(configuration.as_bytes()), ..config() };
    let home = vms.home(module, &plugin);
    Vm::start_at(home, module, plugin, &Shared::default(), Box::new(Still::default()))
}

fn is_alive(vm: &mut Vm) -> bool {
    vm.board();
    let alive = vm.is_alive();
    vm.leave();
    alive
}

#[test]
fn a_plugin_that_does_not_start_leaves_the_others_their_vm() {
    let (vms, module) = (SharedVms::default(), load("", BODY));
    let mut one = at(&vms, &module, "one").unwrap();
    for configuration in ["trap", "refuse"] {
        assert!(at(&vms, &module, configuration).is_err(), "{configuration}");
        assert!(is_alive(&mut one), "{configuration}");
    }
}

#[test]
fn a_trap_of_one_is_the_death_of_all() {
    let (vms, module) = (SharedVms::default(), load("", BODY));
    let (mut one, mut two) = (at(&vms, &module, "one").unwrap(), at(&vms, &module, "another").unwrap());
    assert!(one.lives_with(&two) && is_alive(&mut one) && is_alive(&mut two));
    one.board();
    let id = stream(&mut one);
    let outcome = one.on_request_headers(id, request(&[]), true);
    one.leave();
    assert_eq!(outcome.verdict, Verdict::Fail);
    assert!(!is_alive(&mut one) && !is_alive(&mut two));
}

#[test]
fn a_plugin_that_goes_leaves_the_others_their_vm() {
    let (vms, module) = (SharedVms::default(), load("", BODY));
    let (one, mut two) = (at(&vms, &module, "one").unwrap(), at(&vms, &module, "another").unwrap());
    drop(one);
    assert!(is_alive(&mut two));
}
