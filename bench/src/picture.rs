//! The SVG of jobs per second over time.

use crate::numbers::grouped;
use std::fmt::Write;

pub struct Line {
    pub name: String,
    /// One for each second.
    pub values: Vec<f64>,
}

const COLOURS: [&str; 7] =
    ["#c0392b", "#e59866", "#2471a3", "#1e8449", "#7d3c98", "#b7950b", "#566573"];
const TITLE: &str = "Jobs enqueued, claimed and finished per second while a snapshot is held open";
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 370.0;

/// The scale is logarithmic: a queue that loses three quarters of its speed is seen to, however fast another one is.
pub fn draw(lines: &[Line]) -> String {
    let seconds = lines.iter().map(|line| line.values.len()).max().unwrap_or(1) as f64;
    let values =
        || lines.iter().flat_map(|line| &line.values).copied().filter(|value| *value > 0.0);
    let marks = marks(values().fold(f64::MAX, f64::min), values().fold(1.0, f64::max));
    let (bottom, top) = (marks[0], marks[marks.len() - 1]);
    let x = |second: f64| LEFT + (RIGHT - LEFT) * second / seconds;
    let y = |value: f64| {
        BOTTOM - (BOTTOM - TOP) * (value.max(bottom) / bottom).ln() / (top / bottom).ln()
    };

    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{LEFT}" y="28" font-size="16">{TITLE}</text>
<g font-size="13">
"#
    );
    // Writing to a String can't fail.
    for value in &marks {
        let (at, label) = (y(*value), text(LEFT - 8.0, y(*value) + 4.0, "end", &grouped(*value)));
        let _ = writeln!(svg, r##"<path d="M{LEFT} {at:.1}H{RIGHT}" stroke="#ddd"/>{label}"##);
    }
    for sixth in 0..=6 {
        let second = seconds * f64::from(sixth) / 6.0;
        let label = text(x(second), BOTTOM + 20.0, "middle", &format!("{second:.0} s"));
        let _ = writeln!(svg, "{label}");
    }
    for (i, line) in lines.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut path = String::new();
        for (second, value) in line.values.iter().enumerate() {
            let letter = if second == 0 { 'M' } else { 'L' };
            // In the middle of its second.
            let _ = write!(path, "{letter}{:.1} {:.1}", x(second as f64 + 0.5), y(*value));
        }
        let stroke = format!(r#"fill="none" stroke="{colour}" stroke-width="2""#);
        let _ = writeln!(svg, r#"<path d="{path}" {stroke}/>"#);
        let at = TOP + 10.0 + 24.0 * i as f64;
        let label = text(RIGHT + 40.0, at + 4.0, "start", &line.name);
        let _ = writeln!(svg, r#"<path d="M{:.1} {at}h20" {stroke}/>{label}"#, RIGHT + 14.0);
    }
    svg + "</g>\n</svg>\n"
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    format!(r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#)
}

/// Round numbers, the first at or below the lowest value, the last at or above the highest.
fn marks(lowest: f64, highest: f64) -> Vec<f64> {
    let mut marks = Vec::new();
    let mut power = 1.0;
    while marks.last().is_none_or(|mark| *mark < highest) {
        for mark in [1.0, 2.0, 5.0].map(|digit| digit * power) {
            if marks.last().is_none_or(|mark| *mark < highest) {
                marks.push(mark);
            }
        }
        power *= 10.0;
    }
    let below = marks.iter().rposition(|mark| *mark <= lowest).unwrap_or(0);
    marks.split_off(below.min(marks.len() - 2))
}
