//! What a gateway writes to Postgres: the rows of `LiteLLM_SpendLogs` by case, the growth of the daily tables by phase.
//! In managed mode the tables are emptied before each phase: a repeated upstream id would lose its row
//! (`skipDuplicates`), and the database is the suite's own.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use sqlx::{Connection, PgConnection, Row};

use crate::secret::Secret;

/// The daily tables that are compared. Not `DailyTagSpend` (written only every 14 s) and not `DailyGatewayRequests`
/// (counts whatever reaches Python, the edge's own probes among it).
const DAILY: &[&str] = &["LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend", "LiteLLM_DailyModelUsage"];

/// LiteLLM writes every `proxy_batch_write_at` + 0..5 s, in order of the calls.
const PATIENCE: Duration = Duration::from_secs(30);

/// The model group of the call whose row says that everything before it is written.
pub const MARKER: &str = "parity-marker";

/// One connection to the gateway's database.
pub struct Rows {
    conn: PgConnection,
}

/// One row of the spend logs.
pub struct SpendLog {
    /// unix seconds
    pub started: f64,
    /// all columns but those that cannot be equal twice
    pub columns: Value,
}

impl Rows {
    pub async fn connect(url: &Secret) -> sqlx::Result<Self> {
        Ok(Self { conn: PgConnection::connect(url.expose()).await? })
    }

    /// Runs a case's own statement.
    pub async fn execute(&mut self, statement: &str) -> sqlx::Result<()> {
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut self.conn).await.map(drop)
    }

    /// Empties the tables. Only for a database that is the suite's own.
    pub async fn clear(&mut self) -> sqlx::Result<()> {
        for table in DAILY.iter().chain(&["LiteLLM_SpendLogs"]) {
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM \"{table}\""))).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Waits until the marker's row is there (request id `marker`), and in emptied daily tables its group's too. `false`:
    /// it never came.
    pub async fn settle(&mut self, marker: &str, emptied: bool) -> sqlx::Result<bool> {
        let mut wanted: Vec<(&str, &str)> = vec![("LiteLLM_SpendLogs", marker)];
        if emptied {
            wanted.extend(DAILY.iter().map(|table| (*table, MARKER)));
        }
        let started = Instant::now();
        while let Some((table, word)) = wanted.last() {
            let sql = format!("SELECT count(*) FROM \"{table}\" t WHERE to_jsonb(t)::text LIKE '%' || $1 || '%'");
            let found: i64 =
                sqlx::query(sqlx::AssertSqlSafe(sql)).bind(*word).fetch_one(&mut self.conn).await?.try_get(0)?;
            if found > 0 {
                wanted.pop();
            } else if started.elapsed() > PATIENCE {
                return Ok(false);
            } else {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(true)
    }

    /// Rows per table and requests counted in them.
    pub async fn totals(&mut self) -> sqlx::Result<BTreeMap<String, Value>> {
        let mut totals = BTreeMap::new();
        for table in DAILY {
            let sql = format!("SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]')::text FROM \"{table}\" t");
            let text: String = sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.conn).await?.try_get(0)?;
            let rows: Vec<Value> = serde_json::from_str(&text).unwrap_or_default();
            totals.insert((*table).to_owned(), sums(&rows));
        }
        let count: i64 =
            sqlx::query("SELECT count(*) FROM \"LiteLLM_SpendLogs\"").fetch_one(&mut self.conn).await?.try_get(0)?;
        totals.insert("LiteLLM_SpendLogs".to_owned(), count.into());
        Ok(totals)
    }

    /// The spend logs of calls that started since then, oldest first, without the times of their writing.
    pub async fn spend_logs(&mut self, since: SystemTime) -> sqlx::Result<Vec<SpendLog>> {
        let since = since.duration_since(UNIX_EPOCH).map(|d| d.as_secs_f64()).unwrap_or_default();
        let rows = sqlx::query(
            "SELECT extract(epoch FROM \"startTime\")::float8, (to_jsonb(t) - 'created_at' - 'updated_at')::text \
             FROM \"LiteLLM_SpendLogs\" t WHERE extract(epoch FROM \"startTime\") >= $1 ORDER BY \"startTime\", request_id",
        )
        .bind(since)
        .fetch_all(&mut self.conn)
        .await?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let text: String = row.try_get(1)?;
            let mut columns: Value = serde_json::from_str(&text).unwrap_or_default();
            leave_to_chance(&mut columns);
            if let Some(columns) = columns.as_object_mut() {
                columns.sort_keys();
            }
            out.push(SpendLog { started: row.try_get(0)?, columns });
        }
        Ok(out)
    }
}

/// What LiteLLM's row of a stream of messages that the provider broke off says of its deployment, and of all but its
/// error in the metadata, is chance: the row is written beside the logging that fills it in. Money, tokens, payer and
/// error stay.
fn leave_to_chance(row: &mut Value) {
    const CHANCE: &[&str] = &[
        "model",
        "model_id",
        "model_group",
        "custom_llm_provider",
        "api_base",
        "request_tags",
        "requester_ip_address",
    ];
    let class = row.pointer("/metadata/error_information/error_class").and_then(Value::as_str);
    let broken = row.get("call_type").is_some_and(|kind| kind == "anthropic_messages")
        && matches!(class, Some("ReadError" | "ReadTimeout"));
    let Some(row) = row.as_object_mut().filter(|_| broken) else { return };
    CHANCE.iter().for_each(|column| _ = row.remove(*column));
    if let Some(metadata) = row.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "error_information" | "status" | "litellm_call_id"));
    }
}

/// Number of rows and the sum of every numeric column: rows of a day are added to by every call.
fn sums(rows: &[Value]) -> Value {
    // a failure that LiteLLM did not attribute to a provider, sometimes by chance, is a row of its own or not
    let attributed = |row: &&Value| {
        let provider = row.get("custom_llm_provider").and_then(Value::as_str);
        !matches!(provider, Some("" | "unknown"))
    };
    let mut out = BTreeMap::from([("rows".to_owned(), rows.iter().filter(attributed).count() as f64)]);
    for (column, value) in rows.iter().filter_map(Value::as_object).flatten() {
        // measured times are no sums to compare
        if let Some(number) = value.as_f64().filter(|_| !column.ends_with("_ms")) {
            *out.entry(column.clone()).or_default() += number;
        }
    }
    serde_json::json!(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numeric_columns_are_summed() {
        let rows = [serde_json::json!({"a": 1, "b": "x", "time_ms": 5}), serde_json::json!({"a": 2.5, "b": "x"})];
        assert_eq!(super::sums(&rows), serde_json::json!({"rows": 2.0, "a": 3.5}));
    }
}
