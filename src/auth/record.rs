//! The rows behind a virtual key, as Postgres has them: what the checks, limits and spend read. Pure data; it must never
//! be printed whole. Columns are named as in LiteLLM's schema.prisma; a NULL list or map is an empty one.
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// One virtual key with its relations; `None` where the key has no such relation or the row is gone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Identity {
    pub key: Key,
    /// `LiteLLM_BudgetTable` of `key.budget_id`: counts where the key's own column is NULL
    pub budget: Option<Budget>,
    pub team: Option<Team>,
    /// `LiteLLM_ModelTable.aliases` of the team: public name -> model
    #[serde(default, deserialize_with = "or_default")]
    pub team_aliases: Map<String, Value>,
    pub membership: Option<Membership>,
    pub member_budget: Option<Budget>,
    /// budget of `team.metadata.team_member_budget_id`
    pub default_member_budget: Option<Budget>,
    pub user: Option<User>,
    /// the key's organization, else its team's
    pub organization: Option<Organization>,
    pub organization_budget: Option<Budget>,
    pub project: Option<Project>,
    pub project_budget: Option<Budget>,
    pub key_permission: Option<ObjectPermission>,
    pub team_permission: Option<ObjectPermission>,
    pub user_permission: Option<ObjectPermission>,
    #[serde(default, deserialize_with = "or_default")]
    pub key_access_groups: Vec<AccessGroup>,
    #[serde(default, deserialize_with = "or_default")]
    pub team_access_groups: Vec<AccessGroup>,
    /// this look-up read it; `false` where it was remembered (LiteLLM names an expired key another way then)
    #[serde(skip)]
    pub just_read: bool,
}

/// `LiteLLM_VerificationToken`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Key {
    /// sha256 of the key, hex
    pub token: String,
    pub key_name: Option<String>,
    pub key_alias: Option<String>,
    #[serde(default)]
    pub spend: f64,
    /// UTC without zone: `2026-11-20T23:09:18.935`
    pub expires: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub models: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub aliases: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub config: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub router_settings: Map<String, Value>,
    pub user_id: Option<String>,
    pub team_id: Option<String>,
    pub agent_id: Option<String>,
    pub project_id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub permissions: Map<String, Value>,
    pub max_parallel_requests: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    pub blocked: Option<bool>,
    pub tpm_limit: Option<i64>,
    pub rpm_limit: Option<i64>,
    pub tpd_limit: Option<i64>,
    pub max_budget: Option<f64>,
    #[serde(default, deserialize_with = "or_default")]
    pub allowed_cache_controls: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub allowed_routes: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub policies: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub access_group_ids: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub model_max_budget: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub budget_fallbacks: Map<String, Value>,
    pub budget_id: Option<String>,
    pub organization_id: Option<String>,
    pub object_permission_id: Option<String>,
    /// windows: `[{"budget_duration","max_budget","reset_at"}]`
    #[serde(default)]
    pub budget_limits: Value,
}

/// `LiteLLM_BudgetTable`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Budget {
    pub budget_id: String,
    pub max_budget: Option<f64>,
    pub soft_budget: Option<f64>,
    pub max_parallel_requests: Option<i64>,
    pub tpm_limit: Option<i64>,
    pub rpm_limit: Option<i64>,
    pub tpd_limit: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub model_max_budget: Map<String, Value>,
    /// models a team member may call; empty: the team's
    #[serde(default, deserialize_with = "or_default")]
    pub allowed_models: Vec<String>,
    pub temp_budget_increase: Option<f64>,
    pub temp_budget_expiry: Option<String>,
}

/// `LiteLLM_TeamTable`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Team {
    pub team_id: String,
    pub team_alias: Option<String>,
    pub organization_id: Option<String>,
    #[serde(default)]
    pub members_with_roles: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    pub max_budget: Option<f64>,
    pub soft_budget: Option<f64>,
    #[serde(default)]
    pub spend: f64,
    #[serde(default, deserialize_with = "or_default")]
    pub models: Vec<String>,
    pub tpm_limit: Option<i64>,
    pub rpm_limit: Option<i64>,
    pub tpd_limit: Option<i64>,
    #[serde(default)]
    pub blocked: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub model_max_budget: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub router_settings: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub access_group_ids: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub policies: Vec<String>,
    #[serde(default)]
    pub budget_limits: Value,
    pub object_permission_id: Option<String>,
}

/// `LiteLLM_TeamMembership`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Membership {
    #[serde(default)]
    pub spend: f64,
    pub budget_id: Option<String>,
}

/// `LiteLLM_UserTable`, without the password.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct User {
    pub user_id: String,
    pub user_alias: Option<String>,
    pub user_email: Option<String>,
    pub user_role: Option<String>,
    pub organization_id: Option<String>,
    pub max_budget: Option<f64>,
    #[serde(default)]
    pub spend: f64,
    #[serde(default, deserialize_with = "or_default")]
    pub models: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    pub tpm_limit: Option<i64>,
    pub rpm_limit: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub policies: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub model_max_budget: Map<String, Value>,
    pub object_permission_id: Option<String>,
}

/// `LiteLLM_OrganizationTable`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Organization {
    pub organization_id: String,
    pub organization_alias: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub models: Vec<String>,
    #[serde(default)]
    pub spend: f64,
    pub object_permission_id: Option<String>,
}

/// `LiteLLM_ProjectTable`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Project {
    pub project_id: String,
    pub project_alias: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub models: Vec<String>,
    #[serde(default)]
    pub spend: f64,
    #[serde(default)]
    pub blocked: bool,
    pub object_permission_id: Option<String>,
}

/// `LiteLLM_ObjectPermissionTable`: the parts that model calls look at.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ObjectPermission {
    pub object_permission_id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub vector_stores: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub models: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub blocked_tools: Vec<String>,
}

/// `LiteLLM_AccessGroupTable`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct AccessGroup {
    pub access_group_id: String,
    pub access_group_name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub access_model_names: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub assigned_team_ids: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub assigned_key_ids: Vec<String>,
}

/// NULL and absent are the type's empty value.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
