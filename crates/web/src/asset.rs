//! Style and script, inside the binary, under an address that changes with their content.

use crate::failure::{Failure, Outcome};
use agenstack_app::AppError;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A file of the pages.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: &[Asset] = &[
    Asset { name: "app.css", kind: CSS, bytes: include_bytes!("../assets/app.css") },
    Asset { name: "app.js", kind: SCRIPT, bytes: include_bytes!("../assets/app.js") },
    Asset { name: "htmx.js", kind: SCRIPT, bytes: include_bytes!("../assets/vendor/htmx.min.js") },
    Asset { name: "icon.svg", kind: "image/svg+xml", bytes: include_bytes!("../assets/icon.svg") },
];

static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.bytes);
    }
    hash.finalize()[..6].iter().map(|b| format!("{b:02x}")).collect()
});

/// The folder of the present files, such as `/static/0a1b2c3d4e5f`.
pub(crate) fn folder() -> String {
    format!("/static/{}", *HASH)
}

/// A file. An address of another release gives nothing, so that old style never meets new markup.
pub(crate) async fn serve(Path((hash, name)): Path<(String, String)>) -> Outcome<Response> {
    let found = ASSETS.iter().find(|a| a.name == name && hash == *HASH);
    let asset = found.ok_or(Failure(AppError::NotFound))?;
    let headers =
        [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    Ok((headers, asset.bytes).into_response())
}
