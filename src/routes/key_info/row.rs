//! A row of Postgres as LiteLLM's Prisma models print it: one table of columns for each, in their order. Pure.
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::{
    auth::refusal::read_timestamp,
    json::{ObjectWriter, push_string},
    spend::cost::python_float,
};

/// How a column is printed.
#[derive(Clone, Copy)]
enum Kind {
    /// texts, whole numbers, booleans, JSON
    AsIs,
    /// `double precision`: `0.0`, `1.5e-05`
    Float,
    /// a NULL is an empty list
    List,
    /// `2026-11-22T11:08:05.103000+00:00`
    Time,
    /// a relation that was not asked for
    Null,
}
use Kind::{AsIs, Float, List, Null, Time};

type Columns = &'static [(Kind, &'static str)];

/// `LiteLLM_VerificationToken`, but for the token and what follows the budget.
const KEY: Columns = &[
    (AsIs, "key_name key_alias soft_budget_cooldown"),
    (Float, "spend total_spend"),
    (Time, "expires"),
    (List, "models"),
    (
        AsIs,
        "aliases config router_settings user_id team_id agent_id project_id permissions max_parallel_requests metadata",
    ),
    (AsIs, "blocked tpm_limit rpm_limit tpd_limit"),
    (Float, "max_budget"),
    (AsIs, "budget_duration"),
    (Time, "budget_reset_at"),
    (List, "allowed_cache_controls allowed_routes"),
    (AsIs, "key_type"),
    (List, "policies access_group_ids"),
    (AsIs, "model_spend model_max_budget budget_fallbacks budget_id organization_id object_permission_id"),
    (Time, "created_at"),
    (AsIs, "created_by"),
    (Time, "updated_at"),
    (AsIs, "updated_by"),
    (Time, "settings_updated_at last_active"),
    (AsIs, "rotation_count auto_rotate rotation_interval"),
    (Time, "last_rotation_at key_rotation_at"),
    (AsIs, "budget_limits"),
];

/// `LiteLLM_BudgetTable`
const BUDGET: Columns = &[
    (AsIs, "budget_id"),
    (Float, "max_budget soft_budget"),
    (AsIs, "max_parallel_requests tpm_limit rpm_limit tpd_limit model_max_budget budget_duration"),
    (Time, "budget_reset_at"),
    (List, "allowed_models"),
    (Float, "temp_budget_increase"),
    (Time, "temp_budget_expiry created_at"),
    (AsIs, "created_by"),
    (Time, "updated_at"),
    (AsIs, "updated_by"),
    (Null, "organization projects keys end_users tags model_access_groups team_membership organization_membership"),
];

/// `LiteLLM_ObjectPermissionTable`
const PERMISSION: Columns = &[
    (AsIs, "object_permission_id"),
    (List, "mcp_servers mcp_access_groups"),
    (AsIs, "mcp_tool_permissions"),
    (List, "vector_stores agents agent_access_groups models blocked_tools mcp_toolsets search_tools"),
    (AsIs, "mcp_tool_search_enabled"),
    (List, "skills"),
    (Null, "teams projects verification_tokens organizations users end_users agents_table"),
];

/// `{"key":...,"info":{...}}`. `None`: it shows something that only Python knows.
pub(super) fn answer(shown: &str, found: &Value, now: SystemTime) -> Option<Vec<u8>> {
    let part = |name: &str| found.get(name).and_then(Value::as_object);
    let (key, budget) = (part("key")?, part("budget"));
    let filled = |row: Option<&Map<String, Value>>, name: &str| match row.and_then(|row| row.get(name)) {
        None | Some(Value::Null) => false,
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(_) => true,
    };
    // how much of them is used stands elsewhere
    if filled(Some(key), "budget_limits") || filled(Some(key), "model_max_budget") || filled(budget, "model_max_budget")
    {
        return None;
    }
    let mut info = ObjectWriter::with_capacity(1536);
    columns(&mut info, KEY, key)?;
    relation(&mut info, "litellm_budget_table", BUDGET, budget)?;
    info.raw("litellm_organization_table", "null");
    info.raw("litellm_project_table", "null");
    relation(&mut info, "object_permission", PERMISSION, part("permission"))?;
    info.raw("jwt_key_mappings", "null");
    info.string("status", status(key, now)?);
    let mut out = ObjectWriter::with_capacity(1700);
    out.string("key", shown);
    out.key("info").extend_from_slice(&info.finish());
    Some(out.finish())
}

