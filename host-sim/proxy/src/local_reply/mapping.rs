//! What a connection manager makes of its own answers before a client, or a filter, sees them: `local_reply_config`; and the form of a
//! direct response's body, `body_format`.
//!
//! Source: Envoy's `local_reply/local_reply.cc`.

use bytes::Bytes;

use super::LocalReply;
use crate::access_log::{Filter, InvalidAccessLog, Record};
use crate::data_source::read_named;
use crate::edge::ConnectionInfo;
use crate::header_ops::{Facts, HeaderOps, StreamInfo};
use crate::headers::{self, HeaderList};
use crate::route::error::{CompileError, Errors, Path};

/// The rules, in order: the first that takes an answer changes it. Then the body is brought into its form.
#[derive(Debug, Default)]
pub(crate) struct Mapping {
    mappers: Vec<Mapper>,
    form: Option<BodyForm>,
}

/// One rule.
#[derive(Debug)]
struct Mapper {
    filter: Filter,
    status: Option<u16>,
    body: Option<Bytes>,
    headers: HeaderOps,
    form: Option<BodyForm>,
}

/// What a body is made into, and what it is then.
#[derive(Debug)]
pub struct BodyForm {
    record: Record,
    content_type: Option<Bytes>,
}

/// What `content-type` a text has whose format names none.
const TEXT: &[u8] = b"text/plain";
const JSON: &[u8] = b"application/json";

impl BodyForm {
    /// Compiles a format.
    pub(crate) fn compile(format: &xds::SubstitutionFormatString) -> Result<BodyForm, InvalidAccessLog> {
        let own = Some(&format.content_type).filter(|own| !own.is_empty());
        let content_type = own.map(|own| Bytes::copy_from_slice(own.as_bytes()));
        let json = format.json_format.is_some().then(|| Bytes::from_static(JSON));
        Ok(BodyForm { record: Record::of_format(format)?, content_type: content_type.or(json) })
    }

    /// The body for one stream.
    pub(crate) fn render(&self, facts: &Facts<'_>) -> Bytes {
        Bytes::from(self.record.render(facts))
    }

    /// What it is, if that follows from the format.
    pub(crate) fn content_type(&self) -> Option<&Bytes> {
        self.content_type.as_ref()
    }
}

impl Mapping {
    /// Compiles a connection manager's rules.
    ///
    /// # Errors
    /// What Envoy refuses, and filters and formats that are not supported, by their places.
    pub(crate) fn compile(config: &xds::LocalReplyConfig) -> Result<Mapping, Vec<CompileError>> {
        let mut errors = Errors::default();
        let at = &Path::Root.field("local_reply_config");
        let form = |format: &Option<xds::SubstitutionFormatString>, at: &Path<'_>, errors: &mut Errors| {
            format.as_ref().and_then(|format| errors.note(at, BodyForm::compile(format)))
        };
        let mappers = config.mappers.iter().enumerate().filter_map(|(number, mapper)| {
            let at = &at.item("mappers", number);
            let filter = mapper.filter.as_ref().ok_or("a mapper needs one").map(Filter::compile);
            let filter =
                errors.note(&at.field("filter"), filter).and_then(|filter| errors.note(&at.field("filter"), filter));
            let status = mapper.status_code.map(|status| {
                let status = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
                errors.note(&at.field("status_code"), status.ok_or("must be from 200 to 599"))
            });
            let body = mapper.body.as_ref().and_then(|body| errors.note(&at.field("body"), read_named(body)));
            let headers = errors.note(&at.field("headers_to_add"), HeaderOps::compile(&mapper.headers_to_add, &[]));
            let form = form(&mapper.body_format_override, &at.field("body_format_override"), &mut errors);
            Some(Mapper {
                filter: filter?,
                status: status.flatten(),
                body: body.map(Bytes::from),
                headers: headers?,
                form,
            })
        });
        let mappers = mappers.collect();
        let form = form(&config.body_format, &at.field("body_format"), &mut errors);
        errors.into_result(Mapping { mappers, form })
    }

    /// Bodies have a form, whichever rule takes an answer.
    pub(crate) fn has_form(&self) -> bool {
        self.form.is_some()
    }

    /// Changes an answer; says by which of the rules. The stream's status is the answer's while rules and formats look at it, and stays it.
    pub(crate) fn apply(
        &self,
        reply: &mut LocalReply,
        request: &[(Bytes, Bytes)],
        connection: &ConnectionInfo,
        stream: &mut StreamInfo,
    ) -> Option<usize> {
        let mut list: HeaderList = Vec::with_capacity(reply.headers.len().saturating_add(1));
        list.push((Bytes::from_static(b":status"), Bytes::new()));
        list.append(&mut reply.headers);
        let tell = |status: u16, list: &mut HeaderList, stream: &mut StreamInfo| {
            headers::set_slot(list, ":status", Bytes::from(status.to_string()));
            stream.response_code = Some(status);
        };
        tell(reply.status, &mut list, stream);
        let content_type = headers::get(&list, "content-type").cloned();
        let before = reply.body.clone();
        let mut form = self.form.as_ref();
        let takes = |(_, mapper): &(usize, &Mapper)| {
            let facts = Facts::of_request(request, connection, stream);
            mapper.filter.takes(&Facts { response: Some(&list), local_reply: &before, ..facts })
        };
        let taken = self.mappers.iter().enumerate().find(takes);
        if let Some((_, mapper)) = taken {
            if let Some(body) = &mapper.body {
                reply.body = body.clone();
            }
            mapper.headers.apply_to_response(&mut list, request, connection, stream);
            if let Some(status) = mapper.status {
                reply.status = status;
                tell(status, &mut list, stream);
            }
            form = mapper.form.as_ref().or(form);
        }
        if let Some(form) = form {
            let before_form = std::mem::take(&mut reply.body);
            let facts = Facts::of_request(request, connection, stream);
            reply.body = form.render(&Facts { response: Some(&list), local_reply: &before_form, ..facts });
        }
        let is = form.and_then(BodyForm::content_type).cloned().unwrap_or(Bytes::from_static(TEXT));
        // A body that was changed is what its form says, unless a rule said it in a header.
        let unsaid = headers::get(&list, "content-type") == content_type.as_ref();
        if content_type.is_some() && unsaid && reply.body != before {
            headers::set_slot(&mut list, "content-type", is.clone());
        }
        reply.content_type = Some(Box::new(is));
        drop(list.remove(0));
        reply.headers = list;
        taken.map(|(number, _)| number)
    }
}
