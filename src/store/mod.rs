//! All SQL and all Redis. Connections live in the io runtime ([`Io`]); the request path waits for them only where
//! LiteLLM must look something up too: a key not seen lately, counters of a key with limits.
pub mod health;
pub mod io;
pub mod postgres;
pub mod redis;

pub use health::{DatabaseHealth, Health};
pub use io::Io;
pub use postgres::{Postgres, Unavailable};
pub use redis::{Redis, RedisError, RedisTarget};
