//! The proxies page: which are connected, whether their configuration is current, and when their
//! certificates end.

use crate::scrape;
use crate::server::State;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One entry a proxy, from the control plane's `/debug/syncz`, with the certificate's remaining
/// life (seconds) from the proxy's own metrics.
pub async fn list(state: &State) -> anyhow::Result<Value> {
    let token = tokio::fs::read_to_string(&state.options.token).await.ok();
    let token = token.as_deref().map(str::trim);
    let text = scrape::request(&state.options.control_plane, "/debug/syncz", token).await?;
    let mut proxies: Value = serde_json::from_str(&text)?;
    let expiries: BTreeMap<String, f64> = {
        let store = state.store.read();
        store
            .series("cert_expiry_seconds")
            .filter_map(|series| {
                let proxy = format!("{}.{}", series.label("scraped_pod"), series.label("scraped_namespace"));
                Some((proxy, series.last()?))
            })
            .collect()
    };
    for proxy in proxies.as_array_mut().into_iter().flatten() {
        let name = proxy["proxy"].as_str().unwrap_or_default().to_owned();
        if let Some(seconds) = expiries.get(&name) {
            proxy["certificate_expires_in"] = json!(seconds);
        }
    }
    Ok(proxies)
}
