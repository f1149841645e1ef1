//! Explains requests of the configuration that is being served, on a thread of its own: a gateway in memory beside the
//! one that serves, so that no question costs a request anything.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::command_line::GatewayArgs;
use crate::explain::{self, Answer, Asked};
use crate::plan::Plan;
use crate::stage::Stage;

/// A request as the page sends it.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    method: String,
    url: String,
    headers: Vec<String>,
    client: Option<String>,
}

/// What is being served, as far as the manifests tell.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) plan: Arc<Plan>,
    /// Names of running echo backends.
    pub(crate) echo: BTreeMap<SocketAddr, String>,
}

struct State {
    known: Known,
    generation: u64,
}

type Job = (Question, oneshot::Sender<Result<Value, String>>);

/// The way to the thread.
pub(crate) struct Explainer {
    state: Arc<Mutex<State>>,
    jobs: Mutex<Sender<Job>>,
    started: Instant,
}

impl Explainer {
    /// Starts the thread; the gateway in memory is built with the first question.
    ///
    /// # Errors
    /// What the system says when there is no thread to be had.
    pub(crate) fn start(args: &GatewayArgs, known: Known) -> std::io::Result<Self> {
        let state = Arc::new(Mutex::new(State { known, generation: 0 }));
        let (jobs, inbox) = channel();
        let (args, shared) = (args.clone(), Arc::clone(&state));
        std::thread::Builder::new().name("explain".to_owned()).spawn(move || work(&args, &shared, &inbox))?;
        Ok(Self { state, jobs: Mutex::new(jobs), started: Instant::now() })
    }

    /// Another configuration is served from now on.
    pub(crate) fn serves(&self, known: Known) {
        let mut state = lock(&self.state);
        state.known = known;
        state.generation += 1;
    }

    pub(super) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    pub(super) fn uptime(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    pub(super) fn with_plan<R>(&self, look: impl FnOnce(&Plan) -> R) -> R {
        let plan = Arc::clone(&lock(&self.state).known.plan);
        look(&plan)
    }

    /// The port to write into a URL of this scheme: none where the scheme's own is served.
    pub(super) fn port(&self, scheme: &str) -> Option<u16> {
        let own = if scheme == "https" { 443 } else { 80 };
        let plan = Arc::clone(&lock(&self.state).known.plan);
        let ports: Vec<u16> = plan.server_ports.values().copied().collect();
        if ports.contains(&own) { None } else { ports.first().copied() }
    }

    /// Asks the thread.
    pub(super) async fn ask(&self, question: Question) -> Result<Value, String> {
        let (reply, answer) = oneshot::channel();
        let gone = || "nobody explains any more".to_owned();
        let sent = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send((question, reply));
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Whatever is replaced in it is replaced in one step.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work(args: &GatewayArgs, state: &Mutex<State>, inbox: &Receiver<Job>) {
    let mut stage: Option<(u64, Stage)> = None;
    while let Ok((question, reply)) = inbox.recv() {
        // Nobody waits for it any more: fine.
        let _ = reply.send(explained(args, state, &mut stage, &question));
    }
}

fn explained(
    args: &GatewayArgs,
    state: &Mutex<State>,
    stage: &mut Option<(u64, Stage)>,
    question: &Question,
) -> Result<Value, String> {
    let mut asked = Asked::of_url(&question.url)?;
    asked.method.clone_from(&question.method);
    asked.headers = question.headers.iter().map(|line| explain::header(line)).collect::<Result<_, _>>()?;
    if let Some(client) = &question.client {
        asked.client = client.parse().map_err(|_| format!("{client} is no IP address"))?;
    }
    let (generation, known) = {
        let state = lock(state);
        (state.generation, state.known.clone())
    };
    if stage.as_ref().is_none_or(|(built, _)| *built != generation) {
        let fresh = Stage::beside(args, &known.plan, known.echo).map_err(|failure| failure.to_string())?;
        *stage = Some((generation, fresh));
    }
    let Some((_, stage)) = stage else { return Err("no gateway to ask".to_owned()) };
    stage.rehearsal.restart(0).map_err(|error| error.to_string())?;
    let answer = Answer::to(&asked, stage);
    Ok(json!({ "story": explain::story(&answer), "answer": answer }))
}
