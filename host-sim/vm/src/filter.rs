//! The filter callbacks: a piece of a stream goes in, a verdict and what goes on come out.

use bytes::{Bytes, BytesMut};

use crate::{
    abi::Direction,
    context::Target,
    death::Place,
    failure::Casualty,
    headers::HeaderList,
    outcome::{Hold, Outcome, Released, StreamId, Verdict},
    plugin::Fidelity,
    state::State,
    trace::{Entry, Record, Text, texts},
    trap::Trap,
    vm::Vm,
};

/// Which callback is concluded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Headers,
    Body,
    Trailers,
}

impl Vm {
    /// The request's head. `end_of_stream`: nothing follows it.
    pub fn on_request_headers(&mut self, stream: StreamId, headers: HeaderList, end_of_stream: bool) -> Outcome {
        self.on_headers(stream, Direction::Request, headers, end_of_stream)
    }

    /// A piece of the request's body; the last may be empty.
    pub fn on_request_body(&mut self, stream: StreamId, data: Bytes, end_of_stream: bool) -> Outcome {
        self.on_body(stream, Direction::Request, data, end_of_stream)
    }

    /// The request's trailers.
    pub fn on_request_trailers(&mut self, stream: StreamId, trailers: HeaderList) -> Outcome {
        self.on_trailers(stream, Direction::Request, trailers)
    }

    /// The response's head, be it the origin's or a local reply's.
    pub fn on_response_headers(&mut self, stream: StreamId, headers: HeaderList, end_of_stream: bool) -> Outcome {
        self.on_headers(stream, Direction::Response, headers, end_of_stream)
    }

    /// A piece of the response's body; the last may be empty.
    pub fn on_response_body(&mut self, stream: StreamId, data: Bytes, end_of_stream: bool) -> Outcome {
        self.on_body(stream, Direction::Response, data, end_of_stream)
    }

    /// The response's trailers.
    pub fn on_response_trailers(&mut self, stream: StreamId, trailers: HeaderList) -> Outcome {
        self.on_trailers(stream, Direction::Response, trailers)
    }

    pub(crate) fn on_headers(
        &mut self,
        id: StreamId,
        direction: Direction,
        headers: HeaderList,
        end_of_stream: bool,
    ) -> Outcome {
        self.note(|| Record::Entry(Entry::Headers { stream: id, direction, headers: texts(&headers), end_of_stream }));
        let outcome = self.show_headers(id, direction, headers, end_of_stream);
        self.note(|| Record::from(&outcome));
        outcome
    }

    pub(crate) fn on_body(&mut self, id: StreamId, direction: Direction, data: Bytes, end_of_stream: bool) -> Outcome {
        self.note(|| Record::Entry(Entry::Body { stream: id, direction, data: Text(data.clone()), end_of_stream }));
        let outcome = self.show_body(id, direction, data, end_of_stream);
        self.note(|| Record::from(&outcome));
        outcome
    }

    pub(crate) fn on_trailers(&mut self, id: StreamId, direction: Direction, trailers: HeaderList) -> Outcome {
        self.note(|| Record::Entry(Entry::Trailers { stream: id, direction, trailers: texts(&trailers) }));
        let outcome = self.show_trailers(id, direction, trailers);
        self.note(|| Record::from(&outcome));
        outcome
    }

    pub(crate) fn show_headers(
        &mut self,
        id: StreamId,
        direction: Direction,
        headers: HeaderList,
        end_of_stream: bool,
    ) -> Outcome {
        let piece = |headers| Released { headers: Some(headers), ..Released::default() };
        let context = match self.find(id, direction) {
            Place::Live(context) => context,
            Place::Gone(verdict) => {
                return Outcome { verdict, released: self.without_vm(id, direction, piece(headers)) };
            }
        };
        let restartable = self.plugin.fidelity == Fidelity::Hardened;
        let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
        let Some(instance) = self.alive_mut() else {
            return Outcome { verdict: Verdict::Continue, released: piece(headers) };
        };
        let Some(stream) = instance.state_mut().streams.get_mut(&context) else {
            return Outcome { verdict: Verdict::Continue, released: piece(headers) };
        };
        let half = stream.half(direction);
        half.original = restartable.then(|| (headers.clone(), end_of_stream));
        half.headers.fill(headers);
        stream.end_of_stream = end_of_stream;
        let called =
            instance.create(context).and_then(|()| instance.call_on_headers(context, direction, count, end_of_stream));
        self.conclude(id, context, direction, Stage::Headers, called)
    }

