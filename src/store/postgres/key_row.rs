//! One virtual key's row as it stands, with its budget and its object permission: what `GET /key/info` shows.
use serde_json::Value;
use sqlx::Row;

use super::{Postgres, Unavailable};
use crate::secret::Secret;

const KEY_ROW: &str = r#"
SELECT jsonb_build_object('key', to_jsonb(v), 'budget', to_jsonb(b), 'permission', to_jsonb(op))::text
FROM "LiteLLM_VerificationToken" v
LEFT JOIN "LiteLLM_BudgetTable" b ON b.budget_id = v.budget_id
LEFT JOIN "LiteLLM_ObjectPermissionTable" op ON op.object_permission_id = v.object_permission_id
WHERE v.token = $1
"#;

impl Postgres {
    /// `{"key", "budget", "permission"}` of the key with that hash, columns as Postgres writes them. `Ok(None)`: there is none.
    pub async fn key_row(&self, url: &Secret, hash: String) -> Result<Option<Value>, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: sqlx::PgPool| async move {
            let row = sqlx::query(KEY_ROW).bind(hash).fetch_optional(&pool).await?;
            row.map(|row| row.try_get::<String, _>(0)).transpose()
        };
        let Some(text) = self.run(url, read).await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| Unavailable::Failed("no JSON".into()))
    }
}
