//! Short ways to rows.

use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::ctx::{OrgCtx, Route};
use agenstack_core::id::{
    ContactId, ConversationId, EventId, FlowId, MessageId, OrgId, PrivacyRequestId, SessionId, UserId,
};
use agenstack_core::integration::{Integration, Provider};
use agenstack_core::privacy::{PrivacyKind, PrivacyRequest};
use agenstack_store::Store;
use agenstack_store::global::flow::{Flow, FlowClient};
use agenstack_store::global::queue::{Attempt, Fronts, Leased, Queue, Wanted};
use agenstack_store::tenant::conversation::StoredConversation;
use agenstack_store::tenant::message::StoredMessage;
use agenstack_store::tenant::offer::PageOffer;
use agenstack_store::testing::{World, sealed};

/// A begun authorization, not stored, good for ten minutes.
pub fn flow(w: &World, org: &OrgId, provider: Provider) -> Flow {
    Flow {
        id: w.id(FlowId::new),
        org: org.clone(),
        user: w.id(UserId::new),
        session: w.id(SessionId::new),
        provider,
        account: "lark.myshopify.com".into(),
        reconnects: None,
        verifier: Some(sealed("verifier")),
        client: Some(FlowClient { id: "client".into(), secret: sealed("client secret") }),
        created_at: w.now(),
        expires_at: w.now().plus_secs(600),
    }
}

/// A message, not stored.
pub fn message(
    w: &World,
    conversation: &ConversationId,
    author: Author,
    delivery: Delivery,
    external_id: Option<&str>,
) -> StoredMessage {
    StoredMessage {
        id: w.id(MessageId::new),
        conversation_id: conversation.clone(),
        author,
        text: sealed("text"),
        delivery,
        external_id: external_id.map(str::to_owned),
        error: None,
        handed_out_at: None,
        created_at: w.now(),
    }
}

/// A page on offer, not stored.
pub fn offer(w: &World, page_id: &str, name: &str) -> PageOffer {
    PageOffer {
        page_id: page_id.into(),
        name: name.into(),
        reason: None,
        access_token: Some(sealed("page token")),
        scopes: vec!["pages_messaging".into()],
        acting_user_id: "acting".into(),
        reconnects: None,
        offered_at: w.now(),
    }
}

/// A request for a customer's data, not stored.
pub fn request(w: &World, shop: &Integration) -> PrivacyRequest {
    PrivacyRequest {
        id: w.id(PrivacyRequestId::new),
        integration_id: shop.id.clone(),
        event_id: w.id(EventId::new),
        kind: PrivacyKind::DataRequest,
        external_ref: "delivery".into(),
        received_at: w.now(),
        done_at: None,
        expires_at: None,
        receipt: None,
    }
}

/// The way to a connection.
pub fn route(it: &Integration) -> Route {
    Route { org: it.organization_id.clone(), integration: it.id.clone(), generation: it.generation }
}

/// An accepted event of a connection.
pub async fn accept(store: &Store, w: &World, it: &Integration, dedup: &str, order: &str) -> EventId {
    let event = w.incoming(it.provider, dedup, order);
    let mut tx = store.global().await.expect("a transaction");
    assert!(tx.event_accept(&route(it), &event).await.expect("a new event"), "{dedup} was there already");
    tx.commit().await.expect("a commit");
    event.id
}

/// Leases due rows for a minute.
pub async fn lease(store: &Store, queue: Queue, token: &str, now: Timestamp, limit: i64) -> Vec<Leased> {
    let mut tx = store.global().await.expect("a transaction");
    let mut leased = Vec::new();
    for attempt in [Attempt::First, Attempt::Again] {
        let limit = limit - leased.len() as i64;
        let wanted = Wanted { queue, attempt, limit, each: limit, busy: &[], fronts: Fronts::default() };
        leased.extend(tx.lease(wanted, token, now, now.plus_secs(60)).await.expect("a lease"));
    }
    leased.sort_by(|a, b| a.id.cmp(&b.id));
    tx.commit().await.expect("a commit");
    leased
}

/// The ids of leased rows.
pub fn ids(leased: &[Leased]) -> Vec<&str> {
    leased.iter().map(|l| l.id.as_str()).collect()
}

/// A stored conversation with a customer of a page.
pub async fn conversation(
    store: &Store,
    w: &World,
    org: &OrgCtx,
    page: &Integration,
    customer: &str,
) -> StoredConversation {
    let fresh = (w.id(ConversationId::new), w.id(ContactId::new));
    let mut tx = store.tenant(org).await.expect("a transaction");
    let opened = tx.conversation_open((&fresh.0, &fresh.1), &page.id, customer, "Bo", w.now()).await;
    tx.commit().await.expect("a commit");
    opened.expect("a conversation")
}
