//! Writes one batch of spend in one transaction: all of it or nothing, so that a failed flush can be tried again without
//! billing twice. Tables in a fixed order and rows in key order, as LiteLLM's own writer takes them.
use std::{sync::Arc, time::Duration};

use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgPool, Postgres as Db, Transaction};

use super::{Postgres, Unavailable, windows};
use crate::{
    config::Snapshot,
    secret::Secret,
    spend::{
        batch::{Batch, Entity, Sums},
        ledger::{Sink, Written},
    },
};

/// Columns of `LiteLLM_SpendLogs` that a row gives, with their types.
const LOG_COLUMNS: &[(&str, &str)] = &[
    ("request_id", "text"),
    ("call_type", "text"),
    ("api_key", "text"),
    ("spend", "float8"),
    ("total_tokens", "int4"),
    ("prompt_tokens", "int4"),
    ("completion_tokens", "int4"),
    ("startTime", "timestamp"),
    ("endTime", "timestamp"),
    ("completionStartTime", "timestamp"),
    ("request_duration_ms", "int4"),
    ("model", "text"),
    ("model_id", "text"),
    ("model_group", "text"),
    ("custom_llm_provider", "text"),
    ("api_base", "text"),
    ("user", "text"),
    ("metadata", "jsonb"),
    ("cache_hit", "text"),
    ("cache_key", "text"),
    ("request_tags", "jsonb"),
    ("team_id", "text"),
    ("organization_id", "text"),
    ("end_user", "text"),
    ("requester_ip_address", "text"),
    ("session_id", "text"),
    ("status", "text"),
    ("litellm_call_id", "text"),
];

/// A table with a `spend` column: its key, and further columns that grow or are stamped with it.
struct Spender {
    table: &'static str,
    key: &'static str,
    also: &'static str,
}

const UTC_NOW: &str = "(now() AT TIME ZONE 'UTC')";

const USERS: Spender = Spender { table: "LiteLLM_UserTable", key: "user_id", also: ", updated_at = $now" };
const KEYS: Spender = Spender {
    table: "LiteLLM_VerificationToken",
    key: "token",
    also: ", total_spend = t.total_spend + d.cost, last_active = $now, updated_at = $now",
};
const TEAMS: Spender = Spender { table: "LiteLLM_TeamTable", key: "team_id", also: ", updated_at = $now" };
const ORGANIZATIONS: Spender =
    Spender { table: "LiteLLM_OrganizationTable", key: "organization_id", also: ", updated_at = $now" };
const PROJECTS: Spender = Spender { table: "LiteLLM_ProjectTable", key: "project_id", also: ", updated_at = $now" };
const TAGS: Spender = Spender { table: "LiteLLM_TagTable", key: "tag_name", also: ", updated_at = $now" };

/// The daily tables and the column of their entity.
const DAILY: &[(Entity, &str, &str)] = &[
    (Entity::User, "LiteLLM_DailyUserSpend", "user_id"),
    (Entity::Team, "LiteLLM_DailyTeamSpend", "team_id"),
    (Entity::Organization, "LiteLLM_DailyOrganizationSpend", "organization_id"),
    (Entity::EndUser, "LiteLLM_DailyEndUserSpend", "end_user_id"),
    (Entity::Tag, "LiteLLM_DailyTagSpend", "tag"),
];

const DAILY_COUNTERS: &[(&str, &str)] = &[
    ("prompt_tokens", "int8"),
    ("completion_tokens", "int8"),
    ("api_requests", "int8"),
    ("successful_requests", "int8"),
    ("failed_requests", "int8"),
    ("cache_read_input_tokens", "int8"),
    ("cache_creation_input_tokens", "int8"),
    ("spend", "float8"),
    ("total_response_time_ms", "int8"),
    ("timed_requests", "int8"),
    ("prompt_caching_savings_spend", "float8"),
];

const END_USERS: &str = r#"INSERT INTO "LiteLLM_EndUserTable" (user_id, spend, blocked)
SELECT d.id, d.cost, false FROM jsonb_to_recordset($1::jsonb) AS d(id text, cost float8)
ON CONFLICT (user_id) DO UPDATE SET spend = "LiteLLM_EndUserTable".spend + EXCLUDED.spend"#;

