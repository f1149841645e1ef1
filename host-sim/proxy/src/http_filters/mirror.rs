//! Copies of a request for another cluster: sent, and their answers forgotten.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::connection::Piece;
use crate::headers::HeaderList;
use crate::http1::unsendable;
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

impl Copy {
    /// A copy for a healthy endpoint of this cluster, if there is one.
    pub(super) fn new(cluster: &Rc<Cluster>, head: HeaderList, dice: &Dice) -> Option<Copy> {
        let endpoint = cluster.pick(dice, None, &[], 1).map(Rc::clone)?;
        Some(Copy { cluster: Rc::clone(cluster), endpoint, head })
    }

    pub(super) fn goes_to(&self, address: SocketAddr) -> bool {
        self.endpoint.address == address
    }

    /// Sends it by itself; the cell tells when it has left, or never will.
    pub(super) fn send(self, worker: &Rc<Worker>, pieces: Vec<Piece>) -> Rc<Cell<bool>> {
        let (worker, left) = (Rc::clone(worker), Rc::new(Cell::new(false)));
        let leaving = Rc::clone(&left);
        tokio::task::spawn_local(async move {
            // Nobody learns what came of it.
            let _ = tokio::time::timeout(PATIENCE, self.exchange(&worker, pieces, &leaving)).await;
            leaving.set(true);
        });
        left
    }

    async fn exchange(self, worker: &Rc<Worker>, pieces: Vec<Piece>, leaving: &Cell<bool>) -> Option<()> {
        let protocol = self.cluster.config.protocol.for_client(false);
        let (now, outline) = (worker.clock().now(), Outline::of(&self.head));
        let attempt = Attempt::open(&self.cluster, &self.endpoint, protocol, &outline, now).await.ok()?;
        if unsendable(&self.head).is_some() {
            return None;
        }
        attempt.write_head(&self.head, pieces.is_empty()).ok()?;
        attempt.begin(pieces.is_empty()).await.ok()?;
        leaving.set(true);
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
