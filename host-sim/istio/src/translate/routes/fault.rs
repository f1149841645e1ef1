//! Faults, as configuration of the fault filter on one route.

use xds::{FaultAbort, FaultDelay, FractionalPercent, HttpFault, PerFilterConfig};

use super::action::{hundredths, millionths};
use crate::{
    resource::{
        status::grpc_code,
        virtual_service::{self, HttpFault as Fault},
    },
    translate::duration,
};

/// A fault without a percentage happens never; one of no kind is none.
pub(super) fn config(fault: &Fault) -> PerFilterConfig {
    let delay = fault.delay.as_ref().and_then(delay);
    let abort = fault.abort.as_ref().and_then(abort);
    PerFilterConfig::Fault(Box::new(HttpFault { delay, abort, ..HttpFault::default() }))
}

fn delay(delay: &virtual_service::FaultDelay) -> Option<FaultDelay> {
    let percentage = match &delay.percentage {
        Some(percentage) => millionths(percentage),
        None => hundredths(u32::try_from(delay.percent).unwrap_or(0)),
    };
    Some(FaultDelay {
        fixed_delay: Some(duration(delay.fixed_delay?)),
        percentage: Some(percentage),
        ..FaultDelay::default()
    })
}

fn abort(abort: &virtual_service::FaultAbort) -> Option<FaultAbort> {
    let http_status = abort.http_status.and_then(|status| u32::try_from(status).ok());
    let grpc_status = abort.grpc_status.as_deref().and_then(grpc_code);
    if http_status.is_none() && grpc_status.is_none() {
        return None;
    }
    let percentage: Option<FractionalPercent> = abort.percentage.as_ref().map(millionths);
    Some(FaultAbort { http_status, grpc_status, percentage, ..FaultAbort::default() })
}
