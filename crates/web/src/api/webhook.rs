//! What providers send. The body is taken as bytes: its signature is over exactly these.

use crate::Shared;
use crate::failure::Asked;
use agenstack_app::ingest::{self, Accepted, Refused};
use agenstack_app::privacy;
use agenstack_core::ctx::{Actor, Ctx};
use agenstack_core::integration::Provider;
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;

fn ctx_of(mut ctx: Ctx, provider: Provider) -> Ctx {
    ctx.actor = Actor::Provider(provider);
    ctx
}

fn answer(ctx: &Ctx, outcome: Result<Accepted, Refused>) -> Response {
    let (status, code, text, wait) = match outcome {
        Ok(_) => return (StatusCode::OK, Json(json!({"accepted": true}))).into_response(),
        Err(Refused::Signature) => {
            (StatusCode::UNAUTHORIZED, "signature", "The signature is not right.", None)
        }
        Err(Refused::Malformed) => {
            (StatusCode::BAD_REQUEST, "invalid", "A header of the delivery is missing.", None)
        }
        Err(Refused::NotSetUp) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "provider_not_set_up",
            "This provider is not set up.",
            Some(3600),
        ),
        Err(Refused::Busy) => {
            tracing::warn!(request.id = %ctx.request, "a delivery was refused because too many wait");
            (StatusCode::SERVICE_UNAVAILABLE, "busy", "Too much is coming in; deliver it again.", Some(1))
        }
        // Told once in the log, when it was found out: by the thousand it would fill the disk.
        Err(Refused::Away) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "It could not be stored just now; deliver it again.",
            Some(5),
        ),
        Err(Refused::NotCommitted(error)) => {
            tracing::error!(request.id = %ctx.request, error = ?error, "a delivery could not be committed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "It could not be stored just now; deliver it again.",
                Some(5),
            )
        }
        Err(Refused::Unavailable(error)) => {
            tracing::error!(request.id = %ctx.request, code = error.code(), error = ?error, "a delivery could not be committed");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "It could not be stored just now; deliver it again.",
                Some(5),
            )
        }
    };
    let body = json!({"error": {"code": code, "message": text, "request_id": ctx.request}});
    let mut response = (status, Json(body)).into_response();
    if let Some(secs) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    response
}

/// `POST /api/webhooks/shopify`
pub(crate) async fn shopify(
    State(shared): State<Shared>,
    Asked(ctx): Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let ctx = ctx_of(ctx, Provider::Shopify);
    answer(&ctx, ingest::shopify(shared.app(), &ctx, &headers, &body).await)
}

/// `POST /api/webhooks/messenger`
pub(crate) async fn messenger(
    State(shared): State<Shared>,
    Asked(ctx): Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let ctx = ctx_of(ctx, Provider::Messenger);
    answer(&ctx, ingest::messenger(shared.app(), &ctx, &headers, &body).await)
}

/// `POST /api/webhooks/kustomer/{integration}`
pub(crate) async fn kustomer(
    State(shared): State<Shared>,
    Path(integration): Path<String>,
    Asked(ctx): Asked,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let ctx = ctx_of(ctx, Provider::Kustomer);
    answer(&ctx, ingest::kustomer(shared.app(), &ctx, &integration, &headers, &body).await)
}

/// `POST /api/webhooks/messenger/deauthorize`: a person removed the app.
pub(crate) async fn deauthorize(State(shared): State<Shared>, Asked(ctx): Asked, body: Bytes) -> Response {
    let ctx = ctx_of(ctx, Provider::Messenger);
    let done = privacy::deauthorize(shared.app(), &ctx, &body).await;
    answer(&ctx, done.map(|()| Accepted::default()))
}

/// `POST /api/webhooks/messenger/data-deletion`: a person wants their data deleted.
pub(crate) async fn data_deletion(State(shared): State<Shared>, Asked(ctx): Asked, body: Bytes) -> Response {
    let ctx = ctx_of(ctx, Provider::Messenger);
    match privacy::data_deletion(shared.app(), &ctx, &body).await {
        Ok(deletion) => Json(deletion).into_response(),
        Err(refused) => answer(&ctx, Err(refused)),
    }
}

/// `GET /api/webhooks/messenger`: Meta checks the address.
pub(crate) async fn challenge(
    State(shared): State<Shared>,
    Asked(ctx): Asked,
    RawQuery(query): RawQuery,
) -> Response {
    match ingest::messenger_challenge(shared.app(), &query.unwrap_or_default()) {
        Ok(Some(challenge)) => {
            ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], challenge).into_response()
        }
        Ok(None) => {
            let body = json!({"error": {"code": "verify_token", "message": "The verify token is not right.", "request_id": ctx.request}});
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
        Err(refused) => answer(&ctx, Err(refused)),
    }
}
