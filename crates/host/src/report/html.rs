//! One page that holds everything it needs: rows, style, script and the library that draws its charts.

use serde_json::json;
use webnibble_common::record::RunRecord;

use super::{ReportRow, about};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const CHARTS: &str = include_str!("charts.js");
const SCRIPT: &str = include_str!("page.js");

/// The page. `chart_library` is the text of Chart.js as a classic script.
pub fn html(title: &str, records: &[RunRecord], chart_library: &str) -> String {
    let rows: Vec<_> = records.iter().map(row).collect();
    let run = records.first().map(|record| &record.run);
    let about = run.map(about);
    fill(
        PAGE,
        &[
            ("title", &escape(title)),
            ("about", &escape(&about.unwrap_or_default())),
            ("style", STYLE),
            ("charts", CHARTS),
            ("script", SCRIPT),
            ("rows", &script_json(&json!(rows))),
            ("chart_library", &chart_library.replace("</script", "<\\/script")),
        ],
    )
}

/// Puts texts in the `{{places}}` of a template. What is put in is left as it is, whatever it looks like.
fn fill(template: &str, texts: &[(&str, &str)]) -> String {
    let mut parts = template.split("{{");
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (place, rest) = part.split_once("}}").expect("the template closes its places");
        let (_, text) = texts.iter().find(|(name, _)| *name == place).expect("the template has no other places");
        page.push_str(text);
        page.push_str(rest);
    }
    page
}

/// A row with what charts group it by.
fn row(record: &RunRecord) -> serde_json::Value {
    let row = ReportRow::of(record);
    let series = row.series();
    let mut value = serde_json::to_value(row).expect("rows are plain data");
    value["series"] = json!(series);
    value
}

/// JSON inside a script element: nothing in it ends the element.
fn script_json(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{failed, ran};

    #[test]
    fn the_page_holds_its_rows_and_asks_nobody_for_more() {
        let mut odd = failed("edge", 4);
        odd.error.as_mut().unwrap().message = "</script><b>{{chart_library}}".into();
        let page = html("A <b> title", &[ran("chrome", 4, 10.0), odd], "var Chart = \"</script>\";");
        assert!(page.contains("A &lt;b&gt; title") && !page.contains("{{title}}"));
        let rows = page.split("id=\"rows\">").nth(1).unwrap().split("</script>").next().unwrap();
        let rows: Vec<serde_json::Value> = serde_json::from_str(rows).unwrap();
        assert_eq!((rows.len(), &rows[0]["p50_ms"]), (2, &json!(10.0)));
        for part in ["src=\"http", "href=\"http", "@import", "<b>"] {
            assert!(!page.contains(part), "{part}");
        }
    }
}
