//! Writes the last result into README.md and docs/speed.md, between markers, and the plot beside the page.
use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{report::Report, table};

const BEGIN: &str = "<!-- speed: begin -->\n";
const END: &str = "<!-- speed: end -->";

/// From `folder`/result.json and speed.svg.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let json = fs::read_to_string(folder.join("result.json")).context("no result yet: run `make bench`")?;
    let report: Report = serde_json::from_str(&json)?;
    anyhow::ensure!(!report.quick, "the last run was a quick one: its figures mean nothing");
    for (page, table) in [("README.md", table::short(&report)), ("docs/speed.md", table::long(&report))] {
        let text = fs::read_to_string(page).with_context(|| page.to_owned())?;
        let text = between(&text, &table).with_context(|| format!("{page}: no markers"))?;
        fs::write(page, text)?;
    }
    fs::copy(folder.join("speed.svg"), "docs/speed.svg")?;
    println!("README.md, docs/speed.md, docs/speed.svg");
    Ok(())
}

/// The text with what stands between the markers replaced.
fn between(text: &str, table: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}{table}{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let page = format!("a\n{BEGIN}old\n{END}\nb\n");
        let once = between(&page, "new\n").unwrap();
        assert_eq!(once, format!("a\n{BEGIN}new\n{END}\nb\n"));
        assert_eq!(between(&once, "new\n").unwrap(), once);
        assert_eq!(between("no markers", "new"), None);
    }

    #[test]
    fn both_pages_have_the_markers() {
        for page in ["README.md", "docs/speed.md"] {
            let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
            assert!(between(&text, "").is_some(), "{page}");
        }
    }
}
