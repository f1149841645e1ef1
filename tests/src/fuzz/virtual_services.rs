//! VirtualServices: every condition and every action of HTTP rules.

mod actions;
mod conditions;

use serde_json::{Value, json};

use super::{
    dice::{Dice, Message},
    words,
};

/// VirtualServices bound to the gateways, with delegates of some.
pub(super) fn resources(dice: &mut Dice) -> Vec<Value> {
    let mut made = Vec::new();
    for at in 0..1 + dice.below(4) {
        made.extend(virtual_service(dice, at));
    }
    made
}

fn virtual_service(dice: &mut Dice, at: usize) -> Vec<Value> {
    let namespace = dice.pick(&["default", "default", "default", "prod", "istio-system"]);
    let name = format!("vs{at}");
    let mut made = Vec::new();
    let mut rules = Vec::new();
    for number in 0..1 + dice.below(5) {
        if dice.chance(6) {
            let delegate = format!("{name}-d{number}");
            rules.push(delegating(dice, &delegate));
            let inner: Vec<Value> = (0..1 + dice.below(3)).map(|n| rule(dice, n, true)).collect();
            made.push(object(&delegate, "default", json!({"http": inner})));
        } else {
            rules.push(rule(dice, number, false));
        }
    }
    let spec =
        Message::default().with("hosts", hosts(dice)).with("gateways", gateways(dice)).with("http", rules).perhaps(
            "exportTo",
            dice.maybe(8, |dice| match dice.below(3) {
                0 => vec!["*"],
                1 => vec!["."],
                _ => vec!["istio-system"],
            }),
        );
    made.push(object(&name, namespace, spec.into()));
    made
}

fn object(name: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

fn hosts(dice: &mut Dice) -> Vec<&'static str> {
    match dice.below(10) {
        0 => vec!["shop.example", "*.a.shop.example"], // one may not lie inside the other
        1 => vec!["pay.example", "a.shop.example", "*.com"],
        _ => vec![dice.pick(words::HOSTS)],
    }
}

fn gateways(dice: &mut Dice) -> Vec<&'static str> {
    match dice.below(10) {
        0 => vec!["istio-system/gw", "default/gw2"],
        1 => vec!["default/gw2", "istio-system/gw", "mesh"],
        _ => vec!["istio-system/gw"],
    }
}

/// A rule that hands its requests to another VirtualService.
fn delegating(dice: &mut Dice, name: &str) -> Value {
    let prefix = format!("/{}", dice.pick(words::SEGMENTS));
    Message::default()
        .with("match", json!([{"uri": {"prefix": prefix}}]))
        .with("delegate", json!({"name": name, "namespace": "default"}))
        .perhaps("headers", dice.maybe(30, actions::headers))
        .perhaps("timeout", dice.maybe(10, |_| "5s"))
        .into()
}

fn rule(dice: &mut Dice, number: usize, delegated: bool) -> Value {
    let entries = if dice.chance(15) && !delegated { 0 } else { 1 + dice.below(3) };
    let matches: Vec<Value> = (0..entries).map(|_| conditions::entry(dice, delegated)).collect();
    let mut rule = Message::default();
    if dice.chance(40) {
        rule = rule.with("name", format!("r{number}"));
    }
    if !matches.is_empty() {
        rule = rule.with("match", matches);
    }
    actions::on(dice, rule).into()
}
