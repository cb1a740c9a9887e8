//! `LiteLLM_BudgetWindowSpend`: one row for each budget window, rolled on in place (proxy/db/budget_window_spend_writer.py).
//! Its statements, and what a call reads of it. It must never make a row while a call waits.
use sqlx::PgPool;

use crate::{limits::BudgetWindow, spend::record::fine_timestamp};

/// A window without a row starts with what the log rows have of it. The flush's own rows are among them by then: its sum is
/// taken off, unless that is less than what began before it.
pub(super) const SEED: &str = r#"WITH d AS MATERIALIZED (
  SELECT d.* FROM jsonb_to_recordset($1::jsonb) AS d(entity_type text, entity_id text, window_duration text,
    window_start timestamp, spend float8, started_at timestamp)
  WHERE NOT EXISTS (SELECT 1 FROM "LiteLLM_BudgetWindowSpend" w WHERE w.entity_type = d.entity_type
    AND w.entity_id = d.entity_id AND w.window_duration = d.window_duration))
INSERT INTO "LiteLLM_BudgetWindowSpend"
  (entity_type, entity_id, window_duration, window_start, spend, created_at, updated_at)
SELECT d.entity_type, d.entity_id, d.window_duration, d.window_start, GREATEST(l.total - d.spend, l.earlier),
  (now() AT TIME ZONE 'UTC'), (now() AT TIME ZONE 'UTC')
FROM d, LATERAL (SELECT COALESCE(SUM(s.spend), 0) AS total,
    COALESCE(SUM(s.spend) FILTER (WHERE s."startTime" < date_trunc('second', d.started_at)), 0) AS earlier
  FROM "LiteLLM_SpendLogs" s WHERE s."startTime" >= d.window_start
    AND ((d.entity_type = 'key' AND s.api_key = d.entity_id) OR (d.entity_type = 'team' AND s.team_id = d.entity_id))) l
ORDER BY d.entity_type, d.entity_id, d.window_duration
ON CONFLICT DO NOTHING"#;

/// An older window's cost goes into the newer one that the row has; a newer window begins with its own.
pub(super) const ADD: &str = r#"INSERT INTO "LiteLLM_BudgetWindowSpend" AS w
  (entity_type, entity_id, window_duration, window_start, spend, created_at, updated_at)
SELECT d.entity_type, d.entity_id, d.window_duration, d.window_start, d.spend,
  (now() AT TIME ZONE 'UTC'), (now() AT TIME ZONE 'UTC')
FROM jsonb_to_recordset($1::jsonb) AS d(entity_type text, entity_id text, window_duration text, window_start timestamp,
  spend float8)
ORDER BY d.entity_type, d.entity_id, d.window_duration
ON CONFLICT (entity_type, entity_id, window_duration) DO UPDATE SET
  spend = CASE WHEN w.window_start >= EXCLUDED.window_start THEN w.spend + EXCLUDED.spend ELSE EXCLUDED.spend END,
  window_start = GREATEST(w.window_start, EXCLUDED.window_start), updated_at = EXCLUDED.updated_at"#;

const ROW: &str = r#"SELECT spend FROM "LiteLLM_BudgetWindowSpend" WHERE entity_type = $1 AND entity_id = $2
  AND window_duration = $3 AND window_start >= $4::text::timestamp"#;
const LOGS_OF_KEY: &str = r#"SELECT COALESCE(SUM(spend), 0)::float8 FROM "LiteLLM_SpendLogs"
  WHERE api_key = $1 AND "startTime" >= $2::text::timestamp"#;
const LOGS_OF_TEAM: &str = r#"SELECT COALESCE(SUM(spend), 0)::float8 FROM "LiteLLM_SpendLogs"
  WHERE team_id = $1 AND "startTime" >= $2::text::timestamp"#;

/// What was spent in it: its row, if that is of this window, else the sum of the log rows (proxy/db/spend_counter_reseed.py
/// `window_from_db`).
pub(super) async fn spent(pool: &PgPool, window: &BudgetWindow) -> Result<f64, sqlx::Error> {
    let start = fine_timestamp(window.start);
    let row = sqlx::query_scalar(ROW).bind(window.entity).bind(&window.id).bind(&window.duration).bind(&start);
    if let Some(spend) = row.fetch_optional(pool).await? {
        return Ok(spend);
    }
    let logs = if window.entity == "team" { LOGS_OF_TEAM } else { LOGS_OF_KEY };
    sqlx::query_scalar(logs).bind(&window.id).bind(start).fetch_one(pool).await
}
