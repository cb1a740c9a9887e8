//! The one table that says what each key of config.yaml means to the edge.
use super::yaml::Value;
use crate::routes::Decline;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    Top,
    LitellmSettings,
    GeneralSettings,
    RouterSettings,
    LitellmParams,
    ModelInfo,
}

/// What a key does to native serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// the edge does what LiteLLM does
    Native,
    /// nothing the native routes do depends on it
    NoBearing,
    /// model calls go to Python where the condition holds
    Declines(Decline, When),
}

/// When a declining key takes effect; otherwise its value is the one the edge assumes anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// any value but null
    Set,
    /// a value that Python calls true
    Truthy,
    /// anything but zero or null
    NotZero,
    /// anything but `true`
    NotTrue,
    /// the response cache: on, and not by request only
    CacheOn,
}

impl When {
    pub fn holds(self, value: &Value) -> bool {
        match self {
            When::Set | When::CacheOn => !value.is_null(),
            When::Truthy => value.truthy(),
            When::NotZero => !matches!(value, Value::Null | Value::Int(0) | Value::Bool(false)),
            When::NotTrue => *value != Value::Bool(true),
        }
    }
}
