//! A provider's chunks -> the client's, one at a time: LiteLLM's `CustomStreamWrapper` for provider `openai`, the
//! proxy's restamping and its two serialisers. A state machine over parsed events; no I/O, the clock is an argument.
//! It must never hold an event back: what a chunk gives the client is known when the chunk is there.
use std::time::SystemTime;

use serde_json::Value;

use super::{
    delta::{self, Delta},
    error::Fault,
    map_finish_reason, members, new_id, python, truthy, unix_seconds,
    usage::{StreamUsage, Usage},
    write_without_nulls,
};
use crate::{
    json::{Kind, Object, Raw, push_number, push_string},
    spend::Heard,
};

/// LiteLLM `REPEATED_STREAMING_CHUNK_LIMIT`.
const REPEATS: u32 = 100;

/// The state of one stream.
#[derive(Debug)]
pub struct ChunkTransform {
    /// the stamped model, as a JSON string
    model: Vec<u8>,
    client_usage: bool,
    created: Option<u64>,
    /// JSON text of the last chunk's id
    id: Option<String>,
    fingerprint: Option<String>,
    /// what every chunk begins with, of the members above
    head: Vec<u8>,
    finish: Option<String>,
    /// the last chunk's finish reason, for streams that end without one
    last_finish: Option<String>,
    sent_first: bool,
    sent_last: bool,
    stored_any: bool,
    text_only: bool,
    usage: StreamUsage,
    service_tier: Option<String>,
    /// the provider's own name of the model
    provider_model: Option<String>,
    repeated: Repeated,
    /// what was said, where somebody may have to count it
    heard: Option<Heard>,
}

/// What is known of a stream when it ends, for its bill.
#[derive(Debug)]
pub struct Ended {
    /// as the provider reported it
    pub usage: Option<Usage<'static>>,
    /// no chunk carried more than text
    pub text_only: bool,
    /// the provider's own name of the model
    pub model: Option<String>,
    pub service_tier: Option<String>,
    pub id: Option<String>,
    pub heard: Heard,
    /// LiteLLM keeps no chunk of it: nothing was said
    pub empty: bool,
}

#[derive(Debug, Default)]
struct Repeated {
    last: String,
    same: bool,
    count: u32,
}

/// Members of a chunk, read once.
struct Chunk<'a> {
    top: Object<'a>,
    /// `None`: one that is no object
    choices: Vec<Option<Object<'a>>>,
}

/// Top-level members that LiteLLM's model has itself; others are copied from chunk to chunk.
const OWN: &[&str] =
    &["id", "created", "model", "object", "system_fingerprint", "choices", "usage", "provider_specific_fields"];

impl ChunkTransform {
    /// `model`: what every chunk is stamped with. `client_usage`: the client asked for the usage chunk.
    pub fn new(model: &str, client_usage: bool) -> Self {
        let mut json = Vec::with_capacity(model.len() + 2);
        push_string(&mut json, model);
        Self {
            model: json,
            client_usage,
            created: None,
            id: None,
            fingerprint: None,
            head: Vec::new(),
            finish: None,
            last_finish: None,
            sent_first: false,
            sent_last: false,
            stored_any: false,
            text_only: true,
            usage: StreamUsage::default(),
            service_tier: None,
            provider_model: None,
            repeated: Repeated::default(),
            heard: None,
        }
    }

    /// Keeps what is said from now on, for a bill.
    pub fn listen(&mut self) {
        self.heard = Some(Heard::default());
    }

    /// What the bill is made of; what was heard is given away.
    pub fn ended(&mut self) -> Ended {
        Ended {
            usage: self.usage.reported().cloned(),
            text_only: self.text_only,
            model: self.provider_model.clone(),
            service_tier: self.service_tier.clone(),
            id: self.id(),
            heard: self.heard.take().unwrap_or_default(),
            empty: !self.stored_any,
        }
    }

    /// Of the choices LiteLLM looks at: the first one of each chunk, all where one carries more than text.
    fn hear(&mut self, index: Option<Raw<'_>>, delta: &Delta<'_>) {
        if let Some(heard) = &mut self.heard {
            delta.tell(heard, index.and_then(Raw::as_u64).unwrap_or(0));
        }
    }

