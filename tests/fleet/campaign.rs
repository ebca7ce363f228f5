//! Plots and a table of every case; `BEARERD_TEST_FLEET=all` makes them anew, from a week and more seeds.

use std::{env, fmt::Write as _, fs, path::Path};

use crate::{
    cases::{self, Case, HOUR, MINUTE, Span, span},
    figures::{BIN, Figures},
    plot,
};

/// Seeds of each case.
pub(crate) fn seeds() -> u64 {
    if is_whole() { 20 } else { 4 }
}

/// Days of the fleet that is left alone.
pub(crate) fn days() -> u64 {
    if is_whole() { 7 } else { 1 }
}

fn is_whole() -> bool {
    env::var("BEARERD_TEST_FLEET").is_ok_and(|value| value == "all")
}

fn all() -> impl Iterator<Item = Case> {
    let is_steady = |case: &Case| case.name == cases::STEADY.name;
    cases::ALL
        .into_iter()
        .map(move |case| if is_steady(&case) { case.for_days(days()) } else { case })
}

const ABOUT: &str = "\
# A fleet before one issuer

Made by `BEARERD_TEST_FLEET=all cargo test --locked --profile campaign --test fleet`, from {seeds} seeds of each case.
A thousand sidecars with keys of ten users, or a hundred with that of one, are deployed within a second;
tokens live for an hour. Policy, back-off and the due time of a rotation are the daemon's own code, with
its defaults. The issuer does 20 calls a second, lets a call wait for 5 s and refuses more with a 503;
each user has 10,000 calls an hour, mints and the applications' own together, then gets a 429 until the
hour is over. What a client no longer waits for is worked off all the same.

Load is counted in bins of five minutes, in units of the steady load: one call of each sidecar in half an
hour. `before`, `during` and `after` are the greatest bin of the mean of all seeds, in brackets that of
any seed: from an hour after the deployment, in the shaded time, and from half an hour after that, which
is two caps of a patient retry. `recovered` is when the last sidecar whose mints had failed has a new
token, after the shaded time; `waited` are the applications that were without a good token, and `worst`
the longest such time. Copies of one machine refresh in the same second, in each seed at another time:
the mean hides that, the brackets show it.

";

/// One line of the table.
fn row(figures: &Figures) -> String {
    let case = figures.case;
    let (event, shown) = (case.event, case.shown);
    let peak = |span: Span| match figures.peak(span) {
        load if load > 0.0 => format!("{load:.2} ({:.2})", figures.worst_peak(span)),
        _ => "–".to_owned(),
    };
    let before = peak(span(HOUR, event.from.max(HOUR)));
    let after = span(event.to + 30 * MINUTE, shown.to);
    let since = span(event.from, shown.to);
    let recovered =
        match figures.recovered_after(event.to, span(event.from, event.to + 45 * MINUTE)) {
            seconds if seconds > 0.0 => format!("{seconds:.0} s"),
            _ => "–".to_owned(),
        };
    let worst = match figures.worst_wait(since) {
        seconds if seconds > 0.0 => format!("{seconds:.1} s"),
        _ => "–".to_owned(),
    };
    format!(
        "| [{}]({}.svg) | {before} | {} | {} | {:.2} | {recovered} | {:.0} | {worst} | {} of {} |",
        case.about,
        case.name,
        peak(event),
        peak(after),
        figures.mean(after),
        figures.waited(since),
        figures.served,
        case.sidecars
    )
}

/// Writes all of it into a directory.
fn publish(directory: &Path) {
    let mut text = ABOUT.replace("{seeds}", &seeds().to_string());
    text.push_str(
        "| case | before | during | after | mean after | recovered | waited | worst | served in the end \
         |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for case in all() {
        let figures = Figures::of(case, if is_whole() { seeds() } else { 1 });
        writeln!(text, "{}", row(&figures)).unwrap();
        fs::write(directory.join(format!("{}.svg", case.name)), plot::draw(&figures)).unwrap();
    }
    for case in cases::ALL {
        write!(text, "\n![{}]({}.svg)\n", case.about, case.name).unwrap();
    }
    fs::write(directory.join("README.md"), text).unwrap();
}

#[test]
fn every_case_is_published_as_a_plot_and_a_row() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet");
    let scratch = tempfile::tempdir().unwrap();
    let made = if is_whole() { home.as_path() } else { scratch.path() };
    publish(made);
    for case in all() {
        let name = format!("{}.svg", case.name);
        let plot = fs::read_to_string(made.join(&name)).unwrap();
        let drawn = plot.split("class=\"load\" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let bins = (case.shown.to - case.shown.from) / BIN;
        assert_eq!(drawn.matches('H').count() as u64, bins, "{name}");
        assert!(!plot.contains("NaN") && !plot.contains("inf"), "{name}");
        // What is committed tells of the same cases.
        let readme = fs::read_to_string(home.join("README.md")).unwrap();
        assert!(home.join(&name).exists() && readme.contains(&format!("]({name}) |")), "{name}");
    }
}
