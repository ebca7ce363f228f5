//! The last hour as bars: requests above, mints and failed mints below, and all of it in words.

use super::{super::history::MINUTES, Counts, Html};

/// Size of the drawing; it is stretched to the width of the page.
const HEIGHT: u64 = 100;
/// Width of a minute and of the bar in it.
const STEP: u64 = 10;
const BAR: u64 = 8;
/// Where the rows of mints begin, and how high they are.
const ROWS: [u64; 2] = [112, 124];
const ROW: u64 = 9;

/// Draws the minutes, the newest last and rightmost.
pub(super) fn draw(page: &mut Html, minutes: &[Counts]) {
    let summary = summary(minutes);
    page.raw("<section aria-labelledby=\"hour\">\n<h2 id=\"hour\">Last hour</h2>\n<figure>\n");
    page.raw(&format!("<figcaption>{summary}</figcaption>\n"));
    let (width, height) = (STEP * MINUTES as u64, ROWS[1] + ROW + 1);
    page.raw(&format!(
        "<svg role=\"img\" aria-label=\"{summary}\" viewBox=\"0 0 {width} {height}\" \
         preserveAspectRatio=\"none\">\n<path class=\"ground\" d=\"M0 {HEIGHT}.5H{width}\"/>\n"
    ));
    bars(page, minutes);
    page.raw("</svg>\n<p class=\"axis\" aria-hidden=\"true\"><span>60 min ago</span>");
    page.raw("<span>30</span><span>now</span></p>\n<p class=\"legend\" aria-hidden=\"true\">");
    for (class, word) in [("requests", "requests"), ("mints", "mints"), ("failed", "failed mints")]
    {
        page.raw(&format!("<span class=\"{class}\">{word}</span> "));
    }
    page.raw("</p>\n</figure>\n");
    table(page, minutes);
    page.raw("</section>\n");
}

fn summary(minutes: &[Counts]) -> String {
    let sum = |count: fn(&Counts) -> u64| minutes.iter().map(count).fold(0, u64::saturating_add);
    let most = minutes.iter().map(|minute| minute.requests).max().unwrap_or(0);
    format!(
        "{}, {most} in the busiest minute; {}, {} failed",
        counted(sum(|minute| minute.requests), "request"),
        counted(sum(|minute| minute.refreshes + minute.failures), "mint"),
        sum(|minute| minute.failures),
    )
}

fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn bars(page: &mut Html, minutes: &[Counts]) {
    let most = minutes.iter().map(|minute| minute.requests).max().unwrap_or(0).max(1);
    for (ago, minute) in minutes.iter().rev().take(MINUTES).enumerate() {
        let x = STEP * (MINUTES - 1 - ago) as u64 + (STEP - BAR) / 2;
        // What has happened at all is to be seen.
        let high = minute.requests.saturating_mul(HEIGHT).div_ceil(most).min(HEIGHT);
        bar(page, "requests", x, HEIGHT - high, high);
        for (class, count, y) in
            [("mints", minute.refreshes, ROWS[0]), ("failed", minute.failures, ROWS[1])]
        {
            bar(page, class, x, y, if count > 0 { ROW } else { 0 });
        }
    }
}

fn bar(page: &mut Html, class: &str, x: u64, y: u64, high: u64) {
    if high > 0 {
        let size = format!("x=\"{x}\" y=\"{y}\" width=\"{BAR}\" height=\"{high}\"");
        page.raw(&format!("<rect class=\"{class}\" {size}/>\n"));
    }
}

/// The same for who does not see it, or wants the numbers.
fn table(page: &mut Html, minutes: &[Counts]) {
    let newest = minutes.iter().rev().enumerate();
    let busy = newest.filter(|(_, minute)| **minute != Counts::default()).collect::<Vec<_>>();
    if busy.is_empty() {
        return;
    }
    page.raw("<details><summary>The same as a table</summary>\n");
    let heads = ["Minutes ago", "Requests", "Mints", "Failed"];
    page.table("Minutes in which something happened, the newest first", &heads);
    for (ago, minute) in busy {
        page.row(&ago.to_string());
        page.count("Requests", minute.requests);
        page.count("Mints", minute.refreshes);
        page.count("Failed", minute.failures);
        page.end_row();
    }
    page.end_table();
    page.raw("</details>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(minutes: &[Counts]) -> String {
        let mut page = Html(String::new());
        draw(&mut page, minutes);
        page.0
    }

    fn minute(requests: u64, refreshes: u64, failures: u64) -> Counts {
        Counts { requests, refreshes, failures }
    }

    #[test]
    fn the_newest_minute_is_at_the_right_and_the_busiest_is_the_highest() {
        let page = drawn(&[minute(50, 1, 0), minute(0, 0, 0), minute(1, 0, 2)]);
        for bar in [
            "class=\"requests\" x=\"571\" y=\"0\" width=\"8\" height=\"100\"",
            "class=\"requests\" x=\"591\" y=\"98\" width=\"8\" height=\"2\"",
            "class=\"mints\" x=\"571\" y=\"112\"",
            "class=\"failed\" x=\"591\" y=\"124\"",
        ] {
            assert!(page.contains(bar), "{bar}: {page}");
        }
        assert_eq!(page.matches("<rect").count(), 4);
        let words = "51 requests, 50 in the busiest minute; 3 mints, 2 failed";
        assert_eq!(page.matches(words).count(), 2, "as a caption and for who does not see: {page}");
    }

    #[test]
    fn nothing_and_very_much_can_be_drawn() {
        assert!(!drawn(&[]).contains("<rect"));
        assert!(
            drawn(&[minute(1, 1, 0)]).contains("1 request, 1 in the busiest minute; 1 mint, 0")
        );
        let much = drawn(&[minute(u64::MAX / 2, 0, 0); 60]);
        assert_eq!(much.matches("<rect").count(), 60);
        assert!(much.contains("x=\"1\""));
    }
}
