//! Many records folded into what one flush writes: log rows, and sums by entity and by day (proxy/db/
//! db_spend_update_writer.py). Pure. Every map is ordered, so that rows are locked in key order by every writer.
use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::SystemTime};

use serde_json::{Value, json};

use super::{
    metadata::{MODEL_MAP, Shape, metadata},
    record::{Record, fine_timestamp, timestamp},
};

/// Sums of money by id, in id order.
pub type Sums = BTreeMap<String, f64>;

/// A row of a daily table, without its entity: date, key, model, provider, endpoint.
type Day = (String, String, String, String, &'static str);

/// A budget window: `key` or `team`, its id, the duration, when it began.
type WindowKey = (&'static str, String, String, String);

/// What calls cost, and the first of them.
#[derive(Debug, Clone)]
struct WindowSum {
    spend: f64,
    started: SystemTime,
}

impl WindowSum {
    fn add(&mut self, other: &WindowSum) {
        self.spend += other.spend;
        self.started = self.started.min(other.started);
    }
}

/// The counters of a daily row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    model_group: String,
    request_id: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    cache_read: u64,
    cache_creation: u64,
    spend: f64,
    succeeded: u64,
    failed: u64,
    time_ms: u64,
    timed: u64,
    caching_savings: f64,
}

/// The daily tables, by the entity they are kept for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    User,
    Team,
    Organization,
    EndUser,
    Tag,
}

/// A row of `LiteLLM_SpendLogs` as JSON text, cut off before its last and longest member, which calls of one model share.
#[derive(Debug, Clone)]
struct Log {
    text: String,
    model_map: Arc<str>,
}

/// What one flush writes.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// `LiteLLM_SpendLogs` rows by request id: of two with one id LiteLLM keeps the first
    logs: BTreeMap<String, Log>,
    pub users: Sums,
    pub end_users: Sums,
    pub keys: Sums,
    pub teams: Sums,
    /// by (team, user)
    pub members: BTreeMap<(String, String), f64>,
    pub organizations: Sums,
    /// by (organization, user)
    pub organization_members: BTreeMap<(String, String), f64>,
    pub projects: Sums,
    pub tags: Sums,
    windows: BTreeMap<WindowKey, WindowSum>,
    daily: BTreeMap<(Entity, String, Day), Counters>,
    /// `LiteLLM_DailyModelUsage`, by (date, group, model, provider)
    models: BTreeMap<(String, String, String, String), Counters>,
    records: usize,
    /// log rows given up because too many wait
    pub dropped_logs: u64,
}

/// Most log rows that wait for a database that is away or slow: LiteLLM's own bound, some 24 MB.
const MOST_LOGS: usize = 8_000;
/// Most end users, and most tags, with sums of their own: whoever calls makes them up. What more of them spend is only the
/// payers'.
const MOST_NAMED: usize = 10_000;
/// Longest text, in bytes, in a column with an index: Postgres refuses rows of more than some 2,700 in one.
const LONGEST_INDEXED: usize = 1024;

/// Log rows of one statement: some 4 MB.
const ROWS: usize = 500;

impl Batch {
    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.records
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Adds one call.
    pub fn add(&mut self, record: &Record) {
        let record = &*storable(record);
        self.records += 1;
        self.logs.entry(record.request_id.clone()).or_insert_with(|| log(record));
        self.bound();
        self.add_sums(record);
        self.add_days(record);
    }

    /// The same for a call whose row is given up.
    pub fn add_without_row(&mut self, record: &Record) {
        let record = &*storable(record);
        self.records += 1;
        self.dropped_logs += 1;
        self.add_sums(record);
        self.add_days(record);
    }

    /// Gives all rows up and keeps what was spent; false: there was none.
    pub fn give_up_rows(&mut self) -> bool {
        self.dropped_logs += self.logs.len() as u64;
        !std::mem::take(&mut self.logs).is_empty()
    }

