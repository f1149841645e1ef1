//! `HeaderMutation` lists: the header mutation filter's and a mirror's. Unlike a block of header operations, each entry is done before the next
//! one is looked at.

use bytes::Bytes;

use super::{HeaderOps, InvalidHeaderOps, StreamInfo};
use crate::edge::ConnectionInfo;
use crate::headers::HeaderList;

/// What the header mutation filter does to requests and answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMutations {
    request: Vec<HeaderOps>,
    response: Vec<HeaderOps>,
}

impl HeaderMutations {
    /// Compiles the filter's lists.
    pub fn compile(mutations: &xds::Mutations) -> Result<HeaderMutations, InvalidHeaderOps> {
        for (field, set) in [
            ("query_parameter_mutations", !mutations.query_parameter_mutations.is_empty()),
            ("response_trailers_mutations", !mutations.response_trailers_mutations.is_empty()),
            ("request_trailers_mutations", !mutations.request_trailers_mutations.is_empty()),
        ] {
            if set {
                return Err(InvalidHeaderOps::Unsupported(field));
            }
        }
        Ok(HeaderMutations {
            request: list(&mutations.request_mutations)?,
            response: list(&mutations.response_mutations)?,
        })
    }

    /// Compiles a mirror's list.
    pub fn of_request(mutations: &[xds::HeaderMutation]) -> Result<HeaderMutations, InvalidHeaderOps> {
        Ok(HeaderMutations { request: list(mutations)?, response: Vec::new() })
    }

    /// Changes a request.
    pub fn apply_to_request(&self, request: &mut HeaderList, connection: &ConnectionInfo, stream: &StreamInfo) {
        for ops in &self.request {
            ops.apply_to_request(request, connection, stream);
        }
    }

    /// Changes an answer.
    pub fn apply_to_response(
        &self,
        response: &mut HeaderList,
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        stream: &StreamInfo,
    ) {
        for ops in &self.response {
            ops.apply_to_response(response, request, connection, stream);
        }
    }
}

fn list(mutations: &[xds::HeaderMutation]) -> Result<Vec<HeaderOps>, InvalidHeaderOps> {
    mutations.iter().map(one).collect()
}

fn one(mutation: &xds::HeaderMutation) -> Result<HeaderOps, InvalidHeaderOps> {
    if mutation.remove_on_match.is_some() {
        return Err(InvalidHeaderOps::Unsupported("remove_on_match"));
    }
    HeaderOps::compile(mutation.append.as_slice(), mutation.remove.as_slice())
}
