//! What a connection remembers between its requests.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::Lifetime;
use crate::rate_limit::{Buckets, LocalRateLimit};
use crate::snapshot::LifetimeLimits;

/// Its lifetime, and buckets of limits that count per connection.
pub(crate) struct Remembered {
    pub(crate) lifetime: Lifetime,
    buckets: RefCell<Vec<(Arc<LocalRateLimit>, Rc<Buckets>)>>,
}

impl Remembered {
    /// A connection begins.
    pub(crate) fn new(limits: LifetimeLimits) -> Remembered {
        Remembered { lifetime: Lifetime::new(limits), buckets: RefCell::default() }
    }

    /// This connection's buckets for a limit; `None` where the limit counts otherwise.
    pub(crate) fn buckets(&self, limit: &Arc<LocalRateLimit>) -> Option<Rc<Buckets>> {
        let known =
            self.buckets.borrow().iter().find(|(known, _)| Arc::ptr_eq(known, limit)).map(|(_, own)| Rc::clone(own));
        known.or_else(|| {
            let own = Rc::new(limit.connection_buckets()?);
            self.buckets.borrow_mut().push((Arc::clone(limit), Rc::clone(&own)));
            Some(own)
        })
    }
}
