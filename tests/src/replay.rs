//! Replays cases against a gateway and says, exchange by exchange, whether the answer is the recorded one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::case::{Answer, Case, Exchange, Outcome, Send, Verdict};
use crate::certs::Certificates;
use crate::client::{self, Reply};
use crate::compare;
use crate::gateway::Gateway;
use crate::host_sim;
use crate::origins::Origins;
use crate::pair::Setup;
use crate::process::Process;
use crate::record;
use crate::scoreboard::Scored;

/// The labels of Istio's own ingress gateway, which the corpus' manifests select.
pub const LABELS: &str = "istio=ingressgateway,app=istio-ingressgateway";

/// Cases replayed at a time: most of a case is a process starting.
pub const SIDE_BY_SIDE: usize = 4;

/// An answer that takes this long is written down with its duration.
const NOTABLE_MS: u64 = 90;
/// A mirror may reach its origin after the answer has reached the client.
const LATE: Duration = Duration::from_millis(300);
/// Manifests that are not refused by then are served.
const REFUSAL: Duration = Duration::from_secs(3);

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Through {
    /// `host-sim run`: both halves, Istio's and Envoy's.
    #[default]
    HostSim,
    /// The real Envoy on what `host-sim envoy` prints: Istio's half alone.
    Envoy,
}

/// What a replay needs besides the cases.
pub struct Replay {
    through: Through,
    origins: Origins,
    certificates: Certificates,
}

impl Replay {
    /// Starts the recorded origins and makes certificates.
    ///
    /// # Errors
    /// The origins' addresses cannot be had.
    pub fn new(through: Through) -> Result<Self> {
        Ok(Self { through, origins: Origins::recorded()?, certificates: Certificates::fresh()? })
    }

    /// Replays all cases, `side_by_side` at a time, each in a process of its own. A case with an answer that was wrong in nothing but its duration is
    /// asked once more with the machine to itself; so is one with weights, of which one in a hundred may fall the other way.
    pub async fn all(self: Rc<Self>, cases: Vec<Case>, side_by_side: usize) -> Vec<Scored> {
        let places = Rc::new(Semaphore::new(side_by_side));
        let mut running = JoinSet::new();
        let local = tokio::task::LocalSet::new();
        let mut scores: Vec<(usize, Vec<Scored>)> = local
            .run_until(async {
                for (at, case) in cases.iter().cloned().enumerate() {
                    let (replay, places) = (Rc::clone(&self), Rc::clone(&places));
                    running.spawn_local(async move {
                        let _place = places.acquire().await;
                        (at, replay.case(&case).await)
                    });
                }
                let mut scores = Vec::new();
                while let Some(done) = running.join_next().await {
                    scores.extend(done);
                }
                scores
            })
            .await;
        scores.sort_by_key(|(at, _)| *at);
        for (at, scored) in &mut scores {
            let excused = |case: &&Case| {
                let draws = case.manifests.contains("weight:");
                let mut differences = scored.iter().filter_map(|scored| scored.difference.as_deref());
                differences.any(|difference| draws || compare::is_about_time(difference))
            };
            if let Some(case) = cases.get(*at).filter(excused) {
                *scored = self.case(case).await;
            }
        }
        scores.into_iter().flat_map(|(_, scored)| scored).collect()
    }

    /// Replays one case.
    pub async fn case(&self, case: &Case) -> Vec<Scored> {
        match &case.verdict {
            Verdict::Refused(words) => {
                let difference = self.refusal(case).await.unwrap_or_else(|e| Some(format!("{e:#}")));
                vec![Scored::new(case, "manifests", difference.map(|d| format!("{d}; Istio refuses: {words}")))]
            }
            Verdict::Served(exchanges) => match self.served(case, exchanges).await {
                Ok(scored) => scored,
                Err(e) => {
                    exchanges.iter().map(|x| Scored::new(case, &title(&x.send), Some(format!("{e:#}")))).collect()
                }
            },
        }
    }

    async fn served(&self, case: &Case, exchanges: &[Exchange]) -> Result<Vec<Scored>> {
        let folder = tempfile::tempdir()?;
        let file = self.manifests(case, folder.path())?;
        let setup = Setup {
            manifests: vec![file],
            flags: ["--no-echo", "--labels", LABELS].map(str::to_owned).into(),
            ports: exchanges.iter().map(|x| x.send.port).collect(),
            workers: 2,
            ..Setup::default()
        };
        let gateway = match self.through {
            Through::HostSim => setup.host_sim(&setup.flags).await?,
            Through::Envoy => setup.envoy(&setup.flags).await?.context("no Envoy")?,
        };
        Ok(self.exchanges(case, exchanges, &gateway).await)
    }

    /// Sends the requests of a case one after another and compares each answer with the recorded one.
    pub async fn exchanges(&self, case: &Case, exchanges: &[Exchange], gateway: &Gateway) -> Vec<Scored> {
        let mut scored = Vec::new();
        for exchange in exchanges {
            let difference = match ask(
                &exchange.send,
                &gateway.ports,
                &self.origins,
                &self.certificates,
                Bodies::Own,
                exchange.expect.upstreams.len(),
            )
            .await
            {
                Ok(got) => compare::difference(&exchange.expect, &got),
                Err(e) => Some(format!("{e:#}")),
            };
            scored.push(Scored::new(case, &title(&exchange.send), difference));
        }
        scored
    }