/// A member that was removed meanwhile is not made again; the lock is the one LiteLLM's team endpoints take.
const TEAM_LOCKS: &str =
    "SELECT pg_advisory_xact_lock(hashtext(d.team)) FROM jsonb_to_recordset($1::jsonb) AS d(team text)";
const MEMBERS: &str = r#"INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend, total_spend)
SELECT d."user", d.team, d.cost, d.cost
FROM jsonb_to_recordset($1::jsonb) AS d(team text, "user" text, cost float8)
WHERE EXISTS (SELECT 1 FROM "LiteLLM_TeamTable" t WHERE t.team_id = d.team
        AND t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', d."user")))
   OR EXISTS (SELECT 1 FROM "LiteLLM_TeamMembership" m WHERE m.team_id = d.team AND m.user_id = d."user")
ON CONFLICT (user_id, team_id) DO UPDATE SET spend = "LiteLLM_TeamMembership".spend + EXCLUDED.spend,
    total_spend = "LiteLLM_TeamMembership".total_spend + EXCLUDED.total_spend"#;

const ORGANIZATION_MEMBERS: &str = r#"UPDATE "LiteLLM_OrganizationMembership" t
SET spend = t.spend + d.cost, updated_at = (now() AT TIME ZONE 'UTC')
FROM jsonb_to_recordset($1::jsonb) AS d(organization text, "user" text, cost float8)
WHERE t.organization_id = d.organization AND t.user_id = d."user""#;

const MODELS: &str = r#"INSERT INTO "LiteLLM_DailyModelUsage" AS t (date, model_group, model, custom_llm_provider,
  task_type, spend, prompt_tokens, completion_tokens, request_count, successful_requests, failed_requests, updated_at)
SELECT d.*, (now() AT TIME ZONE 'UTC') FROM jsonb_to_recordset($1::jsonb) AS d(date text, model_group text, model text,
  custom_llm_provider text, task_type text, spend float8, prompt_tokens int8, completion_tokens int8,
  request_count int8, successful_requests int8, failed_requests int8)
ON CONFLICT (date, model_group, model, custom_llm_provider, task_type) DO UPDATE SET spend = t.spend + EXCLUDED.spend,
  prompt_tokens = t.prompt_tokens + EXCLUDED.prompt_tokens,
  completion_tokens = t.completion_tokens + EXCLUDED.completion_tokens,
  request_count = t.request_count + EXCLUDED.request_count,
  successful_requests = t.successful_requests + EXCLUDED.successful_requests,
  failed_requests = t.failed_requests + EXCLUDED.failed_requests, updated_at = EXCLUDED.updated_at"#;

/// Postgres as the ledger writes to it; in the io runtime.
pub struct SpendSink {
    postgres: Postgres,
    /// which database it is, at each flush
    snapshot: Box<dyn Fn() -> Arc<Snapshot> + Send + Sync>,
}

impl SpendSink {
    pub fn new(postgres: Postgres, snapshot: impl Fn() -> Arc<Snapshot> + Send + Sync + 'static) -> Self {
        Self { postgres, snapshot: Box::new(snapshot) }
    }

    /// Where to, unless the database is known to be away.
    fn pool(&self) -> Result<(Secret, PgPool), Unavailable> {
        let url = (self.snapshot)().database_url.clone().ok_or(Unavailable::NotConfigured)?;
        let pool = self.postgres.pool(&url)?;
        Ok((url, pool))
    }
}

