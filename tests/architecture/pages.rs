//! What the pages point to is there: files, directories, and headings in other pages.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Directories with pages, beside those in the root.
const PLACES: [&str; 3] = ["config", "deploy", "tests"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(root(), false, &mut found);
    for place in PLACES {
        collect(&root().join(place), true, &mut found);
    }
    assert!(found.len() >= 12, "the pages were not found: {found:?}");
    found
}

fn collect(directory: &Path, below: bool, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && below {
            collect(&path, below, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines of a page that are not part of a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// The targets of all links of a page.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text).collect::<Vec<_>>().join("\n");
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.map(str::to_owned).collect()
}

/// The anchors that a page's headings get.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Says what is wrong with a link, if anything is.
fn flaw(page: &Path, link: &str) -> Option<&'static str> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target =
        if file.is_empty() { page.to_owned() } else { page.parent().expect("a place").join(file) };
    if !target.exists() {
        return Some("is not there");
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(target).unwrap_or_default();
    (!anchors(&text).contains(anchor)).then_some("has no such heading")
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("text");
        for link in links(&text) {
            seen += 1;
            if let Some(flaw) = flaw(&page, &link) {
                wrong.push(format!("{}: {link} {flaw}", page.display()));
            }
        }
    }
    assert!(seen > 60, "only {seen} links");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files and directories that a page names in its prose, from the root of the repository.
fn places(text: &str) -> Vec<String> {
    let prose = prose(text).collect::<Vec<_>>().join("\n");
    let spans = prose.split('`').skip(1).step_by(2);
    let words = spans.filter_map(|span| span.split_whitespace().next()).map(str::to_owned);
    let is_ours =
        |word: &String| ["src/", "tests/", "deploy/"].iter().any(|room| word.starts_with(room));
    words.filter(|word| is_ours(word) && !word.contains(['*', '…'])).collect()
}

#[test]
fn every_place_in_the_repository_that_a_page_names_is_there() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for place in places(&fs::read_to_string(&page).expect("text")) {
            seen += 1;
            if !root().join(&place).exists() {
                wrong.push(format!("{}: {place} is not there", page.display()));
            }
        }
    }
    assert!(seen > 30, "only {seen} places");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What stands behind `bearerd:` where an image is named.
fn images(text: &str) -> impl Iterator<Item = &str> {
    let tags = text.split("bearerd:").skip(1).filter_map(|rest| rest.split_whitespace().next());
    tags.filter(|tag| tag.starts_with(|c: char| c.is_ascii_digit()))
}

#[test]
fn every_image_that_a_page_names_is_of_this_version() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("text");
        for tag in images(&text) {
            seen += 1;
            assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{}", page.display());
        }
    }
    assert!(seen > 5, "only {seen} images");
}

#[test]
fn headings_get_the_anchors_that_readers_see() {
    let text = "# One: a `b`, and c!\n```sh\n# no heading\n```\n## Five minutes\n";
    let expected = ["one-a-b-and-c", "five-minutes"].map(str::to_owned);
    assert_eq!(anchors(text), BTreeSet::from(expected));
}

/// Each way to deploy has its page, which begins and goes on alike.
#[test]
fn every_way_says_how_to_begin_and_how_to_upgrade() {
    for page in
        ["systemd/README.md", "container/README.md", "kubernetes/pod.md", "kubernetes/node.md"]
    {
        let text = fs::read_to_string(root().join("deploy").join(page)).expect(page);
        let anchors = anchors(&text);
        for part in ["five-minutes-from-nothing-to-a-token", "upgrade-without-a-lost-request"] {
            assert!(anchors.contains(part), "{page} has no {part}");
        }
        let chooser = fs::read_to_string(root().join("deploy/README.md")).expect("the chooser");
        assert!(chooser.contains(&format!("({page})")), "the chooser does not name {page}");
    }
}
