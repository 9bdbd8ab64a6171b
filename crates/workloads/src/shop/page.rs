//! The shop's only page.

use super::services::Item;
use crate::Identity;
use std::collections::BTreeMap;
use std::fmt::Write;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Mizzen shop</title>\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem;color:#12304a}\
table{width:100%;border-collapse:collapse}td,th{padding:.4rem;text-align:left;border-bottom:1px solid #d5e0e8}\
button{font:inherit;padding:.2rem .8rem}footer{margin-top:2rem;color:#5d7588;font-size:.85rem}</style>";

/// Renders the page.
pub fn render(identity: &Identity, items: &[Item], basket: &BTreeMap<String, u32>) -> String {
    let mut page =
        format!("{HEAD}<h1>Mizzen shop</h1><table><tr><th>Item<th>Price<th>In stock<th>In cart<th></tr>");
    for item in items {
        let name = escape(&item.name);
        let count = basket.get(&item.name).copied().unwrap_or(0);
        // Writing to a String does not fail.
        let _ = write!(
            page,
            "<tr><td>{name}<td>{}.{:02} €<td>{}<td>{count}<td><form method=\"post\" action=\"/buy/{}\"><button>Add</button></form></tr>",
            item.price_cents / 100,
            item.price_cents % 100,
            item.in_stock,
            name.replace(' ', "%20"),
        );
    }
    let _ = write!(
        page,
        "</table><form method=\"post\" action=\"/checkout\"><p><button>Check out</button></form>\
         <footer>served by {} {}</footer></html>",
        escape(&identity.pod),
        escape(&identity.version),
    );
    page
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
