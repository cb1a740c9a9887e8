//! The status page in a browser and its JSON, before the real binary with real traffic, broken files and hostile words.
use std::{process::Stdio, time::Duration};

use serde_json::Value;

use crate::{
    browser::Browser,
    gateway::Gateway,
    support::{Answer, FakePython, MASTER, ask, eventually, get, post_bytes},
};

/// What a file may say: it must be shown, and must never become markup or run.
const HOSTILE: &str = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>";

fn find<'v>(status: &'v Value, id: &str) -> &'v Value {
    let all = ["routes", "others"].map(|list| status[list].as_array().unwrap().iter());
    all.into_iter().flatten().find(|route| route["id"] == id).unwrap_or_else(|| panic!("{id} in {status:#}"))
}

#[test]
fn the_json_is_behind_the_master_key_and_counts_both_sides() {
    let python = FakePython::saying("python");
    let gateway = Gateway::start(python.port, &[], &[], Stdio::null());
    assert_eq!(get(gateway.process.port, "/edge/status").status, 401);
    let other = "GET /edge/status HTTP/1.1\r\nhost: edge\r\nauthorization: Bearer sk-other\r\n\r\n";
    assert_eq!(ask(gateway.process.port, other).status, 401);
    assert_eq!(get(gateway.process.port, &format!("/edge/status?key={MASTER}")).status, 401, "never from a URL");

    for _ in 0..3 {
        assert_eq!(gateway.side(), "native");
    }
    let declined = r#"{"model":"no-such-model","messages":[{"role":"user","content":"canary-prompt"}]}"#;
    assert_eq!(ask(gateway.process.port, post_bytes("/v1/chat/completions", declined)).text(), "python");
    assert_eq!(gateway.get("/key/list?canary=1").text(), "python");
    // a request is counted when it is over, which a client may see a little earlier
    let seen = |answer: &Answer, id: &str, side: &str| {
        let status = answer.json();
        let all = ["routes", "others"].map(|list| status[list].as_array().unwrap().clone()).concat();
        all.iter().find(|route| route["id"] == id).map_or(0, |route| route["traffic"]["total"][side].as_u64().unwrap())
    };
    let (mut answer, mut asked) = (gateway.get("/edge/status"), 1);
    eventually(Duration::from_secs(10), "all are counted", || {
        let counted = seen(&answer, "other", "python") == 1
            && seen(&answer, "chat_completions", "python") == 1
            && seen(&answer, "chat_completions", "native") == 3
            && seen(&answer, "edge", "edge") >= 3;
        if !counted {
            (answer, asked) = (gateway.get("/edge/status"), asked + 1);
        }
        counted
    });
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert!(!answer.text().contains("canary") && !answer.text().contains(MASTER), "{}", answer.text());
    let status = answer.json();
    let chat = find(&status, "chat_completions");
    let traffic = &chat["traffic"];
    assert_eq!((chat["mode"].as_str(), chat["effective"].as_str()), (Some("native"), Some("native")));
    assert_eq!(traffic["total"], serde_json::json!({"native": 3, "python": 1, "edge": 0, "declined": 1}));
    assert_eq!(traffic["declines"][0]["reason"], "model");
    let window = &traffic["window"];
    assert_eq!((&window["native"]["requests"], &window["python"]["requests"]), (&3.into(), &1.into()));
    let sum: u64 = traffic["history"]["native"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, 3);
    let quantile = |name: &str| window["native"][name].as_f64().unwrap();
    assert!(0.0 < quantile("p50_ms") && quantile("p50_ms") <= quantile("p99_ms"), "{window}");
    assert_eq!(find(&status, "other")["traffic"]["total"]["python"], 1);
    let edge = find(&status, "edge")["traffic"]["total"]["edge"].as_u64().unwrap();
    assert!((3..3 + asked).contains(&edge), "the three refusals, and what was asked before this: {edge} of {asked}");
    assert_eq!(status["python"]["state"], "up");
    assert_eq!((&status["switch"]["all_python"], &status["gate"]["enforced"]), (&false.into(), &false.into()));
    assert_eq!(status["edge"]["pid"], gateway.process.child.id());
    assert!(
        status["edge"]["memory_bytes"].as_u64().unwrap() > 1 << 20 && status["edge"]["connections"].as_u64() > Some(0)
    );
    assert_eq!(status["edge"]["source_digest"].as_str().unwrap().len(), 32);
}

