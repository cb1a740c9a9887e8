//! Which teams may use which models, and what a user may: what lists of deployments show of it.
use serde::Deserialize;
use serde_json::Value;
use sqlx::Row;

use super::{Postgres, Unavailable};
use crate::secret::Secret;

/// `$1`: a user's id; NULL for one who sees every team.
const MODEL_ACCESS: &str = r#"
SELECT jsonb_build_object(
  'user', (SELECT jsonb_build_object('models', u.models) FROM "LiteLLM_UserTable" u WHERE u.user_id = $1),
  'teams', COALESCE(
    (SELECT jsonb_agg(jsonb_build_object(
        'team_id', t.team_id, 'models', t.models,
        'granted', (SELECT jsonb_agg(to_jsonb(g.access_model_names)) FROM "LiteLLM_AccessGroupTable" g
            WHERE g.access_group_id = ANY(t.access_group_ids))))
     FROM "LiteLLM_TeamTable" t
     WHERE $1 IS NULL OR t.team_id = ANY(SELECT unnest(u.teams) FROM "LiteLLM_UserTable" u WHERE u.user_id = $1)),
    '[]'::jsonb)
)::text
"#;

/// The user asked for, and the teams: all, or the user's.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ModelAccess {
    pub user: Option<UserModels>,
    pub teams: Vec<TeamModels>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct UserModels {
    /// NULL is an empty list
    pub models: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct TeamModels {
    pub team_id: String,
    /// as above
    pub models: Option<Vec<String>>,
    /// `access_model_names` of the team's access groups
    pub granted: Option<Vec<Option<Vec<String>>>>,
}

impl Postgres {
    /// A [`ModelAccess`] as JSON. `user`: whose teams; `None`: all teams.
    pub async fn model_access(&self, url: &Secret, user: Option<String>) -> Result<Value, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: sqlx::PgPool| async move {
            let row = sqlx::query(MODEL_ACCESS).bind(user).fetch_one(&pool).await?;
            row.try_get::<String, _>(0)
        };
        let text = self.run(url, read).await?;
        serde_json::from_str(&text).map_err(|_| Unavailable::Failed("no JSON".into()))
    }
}
