//! The report of a parity run as a reader has it: rendered from a fixed report.json, opened from a file in Chromium.
use std::{path::PathBuf, process::Command};

use crate::browser::Browser;

fn rendered(name: &str) -> PathBuf {
    let out = std::env::temp_dir().join(format!("litellm-rust-report-{name}-{}", std::process::id()));
    let done = Command::new(env!("CARGO_BIN_EXE_litellm-rust"))
        .args(["parity", "report", "tests/golden/report/report.json", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(1), "a red run stays red: {}", String::from_utf8_lossy(&done.stderr));
    out
}

/// Looks wrong wherever the page is wider than the window.
const OVERFLOW: &str = "document.documentElement.scrollWidth - document.documentElement.clientWidth";

#[test]
fn the_page_stands_alone_and_says_what_was_found() {
    let out = rendered("page");
    let mut browser = Browser::start();
    browser.view(1200, 900, false);
    browser.open_file(&out.join("report.html"));
    assert_eq!(browser.requests().len(), 1, "nothing but the page itself: {:?}", browser.requests());
    assert!(browser.problems().is_empty(), "{:?}", browser.problems());

    assert_eq!(browser.eval("document.title"), "Parity: red", "no text of a case became a script");
    assert_eq!(browser.eval("document.querySelectorAll('script, img, iframe, link').length"), 0);
    assert_eq!(browser.eval("document.querySelectorAll('#routes tbody tr').length"), 4);
    let row = "[...document.querySelectorAll('#routes tr')].find(r => r.innerText.startsWith('messages')).innerText";
    let row = browser.eval(&format!("{row}.replace(/\\s+/g, ' ')"));
    assert_eq!(row, "messages red canary no of this run 52 49 3 0 0");
    assert_eq!(browser.eval("document.querySelectorAll('#cases details').length"), 4);
    assert!(browser.eval("document.querySelector('#cases').innerText").as_str().unwrap().contains("<script>"));
    let stop = "[...document.querySelectorAll('#differences summary')].map(s => s.innerText).find(t => t.includes('stop_reason'))";
    let stop = browser.eval(stop);
    assert_eq!(stop, "2× response[*].events[*].data/delta/stop_reason another value, 2 cases");
    assert_eq!(browser.eval("document.querySelectorAll('#noise details').length"), 1);
    assert_eq!(browser.eval("document.querySelectorAll('#declines tbody tr').length"), 2);
    assert!(
        browser
            .eval("document.querySelector('#tolerated').innerText")
            .as_str()
            .unwrap()
            .contains("2027\u{2011}03\u{2011}31")
    );
    assert_eq!(browser.eval("document.querySelectorAll('#latency svg.strip line.case').length"), 2 * 141);

    // both values of a difference, side by side
    browser.eval("document.querySelectorAll('details').forEach(d => d.open = true)");
    let tops = "[...document.querySelector('#differences .pair').children].map(c => c.getBoundingClientRect().top)";
    let tops = browser.eval(tops);
    assert_eq!(tops[0], tops[1]);
    std::fs::remove_dir_all(out).unwrap();
}

#[test]
fn it_is_read_by_keyboard_on_a_phone_and_in_the_dark() {
    let out = rendered("phone");
    let mut browser = Browser::start();
    let dark = |browser: &mut Browser, dark| {
        browser.view(360, 740, dark);
        browser.open_file(&out.join("report.html"));
        browser.eval("getComputedStyle(document.body).backgroundColor")
    };
    assert_eq!(dark(&mut browser, false), "rgb(251, 251, 250)");
    assert_eq!(dark(&mut browser, true), "rgb(20, 23, 26)", "the style sheet passes the page's own policy");
    assert_eq!(browser.eval(OVERFLOW), 0);
    browser.eval("document.querySelectorAll('details').forEach(d => d.open = true)");
    assert_eq!(browser.eval(OVERFLOW), 0, "with everything open");
    browser.eval("document.querySelectorAll('details').forEach(d => d.open = false)");

    // every part that opens is reached by Tab and opened by Enter
    let mut reached = 0;
    let all = browser.eval("document.querySelectorAll('details').length").as_u64().unwrap();
    for _ in 0..200 {
        if reached == all {
            break;
        }
        browser.press("Tab");
        if browser.eval("document.activeElement.tagName") == "SUMMARY" {
            browser.press("Enter");
            reached += 1; // once round: a second visit would close it
            assert_eq!(browser.eval("document.activeElement.parentElement.open"), true);
        }
    }
    assert_eq!(browser.eval("document.querySelectorAll('details').length"), reached);

    // ink on its ground: WCAG AA
    for scheme in [false, true] {
        dark(&mut browser, scheme);
        let worst = browser.eval(CONTRAST);
        assert!(worst["ratio"].as_f64().unwrap() >= 4.5, "{worst}");
    }
    std::fs::remove_dir_all(out).unwrap();
}

/// The least contrast between a text and what is behind it.
const CONTRAST: &str = r#"(() => {
  const rgb = c => c.match(/[\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length == 3 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  let worst = { ratio: 99 };
  for (const e of document.querySelectorAll('h1, h2, h3, h4, p, li, dt, dd, th, td, b, code, pre, span, a, summary')) {
    const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(ground(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < worst.ratio) worst = { ratio, tag: e.outerHTML.slice(0, 80) };
  }
  return worst;
})()"#;
