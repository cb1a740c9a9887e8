//! All SQL and all Redis. In this version only the health of Postgres; it must never be awaited on the request path.
pub mod health;

pub use health::{DatabaseHealth, Health};