    /// One event's data (not `[DONE]`). Appends what the client gets, if anything.
    pub fn event(&mut self, data: &[u8], now: SystemTime, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Ok(top) = Object::parse(data) else {
            let value = Raw::parse(data).map_err(|_| unreadable(data))?;
            return if value.is_null() { Ok(()) } else { Err(no_object(value)) };
        };
        if let Some(error) = top.get("error").filter(|error| truthy(*error)) {
            return Err(Fault::stream_error(serde_json::from_str(error.text()).unwrap_or(Value::Null)));
        }
        let choices = top.some("choices").and_then(Raw::array_of_objects).unwrap_or_default();
        let choices = choices.into_iter().map(|(_, choice)| choice).collect();
        self.chunk(&Chunk { top, choices }, now, out)
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, now: SystemTime, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.stamp(&chunk.top, now);
        let model = chunk.top.some("model").and_then(Raw::as_str).filter(|model| !model.is_empty());
        if let Some(model) = model.filter(|model| self.provider_model.as_deref() != Some(&**model)) {
            self.provider_model = Some(model.into_owned());
        }
        let usage = chunk.top.some("usage").filter(|usage| usage.kind() == Kind::Object);
        if let Some(usage) = usage {
            self.usage.add(Usage::read(Some(usage)));
            self.stored_any = true;
        }
        let Some(Some(first)) = chunk.choices.first() else {
            if usage.is_none() {
                self.stored_any = true;
                if self.client_usage {
                    self.write_head(out);
                    out.extend_from_slice(b",\"choices\":[]}\n\n");
                }
            }
            return Ok(());
        };
        let finish = first.some("finish_reason").filter(|reason| truthy(*reason)).and_then(|reason| reason.as_str());
        self.last_finish = finish.as_deref().map(str::to_owned);
        if let Some(reason) = &self.last_finish {
            if reason == "error" {
                return Err(Fault::in_stream(
                    "openai raised a streaming error - finish_reason: error, no content string given.",
                ));
            }
            self.finish = Some(reason.clone());
        }
        let delta = Delta::read(first.some("delta"));
        self.text_only &= !delta.carries_more_than_text();
        if delta.says_something(self.sent_first) {
            self.check_repeats()?;
            self.emit_choices(chunk, (first, &delta), usage.is_some(), out);
            self.repeat(delta.content_text());
        } else if self.finish.is_some() {
            self.emit_finish(chunk, first, &delta, usage.is_some(), out);
        } else if delta.is_special() {
            let role = if self.sent_first { delta::Role::Drop } else { delta::Role::Assistant };
            self.hear(first.get("index"), &delta);
            if usage.is_none() || role == delta::Role::Assistant || delta.is_meaningful() {
                self.write_head(out);
                self.write_single(out, None, logprobs(first), |json| delta.write_special(json, role));
                out.extend_from_slice(b"}\n\n");
            }
            self.sent_first = true;
            self.stored_any = true;
        }
        Ok(())
    }

