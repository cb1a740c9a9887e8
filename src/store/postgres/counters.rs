//! The spend of the row behind a counter `spend:<kind>:<id>`: what an absent counter starts from (proxy/db/
//! spend_counter_reseed.py). It must never create a row.
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgPool;

use super::{Postgres, windows};
use crate::{
    config::Snapshot,
    limits::{BudgetWindow, Rows},
};

/// Kind of counter -> the statement that reads its spend by id.
const KINDS: &[(&str, &str)] = &[
    ("key", r#"SELECT spend FROM "LiteLLM_VerificationToken" WHERE token = $1"#),
    ("team", r#"SELECT spend FROM "LiteLLM_TeamTable" WHERE team_id = $1"#),
    ("user", r#"SELECT spend FROM "LiteLLM_UserTable" WHERE user_id = $1"#),
    ("org", r#"SELECT spend FROM "LiteLLM_OrganizationTable" WHERE organization_id = $1"#),
    ("end_user", r#"SELECT spend FROM "LiteLLM_EndUserTable" WHERE user_id = $1"#),
    ("tag", r#"SELECT spend FROM "LiteLLM_TagTable" WHERE tag_name = $1"#),
    ("project", r#"SELECT spend FROM "LiteLLM_ProjectTable" WHERE project_id = $1"#),
];
const MEMBER: &str = r#"SELECT spend FROM "LiteLLM_TeamMembership" WHERE user_id = $1 AND team_id = $2"#;

/// The rows of the database that the configuration in force names.
pub struct SpendRows {
    postgres: Postgres,
    snapshot: Box<dyn Fn() -> Arc<Snapshot> + Send + Sync>,
}

impl SpendRows {
    pub fn new(postgres: Postgres, snapshot: impl Fn() -> Arc<Snapshot> + Send + Sync + 'static) -> Self {
        Self { postgres, snapshot: Box::new(snapshot) }
    }
}

#[async_trait]
impl Rows for SpendRows {
    async fn spend(&self, counter: &str) -> Option<f64> {
        let snapshot = (self.snapshot)();
        let url = snapshot.database_url.as_ref()?;
        let (kind, id) = counter.strip_prefix("spend:")?.split_once(':')?;
        let (kind, id) = (kind.to_owned(), id.to_owned());
        let read = self.postgres.run(url, move |pool| async move { read(&pool, &kind, &id).await }).await;
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "the spend behind a counter could not be read");
            None
        })
    }

    async fn window(&self, window: &BudgetWindow) -> Option<f64> {
        let snapshot = (self.snapshot)();
        let url = snapshot.database_url.as_ref()?;
        let window = window.clone();
        let read = self.postgres.run(url, move |pool| async move { windows::spent(&pool, &window).await }).await;
        read.map_err(|error| tracing::warn!(%error, "the spend of a budget window could not be read")).ok()
    }
}

async fn read(pool: &PgPool, kind: &str, id: &str) -> Result<Option<f64>, sqlx::Error> {
    if kind == "team_member" {
        for (user, team) in splits(id) {
            let spend = sqlx::query_scalar(MEMBER).bind(user).bind(team).fetch_optional(pool).await?;
            if spend.is_some() {
                return Ok(spend);
            }
        }
        return Ok(None);
    }
    let Some((_, sql)) = KINDS.iter().find(|(known, _)| *known == kind) else { return Ok(None) };
    sqlx::query_scalar(*sql).bind(id).fetch_optional(pool).await
}

/// `<user>:<team>` at every colon: ids may have colons in them.
fn splits(id: &str) -> impl Iterator<Item = (&str, &str)> {
    id.match_indices(':').filter_map(|(at, _)| Some((id.get(..at)?, id.get(at + 1..)?)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_members_id_is_split_at_every_colon() {
        let pairs: Vec<_> = super::splits("a:b:c").collect();
        assert_eq!(pairs, [("a", "b:c"), ("a:b", "c")]);
    }
}
