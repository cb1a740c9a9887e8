//! The README's table of native routes and docs/options.md are the code's. `UPDATE=1 cargo test --test readme` rewrites
//! both.
use litellm_rust::{
    cli::options_doc,
    routes::{doc::markdown, table::NATIVE_ROUTES},
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
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/options.md");
    let current = options_doc::page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, current).unwrap();
        return;
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), current, "run `UPDATE=1 cargo test --test readme`");
}
