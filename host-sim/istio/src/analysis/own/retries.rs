//! Timeouts, retries and faults that work against each other: `SLU0115` to `SLU0117`.

use crate::{
    analysis::{Finding, Level},
    resource::{
        Resources,
        object::Object,
        virtual_service::{HttpRoute, VirtualService},
    },
};

/// All rules of all VirtualServices.
pub(super) fn policies(resources: &Resources, found: &mut Vec<Finding>) {
    for object in &resources.virtual_services {
        for (i, route) in object.spec.http.iter().enumerate() {
            per_try(object, i, route, found);
            faults(object, i, route, found);
            told_to_wait(object, i, route, found);
        }
    }
}

fn per_try(object: &Object<VirtualService>, i: usize, route: &HttpRoute, found: &mut Vec<Finding>) {
    let (Some(timeout), Some(retries)) = (route.timeout, &route.retries) else { return };
    let Some(per_try) = retries.per_try_timeout else { return };
    if timeout.0 > 0 && retries.attempts > 0 && per_try.0 >= timeout.0 {
        let millis = |nanos: i64| nanos / 1_000_000;
        let message = format!(
            "a try may take {} ms and the whole request {} ms: a try that runs into its timeout is never retried",
            millis(per_try.0),
            millis(timeout.0)
        );
        let fix = format!(
            "allow a try at most {} ms",
            millis(timeout.0) / i64::from(retries.attempts.saturating_add(1)).max(1)
        );
        let field = format!("spec.http[{i}].retries.perTryTimeout");
        found.push(Finding::new("SLU0115", Level::Warning, object, &field, message).fix(fix));
    }
}

fn faults(object: &Object<VirtualService>, i: usize, route: &HttpRoute, found: &mut Vec<Finding>) {
    let aborts = route.fault.as_ref().is_some_and(|fault| fault.abort.is_some());
    let retries = route.retries.as_ref().is_some_and(|retries| retries.attempts > 0);
    if aborts && retries {
        let message =
            "an injected abort is answered before the router: retries never see it, so this does not test them";
        let fix = "inject the fault behind the gateway, or test without retries in mind";
        found.push(Finding::new("SLU0116", Level::Info, object, &format!("spec.http[{i}].fault"), message).fix(fix));
    }
}

fn told_to_wait(object: &Object<VirtualService>, i: usize, route: &HttpRoute, found: &mut Vec<Finding>) {
    let Some(retries) = &route.retries else { return };
    let on: Vec<&str> = retries.retry_on.split(',').map(str::trim).collect();
    if let Some(what) = ["429", "resource-exhausted"].into_iter().find(|what| on.contains(what)) {
        let message = format!(
            "retries on {what}: an upstream that asks for fewer requests gets up to {} times as many",
            retries.attempts.saturating_add(1)
        );
        let field = format!("spec.http[{i}].retries.retryOn");
        found.push(
            Finding::new("SLU0117", Level::Warning, object, &field, message)
                .fix(format!("leave {what} out and let the client wait as Retry-After says")),
        );
    }
}
