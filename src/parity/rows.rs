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

/// The tables LiteLLM adds a call to, besides the spend logs.
const DAILY: &[&str] = &[
    "LiteLLM_DailyUserSpend",
    "LiteLLM_DailyTeamSpend",
    "LiteLLM_DailyTagSpend",
    "LiteLLM_DailyModelUsage",
    "LiteLLM_DailyGatewayRequests",
];

/// Unchanged for this long: flushed (config.yaml: `proxy_batch_write_at: 1`).
const QUIET: Duration = Duration::from_millis(2500);
const PATIENCE: Duration = Duration::from_secs(15);

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

    /// Empties the tables. Only for a database that is the suite's own.
    pub async fn clear(&mut self) -> sqlx::Result<()> {
        for table in DAILY.iter().chain(&["LiteLLM_SpendLogs"]) {
            sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM \"{table}\""))).execute(&mut self.conn).await?;
        }
        Ok(())
    }

    /// Waits until nothing is written any more.
    pub async fn settle(&mut self) -> sqlx::Result<()> {
        let started = Instant::now();
        let (mut seen, mut since) = (self.totals().await?, Instant::now());
        while since.elapsed() < QUIET && started.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = self.totals().await?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        Ok(())
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

    /// The spend logs of calls that started since then, oldest first.
    pub async fn spend_logs(&mut self, since: SystemTime) -> sqlx::Result<Vec<SpendLog>> {
        let since = since.duration_since(UNIX_EPOCH).map(|d| d.as_secs_f64()).unwrap_or_default();
        let rows = sqlx::query(
            "SELECT extract(epoch FROM \"startTime\")::float8, to_jsonb(t)::text FROM \"LiteLLM_SpendLogs\" t \
             WHERE extract(epoch FROM \"startTime\") >= $1 ORDER BY \"startTime\", request_id",
        )
        .bind(since)
        .fetch_all(&mut self.conn)
        .await?;
        let mut out = Vec::with_capacity(rows.len());
        for row in rows {
            let text: String = row.try_get(1)?;
            let mut columns: Value = serde_json::from_str(&text).unwrap_or_default();
            if let Some(columns) = columns.as_object_mut() {
                columns.sort_keys();
            }
            out.push(SpendLog { started: row.try_get(0)?, columns });
        }
        Ok(out)
    }
}

/// Number of rows and the sum of every numeric column: rows of a day are added to by every call.
fn sums(rows: &[Value]) -> Value {
    let mut out = BTreeMap::from([("rows".to_owned(), rows.len() as f64)]);
    for (column, value) in rows.iter().filter_map(Value::as_object).flatten() {
        if let Some(number) = value.as_f64() {
            *out.entry(column.clone()).or_default() += number;
        }
    }
    serde_json::json!(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numeric_columns_are_summed() {
        let rows = [serde_json::json!({"a": 1, "b": "x"}), serde_json::json!({"a": 2.5, "b": "x"})];
        assert_eq!(super::sums(&rows), serde_json::json!({"rows": 2.0, "a": 3.5}));
    }
}
