//! What watchers are given: the live page, which verifies by itself, and the stream of results.

mod page;
mod providers;
mod stream;

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use protocol::ids::ElectionId;

pub use providers::Providers;
pub use stream::Watchers;

use stream::Updates;
pub(crate) use stream::{Updates as LiveUpdates, event};

/// The routes of one election:
///
/// - `GET /elections/<id>` leads to the page, with 308;
/// - `GET /elections/<id>/` and its scripts and style sheet (files without a folder of their own, so that all links are relative);
/// - `GET /elections/<id>/events`: server-sent events, `event: results` with the bytes of `results.json` as data.
///
/// The page also fetches `manifest.json` and `results.json` beside it: those are the published tree's, which somebody else serves.
/// All paths hold the id itself, so the router can be merged with others, of other elections too.
pub(crate) fn router(election: ElectionId, updates: Updates, providers: &Providers) -> Router {
    let root = format!("/elections/{election}");
    let mut router = Router::new();
    for asset in page::ASSETS {
        let policy = page::policy(asset, providers);
        router = router.route(
            &format!("{root}/{}", asset.name),
            get(move || async move { page::serve(asset, policy) }),
        );
    }
    let page = format!("{root}/");
    router
        // All links of the page are relative, so it must stand behind the slash.
        .route(
            &root,
            get(move || async move { Redirect::permanent(&page) }),
        )
        .route(&format!("{root}/events"), get(stream::events))
        .with_state(updates)
}
