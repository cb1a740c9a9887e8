//! The browser of the tests themselves: what it says of a page is so.
use crate::browser::Browser;

#[test]
fn a_page_is_loaded_looked_at_and_its_faults_are_seen() {
    let mut browser = Browser::start();
    browser.view(400, 300, true);
    browser.open("data:text/html,<meta name=viewport content=width=device-width><title>t</title><button onclick='document.title=1'>b</button><script>console.error('x')</script>");
    assert_eq!(browser.eval("matchMedia('(prefers-color-scheme: dark)').matches"), true);
    assert_eq!(browser.eval("innerWidth"), 400);
    browser.press("Tab");
    browser.press("Enter");
    assert_eq!(browser.eval("document.title"), "1");
    assert_eq!(browser.problems().len(), 1, "{:?}", browser.problems());
    assert_eq!(browser.requests().len(), 1);
    let shot = std::env::temp_dir().join(format!("litellm-rust-shot-{}.png", std::process::id()));
    browser.screenshot(&shot);
    assert!(std::fs::read(&shot).unwrap().starts_with(b"\x89PNG"));
    std::fs::remove_file(shot).unwrap();
}