#[async_trait::async_trait]
impl Sink for SpendSink {
    async fn write(&self, batch: &Batch) -> Written {
        let (url, pool) = match self.pool() {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "spend is kept for a later flush");
                return Written::No;
            }
        };
        let (error, written) = match prepare(&pool, batch).await {
            Err(error) if error.is_refusal() => (error, Written::Refused),
            Err(error) => (error, Written::No),
            Ok((transaction, id)) => match in_time(transaction.commit()).await {
                Ok(()) => return Written::Yes,
                // even an error may come after the commit: a server that goes down, a standby that was waited for
                Err(error) => (error, Written::Unknown(id)),
            },
        };
        tracing::error!(%error, records = batch.len(), "spend could not be written, it is kept for the next flush");
        self.postgres.failed(&url, &error);
        written
    }

    async fn was_written(&self, transaction: i64) -> Option<bool> {
        let (url, pool) = self.pool().ok()?;
        let status = sqlx::query_scalar::<_, Option<String>>("SELECT txid_status($1)").bind(transaction);
        match in_time(status.fetch_one(&pool)).await {
            Ok(status) => match status.as_deref() {
                Some("committed") => Some(true),
                Some("aborted") => Some(false),
                Some(_) => None,
                None => {
                    tracing::error!("a flush is so old that the database has forgotten it: it counts as written");
                    Some(true)
                }
            },
            // "in the future": the database is a restored one, or a standby that never heard of it
            Err(Unavailable::Failed(code)) if code == "code 22023" => Some(false),
            Err(error) => {
                self.postgres.failed(&url, &error);
                None
            }
        }
    }
}

/// Longest wait for one answer within a flush: above the longest wait for a lock.
const STATEMENT: Duration = Duration::from_secs(10);

async fn in_time<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Unavailable> {
    match tokio::time::timeout(STATEMENT, call).await {
        Ok(result) => result.map_err(Unavailable::from),
        Err(_) => Err(Unavailable::TimedOut),
    }
}

/// LiteLLM waits no longer for a row either (proxy/db/rollup_lock_timeout.py). And a transaction whose writer is gone
/// must not keep its locks until TCP notices.
const BOUNDS: &str = "SET LOCAL lock_timeout = '5000ms'; SET LOCAL idle_in_transaction_session_timeout = '10000ms'";

/// Everything executed, nothing committed; and the transaction's number, by which its fate can be asked for.
async fn prepare(pool: &PgPool, batch: &Batch) -> Result<(Transaction<'static, Db>, i64), Unavailable> {
    let mut transaction = in_time(pool.begin()).await?;
    in_time(transaction.execute(BOUNDS)).await?;
    let id = in_time(sqlx::query_scalar("SELECT txid_current()").fetch_one(&mut *transaction)).await?;
    let logs = insert_logs();
    for rows in batch.logs() {
        in_time(sqlx::query(AssertSqlSafe(logs.clone())).bind(rows).execute(&mut *transaction)).await?;
    }
    for (sql, rows) in statements(batch) {
        // the text is put together from the constants above, nothing else
        in_time(sqlx::query(AssertSqlSafe(sql)).bind(rows).execute(&mut *transaction)).await?;
    }
    Ok((transaction, id))
}

/// Executes every statement without a row: fails where the schema is not the one they were written for. Changes nothing.
pub(super) async fn probe(pool: &PgPool) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let logs = (insert_logs(), NO_ROWS.to_owned());
    for (sql, rows) in std::iter::once(logs).chain(all_statements(&Batch::default())) {
        sqlx::query(AssertSqlSafe(sql)).bind(rows).execute(&mut *transaction).await?;
    }
    // asked for after a commit that nobody heard of
    sqlx::query("SELECT txid_status(txid_current())").execute(&mut *transaction).await?;
    transaction.rollback().await
}

/// Every statement but that of log rows with its one parameter, in the order of execution; those without rows are left out.
fn statements(batch: &Batch) -> Vec<(String, String)> {
    let mut all = all_statements(batch);
    all.retain(|(_, rows)| rows != NO_ROWS);
    all
}

/// A JSON array without items.
const NO_ROWS: &str = "[]";

