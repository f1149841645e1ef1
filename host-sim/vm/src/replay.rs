//! A trace played again: the same module, or another build of it, with the same entries and the same answers of the world. Where does it differ?

use std::{cell::RefCell, rc::Rc};

use crate::{
    abi::LogLevel,
    cache::Digest,
    engine::Engine,
    module::LoadError,
    outcome::{CallId, HttpCallResponse, LogMaps},
    plugin::PluginConfig,
    script::{Script, ScriptedWorld},
    shared::Shared,
    start_error::StartError,
    trace::{Entry, Record, TraceSink, headers},
    vm::Vm,
};

/// A line that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which line of the trace, from 1.
    pub line: usize,
    /// What it says; `None` when the trace was over.
    pub recorded: Option<Record>,
    /// What happened now; `None` when nothing did.
    pub now: Option<Record>,
}

/// Why a trace cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It does not begin with its plugin.
    #[error("the trace does not begin with a start record")]
    NoStart,
    /// The module is refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The module does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Plays a trace, and compares line by line. Logs and the module's digest are not part of the comparison; the first differences are the telling ones.
pub fn replay(engine: &Engine, wasm: &[u8], trace: &[Record]) -> Result<Vec<Difference>, ReplayError> {
    let Some(Record::Start {
        name,
        root_id,
        vm_id,
        vm_configuration,
        configuration,
        env,
        allowed_capabilities,
        allow_on_headers_stop_iteration,
        failure,
        fidelity,
        log_level,
        ..
    }) = trace.first()
    else {
        return Err(ReplayError::NoStart);
    };
    let plugin = PluginConfig {
        name: name.clone(),
        root_id: root_id.clone(),
        vm_id: vm_id.clone(),
        vm_configuration: vm_configuration.0.clone(),
        configuration: configuration.0.clone(),
        env: env.clone(),
        allowed_capabilities: allowed_capabilities.clone(),
        allow_on_headers_stop_iteration: *allow_on_headers_stop_iteration,
        failure: *failure,
        fidelity: *fidelity,
        ..PluginConfig::default()
    };
    let module = engine.load(wasm)?;
    let answers =
        trace.iter().filter_map(|record| if let Record::World(answer) = record { Some(answer.clone()) } else { None });
    let script = Rc::new(RefCell::new(Script::new(answers)));
    let world = ScriptedWorld { script: script.clone(), log_level: *log_level };
    let now: Rc<RefCell<Vec<Record>>> = Rc::default();
    let kept = now.clone();
    let sink: TraceSink = Rc::new(RefCell::new(move |record: &Record| kept.borrow_mut().push(record.clone())));
    let mut vm =
        Vm::start_recorded(&module, plugin, &Shared::default(), Box::new(world.clone()), Some(sink), Some(script))?;
    vm.take_events();
    for record in trace {
        if let Record::Entry(entry) = record {
            play(&mut vm, entry, &world);
            vm.take_events();
        }
    }
    drop(vm);
    let now = now.borrow();
    Ok(compare(trace, &now))
}

fn play(vm: &mut Vm, entry: &Entry, world: &ScriptedWorld) {
    let call = |token: &u32| CallId { instance: vm.instances, token: *token };
    match entry {
        Entry::CreateStream => drop(vm.create_stream(Rc::new(world.clone()))),
        Entry::Headers { stream, direction, headers: list, end_of_stream } => {
            drop(vm.on_headers(*stream, *direction, headers(list), *end_of_stream))
        }
        Entry::Body { stream, direction, data, end_of_stream } => {
            drop(vm.on_body(*stream, *direction, data.0.clone(), *end_of_stream))
        }
        Entry::Trailers { stream, direction, trailers } => drop(vm.on_trailers(*stream, *direction, headers(trailers))),
        Entry::Log { stream, request_headers, response_headers, response_trailers } => {
            let list = |list: &Option<Vec<_>>| list.as_deref().map(headers);
            vm.on_log(
                *stream,
                LogMaps {
                    request_headers: list(request_headers),
                    response_headers: list(response_headers),
                    response_trailers: list(response_trailers),
                },
            );
        }
        Entry::Reclaim { stream, direction } => drop(vm.reclaim(*stream, *direction)),
        Entry::Done { stream } => vm.on_done(*stream),
        Entry::Tick => vm.on_tick(),
        Entry::QueueReady { queue } => vm.on_queue_ready(*queue),
        Entry::HttpCallResponse { call: token, headers: list, body, trailers } => {
            let response = HttpCallResponse::Response {
                headers: headers(list),
                body: body.0.clone(),
                trailers: headers(trailers),
            };
            vm.on_http_call_response(call(token), response);
        }
        Entry::HttpCallReset { call: token } => vm.on_http_call_response(call(token), HttpCallResponse::Reset),
        Entry::GrpcInitialMetadata { call: token, metadata } => {
            vm.on_grpc_initial_metadata(call(token), headers(metadata))
        }
        Entry::GrpcMessage { call: token, message } => vm.on_grpc_message(call(token), message.0.clone()),
        Entry::GrpcTrailingMetadata { call: token, metadata } => {
            vm.on_grpc_trailing_metadata(call(token), headers(metadata))
        }
        Entry::GrpcClose { call: token, status, message } => vm.on_grpc_close(call(token), *status, message.0.clone()),
        Entry::Dns { call: token, addresses } => vm.on_dns(call(token), addresses),
        Entry::ShutDown => drop(vm.shut_down()),
    }
}

/// Lines are compared in order, but for the world's answers: a module that asks one question more differs by that hostcall.
fn compare(trace: &[Record], now: &[Record]) -> Vec<Difference> {
    let told = |record: &Record| !matches!(record, Record::World(_));
    let mut left = trace.iter().enumerate().filter(|(_, record)| told(record));
    let mut right = now.iter().filter(|record| told(record));
    let mut differences = Vec::new();
    loop {
        match (left.next(), right.next()) {
            (None, None) => return differences,
            (Some((_, recorded)), Some(now)) if same(recorded, now) => {}
            (recorded, now) => {
                let line = recorded.map_or(trace.len(), |(at, _)| at) + 1;
                differences.push(Difference {
                    line,
                    recorded: recorded.map(|(_, record)| record.clone()),
                    now: now.cloned(),
                });
            }
        }
    }
}

fn same(recorded: &Record, now: &Record) -> bool {
    matches!((recorded, now), (Record::Start { .. }, Record::Start { .. })) || recorded == now
}

/// The first line of a trace.
pub(crate) fn start_record(module: Digest, plugin: &PluginConfig, log_level: LogLevel) -> Record {
    Record::Start {
        module: module.to_string(),
        module_file: plugin.module_file.clone(),
        name: plugin.name.clone(),
        root_id: plugin.root_id.clone(),
        vm_id: plugin.vm_id.clone(),
        vm_configuration: crate::trace::Text(plugin.vm_configuration.clone()),
        configuration: crate::trace::Text(plugin.configuration.clone()),
        env: plugin.env.clone(),
        allowed_capabilities: plugin.allowed_capabilities.clone(),
        allow_on_headers_stop_iteration: plugin.allow_on_headers_stop_iteration,
        failure: plugin.failure,
        fidelity: plugin.fidelity,
        log_level,
    }
}
