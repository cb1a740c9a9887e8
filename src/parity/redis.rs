//! A tiny Redis client: reads all keys with value and time to live. It writes nothing.
use std::{collections::BTreeMap, io};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// One key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Redis' word: string, zset, hash, ...
    pub kind: String,
    /// of a string; of other types the number of members
    pub value: String,
    /// milliseconds; negative: none
    pub ttl_ms: i64,
}

/// Keys of LiteLLM's own clockwork, which come and go whatever is called.
const OWN: &[&str] = &["daily_metrics_report_sent"];

/// What a key stands for over time.
pub type Dump = BTreeMap<String, Entry>;

/// One connection.
pub struct Redis {
    conn: BufReader<TcpStream>,
}

#[derive(Debug)]
enum Reply {
    Text(String),
    Int(i64),
    Nil,
    Many(Vec<Reply>),
}

impl Reply {
    fn text(self) -> String {
        match self {
            Reply::Text(text) => text,
            Reply::Int(n) => n.to_string(),
            Reply::Nil | Reply::Many(_) => String::new(),
        }
    }
}

impl Redis {
    /// `address`: host:port.
    pub async fn connect(address: &str) -> io::Result<Self> {
        Ok(Self { conn: BufReader::new(TcpStream::connect(address).await?) })
    }

    async fn send(&mut self, commands: &[Vec<&str>]) -> io::Result<()> {
        let mut out = String::new();
        for command in commands {
            out.push_str(&format!("*{}\r\n", command.len()));
            command.iter().for_each(|word| out.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        }
        self.conn.get_mut().write_all(out.as_bytes()).await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let mut line = Vec::new();
        self.conn.read_until(b'\n', &mut line).await?;
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "an answer that is not RESP");
        let (kind, rest) = line.split_at_checked(1).ok_or_else(bad)?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Err(io::Error::other(format!("redis: {rest}"))),
            ":" => rest.parse().map(Reply::Int).map_err(|_| bad()),
            "$" => match rest.parse::<i64>().map_err(|_| bad())? {
                length @ 0..=0x0400_0000 => {
                    let mut data = vec![0; length as usize + 2];
                    self.conn.read_exact(&mut data).await?;
                    data.truncate(length as usize);
                    Ok(Reply::Text(String::from_utf8_lossy(&data).into_owned()))
                }
                _ => Ok(Reply::Nil),
            },
            "*" => {
                let mut items = Vec::new();
                for _ in 0..rest.parse::<i64>().map_err(|_| bad())?.clamp(0, 1_000_000) {
                    items.push(Box::pin(self.reply()).await?);
                }
                Ok(Reply::Many(items))
            }
            _ => Err(bad()),
        }
    }

    async fn pipeline(&mut self, commands: &[Vec<&str>]) -> io::Result<Vec<Reply>> {
        self.send(commands).await?;
        let mut replies = Vec::with_capacity(commands.len());
        for _ in commands {
            replies.push(self.reply().await?);
        }
        Ok(replies)
    }

    /// Every key with type, value and time to live.
    pub async fn dump(&mut self) -> io::Result<Dump> {
        let keys = match self.pipeline(&[vec!["KEYS", "*"]]).await?.pop() {
            Some(Reply::Many(keys)) => keys.into_iter().map(Reply::text).collect::<Vec<_>>(),
            _ => Vec::new(),
        };
        let keys: Vec<String> = keys.into_iter().filter(|key| !OWN.contains(&key.as_str())).collect();
        let heads: Vec<_> =
            keys.iter().flat_map(|key| [vec!["TYPE", key.as_str()], vec!["PTTL", key.as_str()]]).collect();
        let mut heads = self.pipeline(&heads).await?.into_iter().map(Reply::text);
        let mut dump = Dump::new();
        for key in &keys {
            let (kind, ttl) = (heads.next().unwrap_or_default(), heads.next().unwrap_or_default());
            dump.insert(key.clone(), Entry { kind, value: String::new(), ttl_ms: ttl.parse().unwrap_or(-2) });
        }
        let reads: Vec<_> = dump.iter().map(|(key, entry)| vec![size_command(&entry.kind), key.as_str()]).collect();
        let values = self.pipeline(&reads).await?;
        for (entry, value) in dump.values_mut().zip(values) {
            entry.value = value.text();
        }
        dump.retain(|_, entry| entry.ttl_ms != -2 && entry.kind != "none"); // gone in between
        Ok(dump)
    }
}

