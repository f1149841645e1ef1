//! Shared data, shared queues and metrics.

use std::sync::atomic::Ordering;

use crate::{
    abi::{LogLevel, MetricType, Status},
    guest::{Answer, Guest, slice},
    metrics::Metric,
    queue::{DequeueError, EnqueueError},
    script,
    shared::QuotaExceeded,
    shared_data::WriteError,
    state::State,
};

/// The quotas are ours: Envoy has none. Rust's SDK panics on this code, and so the request fails visibly instead of a limit being silently off.
fn over_quota(state: &mut State, what: &str) -> Status {
    state.report(
        LogLevel::Warn,
        &format!("wasm plugin {}: {what} refused, its quota is used up (Envoy would grow)", state.plugin.name.clone()),
    );
    Status::InternalFailure
}

pub(super) fn get_data(
    guest: &mut Guest<'_>,
    key: u32,
    key_len: u32,
    value_to: u32,
    size_to: u32,
    cas_to: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let key = slice(memory, key, key_len)?;
    let found = script::shared_get(state, key).ok_or(Status::NotFound)?;
    guest.give(&found.value, value_to, size_to)?;
    guest.write_u32(cas_to, found.cas)
}

pub(super) fn set_data(guest: &mut Guest<'_>, key: u32, key_len: u32, value: u32, value_len: u32, cas: u32) -> Answer {
    let (memory, state) = guest.split();
    let (key, value) = (slice(memory, key, key_len)?, slice(memory, value, value_len)?);
    match script::shared_set(state, key, value, cas) {
        Ok(_) => Ok(()),
        Err(WriteError::CasMismatch) => Err(Status::CasMismatch.into()),
        Err(WriteError::Quota(QuotaExceeded)) => Err(over_quota(state, "shared data").into()),
    }
}

pub(super) fn register_queue(guest: &mut Guest<'_>, name: u32, name_len: u32, id_to: u32) -> Answer {
    let (memory, state) = guest.split();
    let name = slice(memory, name, name_len)?;
    let waker = state.world.queue_waker();
    let id = match state.shared.queues().register(state.plugin.vm_id.as_bytes(), name, waker) {
        Ok(id) => id,
        Err(QuotaExceeded) => return Err(over_quota(state, "a queue").into()),
    };
    guest.write_u32(id_to, id)
}

pub(super) fn resolve_queue(
    guest: &mut Guest<'_>,
    vm_id: u32,
    vm_id_len: u32,
    name: u32,
    name_len: u32,
    id_to: u32,
) -> Answer {
    let (memory, state) = guest.split();
    let (vm_id, name) = (slice(memory, vm_id, vm_id_len)?, slice(memory, name, name_len)?);
    let vm_id = if vm_id.is_empty() { state.plugin.vm_id.as_bytes() } else { vm_id };
    let id = state.shared.queues().resolve(vm_id, name).ok_or(Status::NotFound)?;
    guest.write_u32(id_to, id)
}

pub(super) fn enqueue(guest: &mut Guest<'_>, queue: u32, message: u32, message_len: u32) -> Answer {
    let (memory, state) = guest.split();
    let message = slice(memory, message, message_len)?;
    match state.shared.queues().enqueue(queue, message) {
        Ok(()) => Ok(()),
        Err(EnqueueError::NotFound) => Err(Status::NotFound.into()),
        Err(EnqueueError::Quota(QuotaExceeded)) => Err(over_quota(state, "a message").into()),
    }
}

pub(super) fn dequeue(guest: &mut Guest<'_>, queue: u32, message_to: u32, size_to: u32) -> Answer {
    let message = script::dequeue(guest.state(), queue).map_err(|error| match error {
        DequeueError::NotFound => Status::NotFound,
        DequeueError::Empty => Status::Empty,
    })?;
    guest.give(&message, message_to, size_to)
}

pub(super) fn define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, name_len: u32, id_to: u32) -> Answer {
    let (memory, state) = guest.split();
    let name = slice(memory, name, name_len)?;
    let kind = MetricType::from_wire(kind).ok_or(Status::BadArgument)?;
    let metric = state.shared.metrics().define(kind, name).ok();
    let Some(id) = metric.and_then(|metric| state.metrics.add(kind, metric)) else {
        return Err(over_quota(state, "a metric").into());
    };
    guest.write_u32(id_to, id)
}

/// Counters only grow: not by less than one. Histograms are recorded.
pub(super) fn increment_metric(guest: &mut Guest<'_>, id: u32, by: i64) -> Answer {
    let _before = match (find(guest.state(), id), kind(id)) {
        (Some(Metric::Counter(value) | Metric::Gauge(value)), _) if by > 0 => {
            value.fetch_add(by.unsigned_abs(), Ordering::Relaxed)
        }
        (Some(Metric::Gauge(value)), _) => value.fetch_sub(by.unsigned_abs(), Ordering::Relaxed),
        (None, Some(MetricType::Counter | MetricType::Gauge)) => return Err(Status::NotFound.into()),
        _ => return Err(Status::BadArgument.into()),
    };
    Ok(())
}

/// Recording a counter adds to it.
pub(super) fn record_metric(guest: &mut Guest<'_>, id: u32, value: u64) -> Answer {
    match find(guest.state(), id) {
        Some(Metric::Counter(counter)) => {
            counter.fetch_add(value, Ordering::Relaxed);
        }
        Some(Metric::Gauge(gauge)) => gauge.store(value, Ordering::Relaxed),
        Some(Metric::Histogram(histogram)) => histogram.record(value),
        None => return Err(Status::NotFound.into()),
    }
    Ok(())
}

pub(super) fn get_metric(guest: &mut Guest<'_>, id: u32, value_to: u32) -> Answer {
    let value = match (find(guest.state(), id), kind(id)) {
        (Some(Metric::Counter(value) | Metric::Gauge(value)), _) => value.load(Ordering::Relaxed),
        (None, Some(MetricType::Counter | MetricType::Gauge)) => return Err(Status::NotFound.into()),
        _ => return Err(Status::BadArgument.into()),
    };
    guest.write(value_to, &value.to_le_bytes())
}

fn kind(id: u32) -> Option<MetricType> {
    MetricType::from_wire(id & 3)
}

fn find(state: &State, id: u32) -> Option<&Metric> {
    state.metrics.get(kind(id)?, id)
}
