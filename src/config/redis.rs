//! Which Redis LiteLLM shares its counters through: `general_settings.coordination_redis`, else that of a plain Redis
//! response cache, else what the environment names (proxy/proxy_server.py `_init_coordination_redis`, `init_cache`,
//! `_init_coordination_redis_env_fallback`; litellm/_redis.py `_get_redis_client_logic`). Pure. It must never pick a Redis
//! that LiteLLM would not: what it does not know is [`Coordination::Unsupported`].
use super::{
    env::{self, Env},
    yaml::{Map, Value},
};
use crate::{secret::Secret, store::RedisTarget};

/// Where counters are shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Coordination {
    /// nowhere: each process has its own
    #[default]
    Memory,
    Redis(RedisTarget),
    /// a Redis that the edge does not speak to; the word says why
    Unsupported(&'static str),
}

/// Keys of a block that say how to connect. All others of `coordination_redis` are unknown here.
const CONNECTION: &[&str] = &["host", "port", "password", "username", "db", "url", "namespace"];
/// Keys of `cache_params` that ask for another kind of connection.
const OTHER_CONNECTIONS: &[&str] = &[
    "ssl",
    "redis_startup_nodes",
    "startup_nodes",
    "sentinel_nodes",
    "service_name",
    "sentinel_password",
    "gcp_service_account",
    "gcp_ssl_ca_certs",
    "azure_redis_ad_token",
    "azure_client_id",
    "azure_tenant_id",
    "azure_client_secret",
    "aws_iam_auth",
    "credential_provider",
    "redis_connect_func",
];
/// The environment's words for the keys of a block; any other `REDIS_*` changes the connection in ways unknown here.
const VARIABLES: &[(&str, &str)] = &[
    ("REDIS_HOST", "host"),
    ("REDIS_PORT", "port"),
    ("REDIS_PASSWORD", "password"),
    ("REDIS_USERNAME", "username"),
    ("REDIS_DB", "db"),
    ("REDIS_URL", "url"),
];

