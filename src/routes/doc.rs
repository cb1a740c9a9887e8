//! The README's table of native routes, written from the table itself.
use std::fmt::Write;

use super::NativeRoute;

/// Markdown between the README's `native-routes` markers: what is native and what declines.
pub fn markdown(routes: &[NativeRoute]) -> String {
    let mut out = String::from("| route | methods and paths | served natively |\n|---|---|---|\n");
    for route in routes {
        let methods: Vec<&str> = route.methods.iter().map(http::Method::as_str).collect();
        let paths: Vec<String> = route.paths.iter().map(|path| format!("`{path}`")).collect();
        let _ = writeln!(out, "| `{}` | {} {} | {} |", route.id, methods.join(", "), paths.join(" "), route.serves);
    }
    out.push_str("\nWhat else reaches these routes is passed to Python untouched, before any side effect, with one of these reasons:\n\n");
    out.push_str("| reason | what it means | routes |\n|---|---|---|\n");
    for decline in super::Decline::ALL {
        let by: Vec<String> = routes
            .iter()
            .filter(|route| route.declines.contains(decline))
            .map(|route| format!("`{}`", route.id))
            .collect();
        // what no row names is the edge's own reason, for whatever route
        let by = if by.is_empty() { "all".to_owned() } else { by.join(" ") };
        let _ = writeln!(out, "| `{}` | {} | {by} |", decline.as_str(), decline.why());
    }
    out
}
