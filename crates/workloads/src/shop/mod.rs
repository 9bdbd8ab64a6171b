//! The demo shop: five small services that call each other as real ones do.
//!
//! ```text
//! storefront ── catalog ── inventory (deliberately flaky: retries in the mesh hide it)
//!     ├──────── cart
//!     └──────── payments (two versions, for the canary)
//! ```

mod page;
mod services;

use crate::client::{Caller, base_url};
use crate::server::{self, Application, Body, Connection, full};
use crate::{Identity, WorkloadError, log};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use services::Reply;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

/// Which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// The page, and the checkout
    Storefront,
    /// What there is, with prices and stock
    Catalog,
    /// What someone wants to buy
    Cart,
    /// Takes money
    Payments,
    /// What is in stock; fails now and then
    Inventory,
}

/// How to run one service.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which service to run
    #[arg(value_enum)]
    pub service: Service,
    /// Port to listen on
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,
    /// Where the catalog is
    #[arg(long, env = "CATALOG_URL", default_value = "http://catalog")]
    pub catalog: String,
    /// Where the cart is
    #[arg(long, env = "CART_URL", default_value = "http://cart")]
    pub cart: String,
    /// Where the payments are
    #[arg(long, env = "PAYMENTS_URL", default_value = "http://payments")]
    pub payments: String,
    /// Where the inventory is
    #[arg(long, env = "INVENTORY_URL", default_value = "http://inventory")]
    pub inventory: String,
    /// Percentage of its answers that the inventory fails with 503
    #[arg(long, env = "FAIL_PERCENT", default_value_t = 10.0)]
    pub fail_percent: f64,
}

/// Runs until told to end.
pub async fn run(options: Options) -> Result<(), WorkloadError> {
    let port = options.port;
    let shop = Shop::new(Identity::of_this_process(), options)?;
    log::line(&format!("{:?} listens on {port}", shop.service));
    server::run(&[port], shop).await
}

/// The manifests of the shop, as YAML documents: namespace, workloads, routes and policies.
pub fn manifests() -> &'static str {
    concat!(
        include_str!("../../../../samples/shop/1-namespace.yaml"),
        "---\n",
        include_str!("../../../../samples/shop/2-workloads.yaml"),
        "---\n",
        include_str!("../../../../samples/shop/3-routes.yaml"),
        "---\n",
        include_str!("../../../../samples/shop/4-policies.yaml"),
    )
}

/// One running service.
pub struct Shop {
    service: Service,
    identity: Identity,
    caller: Caller,
    catalog: Uri,
    cart: Uri,
    payments: Uri,
    inventory: Uri,
    /// From 0 to 1.
    failing_share: f64,
    /// Item to count. There is one shopper.
    basket: Mutex<BTreeMap<String, u32>>,
}

impl Shop {
    /// A service with the addresses of those it calls.
    pub fn new(identity: Identity, options: Options) -> Result<Self, WorkloadError> {
        Ok(Self {
            service: options.service,
            identity,
            caller: Caller::default(),
            catalog: base_url(&options.catalog)?,
            cart: base_url(&options.cart)?,
            payments: base_url(&options.payments)?,
            inventory: base_url(&options.inventory)?,
            failing_share: options.fail_percent.clamp(0.0, 100.0) / 100.0,
            basket: Mutex::default(),
        })
    }
}

impl Application for Shop {
    async fn answer(&self, request: Request<Incoming>, connection: Connection) -> Response<Body> {
        let began = Instant::now();
        // No service needs a body; hyper drops what is left of it.
        let (parts, _body) = request.into_parts();
        let reply = self.reply(&parts).await.unwrap_or_else(|error| {
            log::line(&format!("{} {}: {error}", parts.method, parts.uri.path()));
            Reply::text(StatusCode::BAD_GATEWAY, format!("{error}\n"))
        });
        let took = began.elapsed();
        log::request(&parts.method, parts.uri.path(), "HTTP", reply.status, took, connection.peer);
        let mut response = Response::new(full(reply.body));
        *response.status_mut() = reply.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        if let Ok(version) = HeaderValue::from_str(&self.identity.version) {
            headers.insert("x-version", version);
        }
        response
    }
}

#[cfg(test)]
#[path = "shop_tests.rs"]
mod tests;