#[test]
fn the_page_itself_is_open_holds_no_data_and_lets_nothing_else_run() {
    let python = FakePython::saying("python");
    let gateway = Gateway::start(python.port, &[], &[], Stdio::null());
    let page = get(gateway.process.port, "/edge");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policies: Vec<&str> =
        page.head.split("\r\n").filter(|line| line.to_lowercase().starts_with("content-security-policy: ")).collect();
    assert!(
        policies[0].contains("default-src 'none'") && policies[0].contains("frame-ancestors 'none'"),
        "{policies:?}"
    );
    assert!(!policies.concat().contains("unsafe"), "{policies:?}");
    assert_eq!(page.header("set-cookie"), None);
    assert_eq!(get(gateway.process.port, "/edge/").body, page.body);
    assert!(!page.text().contains("chat_completions") && !page.text().contains("127.0.0.1"));
    assert_eq!(ask(gateway.process.port, post_bytes("/edge", "x")).status, 404);
    assert_eq!(python.requests().len(), 0, "never Python's");
}

#[test]
fn a_person_reads_it_in_a_browser() {
    let python = FakePython::saying("python");
    let gateway = Gateway::start(python.port, &[], &[], Stdio::null());
    (0..3).for_each(|_| assert_eq!(gateway.side(), "native"));
    assert_eq!(gateway.get("/key/list").text(), "python");
    // words of files that are hostile: an owner-chosen text in a good routes.toml, a refused config.yaml
    let routes = crate::gateway::routes(python.port, "native");
    let listed = format!(
        "{routes}[[route]]\nid = \"spend\"\nmatch = {{ paths = [\"/spend/*\"] }}\nmode = \"python\"\nowner = {HOSTILE:?}\n"
    );
    let digest = gateway.get("/edge/status").json()["routes_file"]["digest"].clone();
    gateway.folder.write("routes.toml", &listed);
    eventually(Duration::from_secs(10), "the new routes.toml is in force", || {
        gateway.get("/edge/status").json()["routes_file"]["digest"] != digest
    });
    gateway.folder.write("routes.toml", &format!("{listed}[[route]]\nid = {HOSTILE:?}\nmode = \"sometimes\"\n"));
    gateway.folder.write("config.yaml", &format!("model_list: [\n{HOSTILE}: {{\n"));
    eventually(Duration::from_secs(10), "both are refused", || {
        let status = gateway.get("/edge/status").json();
        !status["routes_file"]["refused"].is_null() && !status["config"]["refused"].is_null()
    });
    let mut status = gateway.get("/edge/status").json();
    let refused = status["routes_file"]["refused"]["message"].take();
    assert!(refused.as_str().unwrap().contains("<img"), "the message quotes the file: {refused}");

    let url = format!("http://127.0.0.1:{}/edge", gateway.process.port);
    let mut browser = Browser::start();
    browser.view(1280, 900, false);
    browser.open(&url);
    let soon = Duration::from_secs(20);
    let hidden =
        |browser: &mut Browser, id: &str| browser.eval(&format!("document.getElementById('{id}').hidden")) == true;
    eventually(soon, "the key is asked for", || !hidden(&mut browser, "login"));
    assert!(hidden(&mut browser, "status"));
    assert_eq!(browser.eval("document.activeElement.id"), "key", "one can type at once");

    let log_in = |browser: &mut Browser, key: &str| {
        browser
            .eval(&format!("document.getElementById('key').value = '{key}'; document.getElementById('key').focus()"));
        browser.press("Enter");
    };
    log_in(&mut browser, "sk-wrong");
    eventually(soon, "a wrong key is told", || {
        browser.eval("document.getElementById('refused').textContent") == "That is not the master key."
    });
    assert!(hidden(&mut browser, "status"));
    assert_eq!(browser.eval("sessionStorage.length"), 0, "a wrong key is not kept");
    log_in(&mut browser, MASTER);
    eventually(soon, "the status is shown", || !hidden(&mut browser, "status"));
    assert!(hidden(&mut browser, "login"));

    let text = |browser: &mut Browser, selector: &str| {
        browser.eval(&format!("document.querySelector(`{selector}`).innerText")).as_str().unwrap().to_owned()
    };
    let chat = text(&mut browser, "tr[data-route=chat_completions]");
    assert!(chat.contains("native") && chat.contains("3 native") && chat.contains("missing"), "{chat}");
    assert_eq!(
        browser.eval("document.querySelectorAll('tr[data-route=chat_completions] rect.s-native').length >= 1"),
        true
    );
    assert!(text(&mut browser, "tr[data-route=other]").contains("1 python"));
    assert_eq!(text(&mut browser, "#verdict"), "needs attention");
    let tiles = text(&mut browser, "#tiles");
    assert!(tiles.contains("Kill switch") && tiles.contains(&format!("http://127.0.0.1:{}", python.port)), "{tiles}");
    // shown as it is written, and nothing of it is markup
    assert!(text(&mut browser, "#notes").contains("<img src=x"), "{}", text(&mut browser, "#notes"));
    assert!(text(&mut browser, "#files").contains("config.yaml"));
    assert_eq!(browser.eval("document.querySelectorAll('img, iframe, main script').length"), 0);
    assert_eq!(browser.eval("document.title"), "Edge status");
    // the key: in this tab's storage, in no URL, no cookie, no document
    assert_eq!(browser.eval("sessionStorage.getItem('litellm-edge-key')"), MASTER);
    assert_eq!(browser.eval("[document.cookie, localStorage.length, location.href].join('|')"), format!("|0|{url}"));
    assert_eq!(browser.eval(&format!("document.documentElement.outerHTML.includes('{MASTER}')")), false);
    let asked = browser.requests();
    assert!(
        asked.iter().all(|asked| *asked == url || *asked == format!("{url}/status") || asked == "data:,"),
        "{asked:?}"
    );

    // it renews itself
    gateway.side();
    eventually(soon, "the count has grown", || {
        text(&mut browser, "tr[data-route=chat_completions]").contains("4 native")
    });
    assert_eq!(ask(gateway.process.port, post_bytes("/edge/switch", r#"{"all_python": true}"#)).status, 200);
    eventually(soon, "the switch is shown", || text(&mut browser, "#notes").contains("The kill switch is on (admin)"));

    // a reload keeps the key, a phone has no sideways scrolling, dark is dark
    browser.view(380, 800, true);
    browser.open(&url);
    eventually(soon, "shown without being asked again", || !hidden(&mut browser, "status"));
    assert_eq!(browser.eval("document.documentElement.scrollWidth <= innerWidth"), true);
    let light = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).every((part) => part < 60)";
    assert_eq!(browser.eval(light), true);
    // what assistive technology is told
    assert_eq!(
        browser.eval("[...document.querySelectorAll('svg')].every((svg) => svg.getAttribute('aria-label'))"),
        true
    );
    assert_eq!(
        browser.eval("document.querySelector('label[for=key]') !== null && document.documentElement.lang === 'en'"),
        true
    );
    let problems: Vec<String> = browser.problems().into_iter().filter(|problem| !problem.contains("401")).collect();
    assert!(problems.is_empty(), "{problems:?}");

    browser.eval("document.getElementById('leave').click()");
    assert!(hidden(&mut browser, "status") && browser.eval("sessionStorage.length") == 0);
}
