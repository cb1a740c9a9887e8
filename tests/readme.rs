//! The README's table of native routes, docs/options.md and docs/metrics.md are the code's.
//! `UPDATE=1 cargo test --test readme` rewrites them.
use litellm_rust::{
    cli::options_doc,
    routes::{doc::markdown, table::NATIVE_ROUTES},
    telemetry::metrics,
};

const BEGIN: &str = "<!-- native-routes: begin -->\n";
const END: &str = "<!-- native-routes: end -->";

#[test]
fn the_readme_lists_the_native_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (head, rest) = readme.split_once(BEGIN).expect("begin marker");
    let (table, tail) = rest.split_once(END).expect("end marker");
    let current = markdown(NATIVE_ROUTES);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{current}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(table, current, "run `UPDATE=1 cargo test --test readme`");
}

#[test]
fn the_options_page_lists_every_option() {
    is_current("docs/options.md", options_doc::page());
}

#[test]
fn the_metrics_page_lists_every_metric() {
    is_current("docs/metrics.md", metrics::table::page());
}

fn is_current(file: &str, current: String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, current).unwrap();
        return;
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), current, "run `UPDATE=1 cargo test --test readme`");
}
