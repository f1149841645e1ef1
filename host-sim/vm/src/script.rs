//! What a traced run was told, to be told again; and the places where a run is told things that other workers may have changed.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use bytes::Bytes;

use crate::{
    abi::{LogLevel, Status},
    property::Value,
    queue::{DequeueError, QueueId},
    shared::QuotaExceeded,
    shared_data::{Versioned, WriteError},
    state::State,
    trace::{Answer, Record, Text},
    world::{ClusterState, StreamInfo, World},
};

/// The answers of a trace, in order. A question that was not asked then gets no answer worth having: the run differs anyway.
#[derive(Debug, Default)]
pub(crate) struct Script {
    answers: VecDeque<Answer>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>) -> Script {
        Script { answers: answers.into_iter().collect() }
    }

    /// The next answer for which `pick` has a use; those of other kinds stay.
    fn next<T>(&mut self, pick: impl Fn(&Answer) -> Option<T>) -> Option<T> {
        let (at, found) = self.answers.iter().enumerate().find_map(|(at, answer)| Some((at, pick(answer)?)))?;
        self.answers.remove(at);
        Some(found)
    }
}

/// A shared value, as it is, or as it was.
pub(crate) fn shared_get(state: &State, key: &[u8]) -> Option<Versioned> {
    let found = match &state.script {
        Some(script) => script
            .borrow_mut()
            .next(|answer| match answer {
                Answer::SharedGet { key: asked, found } if asked.0 == key => Some(found.clone()),
                _ => None,
            })
            .flatten()
            .map(|(value, cas)| Versioned { value: value.0, cas }),
        None => state.shared.data().get(state.plugin.vm_id.as_bytes(), key),
    };
    state.note(|| {
        Record::World(Answer::SharedGet {
            key: Text::from(key),
            found: found.clone().map(|found| (Text(found.value), found.cas)),
        })
    });
    found
}

/// Writes a shared value; when played again, only the answer is what it was.
pub(crate) fn shared_set(state: &State, key: &[u8], value: &[u8], cas: u32) -> Result<(), WriteError> {
    let written = match &state.script {
        Some(script) => {
            let status = script.borrow_mut().next(|answer| match answer {
                Answer::SharedSet { key: asked, status } if asked.0 == key => Some(*status),
                _ => None,
            });
            match status {
                Some(8) => Err(WriteError::CasMismatch),
                Some(10) => Err(WriteError::Quota(QuotaExceeded)),
                _ => Ok(()),
            }
        }
        None => state.shared.data().set(state.plugin.vm_id.as_bytes(), key, value, cas).map(drop),
    };
    let status = match written {
        Ok(()) => Status::Ok,
        Err(WriteError::CasMismatch) => Status::CasMismatch,
        Err(WriteError::Quota(_)) => Status::InternalFailure,
    };
    state.note(|| Record::World(Answer::SharedSet { key: Text::from(key), status: status.code() }));
    written
}

/// A message of a queue, as it is, or as it was.
pub(crate) fn dequeue(state: &State, queue: QueueId) -> Result<Bytes, DequeueError> {
    let found = match &state.script {
        Some(script) => {
            let found = script.borrow_mut().next(|answer| match answer {
                Answer::Dequeue { queue: asked, found } if *asked == queue => Some(found.clone()),
                _ => None,
            });
            match found {
                Some(Ok(message)) => Ok(message.0),
                Some(Err(7)) => Err(DequeueError::Empty),
                _ => Err(DequeueError::NotFound),
            }
        }
        None => state.shared.queues().dequeue(queue),
    };
    state.note(|| {
        let found = found
            .clone()
            .map(Text)
            .map_err(|error| if error == DequeueError::Empty { Status::Empty.code() } else { Status::NotFound.code() });
        Record::World(Answer::Dequeue { queue, found })
    });
    found
}

/// The world of a run that is played again.
#[derive(Clone)]
pub(crate) struct ScriptedWorld {
    pub(crate) script: Rc<RefCell<Script>>,
    pub(crate) log_level: LogLevel,
}

impl ScriptedWorld {
    fn next<T>(&self, pick: impl Fn(&Answer) -> Option<T>) -> Option<T> {
        self.script.borrow_mut().next(pick)
    }

    fn found(&self, path: &[&[u8]]) -> Option<Value> {
        let same = |asked: &[Text]| asked.iter().map(|segment| &segment.0[..]).eq(path.iter().copied());
        let found = self.next(|answer| match answer {
            Answer::Attribute { path, kind, found } if same(path) => Some(found.clone().map(|found| (*kind, found))),
            _ => None,
        });
        // One thing alone has no bytes.
        found.flatten().map(|(kind, found)| found.map_or(Value::Opaque, |bytes| Value::of_kind(kind, bytes.0)))
    }
}

impl World for ScriptedWorld {
    fn now(&mut self) -> u64 {
        self.next(|answer| if let Answer::Now { nanos } = answer { Some(*nanos) } else { None }).unwrap_or_default()
    }

    fn monotonic(&mut self) -> u64 {
        self.next(|answer| if let Answer::Monotonic { nanos } = answer { Some(*nanos) } else { None })
            .unwrap_or_default()
    }

    fn random(&mut self, out: &mut [u8]) {
        let dice = self.next(|answer| if let Answer::Random { bytes } = answer { Some(bytes.0.clone()) } else { None });
        for (byte, die) in out.iter_mut().zip(dice.unwrap_or_default()) {
            *byte = die;
        }
    }

    fn log_level(&self) -> LogLevel {
        self.log_level
    }

    fn log(&mut self, _: LogLevel, _: &str) {}

    fn cluster(&self, name: &[u8]) -> ClusterState {
        self.next(|answer| match answer {
            Answer::Cluster { name: asked, state } if asked.0 == name => Some(*state),
            _ => None,
        })
        .unwrap_or(ClusterState::Unknown)
    }

    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        self.found(path)
    }

    fn queue_waker(&self) -> std::sync::Arc<dyn Fn(QueueId) + Send + Sync> {
        std::sync::Arc::new(|_| ())
    }
}

impl StreamInfo for ScriptedWorld {
    fn attribute(&self, path: &[&[u8]]) -> Option<Value> {
        self.found(path)
    }

    fn filter_state(&self, key: &[u8]) -> Option<Bytes> {
        let found = self.next(|answer| match answer {
            Answer::FilterState { key: asked, found } if asked.0 == key => Some(found.clone()),
            _ => None,
        });
        found.flatten().map(|text| text.0)
    }

    fn set_filter_state(&self, _: &[u8], _: Bytes) {}
}
