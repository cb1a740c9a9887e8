//! End users and tags with what holds for them: their row and its budget (auth_checks.py
//! `_load_end_user_restricted_registry`, `get_end_user_object`, `get_tag_objects_batch`). Most have nothing, and most are
//! not known at all until they are billed.
use sqlx::{AssertSqlSafe, PgPool, Row, postgres::PgRow};

use super::{Postgres, Unavailable};
use crate::{
    auth::{Kind, NamedRow},
    secret::Secret,
};

/// Where one kind is read from.
struct Table {
    select: &'static str,
    /// appended: those that something holds for
    restricted: &'static str,
    /// appended
    by_id: &'static str,
}

/// `blocked` is not read: LiteLLM serves a blocked end user.
const END_USERS: Table = Table {
    select: r#"
SELECT e.user_id AS id, e.spend, b.max_budget, b.rpm_limit, b.tpm_limit,
  e.allowed_model_region IS NOT NULL OR e.default_model IS NOT NULL OR e.object_permission_id IS NOT NULL
    OR cardinality(e.models) > 0
    OR COALESCE(b.model_max_budget::jsonb NOT IN ('null'::jsonb, '{}'::jsonb), false) AS special
FROM "LiteLLM_EndUserTable" e LEFT JOIN "LiteLLM_BudgetTable" b ON b.budget_id = e.budget_id
"#,
    restricted: r#"
WHERE e.budget_id IS NOT NULL OR e.allowed_model_region IS NOT NULL OR e.default_model IS NOT NULL
  OR e.object_permission_id IS NOT NULL OR cardinality(e.models) > 0 LIMIT $1
"#,
    by_id: "WHERE e.user_id = $1",
};

/// A tag's `models` are kept in the deployments, as their tags.
const TAGS: Table = Table {
    select: r#"
SELECT t.tag_name AS id, t.spend, b.max_budget, b.rpm_limit, b.tpm_limit, false AS special
FROM "LiteLLM_TagTable" t LEFT JOIN "LiteLLM_BudgetTable" b ON b.budget_id = t.budget_id
"#,
    restricted: "WHERE t.budget_id IS NOT NULL LIMIT $1",
    by_id: "WHERE t.tag_name = $1",
};

impl Table {
    fn of(kind: Kind) -> &'static Self {
        match kind {
            Kind::EndUser => &END_USERS,
            Kind::Tag => &TAGS,
        }
    }

    fn restricted(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("{}{}", self.select, self.restricted))
    }

    fn by_id(&self) -> AssertSqlSafe<String> {
        AssertSqlSafe(format!("{}{}", self.select, self.by_id))
    }
}

fn named_row(row: &PgRow) -> Result<NamedRow, sqlx::Error> {
    Ok(NamedRow {
        id: row.try_get("id")?,
        spend: row.try_get("spend")?,
        max_budget: row.try_get("max_budget")?,
        rpm_limit: row.try_get("rpm_limit")?,
        tpm_limit: row.try_get("tpm_limit")?,
        special: row.try_get("special")?,
    })
}

/// Asks for nobody: fails where the schema is not the one the queries were written for.
pub(super) async fn probe(pool: &PgPool) -> Result<(), sqlx::Error> {
    for table in [&END_USERS, &TAGS] {
        sqlx::query(table.restricted()).bind(0_i64).fetch_optional(pool).await?;
        sqlx::query(table.by_id()).bind("").fetch_optional(pool).await?;
    }
    Ok(())
}

impl Postgres {
    /// Everything of that kind that has something of its own, `most` at most.
    pub async fn restricted(&self, kind: Kind, url: &Secret, most: i64) -> Result<Vec<NamedRow>, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: PgPool| async move {
            let rows = sqlx::query(Table::of(kind).restricted()).bind(most).fetch_all(&pool).await?;
            rows.iter().map(named_row).collect()
        };
        self.run(url, read).await
    }

    /// `Ok(None)`: there is no such row.
    pub async fn named_row(&self, kind: Kind, url: &Secret, id: String) -> Result<Option<NamedRow>, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: PgPool| async move {
            let row = sqlx::query(Table::of(kind).by_id()).bind(id).fetch_optional(&pool).await?;
            row.as_ref().map(named_row).transpose()
        };
        self.run(url, read).await
    }
}
