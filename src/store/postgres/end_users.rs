//! End users with what holds for them: their row and its budget (auth_checks.py `_load_end_user_restricted_registry`,
//! `get_end_user_object`). Most have nothing, and most are not known at all until they are billed.
use sqlx::{AssertSqlSafe, PgPool, Row, postgres::PgRow};

use super::{Postgres, Unavailable};
use crate::{auth::EndUser, secret::Secret};

/// `blocked` is not read: LiteLLM serves a blocked end user.
const SELECT: &str = r#"
SELECT e.user_id, e.spend, b.max_budget, b.rpm_limit, b.tpm_limit,
  e.allowed_model_region IS NOT NULL OR e.default_model IS NOT NULL OR e.object_permission_id IS NOT NULL
    OR cardinality(e.models) > 0
    OR COALESCE(b.model_max_budget::jsonb NOT IN ('null'::jsonb, '{}'::jsonb), false) AS special
FROM "LiteLLM_EndUserTable" e LEFT JOIN "LiteLLM_BudgetTable" b ON b.budget_id = e.budget_id
"#;
const RESTRICTED: &str = r#"
WHERE e.budget_id IS NOT NULL OR e.allowed_model_region IS NOT NULL OR e.default_model IS NOT NULL
  OR e.object_permission_id IS NOT NULL OR cardinality(e.models) > 0 LIMIT $1
"#;
const BY_ID: &str = "WHERE e.user_id = $1";

fn restricted() -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{SELECT}{RESTRICTED}"))
}

fn by_id() -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{SELECT}{BY_ID}"))
}

fn end_user(row: &PgRow) -> Result<EndUser, sqlx::Error> {
    Ok(EndUser {
        id: row.try_get("user_id")?,
        spend: row.try_get("spend")?,
        max_budget: row.try_get("max_budget")?,
        rpm_limit: row.try_get("rpm_limit")?,
        tpm_limit: row.try_get("tpm_limit")?,
        special: row.try_get("special")?,
    })
}

/// Asks for nobody: fails where the schema is not the one the queries were written for.
pub(super) async fn probe(pool: &PgPool) -> Result<(), sqlx::Error> {
    sqlx::query(restricted()).bind(0_i64).fetch_optional(pool).await?;
    sqlx::query(by_id()).bind("").fetch_optional(pool).await.map(drop)
}

impl Postgres {
    /// Every end user that has something of its own, `most` at most.
    pub async fn restricted_end_users(&self, url: &Secret, most: i64) -> Result<Vec<EndUser>, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: PgPool| async move {
            let rows = sqlx::query(restricted()).bind(most).fetch_all(&pool).await?;
            rows.iter().map(end_user).collect()
        };
        self.run(url, read).await
    }

    /// `Ok(None)`: there is no such row.
    pub async fn end_user(&self, url: &Secret, id: String) -> Result<Option<EndUser>, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: PgPool| async move {
            let row = sqlx::query(by_id()).bind(id).fetch_optional(&pool).await?;
            row.as_ref().map(end_user).transpose()
        };
        self.run(url, read).await
    }
}
