//! A string that must never be printed: keys and provider credentials.
//! It has no `Display`, and `Debug` shows only that something is there. It must never gain a `Serialize`.

/// A secret; read it with [`Secret::expose`] at the one place that sends it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The plain text. Never log it, never put it in an error.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Equality in constant time (LiteLLM: `secrets.compare_digest`).
    pub fn matches(&self, candidate: &str) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_bytes().ct_eq(candidate.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}