/// How to read a key's value, or how many members it has.
fn size_command(kind: &str) -> &'static str {
    match kind {
        "list" => "LLEN",
        "set" => "SCARD",
        "zset" => "ZCARD",
        "hash" => "HLEN",
        "stream" => "XLEN",
        // a key that is gone answers nil
        _ => "GET",
    }
}

/// What a case did to Redis: `{key: {kind, value, ttl}}`. Counters are their growth, other values themselves; the time
/// to live is its class. Pure. `elapsed_ms`: time between the dumps.
pub fn delta(before: &Dump, after: &Dump, elapsed_ms: i64) -> serde_json::Value {
    let mut out = serde_json::Map::new();
    for (key, entry) in after {
        let was = before.get(key).filter(|was| was.ttl_ms < 0 || was.ttl_ms > elapsed_ms);
        // unchanged, and not refreshed either
        if was.is_some_and(|was| was.value == entry.value && entry.ttl_ms <= was.ttl_ms) {
            continue;
        }
        let number = |text: &str| text.parse::<f64>().ok();
        let value = match (number(&entry.value), was.map(|was| number(&was.value))) {
            // a unix time is no counter
            (Some(now), Some(Some(then))) if now < 1e9 => serde_json::json!(round(now - then)),
            (Some(now), _) if now < 1e9 => serde_json::json!(round(now)),
            (Some(_), _) => "<unix time>".into(),
            (None, _) => entry.value.clone().into(),
        };
        let ttl = ttl_class(entry.ttl_ms);
        let mut key = key.clone();
        mask_minutes(&mut key);
        out.insert(key, serde_json::json!({"kind": entry.kind, "value": value, "ttl": ttl}));
    }
    serde_json::Value::Object(out)
}

/// A counter's time to live depends on when it was first used, its class does not.
fn ttl_class(ms: i64) -> &'static str {
    match ms {
        ..0 => "none",
        0..=60_000 => "60s",
        60_001..=3_600_000 => "1h",
        3_600_001..=86_400_000 => "1d",
        _ => "long",
    }
}

/// Float counters carry the noise of adding; 1e-9 of a dollar is none.
fn round(x: f64) -> f64 {
    (x * 1e9).round() / 1e9
}

/// `...:rpm:14-05` -> `...:rpm:<minute>`.
fn mask_minutes(key: &mut String) {
    let Some((head, tail)) = key.rsplit_once(':') else { return };
    let bytes = tail.as_bytes();
    if bytes.len() == 5
        && bytes.get(2) == Some(&b'-')
        && bytes.iter().enumerate().all(|(i, byte)| i == 2 || byte.is_ascii_digit())
    {
        *key = format!("{head}:<minute>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dump(entries: &[(&str, &str, i64)]) -> Dump {
        let entry = |(key, value, ttl_ms): &(&str, &str, i64)| {
            ((*key).to_owned(), Entry { kind: "string".into(), value: (*value).to_owned(), ttl_ms: *ttl_ms })
        };
        entries.iter().map(entry).collect()
    }

    #[test]
    fn counters_grow_and_the_rest_is_itself() {
        let before =
            dump(&[("spend:a", "0.5", 30_000), ("same", "1", 30_000), ("gone:by:now", "7", 50), ("x", "a", -1)]);
        let after = dump(&[
            ("spend:a", "0.75", 60_000),
            ("same", "1", 29_000),
            ("gone:by:now", "1", 60_000),
            ("x", "b", -1),
            ("r:rpm:14-05", "1", 59_100),
            ("w:window", "1700000000", 60_000),
        ]);
        let expected = json!({
            "gone:by:now": {"kind": "string", "value": 1.0, "ttl": "60s"},
            "r:rpm:<minute>": {"kind": "string", "value": 1.0, "ttl": "60s"},
            "spend:a": {"kind": "string", "value": 0.25, "ttl": "60s"},
            "w:window": {"kind": "string", "value": "<unix time>", "ttl": "60s"},
            "x": {"kind": "string", "value": "b", "ttl": "none"},
        });
        assert_eq!(delta(&before, &after, 1000), expected);
    }
}
