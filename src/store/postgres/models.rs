//! What LiteLLM loads from its database beside config.yaml (proxy_server.py `add_deployment`): models, credentials,
//! settings, and how many rows there are of what the edge leaves to Python. Sealed values stay sealed.
use sqlx::Row;

use super::{Postgres, Unavailable};
use crate::{config::Stored, secret::Secret};

/// `$1`: the digest of what is known. The second column is null where nothing has changed since. LiteLLM asks for no
/// order of the models.
const STORED: &str = r#"
WITH stored AS MATERIALIZED (SELECT jsonb_build_object(
  'models', (SELECT COALESCE(jsonb_agg(jsonb_build_object('model_id', m.model_id, 'model_name', m.model_name,
      'litellm_params', m.litellm_params, 'model_info', m.model_info, 'blocked', m.blocked)), '[]')
      FROM "LiteLLM_ProxyModelTable" m),
  'credentials', (SELECT COALESCE(jsonb_agg(jsonb_build_object('credential_name', c.credential_name,
      'credential_values', c.credential_values)), '[]') FROM "LiteLLM_CredentialsTable" c),
  'settings', (SELECT COALESCE(jsonb_object_agg(c.param_name, c.param_value), '{}') FROM "LiteLLM_Config" c
      WHERE c.param_name IN ('general_settings', 'router_settings', 'litellm_settings', 'environment_variables')),
  'ui_settings', (SELECT u.ui_settings FROM "LiteLLM_UISettings" u WHERE u.id = 'ui_settings'),
  'sso', (SELECT s.sso_settings FROM "LiteLLM_SSOConfig" s WHERE s.id = 'sso_config'),
  'others', jsonb_build_object(
    'LiteLLM_GuardrailsTable', (SELECT count(*) FROM "LiteLLM_GuardrailsTable"
        WHERE status = 'active'),
    'LiteLLM_PolicyTable', (SELECT count(*) FROM "LiteLLM_PolicyTable"),
    'LiteLLM_PolicyAttachmentTable', (SELECT count(*) FROM "LiteLLM_PolicyAttachmentTable"),
    'LiteLLM_PromptTable', (SELECT count(*) FROM "LiteLLM_PromptTable"),
    'LiteLLM_CacheConfig', (SELECT count(*) FROM "LiteLLM_CacheConfig"),
    'LiteLLM_ConfigOverrides', (SELECT count(*) FROM "LiteLLM_ConfigOverrides"),
    'LiteLLM_ManagedVectorStoresTable', (SELECT count(*) FROM "LiteLLM_ManagedVectorStoresTable"),
    'LiteLLM_ManagedVectorStoreIndexTable', (SELECT count(*) FROM "LiteLLM_ManagedVectorStoreIndexTable"))
)::text AS content), digested AS MATERIALIZED (
  SELECT content, encode(sha256(convert_to(content, 'UTF8')), 'hex') AS digest FROM stored)
SELECT digest, CASE WHEN digest = $1 THEN NULL ELSE content END FROM digested
"#;

impl Postgres {
    /// What is stored there now. `Ok(None)`: what has the digest `known`.
    pub async fn stored(&self, url: &Secret, known: Option<String>) -> Result<Option<Stored>, Unavailable> {
        let read = move |pool: sqlx::PgPool| async move {
            let row = match sqlx::query(STORED).bind(known.unwrap_or_default()).fetch_one(&pool).await {
                // other tables than LiteLLM's: virtual keys, which have their own, do not depend on these
                Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.starts_with("42")) => {
                    return Ok(None);
                }
                row => row?,
            };
            Ok(Some((row.try_get::<String, _>(0)?, row.try_get::<Option<String>, _>(1)?)))
        };
        let (digest, content) = self.run(url, read).await?.ok_or(Unavailable::Schema)?;
        let Some(content) = content else { return Ok(None) };
        let mut stored: Stored = serde_json::from_str(&content)
            .map_err(|error| Unavailable::Failed(format!("an unknown shape of row at column {}", error.column())))?;
        stored.digest = digest;
        Ok(Some(stored))
    }
}