fn all_statements(batch: &Batch) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let pair = |name: &str, sums: &std::collections::BTreeMap<(String, String), f64>| {
        json!(sums.iter().map(|((a, b), cost)| json!({name: a, "user": b, "cost": cost})).collect::<Vec<_>>())
            .to_string()
    };
    all.push((add(&USERS), ids(&batch.users)));
    all.push((END_USERS.into(), ids(&batch.end_users)));
    all.push((add(&KEYS), ids(&batch.keys)));
    all.push((add(&TEAMS), ids(&batch.teams)));
    let members = pair("team", &batch.members);
    all.push((TEAM_LOCKS.into(), members.clone()));
    all.push((MEMBERS.into(), members));
    all.push((add(&ORGANIZATIONS), ids(&batch.organizations)));
    all.push((ORGANIZATION_MEMBERS.into(), pair("organization", &batch.organization_members)));
    all.push((add(&PROJECTS), ids(&batch.projects)));
    all.push((add(&TAGS), ids(&batch.tags)));
    for (entity, table, column) in DAILY {
        all.push((upsert_daily(*entity, table, column), json!(batch.daily(*entity)).to_string()));
    }
    all.push((MODELS.into(), json!(batch.models()).to_string()));
    let mut windows = batch.windows();
    if windows.is_empty() {
        windows.push(Vec::new());
    }
    for rows in windows {
        let rows = json!(rows).to_string();
        all.push((windows::SEED.into(), rows.clone()));
        all.push((windows::ADD.into(), rows));
    }
    all
}

fn ids(sums: &Sums) -> String {
    json!(sums.iter().map(|(id, cost)| json!({"id": id, "cost": cost})).collect::<Vec<_>>()).to_string()
}

fn columns(list: &[(&str, &str)]) -> (String, String) {
    let names = list.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let typed = list.iter().map(|(name, kind)| format!("\"{name}\" {kind}")).collect::<Vec<_>>().join(", ");
    (names, typed)
}

fn insert_logs() -> String {
    let (names, typed) = columns(LOG_COLUMNS);
    format!(
        "INSERT INTO \"LiteLLM_SpendLogs\" ({names}) SELECT {names} FROM jsonb_to_recordset($1::jsonb) AS d({typed}) \
         ON CONFLICT (request_id) DO NOTHING"
    )
}

/// Rows are locked in key order first: an UPDATE alone takes them as it finds them.
fn add(Spender { table, key, also }: &Spender) -> String {
    let also = also.replace("$now", UTC_NOW);
    format!(
        "WITH d AS MATERIALIZED (SELECT * FROM jsonb_to_recordset($1::jsonb) AS d(id text, cost float8)), \
         l AS MATERIALIZED (SELECT {key} FROM \"{table}\" WHERE {key} IN (SELECT id FROM d) ORDER BY {key} FOR UPDATE) \
         UPDATE \"{table}\" t SET spend = t.spend + d.cost{also} FROM d, l WHERE t.{key} = l.{key} AND d.id = l.{key}"
    )
}

fn upsert_daily(entity: Entity, table: &str, column: &str) -> String {
    let (names, typed) = columns(DAILY_COUNTERS);
    let sums =
        DAILY_COUNTERS.iter().map(|(name, _)| format!("{name} = t.{name} + EXCLUDED.{name}")).collect::<Vec<_>>();
    // only tags keep one of the requests that contributed
    let (extra, keep) = match entity {
        Entity::Tag => (", request_id", ", request_id = COALESCE(EXCLUDED.request_id, t.request_id)"),
        _ => ("", ""),
    };
    format!(
        "INSERT INTO \"{table}\" AS t (id, {column}, date, api_key, model, custom_llm_provider, \
         mcp_namespaced_tool_name, endpoint, model_group, {names}{extra}, updated_at) \
         SELECT id, entity, date, api_key, model, custom_llm_provider, '', endpoint, model_group, {names}{extra}, {UTC_NOW} \
         FROM jsonb_to_recordset($1::jsonb) AS d(id text, entity text, date text, api_key text, model text, \
         custom_llm_provider text, endpoint text, model_group text, request_id text, {typed}) \
         ON CONFLICT ({column}, date, api_key, model, custom_llm_provider, mcp_namespaced_tool_name, endpoint) \
         DO UPDATE SET {}{keep}, updated_at = EXCLUDED.updated_at",
        sums.join(", ")
    )
}
