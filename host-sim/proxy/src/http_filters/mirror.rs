//! Copies of a request for another cluster: sent, and their answers forgotten.

use std::rc::Rc;
use std::time::Duration;

use crate::connection::Piece;
use crate::headers::HeaderList;
use crate::upstream::{Attempt, Outline};
use crate::worker::{Cluster, Worker};

/// One copy.
pub(super) struct Copy {
    cluster: Rc<Cluster>,
    head: HeaderList,
}

/// A copy whose answer takes longer than this is given up.
const PATIENCE: Duration = Duration::from_secs(15);

impl Copy {
    pub(super) fn new(cluster: &Rc<Cluster>, head: HeaderList) -> Copy {
        Copy { cluster: Rc::clone(cluster), head }
    }

    /// Sends it by itself.
    pub(super) fn send(self, worker: &Rc<Worker>, pieces: Vec<Piece>) {
        let worker = Rc::clone(worker);
        tokio::task::spawn_local(async move {
            // Nobody learns what came of it.
            let _ = tokio::time::timeout(PATIENCE, self.exchange(&worker, pieces)).await;
        });
    }

    async fn exchange(self, worker: &Rc<Worker>, pieces: Vec<Piece>) -> Option<()> {
        let endpoint = self.cluster.pick(worker.dice(), None, &[], 1).map(Rc::clone)?;
        let protocol = self.cluster.config.protocol.for_client(false);
        let now = worker.clock().now();
        let attempt = Attempt::open(&self.cluster, &endpoint, protocol, &Outline::of(&self.head), now).await.ok()?;
        attempt.write_head(&self.head, pieces.is_empty()).ok()?;
        attempt.begin(pieces.is_empty()).await.ok()?;
        if !pieces.is_empty() {
            for piece in pieces {
                attempt.send(piece).await.ok()?;
            }
            attempt.finish().await.ok()?;
        }
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
