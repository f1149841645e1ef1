//! Shared queues: named per vm id, known by a number of the process, delivered to the last plugin that registered.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::shared::{Quota, QuotaExceeded};

/// The number of a queue, 1 and up.
pub type QueueId = u32;

/// Tells the worker of a queue's last registrant that something is in it.
pub(crate) type Waker = Arc<dyn Fn(QueueId) + Send + Sync>;

/// All queues of the process.
pub struct Queues {
    inner: Mutex<Inner>,
    quota: Quota,
}

#[derive(Default)]
struct Inner {
    ids: HashMap<(Bytes, Bytes), QueueId>,
    queues: HashMap<QueueId, Queue>,
    bytes: usize,
}

struct Queue {
    messages: VecDeque<Bytes>,
    waker: Waker,
}

/// Why nothing came out of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DequeueError {
    /// There is no such queue.
    NotFound,
    /// There is nothing in it.
    Empty,
}

/// Why nothing went into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnqueueError {
    /// There is no such queue.
    NotFound,
    /// A quota is used up.
    Quota(QuotaExceeded),
}

impl Default for Queues {
    fn default() -> Self {
        Queues::new(Quota::default())
    }
}

impl Queues {
    pub(crate) fn new(quota: Quota) -> Queues {
        Queues { inner: Mutex::default(), quota }
    }

    /// The queue of this name, made if need be. Its messages go to this registrant from now on; those in it stay.
    pub(crate) fn register(&self, vm_id: &[u8], name: &[u8], waker: Waker) -> Result<QueueId, QuotaExceeded> {
        if name.len() > self.quota.name_bytes {
            return Err(QuotaExceeded);
        }
        let mut inner = self.lock();
        let key = (Bytes::copy_from_slice(vm_id), Bytes::copy_from_slice(name));
        if let Some(id) = inner.ids.get(&key).copied() {
            if let Some(queue) = inner.queues.get_mut(&id) {
                queue.waker = waker;
            }
            return Ok(id);
        }
        if inner.ids.len() >= self.quota.queues {
            return Err(QuotaExceeded);
        }
        let id = u32::try_from(inner.ids.len()).map_err(|_| QuotaExceeded)? + 1;
        inner.ids.insert(key, id);
        inner.queues.insert(id, Queue { messages: VecDeque::new(), waker });
        Ok(id)
    }

    /// The queue of this name, if somebody registered it.
    pub fn resolve(&self, vm_id: &[u8], name: &[u8]) -> Option<QueueId> {
        self.lock().ids.get(&(Bytes::copy_from_slice(vm_id), Bytes::copy_from_slice(name))).copied()
    }

    /// Appends a message and wakes the registrant.
    pub fn enqueue(&self, id: QueueId, message: &[u8]) -> Result<(), EnqueueError> {
        let waker = {
            let mut inner = self.lock();
            let bytes = inner.bytes + message.len();
            let queue = inner.queues.get_mut(&id).ok_or(EnqueueError::NotFound)?;
            if message.len() > self.quota.entry_bytes || bytes > self.quota.total_bytes {
                return Err(EnqueueError::Quota(QuotaExceeded));
            }
            queue.messages.push_back(Bytes::copy_from_slice(message));
            let waker = queue.waker.clone();
            inner.bytes = bytes;
            waker
        };
        waker(id);
        Ok(())
    }

    /// Takes the oldest message.
    pub fn dequeue(&self, id: QueueId) -> Result<Bytes, DequeueError> {
        let mut inner = self.lock();
        let queue = inner.queues.get_mut(&id).ok_or(DequeueError::NotFound)?;
        let message = queue.messages.pop_front().ok_or(DequeueError::Empty)?;
        inner.bytes = inner.bytes.saturating_sub(message.len());
        Ok(message)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn waker(count: &Arc<AtomicU32>) -> Waker {
        let count = count.clone();
        Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
    }

    #[test]
    fn messages_come_out_in_order_and_wake_the_last_registrant() {
        let queues = Queues::default();
        let (first, last) = (Arc::default(), Arc::default());
        let id = queues.register(b"vm", b"q", waker(&first)).unwrap();
        assert_eq!(queues.enqueue(id, b"1"), Ok(()));
        assert_eq!(queues.register(b"vm", b"q", waker(&last)), Ok(id));
        assert_eq!(queues.enqueue(id, b"2"), Ok(()));
        assert_eq!((first.load(Ordering::Relaxed), last.load(Ordering::Relaxed)), (1, 1));
        assert_eq!(queues.dequeue(id), Ok(Bytes::from_static(b"1")));
        assert_eq!(queues.dequeue(id), Ok(Bytes::from_static(b"2")));
        assert_eq!(queues.dequeue(id), Err(DequeueError::Empty));
    }

    #[test]
    fn names_belong_to_a_vm_id_and_unknown_queues_are_not_found() {
        let queues = Queues::default();
        let id = queues.register(b"a", b"q", waker(&Arc::default())).unwrap();
        assert_eq!(queues.resolve(b"a", b"q"), Some(id));
        assert_eq!(queues.resolve(b"b", b"q"), None);
        assert_eq!(queues.enqueue(99, b""), Err(EnqueueError::NotFound));
        assert_eq!(queues.dequeue(99), Err(DequeueError::NotFound));
    }

    #[test]
    fn queues_are_bounded() {
        let queues =
            Queues::new(Quota { entry_bytes: 4, total_bytes: 5, queues: 1, name_bytes: 3, ..Quota::default() });
        let id = queues.register(b"", b"q", waker(&Arc::default())).unwrap();
        assert_eq!(queues.register(b"", b"r", waker(&Arc::default())), Err(QuotaExceeded));
        assert_eq!(queues.register(b"", b"long", waker(&Arc::default())), Err(QuotaExceeded));
        assert_eq!(queues.enqueue(id, b"12345"), Err(EnqueueError::Quota(QuotaExceeded)));
        assert_eq!(queues.enqueue(id, b"1234"), Ok(()));
        assert_eq!(queues.enqueue(id, b"12"), Err(EnqueueError::Quota(QuotaExceeded)));
        assert!(queues.dequeue(id).is_ok());
        assert_eq!(queues.enqueue(id, b"12"), Ok(()));
    }
}
