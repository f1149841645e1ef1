//! MeshConfig: how paths are made canonical, default retries, and the proxy's headers.

use serde_json::{Value, json};

use super::dice::{Dice, Message};

/// The ConfigMap `istio`, in some worlds.
pub(super) fn resources(dice: &mut Dice) -> Vec<Value> {
    if !dice.chance(40) {
        return Vec::new();
    }
    let level = dice.maybe(70, |dice| {
        json!({"normalization": dice.pick(&["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES", "DEFAULT"])})
    });
    let retries =
        dice.maybe(15, |dice| json!({"attempts": dice.below(3), "retryOn": dice.pick(&["5xx", "503", "reset,409"])}));
    let config = Message::default()
        .perhaps("pathNormalization", level)
        .perhaps("defaultHttpRetryPolicy", retries)
        .perhaps("h2UpgradePolicy", dice.maybe(6, |_| "UPGRADE"))
        .perhaps("defaultConfig", dice.maybe(30, proxy));
    let mesh = Value::from(config).to_string(); // JSON is YAML
    vec![json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": mesh},
    })]
}

fn proxy(dice: &mut Dice) -> Value {
    let topology = dice.maybe(50, |dice| {
        Message::default().with("numTrustedProxies", dice.below(3)).perhaps(
            "forwardClientCertDetails",
            dice.maybe(50, |dice| {
                dice.pick(&["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"])
            }),
        )
    });
    let headers = dice.maybe(50, |dice| {
        let switch = |dice: &mut Dice| json!({"disabled": dice.chance(70)});
        Message::default()
            .perhaps("requestId", dice.maybe(30, switch))
            .perhaps(
                "server",
                dice.maybe(
                    30,
                    |dice| if dice.chance(50) { json!({"disabled": true}) } else { json!({"value": "mine"}) },
                ),
            )
            .perhaps("attemptCount", dice.maybe(30, switch))
            .perhaps("envoyDebugHeaders", dice.maybe(30, switch))
            .perhaps("preserveHttp1HeaderCase", dice.maybe(15, |_| true))
            .perhaps("xForwardedHost", dice.maybe(20, |_| json!({"enabled": true})))
    });
    Message::default().perhaps("gatewayTopology", topology).perhaps("proxyHeaders", headers).into()
}
