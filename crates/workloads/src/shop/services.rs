//! What each service answers.

use super::page;
use super::{Service, Shop};
use crate::client::{Answer, CallError, at, tracing_headers};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::PoisonError;

/// What is sold: name and price in cents.
const ITEMS: [(&str, u32); 4] =
    [("mizzen sail", 12_900), ("anchor", 4_500), ("compass", 2_999), ("rope", 799)];
/// Most of one item in the cart.
const MOST_OF_ONE: u32 = 99;

/// An answer before it becomes a response.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: String,
}

impl Reply {
    pub fn text(status: StatusCode, body: String) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }

    pub fn html(body: String) -> Self {
        Self { status: StatusCode::OK, content_type: "text/html; charset=utf-8", body }
    }

    fn json(value: &Value) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: format!("{value}\n") }
    }

    fn missing() -> Self {
        Self::text(StatusCode::NOT_FOUND, "there is nothing here\n".to_owned())
    }
}

/// Why a service has no answer of its own.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Address(#[from] crate::WorkloadError),
    #[error("{url} answered {status}")]
    Status { url: Uri, status: StatusCode },
    #[error("{url} answered something else than expected: {source}")]
    Content { url: Uri, source: serde_json::Error },
}

/// An item as the catalog tells it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Item {
    pub name: String,
    pub price_cents: u32,
    pub in_stock: u32,
}

impl Shop {
    /// Answers a request by the service this is.
    pub(super) async fn reply(&self, request: &Parts) -> Result<Reply, ServiceError> {
        let path = request.uri.path();
        if path == "/healthz" {
            return Ok(Reply::text(StatusCode::OK, "ok\n".to_owned()));
        }
        match (self.service, &request.method, path) {
            (Service::Storefront, &Method::GET, "/") => self.front_page(request).await,
            (Service::Storefront, &Method::POST, "/checkout") => self.check_out(request).await,
            (Service::Storefront, &Method::POST, path) if path.starts_with("/buy/") => {
                self.buy(request).await
            }
            (Service::Catalog, &Method::GET, "/items") => self.items(request).await,
            (Service::Cart, method, path) => Ok(self.cart_reply(method, path)),
            (Service::Payments, &Method::POST, "/pay") => Ok(self.pay()),
            (Service::Inventory, &Method::GET, "/stock") => Ok(self.stock(rand::random())),
            _ => Ok(Reply::missing()),
        }
    }

    async fn front_page(&self, request: &Parts) -> Result<Reply, ServiceError> {
        let (items, basket) = tokio::try_join!(
            self.get::<Vec<Item>>(request, &self.catalog, "/items"),
            self.get::<BTreeMap<String, u32>>(request, &self.cart, "/cart"),
        )?;
        Ok(Reply::html(page::render(&self.identity, &items, &basket)))
    }

    async fn buy(&self, request: &Parts) -> Result<Reply, ServiceError> {
        let item = request.uri.path().trim_start_matches("/buy/");
        let url = at(&self.cart, &format!("/cart/{item}"))?;
        let answer = self.call(request, Method::POST, &url).await?;
        Ok(Reply { status: answer.status, ..Reply::text(answer.status, text_of(&answer)) })
    }

    async fn check_out(&self, request: &Parts) -> Result<Reply, ServiceError> {
        let basket: BTreeMap<String, u32> = self.get(request, &self.cart, "/cart").await?;
        let url = at(&self.payments, "/pay")?;
        let answer = self.call(request, Method::POST, &url).await?;
        let paid: Value =
            serde_json::from_slice(&answer.body).map_err(|source| ServiceError::Content { url, source })?;
        let emptied = at(&self.cart, "/cart")?;
        self.call(request, Method::DELETE, &emptied).await?;
        Ok(Reply::json(&json!({"bought": basket, "payment": paid})))
    }

    async fn items(&self, request: &Parts) -> Result<Reply, ServiceError> {
        let stock: BTreeMap<String, u32> = self.get(request, &self.inventory, "/stock").await?;
        let item = |(name, price_cents): &(&str, u32)| Item {
            name: (*name).to_owned(),
            price_cents: *price_cents,
            in_stock: stock.get(*name).copied().unwrap_or(0),
        };
        Ok(Reply::json(&json!(ITEMS.iter().map(item).collect::<Vec<_>>())))
    }

    /// `GET /cart`, `POST /cart/ITEM`, `DELETE /cart`.
    pub(super) fn cart_reply(&self, method: &Method, path: &str) -> Reply {
        // A panic elsewhere leaves the map valid: every change to it is one call.
        let mut basket = self.basket.lock().unwrap_or_else(PoisonError::into_inner);
        match (method.as_str(), path.strip_prefix("/cart")) {
            ("GET", Some("")) => Reply::json(&json!(*basket)),
            ("DELETE", Some("")) => {
                basket.clear();
                Reply::json(&json!(*basket))
            }
            ("POST", Some(item)) => {
                let item = item.trim_start_matches('/').replace("%20", " ");
                if !ITEMS.iter().any(|(name, _)| *name == item) {
                    return Reply::text(StatusCode::NOT_FOUND, format!("there is no '{item}' in the shop\n"));
                }
                let count = basket.entry(item).or_default();
                *count = count.saturating_add(1).min(MOST_OF_ONE);
                Reply::json(&json!(*basket))
            }
            _ => Reply::missing(),
        }
    }

    pub(super) fn pay(&self) -> Reply {
        Reply::json(&json!({
            "paid": true,
            "version": self.identity.version,
            "pod": self.identity.pod,
        }))
    }

    /// The stock, or 503 when `roll` (from 0 up to 1) says so.
    pub(super) fn stock(&self, roll: f64) -> Reply {
        if roll < self.failing_share {
            return Reply::text(
                StatusCode::SERVICE_UNAVAILABLE,
                "the inventory is being counted\n".to_owned(),
            );
        }
        let stock: BTreeMap<&str, u32> = ITEMS.iter().map(|(name, price)| (*name, 5 + price % 17)).collect();
        Reply::json(&json!(stock))
    }

    async fn call(&self, request: &Parts, method: Method, url: &Uri) -> Result<Answer, ServiceError> {
        let answer = self.caller.call(method, url, tracing_headers(&request.headers)).await?;
        if answer.status.is_server_error() {
            return Err(ServiceError::Status { url: url.clone(), status: answer.status });
        }
        Ok(answer)
    }

    async fn get<T: serde::de::DeserializeOwned>(
        &self,
        request: &Parts,
        base: &Uri,
        path: &str,
    ) -> Result<T, ServiceError> {
        let url = at(base, path)?;
        let answer = self.call(request, Method::GET, &url).await?;
        serde_json::from_slice(&answer.body).map_err(|source| ServiceError::Content { url, source })
    }
}

fn text_of(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}