    fn show_body(&mut self, id: StreamId, direction: Direction, data: Bytes, end_of_stream: bool) -> Outcome {
        let piece = |body| Released { body, ..Released::default() };
        let context = match self.find(id, direction) {
            Place::Live(context) => context,
            Place::Gone(verdict) => return Outcome { verdict, released: self.without_vm(id, direction, piece(data)) },
        };
        let Some(instance) = self.alive_mut() else {
            return Outcome { verdict: Verdict::Continue, released: piece(data) };
        };
        let Some(stream) = instance.state_mut().streams.get_mut(&context) else {
            return Outcome { verdict: Verdict::Continue, released: piece(data) };
        };
        let half = stream.half(direction);
        match &mut half.body {
            Some(body) if half.buffering => body.extend_from_slice(&data),
            body => *body = Some(BytesMut::from(data)),
        }
        let size = u32::try_from(half.body.as_ref().map_or(0, BytesMut::len)).unwrap_or(u32::MAX);
        stream.end_of_stream = end_of_stream;
        let target = Target::Stream(context);
        let params = (context, size, u32::from(end_of_stream));
        let called = instance.create(context).and_then(|()| match direction {
            Direction::Request => {
                instance.call(target, "proxy_on_request_body", |exports| exports.on_request_body.as_ref(), params)
            }
            Direction::Response => {
                instance.call(target, "proxy_on_response_body", |exports| exports.on_response_body.as_ref(), params)
            }
        });
        self.conclude(id, context, direction, Stage::Body, called)
    }

    fn show_trailers(&mut self, id: StreamId, direction: Direction, trailers: HeaderList) -> Outcome {
        let piece = |trailers| Released { trailers: Some(trailers), ..Released::default() };
        let context = match self.find(id, direction) {
            Place::Live(context) => context,
            Place::Gone(verdict) => {
                return Outcome { verdict, released: self.without_vm(id, direction, piece(trailers)) };
            }
        };
        let count = u32::try_from(trailers.len()).unwrap_or(u32::MAX);
        let Some(instance) = self.alive_mut() else {
            return Outcome { verdict: Verdict::Continue, released: piece(trailers) };
        };
        let Some(stream) = instance.state_mut().streams.get_mut(&context) else {
            return Outcome { verdict: Verdict::Continue, released: piece(trailers) };
        };
        stream.half(direction).trailers.fill(trailers);
        let target = Target::Stream(context);
        let called = instance.create(context).and_then(|()| match direction {
            Direction::Request => instance.call(
                target,
                "proxy_on_request_trailers",
                |exports| exports.on_request_trailers.as_ref(),
                (context, count),
            ),
            Direction::Response => instance.call(
                target,
                "proxy_on_response_trailers",
                |exports| exports.on_response_trailers.as_ref(),
                (context, count),
            ),
        });
        self.conclude(id, context, direction, Stage::Trailers, called)
    }

    /// A stream whose request this filter never saw is not shown its response.
    fn find(&mut self, id: StreamId, direction: Direction) -> Place {
        let place = self.place(id);
        if let Place::Live(context) = place
            && direction == Direction::Response
            && self.live(context).is_none_or(|stream| !stream.created && !stream.moved)
        {
            return Place::Gone(Verdict::Continue);
        }
        place
    }