/// `_derive_key_status`
fn status(key: &Map<String, Value>, now: SystemTime) -> Option<&'static str> {
    if key.get("blocked") == Some(&Value::Bool(true)) {
        return Some("revoked");
    }
    match key.get("expires")?.as_str() {
        Some(expires) if read_timestamp(expires)? < now => Some("expired"),
        _ => Some("active"),
    }
}

fn relation(out: &mut ObjectWriter, name: &str, table: Columns, row: Option<&Map<String, Value>>) -> Option<()> {
    let Some(row) = row else {
        out.raw(name, "null");
        return Some(());
    };
    let mut inner = ObjectWriter::with_capacity(512);
    columns(&mut inner, table, row)?;
    out.key(name).extend_from_slice(&inner.finish());
    Some(())
}

/// `None`: a column is not there, or holds what it cannot hold.
fn columns(out: &mut ObjectWriter, table: Columns, row: &Map<String, Value>) -> Option<()> {
    for (kind, name) in table.iter().flat_map(|(kind, names)| names.split_whitespace().map(move |name| (*kind, name))) {
        let value = match kind {
            Null => &Value::Null,
            _ => row.get(name)?,
        };
        match (kind, value) {
            (List, Value::Null) => out.raw(name, "[]"),
            (_, Value::Null) => out.raw(name, "null"),
            (Float, value) => out.raw(name, &python_float(value.as_f64()?)),
            (Time, value) => out.string(name, &iso(value.as_str()?)),
            (AsIs | List, value) => python_json(out.key(name), value)?,
            (Null, _) => return None,
        }
    }
    Some(())
}

/// Python's `isoformat` of a time in UTC: microseconds, where there are any.
fn iso(timestamp: &str) -> String {
    match timestamp.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{fraction:0<6}+00:00"),
        None => format!("{timestamp}+00:00"),
    }
}

/// Python's `json.dumps` of a value out of a JSON column. `None`: a whole number that Python reads as another.
fn python_json(out: &mut Vec<u8>, value: &Value) -> Option<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Number(number) if number.is_i64() => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Number(number) if number.is_u64() => return None,
        Value::Number(number) => out.extend_from_slice(python_float(number.as_f64()?).as_bytes()),
        Value::String(text) => push_string(out, text),
        Value::Array(list) => {
            out.push(b'[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                python_json(out, item)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (at, (name, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                push_string(out, name);
                out.push(b':');
                python_json(out, item)?;
            }
            out.push(b'}');
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Every column of a table, NULL.
    fn empty(table: Columns) -> Map<String, Value> {
        let names = table.iter().flat_map(|(_, names)| names.split_whitespace());
        names.map(|name| (name.to_owned(), Value::Null)).collect()
    }

    #[test]
    fn columns_are_printed_as_python_prints_them() {
        let mut key = empty(KEY);
        key.insert("spend".into(), serde_json::json!(0.000_015));
        key.insert("created_at".into(), "2026-11-22T11:08:05.103".into());
        key.insert("budget_reset_at".into(), "2026-12-01T00:00:00".into());
        let metadata = r#"{"i":123456789012345678901234567890,"n":1.5,"z":1.0,"s":"é","l":[1,{}]}"#;
        key.insert("metadata".into(), serde_json::from_str(metadata).unwrap());
        let found = serde_json::json!({"key": key, "budget": null, "permission": null});
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let text = |found: &Value| Some(String::from_utf8(answer("k", found, now)?).unwrap());
        let printed = text(&found).unwrap();
        for part in [
            r#"{"key":"k","info":{"key_name":null,"#,
            r#""spend":1.5e-05,"#,
            r#""models":[],"#,
            r#""created_at":"2026-11-22T11:08:05.103000+00:00""#,
            r#""budget_reset_at":"2026-12-01T00:00:00+00:00""#,
            r#""metadata":{"i":1.2345678901234568e+29,"n":1.5,"z":1.0,"s":"é","l":[1,{}]}"#,
            r#""jwt_key_mappings":null,"status":"active"}}"#,
        ] {
            assert!(printed.contains(part), "{part} in {printed}");
        }
        let with = |name: &str, value: Value| {
            let mut found = found.clone();
            found["key"][name] = value;
            text(&found)
        };
        assert!(with("expires", "2026-01-01T00:00:00".into()).unwrap().contains(r#""status":"expired""#));
        assert!(with("blocked", true.into()).unwrap().contains(r#""status":"revoked""#));
        for (name, value) in [
            ("budget_limits", serde_json::json!([{"budget_duration": "1h"}])),
            ("model_max_budget", serde_json::json!({"gpt-4o": {}})),
            ("metadata", serde_json::json!({"n": u64::MAX})),
        ] {
            assert_eq!(with(name, value), None, "{name}");
        }
    }
}
