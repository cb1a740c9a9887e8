//! A virtual key with everything that belongs to it, by one query. LiteLLM reads the key by its combined view
//! (proxy/utils.py `PrismaClient.get_data`) and team, user, membership, organization and project one after the other;
//! the rows are the same.
use sqlx::Row;

use super::{Postgres, Unavailable};
use crate::{auth::record::Identity, secret::Secret};

/// `$1`: the key's hash. A rotated key in its grace period finds its successor
/// (`LiteLLM_DeprecatedVerificationToken`), one step far. An organization is the key's own, else its team's.
const IDENTITY: &str = r#"
SELECT jsonb_build_object(
  'key', to_jsonb(v), 'budget', to_jsonb(b), 'team', to_jsonb(t), 'team_aliases', m.aliases,
  'membership', to_jsonb(tm), 'member_budget', to_jsonb(b_tm), 'default_member_budget', to_jsonb(b_dm),
  'user', to_jsonb(u) - 'password', 'organization', to_jsonb(o), 'organization_budget', to_jsonb(b_o),
  'project', to_jsonb(p), 'project_budget', to_jsonb(b_p),
  'key_permission', to_jsonb(op_v), 'team_permission', to_jsonb(op_t), 'user_permission', to_jsonb(op_u),
  'key_access_groups', (SELECT jsonb_agg(to_jsonb(g)) FROM "LiteLLM_AccessGroupTable" g
      WHERE g.access_group_id = ANY(v.access_group_ids)),
  'team_access_groups', (SELECT jsonb_agg(to_jsonb(g)) FROM "LiteLLM_AccessGroupTable" g
      WHERE g.access_group_id = ANY(t.access_group_ids))
)::text
FROM "LiteLLM_VerificationToken" v
LEFT JOIN "LiteLLM_BudgetTable" b ON b.budget_id = v.budget_id
LEFT JOIN "LiteLLM_TeamTable" t ON t.team_id = v.team_id
LEFT JOIN "LiteLLM_ModelTable" m ON m.id = t.model_id
LEFT JOIN "LiteLLM_TeamMembership" tm ON tm.team_id = v.team_id AND tm.user_id = v.user_id
LEFT JOIN "LiteLLM_BudgetTable" b_tm ON b_tm.budget_id = tm.budget_id
LEFT JOIN "LiteLLM_BudgetTable" b_dm ON b_dm.budget_id = t.metadata->>'team_member_budget_id'
LEFT JOIN "LiteLLM_UserTable" u ON u.user_id = v.user_id
LEFT JOIN "LiteLLM_OrganizationTable" o ON o.organization_id = COALESCE(v.organization_id, t.organization_id)
LEFT JOIN "LiteLLM_BudgetTable" b_o ON b_o.budget_id = o.budget_id
LEFT JOIN "LiteLLM_ProjectTable" p ON p.project_id = v.project_id
LEFT JOIN "LiteLLM_BudgetTable" b_p ON b_p.budget_id = p.budget_id
LEFT JOIN "LiteLLM_ObjectPermissionTable" op_v ON op_v.object_permission_id = v.object_permission_id
LEFT JOIN "LiteLLM_ObjectPermissionTable" op_t ON op_t.object_permission_id = t.object_permission_id
LEFT JOIN "LiteLLM_ObjectPermissionTable" op_u ON op_u.object_permission_id = u.object_permission_id
WHERE v.token = COALESCE(
  (SELECT token FROM "LiteLLM_VerificationToken" WHERE token = $1),
  (SELECT active_token_id FROM "LiteLLM_DeprecatedVerificationToken"
     WHERE token = $1 AND revoke_at > (now() AT TIME ZONE 'UTC')))
"#;

/// Asks for nobody: fails where the schema is not the one the query was written for.
pub(super) async fn probe(pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
    sqlx::query(IDENTITY).bind("").fetch_optional(pool).await.map(drop)
}

impl Postgres {
    /// The key of that hash (64 lower-case hex digits). `Ok(None)`: there is none.
    pub async fn identity(&self, url: &Secret, hash: String) -> Result<Option<Identity>, Unavailable> {
        self.check_schema(url).await?;
        let read = move |pool: sqlx::PgPool| async move {
            let row = sqlx::query(IDENTITY).bind(hash).fetch_optional(&pool).await?;
            row.map(|row| row.try_get::<String, _>(0)).transpose()
        };
        let Some(text) = self.run(url, read).await? else { return Ok(None) };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Unavailable::Failed(format!("an unknown shape of row at column {}", error.column())))
    }
}
