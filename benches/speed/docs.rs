//! Writes the last result into README.md and docs/speed.md, between markers, and the plot beside the page.
use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{report::Report, table};

/// What stands between the markers `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
const MASTER: &str = "speed";
const KEYS: &str = "speed-keys";

/// From `folder`/result.json and speed.svg.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let mut wrote = Vec::new();
    for (name, folder, plot) in
        [(MASTER, folder.to_owned(), "docs/speed.svg"), (KEYS, folder.join("keys"), "docs/speed-keys.svg")]
    {
        let Ok(json) = fs::read_to_string(folder.join("result.json")) else { continue };
        let report: Report = serde_json::from_str(&json)?;
        anyhow::ensure!(!report.quick, "the last run was a quick one: its figures mean nothing");
        for (page, table) in [("README.md", table::short(&report)), ("docs/speed.md", table::long(&report))] {
            let text = fs::read_to_string(page).with_context(|| page.to_owned())?;
            let text = between(&text, name, &table).with_context(|| format!("{page}: no markers"))?;
            fs::write(page, text)?;
        }
        fs::copy(folder.join("speed.svg"), plot)?;
        wrote.push(format!("README.md, docs/speed.md ({name}), {plot}"));
    }
    anyhow::ensure!(!wrote.is_empty(), "no result yet: run `make bench`");
    println!("{}", wrote.join("\n"));
    Ok(())
}

/// The text with what stands between the markers replaced.
fn between(text: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (head, rest) = text.split_once(&begin)?;
    let (_, tail) = rest.split_once(&end)?;
    Some(format!("{head}{begin}{table}{end}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let page = |inner: &str| format!("a\n<!-- x: begin -->\n{inner}\n<!-- x: end -->\nb\n");
        let once = between(&page("old"), "x", "new\n").unwrap();
        assert_eq!(once, page("new"));
        assert_eq!(between(&once, "x", "new\n").unwrap(), once);
        assert_eq!(between(&once, "y", "new"), None);
    }

    #[test]
    fn both_pages_have_the_markers() {
        for page in ["README.md", "docs/speed.md"] {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
            assert!([MASTER, KEYS].iter().all(|name| between(&text, name, "").is_some()), "{page}");
        }
    }
}