    /// The record's tags, each once, unless there are too many.
    fn tags<'a>(&self, record: &'a Record) -> Vec<&'a str> {
        let room = self.tags.len() < MOST_NAMED;
        unique(&record.tags).filter(|tag| room || self.tags.contains_key(*tag)).collect()
    }

    /// The record's end user, unless there are too many.
    fn end_user<'a>(&self, record: &'a Record) -> Option<&'a str> {
        let id = record.payer.end_user.as_deref().filter(|id| !id.is_empty())?;
        (self.end_users.len() < MOST_NAMED || self.end_users.contains_key(id)).then_some(id)
    }

    fn add_sums(&mut self, record: &Record) {
        let payer = &record.payer;
        let named = self.end_user(record);
        let sum = |sums: &mut Sums, id: &str| *sums.entry(id.to_owned()).or_default() += record.spend;
        if let Some(user) = &payer.user_id {
            sum(&mut self.users, user);
        }
        if let Some(end_user) = named {
            sum(&mut self.end_users, end_user);
        }
        if !payer.api_key.is_empty() {
            sum(&mut self.keys, &payer.api_key);
        }
        if let Some(team) = &payer.team_id {
            sum(&mut self.teams, team);
            if let Some(user) = &payer.user_id {
                *self.members.entry((team.clone(), user.clone())).or_default() += record.spend;
            }
        }
        if let Some(organization) = &payer.org_id {
            sum(&mut self.organizations, organization);
            if let Some(user) = &payer.user_id {
                *self.organization_members.entry((organization.clone(), user.clone())).or_default() += record.spend;
            }
        }
        if let Some(project) = &payer.project_id {
            sum(&mut self.projects, project);
        }
        // a tag that stands twice in a row pays twice, but for one call of its day (db_spend_update_writer.py `_update_tag_db`)
        let known = self.tags(record);
        for tag in record.tags.iter().filter(|tag| known.contains(&tag.as_str())) {
            sum(&mut self.tags, tag);
        }
        for window in record.windows.iter().filter(|_| record.spend != 0.0) {
            let key = (window.entity, window.id.clone(), window.duration.clone(), fine_timestamp(window.start));
            self.add_window(key, &WindowSum { spend: record.spend, started: record.started });
        }
    }

    fn add_window(&mut self, key: WindowKey, sum: &WindowSum) {
        self.windows.entry(key).and_modify(|known| known.add(sum)).or_insert_with(|| sum.clone());
    }

    /// `LiteLLM_BudgetWindowSpend`, in key order, in as many rounds as one window was begun anew: the oldest first.
    pub fn windows(&self) -> Vec<Vec<Value>> {
        let mut rounds: Vec<Vec<Value>> = Vec::new();
        let (mut before, mut round) = (None, 0);
        for ((entity, id, duration, start), sum) in &self.windows {
            let of = Some((entity, id, duration));
            round = if of == before { round + 1 } else { 0 };
            before = of;
            let row = json!({
                "entity_type": entity, "entity_id": id, "window_duration": duration, "window_start": start,
                "spend": sum.spend, "started_at": timestamp(sum.started),
            });
            match rounds.get_mut(round) {
                Some(rows) => rows.push(row),
                None => rounds.push(vec![row]),
            }
        }
        rounds
    }

    fn add_days(&mut self, record: &Record) {
        let payer = &record.payer;
        let mut entities = vec![
            (Entity::User, payer.user_id.as_deref().unwrap_or_default()),
            (Entity::Team, payer.team_id.as_deref().unwrap_or_default()),
        ];
        entities.extend(payer.org_id.as_deref().map(|id| (Entity::Organization, id)));
        entities.extend(self.end_user(record).map(|id| (Entity::EndUser, id)));
        entities.extend(self.tags(record).into_iter().map(|tag| (Entity::Tag, tag)));
        for (entity, id) in entities {
            let day = (
                record.date(),
                payer.api_key.clone(),
                record.model.clone(),
                record.provider.clone(),
                record.endpoint(),
            );
            self.daily.entry((entity, id.to_owned(), day)).or_default().add(record);
        }
        let or = |value: &str, other: &str| if value.is_empty() { other.to_owned() } else { value.to_owned() };
        let model = or(&record.model, "unknown");
        let key = (record.date(), or(&record.model_group, &model), model, or(&record.provider, "unknown"));
        self.models.entry(key).or_default().add(record);
    }

    /// Puts an older batch that was not written back in front of this one.
    pub fn merge(&mut self, older: Batch) {
        let newer = std::mem::replace(self, older);
        self.records += newer.records;
        for (id, row) in newer.logs {
            self.logs.entry(id).or_insert(row);
        }
        let sums = [
            (&mut self.users, newer.users),
            (&mut self.end_users, newer.end_users),
            (&mut self.keys, newer.keys),
            (&mut self.teams, newer.teams),
            (&mut self.organizations, newer.organizations),
            (&mut self.projects, newer.projects),
            (&mut self.tags, newer.tags),
        ];
        for (into, from) in sums {
            from.into_iter().for_each(|(id, cost)| *into.entry(id).or_default() += cost);
        }
        let pairs = [(&mut self.members, newer.members), (&mut self.organization_members, newer.organization_members)];
        for (into, from) in pairs {
            from.into_iter().for_each(|(id, cost)| *into.entry(id).or_default() += cost);
        }
        newer.windows.into_iter().for_each(|(key, sum)| self.add_window(key, &sum));
        newer.daily.into_iter().for_each(|(key, counters)| self.daily.entry(key).or_default().merge(counters));
        newer.models.into_iter().for_each(|(key, counters)| self.models.entry(key).or_default().merge(counters));
        self.dropped_logs += newer.dropped_logs;
        self.bound();
    }

    fn bound(&mut self) {
        while self.logs.len() > MOST_LOGS {
            self.logs.pop_first();
            self.dropped_logs += 1;
        }
    }

    /// `LiteLLM_SpendLogs` rows by request id: texts of JSON arrays, each of a size that is sent in one go.
    pub fn logs(&self) -> impl Iterator<Item = String> {
        let mut rows = self.logs.values().peekable();
        std::iter::from_fn(move || {
            rows.peek()?;
            let mut out = String::new();
            for log in rows.by_ref().take(ROWS) {
                out.push(if out.is_empty() { '[' } else { ',' });
                out.push_str(&log.text);
                out.push_str(&log.model_map);
                out.push_str("}}");
            }
            Some(out + "]")
        })
    }

    /// Rows of one daily table, in the order of its unique key.
    pub fn daily(&self, entity: Entity) -> Vec<Value> {
        let of_entity = self.daily.iter().filter(|((kind, ..), _)| *kind == entity);
        let row = |((_, id, (date, api_key, model, provider, endpoint)), counters): (
            &(Entity, String, Day),
            &Counters,
        )| {
            json!({
                "id": uuid::Uuid::new_v4().to_string(), "entity": id, "date": date, "api_key": api_key, "model": model,
                "custom_llm_provider": provider, "endpoint": endpoint, "model_group": counters.model_group,
                "prompt_tokens": counters.prompt_tokens, "completion_tokens": counters.completion_tokens,
                "api_requests": counters.succeeded + counters.failed, "successful_requests": counters.succeeded,
                "failed_requests": counters.failed, "cache_read_input_tokens": counters.cache_read,
                "cache_creation_input_tokens": counters.cache_creation, "spend": counters.spend,
                "total_response_time_ms": counters.time_ms, "timed_requests": counters.timed,
                "prompt_caching_savings_spend": counters.caching_savings, "request_id": counters.request_id,
            })
        };
        of_entity.map(row).collect()
    }

    /// Rows of `LiteLLM_DailyModelUsage`.
    pub fn models(&self) -> Vec<Value> {
        let row = |((date, group, model, provider), counters): (&(String, String, String, String), &Counters)| {
            json!({
                "date": date, "model_group": group, "model": model, "custom_llm_provider": provider,
                "task_type": "uncategorized", "spend": counters.spend, "prompt_tokens": counters.prompt_tokens,
                "completion_tokens": counters.completion_tokens, "request_count": counters.succeeded + counters.failed,
                "successful_requests": counters.succeeded, "failed_requests": counters.failed,
            })
        };
        self.models.iter().map(row).collect()
    }
}