    /// All choices of the chunk, without their finish reasons; the first choice's role only in the first chunk.
    fn emit_choices(
        &mut self,
        chunk: &Chunk<'_>,
        first: (&Object<'_>, &Delta<'_>),
        has_usage: bool,
        out: &mut Vec<u8>,
    ) {
        let role = if self.sent_first { delta::Role::Drop } else { delta::Role::Assistant };
        self.sent_first = true;
        self.stored_any = true;
        let start = out.len();
        self.write_head(out);
        let others: Vec<(&Object<'_>, Delta<'_>)> =
            chunk.choices.iter().skip(1).flatten().map(|other| (other, Delta::read(other.some("delta")))).collect();
        let plain = self.fingerprint.is_none()
            && chunk.top.some("provider_specific_fields").is_none()
            && others.is_empty()
            && first.1.is_plain()
            && first.0.some("logprobs").is_none()
            && first.0.some("enhancements").is_none();
        let mut meaningful = !has_usage || role == delta::Role::Assistant;
        out.extend_from_slice(b",\"choices\":[");
        let all = std::iter::once(first).chain(others.iter().map(|(choice, delta)| (*choice, delta)));
        for (at, (choice, delta)) in all.enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if at == 0 || !self.text_only {
                self.hear(choice.get("index"), delta);
            }
            meaningful |= delta.is_meaningful() || at > 0;
            out.extend_from_slice(b"{\"index\":");
            out.extend_from_slice(choice.get("index").map_or("null", Raw::text).as_bytes());
            out.extend_from_slice(b",\"delta\":");
            delta.write(out, if at == 0 { role } else { delta::Role::Keep }, plain);
            if !plain {
                for (name, value) in members(choice) {
                    if value.is_null() || matches!(name, "index" | "delta" | "finish_reason" | "message") {
                        continue;
                    }
                    out.push(b',');
                    push_string(out, name);
                    out.push(b':');
                    if name == "logprobs" {
                        write_without_nulls(out, value)
                    } else {
                        out.extend_from_slice(value.text().as_bytes())
                    }
                }
            }
            out.push(b'}');
        }
        out.push(b']');
        self.write_extras(out, &chunk.top, plain);
        out.extend_from_slice(b"}\n\n");
        if !meaningful {
            out.truncate(start);
        }
    }

    /// A chunk after (or with) the finish reason that says nothing else: the finish, once.
    fn emit_finish(
        &mut self,
        chunk: &Chunk<'_>,
        first: &Object<'_>,
        delta: &Delta<'_>,
        has_usage: bool,
        out: &mut Vec<u8>,
    ) {
        if self.sent_last {
            // providers that send usage after the finish: what is left of the chunk, if it says anything
            if has_usage && delta.is_meaningful() {
                self.write_head(out);
                self.write_single(out, None, None, |json| delta.write(json, delta::Role::Keep, false));
                out.extend_from_slice(b"}\n\n");
            }
            return;
        }
        self.stored_any = true;
        self.sent_first = true;
        let logprobs = logprobs(first);
        if delta.has_calls() {
            self.hear(first.get("index"), delta);
            self.write_head(out);
            self.write_single(out, None, logprobs, |json| delta.write(json, delta::Role::Keep, false));
        } else {
            self.sent_last = true;
            let reason = map_finish_reason(self.finish.as_deref().unwrap_or("stop"));
            self.write_head(out);
            self.write_single(out, Some(&format!("\"{reason}\"")), logprobs, |json| json.extend_from_slice(b"{}"));
        }
        let plain = self.fingerprint.is_none()
            && logprobs.is_none()
            && chunk.top.some("provider_specific_fields").is_none()
            && !delta.has_calls();
        self.write_extras(out, &chunk.top, plain);
        out.extend_from_slice(b"}\n\n");
    }

    /// What is left to say at the end of the provider's stream: the finish where none was sent, the usage chunk where
    /// it was asked for, `[DONE]`. `cost`: US dollars of the whole stream's usage.
    pub fn finish(&mut self, now: SystemTime, cost: impl Fn(&Usage<'_>) -> Option<f64>, out: &mut Vec<u8>) {
        if self.id.is_none() {
            self.stamp(&Object::default(), now);
        }
        if !self.sent_last {
            self.sent_last = true;
            let reason = self.finish.as_deref().or(self.last_finish.as_deref());
            self.stored_any |= reason.is_some();
            let mut json = Vec::new();
            push_string(&mut json, reason.unwrap_or("stop"));
            let reason = String::from_utf8(json).unwrap_or_default();
            self.write_head(out);
            self.write_single(out, Some(&reason), None, |json| json.extend_from_slice(b"{}"));
            out.extend_from_slice(b"}\n\n");
        }
        if self.client_usage {
            self.write_head(out);
            self.write_single(out, None, None, |json| json.extend_from_slice(b"{}"));
            if self.stored_any {
                let usage = self.usage.total(self.text_only).unwrap_or_default();
                out.extend_from_slice(b",\"usage\":");
                usage.write(out, cost(&usage).filter(|cost| *cost > 0.0));
            }
            if let Some(tier) = &self.service_tier {
                out.extend_from_slice(b",\"service_tier\":");
                push_string(out, tier);
            }
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// The usage so far, the provider's name of the model and the served tier.
    pub fn settled(&self) -> (Option<Usage<'static>>, Option<&str>, Option<&str>) {
        (self.usage.total(self.text_only), self.provider_model.as_deref(), self.service_tier.as_deref())
    }

    /// The answer's id, as every chunk has it.
    pub fn id(&self) -> Option<String> {
        let id = self.id.as_deref()?;
        Some(serde_json::from_str(id).unwrap_or_else(|_| id.to_owned()))
    }

    /// Whether a finish reason came: then a cut connection is a regular end.
    pub fn is_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// Takes over what the chunk says of itself; most often the same as the chunk before.
    fn stamp(&mut self, top: &Object<'_>, now: SystemTime) {
        let id = top.some("id").map(Raw::text);
        let fingerprint = top.some("system_fingerprint").map(Raw::text);
        if !self.head.is_empty()
            && id.is_some()
            && id == self.id.as_deref()
            && fingerprint == self.fingerprint.as_deref()
        {
            return;
        }
        let created = *self.created.get_or_insert_with(|| unix_seconds(now));
        let id = id.map_or_else(|| format!("\"{}\"", new_id()), str::to_owned);
        let head = &mut self.head;
        head.clear();
        head.extend_from_slice(b"data: {\"id\":");
        head.extend_from_slice(id.as_bytes());
        head.extend_from_slice(b",\"created\":");
        push_number(head, created);
        head.extend_from_slice(b",\"model\":");
        head.extend_from_slice(&self.model);
        head.extend_from_slice(b",\"object\":\"chat.completion.chunk\"");
        if let Some(fingerprint) = fingerprint {
            head.extend_from_slice(b",\"system_fingerprint\":");
            head.extend_from_slice(fingerprint.as_bytes());
        }
        self.id = Some(id);
        self.fingerprint = fingerprint.map(str::to_owned);
    }

    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
    }

    /// `choices` with one choice of index 0.
    fn write_single(
        &self,
        out: &mut Vec<u8>,
        finish: Option<&str>,
        logprobs: Option<Raw<'_>>,
        delta: impl FnOnce(&mut Vec<u8>),
    ) {
        out.extend_from_slice(b",\"choices\":[{\"index\":0,\"delta\":");
        delta(out);
        if let Some(logprobs) = logprobs {
            out.extend_from_slice(b",\"logprobs\":");
            write_without_nulls(out, logprobs);
        }
        if let Some(finish) = finish {
            out.extend_from_slice(b",\"finish_reason\":");
            out.extend_from_slice(finish.as_bytes());
        }
        out.extend_from_slice(b"}]");
    }

    /// Top-level members the provider added: the fast serialiser knows only `service_tier`, the other writes all.
    fn write_extras(&mut self, out: &mut Vec<u8>, top: &Object<'_>, plain: bool) {
        let tier = top.some("service_tier").and_then(Raw::as_str).filter(|tier| !tier.is_empty());
        if let Some(tier) = tier
            && self.service_tier.as_deref() != Some(&*tier)
        {
            self.service_tier = Some(tier.into_owned());
        }
        let mut member = |name: &str, value: Raw<'_>| {
            out.push(b',');
            push_string(out, name);
            out.push(b':');
            out.extend_from_slice(value.text().as_bytes());
        };
        if plain {
            if let Some(tier) = top.some("service_tier") {
                member("service_tier", tier);
            }
            return;
        }
        let specific = top.some("provider_specific_fields");
        if let Some(fields) = specific {
            member("provider_specific_fields", fields);
        }
        let inner = specific.and_then(Raw::object).unwrap_or_default();
        for (name, value) in members(&inner) {
            if !value.is_null() && !OWN.contains(&name) {
                member(name, value);
            }
        }
        for (name, value) in members(top) {
            if !value.is_null() && !OWN.contains(&name) && inner.get(name).is_none() {
                member(name, value);
            }
        }
    }

    /// LiteLLM's `raise_on_model_repetition`, over the chunks already given out.
    fn check_repeats(&mut self) -> Result<(), Fault> {
        let repeated = &mut self.repeated;
        repeated.count = if repeated.same && repeated.last.len() > 4 { repeated.count + 1 } else { 1 };
        if repeated.count >= REPEATS {
            let text: String = serde_json::from_str(&repeated.last).unwrap_or_default();
            return Err(Fault::repeating(&text));
        }
        Ok(())
    }

    fn repeat(&mut self, content: &str) {
        self.repeated.same = self.repeated.last == content;
        if !self.repeated.same {
            self.repeated.last.clear();
            self.repeated.last.push_str(content);
        }
    }
}

fn logprobs<'a>(choice: &Object<'a>) -> Option<Raw<'a>> {
    choice.some("logprobs")
}

/// What Python says about an event that is no JSON.
fn unreadable(data: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(data);
    Fault::in_stream(python::json_error(&text).unwrap_or_else(|| "the event is no JSON".into()))
}

fn no_object(value: Raw<'_>) -> Fault {
    let kind = match value.kind() {
        Kind::Array => "list",
        Kind::String => "str",
        Kind::Bool => "bool",
        _ if value.text().contains(['.', 'e', 'E']) => "float",
        _ => "int",
    };
    Fault::in_stream(format!("'{kind}' object has no attribute 'choices'"))
}