/// `general` and `litellm` are `general_settings` and `litellm_settings`, resolved.
pub(super) fn coordination(general: &Map, litellm: &Map, env: &Env) -> Coordination {
    let odd = |name: &&String| name.starts_with("REDIS_") && !VARIABLES.iter().any(|(known, _)| known == name);
    let odd = env.iter().any(|(name, text)| odd(&name) && !text.is_empty());
    let block = |section: &Map, key: &str| section.get(key).and_then(|node| node.value.as_map()).cloned();
    let found = if let Some(own) = block(general, "coordination_redis").filter(|map| !map.is_empty()) {
        if own.iter().any(|(name, _)| !CONNECTION.contains(&name.as_str())) {
            return Coordination::Unsupported("coordination_redis");
        }
        Some(own)
    } else if litellm.get("cache").is_some_and(|node| node.value.truthy()) {
        let params = block(litellm, "cache_params").unwrap_or_default();
        let kind = params.get("type").and_then(|node| node.value.as_str());
        let plain = matches!((kind, params.is_empty()), (Some("redis"), _) | (None, true));
        Some(params).filter(|_| plain)
    } else {
        None
    };
    let given = found.is_some();
    let block = found.unwrap_or_default();
    if OTHER_CONNECTIONS.iter().any(|key| block.get(key).is_some_and(|node| node.value.truthy())) {
        return Coordination::Unsupported("cache_params");
    }
    let part = |key: &str| {
        block.get(key).and_then(|node| match &node.value {
            Value::Null => None,
            value => value.as_str().map(str::to_owned).or_else(|| Some((value.as_f64()? as i64).to_string())),
        })
    };
    let variable = |key: &str| {
        let name = VARIABLES.iter().find(|(_, known)| *known == key)?.0;
        env::text(env, name).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // a host in the file outranks an address in the environment
    let url = part("url").or_else(|| variable("url").filter(|_| part("host").is_none()));
    let either = |key: &str| part(key).or_else(|| variable(key));
    let url = match (url, either("host")) {
        (Some(url), _) => url,
        (None, Some(host)) => address(&host, &either),
        (None, None) if given || odd => return Coordination::Unsupported("no address"),
        (None, None) => return Coordination::Memory,
    };
    if odd {
        return Coordination::Unsupported("environment");
    }
    if !url.starts_with("redis://") {
        return Coordination::Unsupported("tls");
    }
    let namespace = part("namespace").filter(|namespace| !namespace.is_empty());
    Coordination::Redis(RedisTarget { url: Secret::new(url), namespace })
}

/// `redis://[user:password@]host:port/db`
fn address(host: &str, part: &impl Fn(&str) -> Option<String>) -> String {
    let password = part("password").map(|password| format!(":{}", escaped(&password)));
    let user = part("username").map(|user| escaped(&user));
    let login = match (user, password) {
        (None, None) => String::new(),
        (user, password) => format!("{}{}@", user.unwrap_or_default(), password.unwrap_or_default()),
    };
    let (port, db) = (part("port").unwrap_or_else(|| "6379".into()), part("db").unwrap_or_else(|| "0".into()));
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("redis://{login}{host}:{port}/{db}")
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml;

    fn of(config: &str, env: &[(&str, &str)]) -> Result<String, &'static str> {
        let root = yaml::parse(config.as_bytes()).unwrap();
        let section =
            |name: &str| root.value.as_map().and_then(|map| map.get(name)?.value.as_map().cloned()).unwrap_or_default();
        let env: Env = env.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        match coordination(&section("general_settings"), &section("litellm_settings"), &env) {
            Coordination::Memory => Ok(String::new()),
            Coordination::Redis(target) => {
                Ok(format!("{}{}", target.url.expose(), target.namespace.map(|n| format!(" {n}")).unwrap_or_default()))
            }
            Coordination::Unsupported(why) => Err(why),
        }
    }

    const CACHE: &str = "litellm_settings: {cache: true, cache_params: {type: redis, host: c, port: 7, namespace: n}}";

    #[test]
    fn the_first_that_is_named_wins() {
        let own = format!("general_settings: {{coordination_redis: {{host: o, password: 'p@s'}}}}\n{CACHE}");
        assert_eq!(of(&own, &[]).unwrap(), "redis://:p%40s@o:6379/0");
        assert_eq!(of(CACHE, &[("REDIS_URL", "redis://e:1")]).unwrap(), "redis://c:7/0 n");
        assert_eq!(of(CACHE, &[("REDIS_PASSWORD", "x"), ("REDIS_USERNAME", "u")]).unwrap(), "redis://u:x@c:7/0 n");
        assert_eq!(of("litellm_settings: {cache: true}", &[("REDIS_HOST", "e")]).unwrap(), "redis://e:6379/0");
        let disk = "litellm_settings: {cache: true, cache_params: {type: disk}}";
        assert_eq!(of(disk, &[("REDIS_HOST", "e"), ("REDIS_DB", "2")]).unwrap(), "redis://e:6379/2");
        assert_eq!(of("{}", &[("REDIS_URL", "redis://e:1/3")]).unwrap(), "redis://e:1/3");
        assert_eq!(of("{}", &[]).unwrap(), "");
        assert_eq!(of("litellm_settings: {cache: false, cache_params: {type: redis, host: c}}", &[]).unwrap(), "");
    }

    #[test]
    fn what_is_not_known_is_said() {
        for (config, env) in [
            ("general_settings: {coordination_redis: {host: o, ssl: true}}", &[][..]),
            ("general_settings: {coordination_redis: {startup_nodes: []}}", &[]),
            ("litellm_settings: {cache: true, cache_params: {type: redis, host: c, ssl: true}}", &[]),
            ("litellm_settings: {cache: true, cache_params: {type: redis}}", &[]),
            (CACHE, &[("REDIS_CLUSTER_NODES", "[]")]),
            ("{}", &[("REDIS_URL", "rediss://e:1")]),
            ("{}", &[("REDIS_SENTINEL_NODES", "[]")]),
        ] {
            assert!(of(config, env).is_err(), "{config} {env:?}");
        }
    }
}