impl Counters {
    fn add(&mut self, record: &Record) {
        if self.request_id.is_empty() {
            self.model_group.clone_from(&record.model_group);
            self.request_id.clone_from(&record.request_id);
        }
        self.prompt_tokens += record.prompt_tokens;
        self.completion_tokens += record.completion_tokens;
        // LiteLLM reads these out of the row's usage, which that of a broken stream of messages lacks
        if record.facts.shape != Shape::MessagesBroken {
            self.cache_read += record.cache_read_tokens;
            self.cache_creation += record.cache_creation_tokens;
        }
        self.spend += record.spend;
        self.caching_savings += record.caching_savings;
        if record.succeeded {
            self.succeeded += 1;
            self.timed += 1;
            self.time_ms += record.duration_ms().unsigned_abs();
        } else {
            self.failed += 1;
        }
    }
}

impl Counters {
    fn merge(&mut self, newer: Counters) {
        self.prompt_tokens += newer.prompt_tokens;
        self.completion_tokens += newer.completion_tokens;
        self.cache_read += newer.cache_read;
        self.cache_creation += newer.cache_creation;
        self.spend += newer.spend;
        self.succeeded += newer.succeeded;
        self.failed += newer.failed;
        self.time_ms += newer.time_ms;
        self.timed += newer.timed;
        self.caching_savings += newer.caching_savings;
        if self.request_id.is_empty() {
            self.request_id = newer.request_id;
            self.model_group = newer.model_group;
        }
    }
}

