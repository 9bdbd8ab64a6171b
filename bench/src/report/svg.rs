//! A plot: for each scenario the figure that decides, a bar a target, with the spread as a line.

use super::Rows;
use crate::scenario::Scenario;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 110.0;
const BAR: f64 = 18.0;
const HEAD: f64 = 34.0;
/// Room for the figure behind the longest bar.
const RIGHT: f64 = 150.0;

/// Draws all scenarios below each other.
pub fn render(scenarios: &[(Scenario, Rows)]) -> String {
    let mut body = String::new();
    let mut y = 10.0;
    for (scenario, rows) in scenarios {
        let Some(figure) = rows.deciding() else { continue };
        body += &text(10.0, y + 20.0, "head", &format!("{}: {figure}", scenario.name));
        y += HEAD;
        let spreads: Vec<_> = rows.iter().filter_map(|row| Some((row.name, row.spread(figure)?))).collect();
        let largest = spreads.iter().map(|(_, spread)| spread.max).fold(f64::MIN_POSITIVE, f64::max);
        let scale = |value: f64| value.max(0.0) / largest * (WIDTH - LEFT - RIGHT);
        for (name, spread) in spreads {
            let middle = y + BAR / 2.0 - 2.0;
            body += &text(10.0, y + 12.0, "name", name);
            body += &format!(
                "<rect class=\"{name}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
                scale(spread.median),
                BAR - 4.0
            );
            let (from, to) = (LEFT + scale(spread.min), LEFT + scale(spread.max));
            body += &format!(
                "<line x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\" stroke=\"#222\"/>\n"
            );
            body += &text(to + 8.0, y + 12.0, "name", &format!("{:.3}", spread.median));
            y += BAR;
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{:.0}\" font-family=\"sans-serif\">\n\
         <style>.head{{font-size:14px;font-weight:bold}}.name{{font-size:12px}}\
         rect{{fill:#9aa5b1}}rect.mizzen{{fill:#2f6fde}}</style>\n\
         <rect style=\"fill:#fff\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n",
        y + 10.0
    )
}

fn text(x: f64, y: f64, class: &str, content: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{content}</text>\n")
}
