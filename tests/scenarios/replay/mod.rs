//! Plays stories on two stages: the bare policy, and the broker on paused time.

mod broker;
mod policy;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::story::{Act, Seen, Story};

/// Where a story can be played.
trait Stage {
    /// Lets time pass until this moment since the start.
    async fn pass_to(&mut self, moment: Duration);

    /// Does it, and lets everything happen that needs no time.
    async fn act(&mut self, act: Act);

    /// Looks at everything; asks for the token as a client would.
    async fn look(&mut self) -> Seen;
}

async fn play(story: &Story, mut stage: impl Stage) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, step) in (1..).zip(&story.steps) {
        for moment in step.moments() {
            stage.pass_to(moment).await;
            stage.act(step.act).await;
        }
        let seen = stage.look().await;
        let at = humantime::format_duration(step.at.0);
        let differences = step.expect.differences(&seen);
        wrong.extend(differences.iter().map(|what| format!("step {number} at {at}: {what}")));
    }
    wrong
}

#[tokio::test(start_paused = true)]
async fn every_story_holds_for_the_policy() {
    let mut report = Report::default();
    for (name, story) in stories() {
        let stage = policy::PolicyStage::new(&story);
        report.add(&name, &play(&story, stage).await);
    }
    report.close();
}

#[tokio::test(start_paused = true)]
async fn every_story_holds_for_the_broker() {
    let mut report = Report::default();
    for (name, story) in stories() {
        let stage = broker::BrokerStage::new(&story).await;
        report.add(&name, &play(&story, stage).await);
    }
    report.close();
}

/// The laws, and the rows of the fault list that a story can tell.
#[test]
fn the_stories_cover_every_law_and_their_faults() {
    let rows = [2, 20, 21, 23, 24, 26, 27, 62, 63, 64, 66, 67, 91, 175, 176, 197, 201, 202];
    let laws = (1..=14).map(|law| format!("law {law}"));
    let wanted: BTreeSet<_> = laws.chain(rows.map(|row| format!("fault {row}"))).collect();
    let covered = stories().into_iter().flat_map(|(_, story)| story.covers).collect();
    let missing: Vec<_> = wanted.difference(&covered).collect();
    assert!(missing.is_empty(), "no story covers {missing:?}");
}

#[test]
fn a_story_with_an_unknown_field_is_refused() {
    let story = "about = 'a'\ncovers = ['law 1']\nissuer = { A = ['1h'] }\n[[step]]\nat = '1s'\n";
    assert!(toml::from_str::<Story>(story).is_ok());
    for typo in ["expects = {}", "expect = { mint = 1 }", "do = 'reprot'", "expect.serves = 'none'"]
    {
        let spoilt = format!("{story}{typo}\n");
        assert!(toml::from_str::<Story>(&spoilt).is_err(), "{typo}");
    }
}

fn stories() -> Vec<(String, Story)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(directory).expect("the directory of the stories");
    let paths = entries.map(|entry| entry.expect("a file of the directory").path());
    let is_story = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    let mut paths: Vec<_> = paths.filter(is_story).collect();
    paths.sort();
    assert!(paths.len() >= 20, "only {} stories were found", paths.len());
    paths.iter().map(|path| named(path)).collect()
}

fn named(path: &Path) -> (String, Story) {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let story = Story::read(path).map_err(|error| format!("{name}: {error}"));
    (name, story.expect("a well-formed story"))
}

/// Collects what is wrong, so that one run shows every story that fails.
#[derive(Default)]
struct Report(Vec<String>);

impl Report {
    fn add(&mut self, name: &str, wrong: &[String]) {
        self.0.extend(wrong.iter().map(|what| format!("{name}: {what}")));
    }

    fn close(self) {
        assert!(self.0.is_empty(), "\n{}\n", self.0.join("\n"));
    }
}