fn unique(tags: &[String]) -> impl Iterator<Item = &str> {
    tags.iter().enumerate().filter(|(at, tag)| !tags.iter().take(*at).any(|other| other == *tag)).map(|(_, tag)| &**tag)
}

/// The record as Postgres can store it. Ids come from providers and tags from clients: one that no index takes, or no text
/// column (a zero), would keep its whole flush from being written, for ever.
fn storable(record: &Record) -> Cow<'_, Record> {
    let fits = |text: &String| text.len() <= LONGEST_INDEXED && !text.contains('\0');
    if fits(&record.request_id) && fits(&record.session_id) && record.tags.iter().all(fits) {
        return Cow::Borrowed(record);
    }
    let mut record = record.clone();
    let id = record.call_id.clone();
    [&mut record.request_id, &mut record.session_id].into_iter().filter(|text| !fits(text)).for_each(|text| {
        text.clone_from(&id);
    });
    record.tags.retain(fits);
    Cow::Owned(record)
}

/// Without the zeros that no text in Postgres can have.
fn without_zeros(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace('\0', "").into(),
        Value::Array(items) => items.into_iter().map(without_zeros).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(name, value)| (name.replace('\0', ""), without_zeros(value))).collect()
        }
        other => other,
    }
}

/// The row of `LiteLLM_SpendLogs`, by column.
fn log(record: &Record) -> Log {
    let payer = &record.payer;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let row = json!({
        "request_id": record.request_id, "call_type": record.call_type, "api_key": payer.api_key,
        "spend": record.spend, "total_tokens": record.total_tokens,
        "prompt_tokens": record.prompt_tokens, "completion_tokens": record.completion_tokens,
        "startTime": timestamp(record.started), "endTime": timestamp(record.ended),
        "completionStartTime": timestamp(record.first_token.unwrap_or(record.ended)),
        "request_duration_ms": record.duration_ms(), "model": record.model, "model_id": record.model_id,
        "model_group": record.model_group, "custom_llm_provider": record.provider, "api_base": record.api_base,
        "user": text(&payer.user_id), "cache_hit": record.cache_hit,
        "cache_key": "Cache OFF", "request_tags": record.tags, "team_id": text(&payer.team_id),
        "organization_id": text(&payer.org_id), "end_user": text(&payer.end_user),
        "requester_ip_address": record.requester_ip, "session_id": record.session_id,
        "status": if record.succeeded { "success" } else { "failure" }, "litellm_call_id": record.call_id,
    });
    let (metadata, model_map) = metadata(record);
    let open = |object: Value| {
        let text = object.to_string();
        let text = if text.contains("\\u0000") { without_zeros(object).to_string() } else { text };
        text.strip_suffix('}').unwrap_or_default().to_owned()
    };
    Log { text: format!(r#"{},"metadata":{},"{MODEL_MAP}":"#, open(row), open(metadata)), model_map }
}
