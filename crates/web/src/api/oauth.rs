//! To the provider and back.

use super::Query;
use crate::failure::{Asked, Failure, Outcome};
use crate::gate::{Member, Visitor};
use crate::{Shared, page};
use agenstack_app::AppError;
use agenstack_app::connect::{self, Begin, Outcome as Ended};
use agenstack_core::integration::Provider;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, header};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct What {
    shop: Option<String>,
    subdomain: Option<String>,
}

pub(crate) fn provider_of(text: &str) -> Result<Provider, Failure> {
    Provider::parse(text).ok_or(Failure(AppError::NotFound))
}

/// `GET /api/oauth/{provider}/redirect`
pub(crate) async fn redirect(
    State(shared): State<Shared>,
    Path(provider): Path<String>,
    member: Member,
    Query(what): Query<What>,
) -> Outcome<Response> {
    let begin = Begin { provider: provider_of(&provider)?, shop: what.shop, subdomain: what.subdomain };
    let url = connect::begin(shared.app(), &member.org, &member.session, begin).await?;
    // 302, as the contract says; the address is one that we built from checked parts.
    Ok((StatusCode::FOUND, [(header::LOCATION, url)]).into_response())
}

/// `GET /api/oauth/{provider}/callback`
pub(crate) async fn callback(
    State(shared): State<Shared>,
    Path(provider): Path<String>,
    Asked(ctx): Asked,
    Visitor(session): Visitor,
    RawQuery(query): RawQuery,
) -> Outcome<Response> {
    let provider = provider_of(&provider)?;
    let query = query.unwrap_or_default();
    let ended = connect::callback(shared.app(), &ctx, session.as_ref(), provider, &query).await?;
    Ok(match ended {
        Ended::Connected { org, provider } => to(&format!("/orgs/{org}/integrations?{provider}=connected")),
        Ended::ChoosePage { org } => to(&format!("/orgs/{org}/integrations/messenger/pages")),
        Ended::Failed { org, provider, reason } => {
            to(&format!("/orgs/{org}/integrations?{provider}=error&reason={reason}"))
        }
        Ended::StateRefused => page::connect::state_refused(&shared, provider, session.is_some()),
    })
}

fn to(path: &str) -> Response {
    Redirect::to(path).into_response()
}