    /// The certificates of this run.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Why the manifests were not refused as they should be: with exit code 3 and words.
    async fn refusal(&self, case: &Case) -> Result<Option<String>> {
        let folder = tempfile::tempdir()?;
        let file = self.manifests(case, folder.path())?;
        let mut command = Command::new(host_sim::binary()?);
        command.args(["run", "--admin", "127.0.0.1:0", "--port-map", "80=0", "-f"]).arg(&file);
        let mut process = Process::start(&mut command)?;
        let Ok(status) = process.ended(REFUSAL).await else { return Ok(Some("accepted".into())) };
        let refused = status.code() == Some(3) && !process.log().trim().is_empty();
        Ok((!refused).then(|| format!("{status}: {}", process.tail())))
    }

    /// Writes everything a case gives the gateway into one file.
    fn manifests(&self, case: &Case, folder: &Path) -> Result<PathBuf> {
        let mut documents = vec![case.manifests.clone()];
        for name in &case.secrets {
            documents.push(self.certificates.secret(name)?);
        }
        if let Some(mesh) = &case.mesh {
            let mesh = serde_json::to_string(mesh)?; // a JSON string is a YAML string
            documents.push(format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: istio-system\ndata:\n  mesh: {mesh}\n"));
        }
        let file = folder.join("manifests.yaml");
        std::fs::write(&file, documents.join("\n---\n"))?;
        Ok(file)
    }
}

/// A request in a few words, for a report.
#[must_use]
pub fn title(send: &Send) -> String {
    let short = |text: &str| text.chars().take(60).collect::<String>();
    let headers: Vec<String> = send.headers.iter().map(|(k, v)| format!("{k}: {}", short(v))).collect();
    let repeated = send.repeat.map(|n| format!(" ×{n}")).unwrap_or_default();
    format!("{} {}{repeated} [{}]", send.method, short(&send.path), headers.join(", "))
}

/// Sends one request of a case and writes down what came of it, in the corpus's form. `sees` requests are waited for at the origins, a little.
///
/// # Errors
/// A request that cannot be sent at all.
pub async fn ask(
    send: &Send,
    ports: &BTreeMap<u16, SocketAddr>,
    origins: &Origins,
    certificates: &Certificates,
    bodies: Bodies,
    sees: usize,
) -> Result<Answer> {
    let Some(to) = ports.get(&send.port).copied() else {
        return Ok(Answer { outcome: Outcome::NoListener, upstreams: Vec::new(), ms: None });
    };
    let tls = send.tls.as_ref().map(|tls| certificates.client(tls, send.version)).transpose()?;
    let key = fresh_key();
    if let Some(times) = send.repeat {
        let mut counts = BTreeMap::new();
        for _ in 0..times {
            let reply = client::exchange(to, send, Some(&key), tls.clone()).await?;
            *counts.entry(counted_as(&reply)).or_insert(0) += 1;
        }
        let _ = origins.take(&key);
        return Ok(Answer { outcome: Outcome::Histogram(counts), upstreams: Vec::new(), ms: None });
    }
    let start = Instant::now();
    let reply = client::exchange(to, send, Some(&key), tls).await?;
    let ms = u64::try_from(start.elapsed().as_millis())?;
    if send.settle_ms > 0 {
        tokio::time::sleep(Duration::from_millis(send.settle_ms)).await; // part of the case: mirrors answer nobody
    }
    origins.wait_for(&key, sees, LATE).await;
    let upstreams = origins.take(&key).into_iter().map(record::seen).collect();
    Ok(Answer { outcome: outcome(reply, bodies), upstreams, ms: (ms >= NOTABLE_MS).then_some(ms) })
}

/// Which bodies are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Those the gateway wrote itself, as in the corpus.
    Own,
    /// All: two gateways in front of the same origins are compared byte for byte.
    All,
}

pub(crate) fn outcome(reply: Reply, bodies: Bodies) -> Outcome {
    match reply {
        Reply::Response(response) => record::response(&response, bodies),
        Reply::Closed => Outcome::Closed,
        Reply::TlsError => Outcome::TlsError,
        Reply::Timeout => Outcome::Timeout,
        Reply::NoListener => Outcome::NoListener,
        Reply::Unreadable(what) => Outcome::Unreadable(what),
    }
}

/// A repeated request is counted by the origin that answered, else by status, else by what happened.
fn counted_as(reply: &Reply) -> String {
    match reply {
        Reply::Response(response) => {
            let origin = response.headers.iter().find(|(name, _)| name == "x-origin");
            origin.map_or_else(|| response.status.to_string(), |(_, origin)| origin.clone())
        }
        _ => "closed".into(),
    }
}

/// One key per exchange, unlike any other on this machine, all of one length.
pub(crate) fn fresh_key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("k{:07}-{:07}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
