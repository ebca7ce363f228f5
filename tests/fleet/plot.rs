//! One load over time as a picture, legible on light and on dark ground.

use std::fmt::Write as _;

use crate::{
    cases::{HOUR, Span},
    figures::{BIN, Figures},
};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
/// Of the plot itself: left, top, right, bottom.
const BOX: [f64; 4] = [56.0, 44.0, WIDTH - 16.0, HEIGHT - 44.0];

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .small { fill: #59636e }
  .ground { fill: #ffffff }
  .load { fill: #0969da }
  .event { fill: #d1242f; opacity: .22 }
  .grid { stroke: #d1d9e0 }
  .steady { stroke: #1a7f37; stroke-width: 1.5; stroke-dasharray: 6 4 }
  .word { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .ground { fill: #0d1117 }
    .load { fill: #4493f8 }
    .event { fill: #f85149; opacity: .34 }
    .grid { stroke: #3d444d }
    .steady { stroke: #3fb950 }
    .word { fill: #3fb950 }
  }
";

/// Draws the load of a case, as the mean of all seeds.
pub(crate) fn draw(figures: &Figures) -> String {
    let case = figures.case;
    let load = figures.load(case.shown);
    let scale = Scale { shown: case.shown, top: nice_top(usual_peak(&load)) };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n\
         <title>{about}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{}\" y=\"22\">{about}</text>\n",
        BOX[0],
        about = case.about
    );
    grid(&mut svg, &scale);
    bars(&mut svg, &scale, &load);
    event(&mut svg, &scale, case.event);
    steady(&mut svg, &scale);
    svg.push_str("</svg>\n");
    svg
}

struct Scale {
    shown: Span,
    top: f64,
}

impl Scale {
    fn x(&self, seconds: u64) -> f64 {
        let part = (seconds - self.shown.from) as f64 / (self.shown.to - self.shown.from) as f64;
        BOX[0] + part * (BOX[2] - BOX[0])
    }

    fn y(&self, load: f64) -> f64 {
        BOX[3] - load / self.top * (BOX[3] - BOX[1])
    }
}

/// The greatest load, but for bins that are few and far above the others: they are cut off, and told.
fn usual_peak(load: &[f64]) -> f64 {
    let mut sorted = load.to_vec();
    sorted.sort_by(f64::total_cmp);
    let usual = sorted[sorted.len() - 1 - sorted.len() / 50].max(1.6);
    let greatest = sorted[sorted.len() - 1];
    if greatest > 2.0 * usual { usual } else { greatest.max(usual) }
}

/// The next number of 2, 4, 8 and so on that is not less.
fn nice_top(load: f64) -> f64 {
    let tops = (1..10).map(|power| f64::from(1 << power));
    tops.into_iter().find(|top| *top >= load).unwrap_or(load)
}

fn event(svg: &mut String, scale: &Scale, event: Span) {
    let (left, right) = (scale.x(event.from), scale.x(event.to));
    let (width, height) = (right - left, BOX[3] - BOX[1]);
    writeln!(
        svg,
        "<rect class=\"event\" x=\"{left:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{height}\"/>",
        BOX[1]
    )
    .unwrap();
}

fn grid(svg: &mut String, scale: &Scale) {
    for part in 0..=4 {
        let load = scale.top * f64::from(part) / 4.0;
        let y = scale.y(load);
        writeln!(
            svg,
            "<path class=\"grid\" d=\"M{} {y:.1}H{}\"/>\
             <text class=\"small\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{load}</text>",
            BOX[0],
            BOX[2],
            BOX[0] - 8.0,
            y + 4.5
        )
        .unwrap();
    }
    let hours = (scale.shown.to - scale.shown.from) / HOUR;
    let every = [1, 2, 6, 12, 24].into_iter().find(|step| hours / step <= 12).unwrap_or(24);
    let ticks = (scale.shown.from / HOUR..=scale.shown.to / HOUR).filter(|hour| hour % every == 0);
    for hour in ticks {
        writeln!(
            svg,
            "<text class=\"small\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{hour}</text>",
            scale.x(hour * HOUR),
            BOX[3] + 18.0
        )
        .unwrap();
    }
    let middle = f64::midpoint(BOX[0], BOX[2]);
    writeln!(
        svg,
        "<text class=\"small\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">hours since the \
         deployment</text>\n<text class=\"small\" x=\"{}\" y=\"38\">calls in five minutes, in units of \
         the steady load</text>",
        HEIGHT - 8.0,
        BOX[0]
    )
    .unwrap();
}

fn bars(svg: &mut String, scale: &Scale, load: &[f64]) {
    let mut path = format!("M{} {}", BOX[0], BOX[3]);
    for (seconds, load) in (scale.shown.from..).step_by(BIN as usize).zip(load) {
        let right = scale.x((seconds + BIN).min(scale.shown.to));
        write!(path, "V{:.1}H{right:.1}", scale.y(load.min(scale.top))).unwrap();
        if *load > scale.top {
            writeln!(
                svg,
                "<text class=\"small\" x=\"{:.1}\" y=\"{}\">{load:.1}</text>",
                right + 4.0,
                BOX[1] + 14.0
            )
            .unwrap();
        }
    }
    writeln!(svg, "<path class=\"load\" d=\"{path}V{}Z\"/>", BOX[3]).unwrap();
}

fn steady(svg: &mut String, scale: &Scale) {
    let y = scale.y(1.0);
    writeln!(
        svg,
        "<path class=\"steady\" d=\"M{} {y:.1}H{}\"/>\
         <text class=\"word\" x=\"{}\" y=\"38\" text-anchor=\"end\">dashed: steady load; shaded: what \
         happens</text>",
        BOX[0], BOX[2], BOX[2]
    )
    .unwrap();
}
