//! `GET /edge`: the status page. One HTML document without a single external asset and without any data: it asks for
//! the master key and reads `/edge/status` with it, so it is served to everybody. It must never hold data itself.
use std::sync::LazyLock;

use bytes::Bytes;
use http::StatusCode;
use sha2::{Digest, Sha256};

use crate::{
    base64,
    routes::{CallLog, HeaderList, Reply, ReplyBody},
};

const HTML: &str = include_str!("page/status.html");
const STYLE: &str = include_str!("page/status.css");
const SCRIPT: &str = include_str!("page/status.js");

/// The document, and the policy that lets exactly its own style and script run.
static PAGE: LazyLock<(Bytes, String)> = LazyLock::new(|| {
    let html = HTML.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT);
    let hash = |text: &str| format!("'sha256-{}'", base64::encode(&Sha256::digest(text.as_bytes())));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        hash(SCRIPT),
        hash(STYLE)
    );
    (Bytes::from(html), policy)
});

/// The answer.
pub(super) fn reply() -> Reply {
    let (html, policy) = &*PAGE;
    let headers = [
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", policy),
        ("cache-control", "no-cache"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ];
    let headers = HeaderList::from(headers);
    Reply { status: StatusCode::OK, headers, body: ReplyBody::Full(html.clone()), log: CallLog::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would undo the escaping, leave the origin, or break the document.
    #[test]
    fn the_page_is_self_contained_and_never_parses_data_as_html() {
        let page = String::from_utf8(PAGE.0.to_vec()).unwrap();
        assert!(!page.contains("/*STYLE*/") && !page.contains("/*SCRIPT*/"));
        for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
            assert!(!SCRIPT.contains(forbidden), "{forbidden}");
        }
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            let found = page.matches(outside).count();
            let namespaces = if outside == "http://" { page.matches("http://www.w3.org/2000/svg").count() } else { 0 };
            assert_eq!(found, namespaces, "{outside}");
        }
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style") && !SCRIPT.contains("document.cookie"));
        assert_eq!(page.matches("<script").count(), 1);
        assert!(!page.contains(" style=") && !page.contains(" onclick="), "the policy forbids it");
    }
}
