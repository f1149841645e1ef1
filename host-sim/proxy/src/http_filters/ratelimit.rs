//! Asks a rate limit service about a request, and does what it says.

use std::sync::Arc;

use vm::GrpcRequest;

use super::chain::Pass;
use super::{Chain, Stop, grpc};
use crate::connection::Stream;
use crate::rate_limit::service::{self, Answer};
use crate::rate_limit::{Actions, GlobalRateLimit, GlobalVerdict, Subject};
use crate::route::PerFilter;

impl Chain {
    pub(super) async fn ask_service(
        &self,
        stream: &Stream,
        place: usize,
        name: &str,
        limit: &GlobalRateLimit,
    ) -> Result<(), Stop> {
        let per_route = match stream.per_filter(name) {
            Some(PerFilter::Disabled) => return Ok(()),
            Some(PerFilter::RateLimit(per_route)) => Some(per_route),
            _ => None,
        };
        let Some(message) = question(stream, limit, per_route.as_deref()) else { return Ok(()) };
        let surroundings = &stream.worker.surroundings;
        let authority = if limit.authority.is_empty() { &limit.cluster } else { &limit.authority };
        let request = GrpcRequest {
            cluster: limit.cluster.clone(),
            service: service::SERVICE.into(),
            method: service::METHOD.into(),
            metadata: vec![(":authority".into(), authority.clone().into())],
        };
        let answer = grpc::unary(surroundings, &request, message, limit.timeout).await;
        let answer = answer.and_then(|message| Answer::read(&message).ok());
        if let Some(recorder) = stream.worker.recorder() {
            recorder.verdict(match &answer {
                None => "no answer from the rate limit service".to_owned(),
                Some(answer) if answer.over_limit => "over the limit".to_owned(),
                Some(_) => "within the limit".to_owned(),
            });
        }
        let verdict = {
            let (request, info) = (stream.request.borrow(), stream.facts.info.borrow());
            limit.judge(answer, &request, &stream.facts.connection, &info, stream.worker.dice().roll())
        };
        match verdict {
            GlobalVerdict::Reply(reply) => Err(Stop::Reply(reply)),
            GlobalVerdict::Pass { request, response } => {
                stream.request.borrow_mut().extend(request);
                if !response.is_empty() {
                    self.remember(place, Pass::Told(response));
                }
                Ok(())
            }
        }
    }
}

/// The call's message; `None` when there is nothing to ask. Only routes that forward somewhere have descriptors.
fn question(
    stream: &Stream,
    limit: &GlobalRateLimit,
    per_route: Option<&crate::rate_limit::PerRoute>,
) -> Option<bytes::Bytes> {
    let decision = stream.decision();
    let route = decision.route()?;
    let forward = route.forward()?;
    let cluster = Arc::clone(&decision.destination()?.cluster);
    stream.state.clusters.get(&cluster)?;
    let request = stream.request.borrow();
    let subject = Subject {
        request: &request,
        client: stream.client(),
        source_cluster: stream.state.node_cluster(),
        destination_cluster: &cluster,
    };
    let actions = Actions {
        per_route,
        route: &forward.rate_limits,
        virtual_host: &route.virtual_host.rate_limits,
        include_virtual_host: forward.include_virtual_host_rate_limits,
    };
    let question = limit.question(&subject, &actions, stream.worker.dice().roll())?;
    Some(service::request(question.domain.as_bytes(), &question.descriptors))
}