    fn conclude(
        &mut self,
        id: StreamId,
        context: u32,
        direction: Direction,
        stage: Stage,
        called: Result<Option<u32>, Trap>,
    ) -> Outcome {
        let answer = match called {
            Ok(answer) => answer.unwrap_or_default(),
            Err(trap) => return self.casualty(id, direction, trap),
        };
        let verdict =
            self.alive_mut().map_or(Verdict::Continue, |instance| verdict(instance.state_mut(), stage, answer));
        let mut own = self.after_call(Some(id));
        let Some(stream) = self.live(context) else { return self.bystander(id, direction) };
        if own.close {
            return Outcome { verdict: Verdict::Reset, released: stream.let_go(direction) };
        }
        // The head of its own reply is the one place where a module may still take another.
        let again = direction == Direction::Response && stage == Stage::Headers && !stream.replied_again;
        if let Some(reply) = own.reply.take().filter(|_| !stream.replied || again) {
            stream.replied_again = stream.replied;
            stream.replied = true;
            return Outcome { verdict: Verdict::Reply(reply), released: stream.let_go(direction) };
        }
        if let Verdict::Pause(hold) = verdict
            && !own.resumes(direction)
        {
            let half = stream.half(direction);
            half.hold(hold);
            return Outcome { verdict, released: Released::default() };
        }
        if let Verdict::Pause(hold) = verdict
            && stage == Stage::Headers
        {
            // Envoy resumes at once, and then takes the pause that the callback returned for what follows.
            let released = stream.let_go(direction);
            if stream.end_of_stream {
                return Outcome { verdict: Verdict::Continue, released };
            }
            stream.half(direction).hold(hold);
            return Outcome { verdict, released };
        }
        Outcome {
            verdict: Verdict::Continue,
            released: stream.go_on(direction, stage == Stage::Headers, stage == Stage::Trailers),
        }
    }

    /// The callback returned, and then the VM died of something else it had asked for.
    fn bystander(&mut self, id: StreamId, direction: Direction) -> Outcome {
        let verdict = match self.place(id) {
            Place::Live(_) => Verdict::Continue,
            Place::Gone(verdict) => verdict,
        };
        Outcome { verdict, released: self.take_back(id, direction) }
    }

    /// The VM died in this stream's callback.
    fn casualty(&mut self, id: StreamId, direction: Direction, trap: Trap) -> Outcome {
        self.die(trap, Some(id));
        let pass = self.failure.culprit() == Casualty::PassThrough;
        let released = match self.stranded.get_mut(&id) {
            Some(stream) => {
                stream.failed = !pass;
                stream.let_go(direction)
            }
            None => Released::default(),
        };
        self.restart_waiting();
        Outcome { verdict: if pass { Verdict::Continue } else { Verdict::Fail }, released }
    }
}

/// What a callback's number means, Envoy's way.
fn verdict(state: &mut State, stage: Stage, answer: u32) -> Verdict {
    // Once: the reply then passes the module, which may have no callback for it.
    let stop = std::mem::take(&mut state.stop_iteration);
    let headers_only = state.plugin.allow_on_headers_stop_iteration;
    let hold = match (stage, answer) {
        (Stage::Headers, _) if stop => Hold::All,
        // 2 would be "continue and end the stream": Envoy does not know it here.
        (Stage::Headers, 0 | 2) => return Verdict::Continue,
        (Stage::Headers, 1) if headers_only => Hold::HeadersOnly,
        (Stage::Headers, 3) => Hold::AllAndBuffer,
        (Stage::Headers, _) => Hold::All,
        (Stage::Body, _) if stop => Hold::BodyNoBuffer,
        (Stage::Body, 0) => return Verdict::Continue,
        (Stage::Body, 1) => Hold::BodyAndBuffer,
        (Stage::Body, 2) => Hold::BodyAndWatermark,
        (Stage::Body, _) => Hold::BodyNoBuffer,
        (Stage::Trailers, 0) if !stop => return Verdict::Continue,
        (Stage::Trailers, _) => Hold::Trailers,
    };
    Verdict::Pause(hold)
}
