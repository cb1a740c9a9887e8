//! What the edge costs, measured on the release binary: CPU of its process a request, added latency, memory, start.
//!
//!     cargo run --release --example speed -- target/release/litellm-rust [--rounds 3] [--only messages] [--log info]
//!
//! Provider and Python gateway are a scripted server of this program, in a process of its own. Times of one run can be
//! compared with each other; between runs a shared machine drifts. The provider's own CPU a request stands beside the
//! edge's: it does the same work in every run and says how fast the machine is just then.
// what fails here fails a measurement, not a request
#![allow(clippy::indexing_slicing)]

mod load;
mod provider;

use std::{
    error::Error,
    fs,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const KEY: &str = "sk-bench";

struct Scenario {
    name: &'static str,
    request: Vec<u8>,
    requests: usize,
    connections: usize,
}

/// Kills the process it holds.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Options {
    binary: String,
    rounds: usize,
    only: String,
    log: String,
    port: u16,
    hold: bool,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options {
        binary: "target/release/litellm-rust".into(),
        rounds: 3,
        only: String::new(),
        log: "info".into(),
        port: 27000,
        hold: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or("a value is missing");
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only = value()?,
            "--log" => options.log = value()?,
            "--port" => options.port = value()?.parse()?,
            "--hold" => options.hold = true,
            binary => options.binary = binary.into(),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("provider") {
        let port = std::env::args().nth(2).ok_or("provider PORT")?.parse()?;
        return Ok(provider::run(port)?);
    }
    let options = options()?;
    let (edge, upstream) = (options.port, options.port + 1);
    let own = std::env::current_exe()?;
    let provider = Running(Command::new(own).args(["provider", &upstream.to_string()]).spawn()?);
    wait_for(upstream, "/", Duration::from_secs(5))?;

    let folder = std::env::temp_dir().join(format!("litellm-rust-speed-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let config = folder.join("config.yaml");
    fs::write(&config, configuration(upstream))?;
    let log = folder.join("log");
    let started = Instant::now();
    let running = Running(
        Command::new(&options.binary)
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &edge.to_string(),
                "--routes",
                "routes.toml",
                "--log",
                &options.log,
            ])
            .args(["--python", &format!("http://127.0.0.1:{upstream}"), "--config"])
            .arg(&config)
            .env("LITELLM_EDGE_UNGATED", "1")
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log)?)
            .spawn()?,
    );
    wait_for(edge, "/edge/live", Duration::from_secs(10))?;
    let pid = running.0.id();
    println!(
        "ready after {:.0} ms, binary {:.1} MB",
        started.elapsed().as_secs_f64() * 1e3,
        fs::metadata(&options.binary)?.len() as f64 / 1e6
    );
    std::thread::sleep(Duration::from_millis(1500)); // Python's health and version are asked for
    println!("idle RSS {:.1} MB", memory(pid, "VmRSS")?);
    if options.hold {
        println!("edge {pid} on {edge}, provider on {upstream}");
        std::thread::sleep(Duration::from_secs(600));
    }
    println!(
        "{:<22} {:>4} {:>8} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}",
        "scenario", "conn", "requests", "CPU ms", "provider", "req/s", "p50 ms", "p99 ms", "RSS MB"
    );
    for round in 0..options.rounds {
        for scenario in scenarios().iter().filter(|scenario| scenario.name.contains(&options.only)) {
            load::run(edge, &scenario.request, scenario.connections, scenario.requests / 20, 0.0)?;
            let (before, yardstick) = (cpu(pid)?, cpu(provider.0.id())?);
            let outcome = load::run(edge, &scenario.request, scenario.connections, scenario.requests, 0.0)?;
            let (spent, yardstick) = (cpu(pid)? - before, cpu(provider.0.id())? - yardstick);
            let each = |seconds: f64| seconds * 1e3 / outcome.requests as f64;
            println!(
                "{:<22} {:>4} {:>8} {:>9.4} {:>9.4} {:>8.0} {:>8.3} {:>8.3} {:>8.1}",
                scenario.name,
                scenario.connections,
                outcome.requests,
                each(spent),
                each(yardstick),
                outcome.requests as f64 / outcome.elapsed.as_secs_f64(),
                outcome.latency(0.5),
                outcome.latency(0.99),
                memory(pid, "VmRSS")?,
            );
        }
        if "latency".contains(&options.only) {
            added(edge, upstream)?;
        }
        println!("round {} done, peak RSS {:.1} MB", round + 1, memory(pid, "VmHWM")?);
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Added latency: through the edge minus straight at the provider, one after the other.
fn added(edge: u16, upstream: u16) -> Result<(), Box<dyn Error>> {
    for (name, request) in [("chat", chat(1000, "")), ("messages", messages(1000, "")), ("pass", embeddings(1000))] {
        for (connections, rate) in [(1, 20.0), (1, 0.0), (16, 2000.0)] {
            let requests = if rate > 0.0 { (rate * 3.0) as usize } else { 5000 };
            let direct = load::run(upstream, &request, connections, requests, rate)?;
            let through = load::run(edge, &request, connections, requests, rate)?;
            println!(
                "added {name:<9} conn {connections:>2} at {:>5}/s: p50 {:.3} ms, p99 {:.3} ms",
                if rate > 0.0 { format!("{rate:.0}") } else { "max".into() },
                through.latency(0.5) - direct.latency(0.5),
                through.latency(0.99) - direct.latency(0.99),
            );
        }
    }
    Ok(())
}

fn scenarios() -> Vec<Scenario> {
    let scenario = |name, request, requests, connections| Scenario { name, request, requests, connections };
    vec![
        scenario("chat 1 KB", chat(1000, ""), 20_000, 50),
        scenario("messages 1 KB", messages(1000, ""), 20_000, 50),
        scenario("pass-through 1 KB", embeddings(1000), 20_000, 50),
        scenario("chat 100 KB", chat(100_000, ""), 5_000, 50),
        scenario("messages 100 KB", messages(100_000, ""), 5_000, 50),
        scenario("chat stream", chat(1000, "\"stream\":true,"), 4_000, 50),
        scenario("messages stream", messages(1000, "\"stream\":true,"), 4_000, 50),
        scenario("chat stream paced", chat(1000, "\"stream\":true,\"user\":\"paced\","), 1_000, 20),
        scenario(
            "messages stream paced",
            messages(1000, "\"stream\":true,\"metadata\":{\"user_id\":\"paced\"},"),
            1_000,
            20,
        ),
        scenario("models", get("/v1/models"), 20_000, 50),
    ]
}

/// Turns of about 400 bytes, with the escapes that code has.
fn turns(size: usize) -> String {
    let text =
        "fn main() {\\n    println!(\\\"{}\\\", 1 + 2);\\n} // and some plain words between, as prompts have them. "
            .repeat(4);
    let turn = |n: usize| {
        format!(r#"{{"role":"{}","content":"{text}"}}"#, if n.is_multiple_of(2) { "user" } else { "assistant" })
    };
    let count = (size / turn(0).len()).max(1) / 2 * 2 + 1;
    (0..count).map(turn).collect::<Vec<_>>().join(",")
}

fn chat(size: usize, extra: &str) -> Vec<u8> {
    let messages = turns(size);
    post(
        "/v1/chat/completions",
        &format!(r#"{{"model":"gpt",{extra}"messages":[{messages}],"temperature":0.5,"max_tokens":500}}"#),
    )
}

fn messages(size: usize, extra: &str) -> Vec<u8> {
    let messages = turns(size);
    post("/v1/messages", &format!(r#"{{"model":"claude",{extra}"max_tokens":500,"messages":[{messages}]}}"#))
}

fn embeddings(size: usize) -> Vec<u8> {
    post("/v1/embeddings", &format!(r#"{{"model":"e","input":"{}"}}"#, "x".repeat(size)))
}

fn post(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\naccept: application/json\r\nuser-agent: speed/1.0\r\nanthropic-version: 2023-06-01\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {KEY}\r\n\r\n").into_bytes()
}

fn configuration(provider: u16) -> String {
    format!(
        "model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o, api_base: \"http://127.0.0.1:{provider}/v1\", api_key: sk-upstream}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4-5-20250929, api_base: \"http://127.0.0.1:{provider}\", api_key: sk-upstream}}
litellm_settings: {{num_retries: 0, request_timeout: 30}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {KEY}}}
"
    )
}

/// Until the port answers at all.
fn wait_for(port: u16, path: &str, within: Duration) -> Result<(), Box<dyn Error>> {
    use std::io::{Read, Write};
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) {
            stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").as_bytes())?;
            if stream.read(&mut [0; 64])? > 0 {
                return Ok(());
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(format!("nothing answers on port {port}").into())
}

/// Seconds of user and system time of the process (Linux counts hundredths).
fn cpu(pid: u32) -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no such process")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Ok(ticks as f64 / 100.0)
}

/// Megabytes out of /proc/PID/status.
fn memory(pid: u32, key: &str) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(key)).ok_or("no such line")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no value")?.parse()?;
    Ok(kilobytes / 1e3)
}
