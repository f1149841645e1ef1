//! The world and what is known of a stream, wrapped so that everything they say is put on record.

use std::rc::Rc;

use bytes::Bytes;

use crate::{
    abi::LogLevel,
    property::Value,
    queue::QueueId,
    trace::{Answer, Record, Text, TraceSink},
    world::{ClusterState, StreamInfo, World},
};

/// A world that keeps a record of what it says.
pub(crate) struct TracedWorld {
    pub(crate) world: Box<dyn World>,
    pub(crate) sink: TraceSink,
}

impl TracedWorld {
    fn note(&self, answer: Answer) {
        (self.sink.borrow_mut())(&Record::World(answer));
    }
}

impl World for TracedWorld {
    fn now(&mut self) -> u64 {
        let nanos = self.world.now();
        self.note(Answer::Now { nanos });
        nanos
    }

    fn monotonic(&mut self) -> u64 {
        let nanos = self.world.monotonic();
        self.note(Answer::Monotonic { nanos });
        nanos
    }

    fn random(&mut self, out: &mut [u8]) {
        self.world.random(out);
        self.note(Answer::Random { bytes: Text::from(&*out) });
    }

    fn log_level(&self) -> LogLevel {
        self.world.log_level()
    }

    fn log(&mut self, level: LogLevel, line: &str) {
        self.world.log(level, line);
    }

    fn cluster(&self, name: &[u8]) -> ClusterState {
        let state = self.world.cluster(name);
        self.note(Answer::Cluster { name: Text::from(name), state });
        state
    }

    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let value = self.world.attribute(path);
        self.note(attribute(path, value.as_ref()));
        value
    }

    fn queue_waker(&self) -> std::sync::Arc<dyn Fn(QueueId) + Send + Sync> {
        self.world.queue_waker()
    }
}

fn attribute(path: &[&[u8]], value: Option<&Value>) -> Answer {
    let found = value.map(|value| value.serialize().map(Text).map_err(|status| status.code()));
    let kind = value.map(Value::kind).unwrap_or_default();
    Answer::Attribute { path: path.iter().map(|segment| Text::from(*segment)).collect(), kind, found }
}

/// What is known of a stream, on record.
pub(crate) struct TracedInfo {
    pub(crate) info: Rc<dyn StreamInfo>,
    pub(crate) sink: TraceSink,
}

impl StreamInfo for TracedInfo {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        let value = self.info.attribute(path);
        (self.sink.borrow_mut())(&Record::World(attribute(path, value.as_ref())));
        value
    }

    fn filter_state(&self, key: &[u8]) -> Option<Bytes> {
        let found = self.info.filter_state(key);
        (self.sink.borrow_mut())(&Record::World(Answer::FilterState {
            key: Text::from(key),
            found: found.clone().map(Text),
        }));
        found
    }

    fn set_filter_state(&self, key: &[u8], value: Bytes) {
        self.info.set_filter_state(key, value);
    }
}
