//! What a module asked for during a call, done once the call has returned.

use crate::{
    abi::Direction,
    context::Shutdown,
    outcome::{Event, LocalReply, StreamId},
    state::Deferred,
    vm::{Running, Vm},
};

/// What a call asked for the stream it was made for.
#[derive(Default)]
pub(crate) struct Own {
    pub(crate) reply: Option<LocalReply>,
    pub(crate) close: bool,
    resume_request: bool,
    resume_response: bool,
}

impl Own {
    pub(crate) fn resumes(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.resume_request,
            Direction::Response => self.resume_response,
        }
    }
}

impl Vm {
    /// Does what the last call asked for: as events, but for the stream it was made for.
    pub(crate) fn after_call(&mut self, own_stream: Option<StreamId>) -> Own {
        // Hardly any call asks for anything.
        if self.alive().is_none_or(|instance| instance.state().asked_for_nothing()) {
            return Own::default();
        }
        self.do_what_was_asked(own_stream)
    }

    fn do_what_was_asked(&mut self, own_stream: Option<StreamId>) -> Own {
        let mut own = Own::default();
        let Running::Alive(instance) = &mut self.running else { return own };
        let state = instance.state_mut();
        self.events.append(&mut state.callouts.events);
        if std::mem::take(&mut state.tick_changed) {
            self.events.push(Event::TickPeriod(state.tick_period()));
        }
        let mut failed_calls = Vec::new();
        for deferred in std::mem::take(&mut state.deferred) {
            let context = match &deferred {
                Deferred::Continue(context, _) | Deferred::Reply(context, _) | Deferred::Close(context) => context,
                Deferred::GrpcFailed(token) => {
                    failed_calls.push(*token);
                    continue;
                }
            };
            let Some(stream) = state.streams.get_mut(context) else { continue };
            let handle = stream.handle;
            let is_own = own_stream == Some(handle);
            match deferred {
                Deferred::Continue(_, Direction::Request) if is_own && stream.request.paused.is_none() => {
                    own.resume_request = true
                }
                Deferred::Continue(_, Direction::Response) if is_own && stream.response.paused.is_none() => {
                    own.resume_response = true
                }
                Deferred::Continue(_, direction) if stream.half(direction).paused.is_some() => {
                    let released = stream.let_go(direction);
                    self.events.push(Event::Resume { stream: handle, direction, released });
                }
                Deferred::Continue(..) => {}
                Deferred::Reply(_, reply) if is_own => drop(own.reply.get_or_insert(reply)),
                Deferred::Reply(_, reply) if !stream.replied => {
                    stream.replied = true;
                    let direction =
                        if stream.request.paused.is_some() { Direction::Request } else { Direction::Response };
                    let released = stream.let_go(direction);
                    self.events.push(Event::Reply { stream: handle, reply, released });
                }
                Deferred::Reply(..) => {}
                Deferred::Close(_) if is_own => own.close = true,
                Deferred::Close(_) => self.events.push(Event::Reset { stream: handle }),
                Deferred::GrpcFailed(_) => {}
            }
        }
        if state.root.shutdown == Shutdown::Finished {
            self.delete_root();
        }
        for token in failed_calls {
            self.on_grpc_failed(token);
        }
        own
    }
}
