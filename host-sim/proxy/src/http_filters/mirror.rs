//! Copies of a request for another cluster: sent, and their answers forgotten.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::connection::Piece;
use crate::headers::HeaderList;
use crate::upstream::{Attempt, Endpoint, Outline};
use crate::worker::{Cluster, Dice, Worker};

/// One copy.
pub(super) struct Copy {
    cluster: Rc<Cluster>,
    endpoint: Rc<Endpoint>,
    head: HeaderList,
}

/// A copy whose answer takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(15);

/// How far a copy is; where it failed, as far as it could get.
#[derive(Default)]
pub(super) struct Sending {
    connected: Cell<bool>,
    left: Cell<bool>,
    go: Notify,
}

impl Sending {
    /// It has a connection to leave by.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.get()
    }

    /// It is on its way.
    pub(super) fn has_left(&self) -> bool {
        self.left.get()
    }

    /// Its request has left; it may follow.
    pub(super) fn let_go(&self) {
        self.go.notify_one();
    }
}

impl Copy {
    /// A copy for a healthy endpoint of this cluster, if there is one.
    pub(super) fn new(cluster: &Rc<Cluster>, head: HeaderList, dice: &Dice) -> Option<Copy> {
        let endpoint = cluster.pick(dice, None, &[], 1).map(Rc::clone)?;
        Some(Copy { cluster: Rc::clone(cluster), endpoint, head })
    }

    /// Sends it by itself, once it is let go.
    pub(super) fn send(self, worker: &Rc<Worker>, pieces: Vec<Piece>) -> Rc<Sending> {
        let (worker, sending) = (Rc::clone(worker), Rc::<Sending>::default());
        let own = Rc::clone(&sending);
        tokio::task::spawn_local(async move {
            // Nobody learns what came of it.
            let _ = tokio::time::timeout(PATIENCE, self.exchange(&worker, pieces, &own)).await;
            own.connected.set(true);
            own.left.set(true);
        });
        sending
    }

    async fn exchange(self, worker: &Rc<Worker>, pieces: Vec<Piece>, sending: &Sending) -> Option<()> {
        let protocol = self.cluster.config.protocol.for_client(false);
        let (now, outline) = (worker.clock().now(), Outline::of(&self.head));
        let attempt = Attempt::open(&self.cluster, &self.endpoint, protocol, &outline, now).await.ok()?;
        sending.connected.set(true);
        sending.go.notified().await;
        attempt.write_head(&self.head, pieces.is_empty()).ok()?;
        attempt.begin(pieces.is_empty()).await.ok()?;
        if !pieces.is_empty() {
            for piece in pieces {
                attempt.send(piece).await.ok()?;
            }
            attempt.finish().await.ok()?;
        }
        sending.left.set(true);
        let mut head = attempt.head().await.ok()?;
        while head.status < 200 {
            head = attempt.head().await.ok()?;
        }
        self.cluster.stats.charge_response(head.status, true);
        while let Some(piece) = head.body.next().await {
            piece.ok()?;
        }
        attempt.complete(worker.clock().now());
        Some(())
    }
}
