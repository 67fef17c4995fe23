//! The shapes of bodies and answers, as the contract has them. Only described here: the values come from `app` and
//! `core`, and a test of the whole server compares their names.

#![expect(dead_code, reason = "these structs exist for their descriptions; nobody makes one")]

use crate::api::account::{Credentials, NewAccount, NewOrganization};
use crate::api::conversation::Answer;
use crate::api::integration::{ApiKey, Choice, PrivateApp, Release};
use crate::api::replay::NewReplay;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::ComponentsBuilder;

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])* #[derive(ToSchema)] struct $name { $($(#[$field_doc])* $field: $type,)* })*

        /// Adds all of them.
        pub(super) fn all(components: ComponentsBuilder) -> ComponentsBuilder {
            components
                .schema_from::<NewAccount>().schema_from::<Credentials>().schema_from::<NewOrganization>()
                .schema_from::<Choice>().schema_from::<ApiKey>().schema_from::<PrivateApp>().schema_from::<Release>().schema_from::<Answer>().schema_from::<NewReplay>()
                $(.schema_from::<$name>())*
        }
    };
}

shapes! {
    /// What is wrong.
    Failure { error: FailureDetail, }
    FailureDetail {
        /// A stable word.
        code: String,
        /// One sentence, with the remedy.
        message: String,
        /// For finding the request in the log.
        request_id: String,
        /// The field that is not acceptable.
        field: Option<String>,
    }
    Health { status: String, }
    UserRef { id: String, email: String, name: String, }
    OrganizationRef { id: String, name: String, }
    SignedUp { user: UserRef, organization: OrganizationRef, }
    SignedIn { user: UserRef, }
    MyOrganization { id: String, name: String, /** `owner`, `admin`, `agent` or `viewer`. */ role: String, }
    Me { user: UserRef, organizations: Vec<MyOrganization>, }
    Organization { id: String, name: String, role: String, created_at: String, }
    /// An account of a provider, connected. Holds no token.
    Integration {
        id: String,
        organization_id: String,
        /// `shopify`, `messenger` or `kustomer`.
        provider: String,
        /// `connected`, `needs_reconnect`, `paused` or `disconnected`.
        status: String,
        /// `{storeName, shop, shopId}`, `{pageId, pageName}` or `{subdomain, orgId, orgName, method}`.
        account_identifier: Value,
        scopes: Vec<String>,
        missing_scopes: Vec<String>,
        token_expires_at: Option<String>,
        connected_at: String,
        last_success_at: Option<String>,
        last_error: Option<LastError>,
    }
    LastError { code: String, message: String, at: String, }
    IntegrationList { items: Vec<Integration>, next_cursor: Option<String>, }
    Released { id: String, to_organization_id: String, expires_at: String, }
    OnOffer { id: String, provider: String, account: String, label: String, from_name: String, expires_at: String, }
    OnOfferList { items: Vec<OnOffer>, next_cursor: Option<String>, }
    StateChange { id: String, actor: String, status: String, code: String, message: String, at: String, }
    StateChangeList { items: Vec<StateChange>, next_cursor: Option<String>, }
    PageChoice { id: String, name: String, selectable: bool, reason: Option<String>, }
    PageList { items: Vec<PageChoice>, next_cursor: Option<String>, }
    TestReport { ok: bool, message: String, integration: Integration, }
    Location { location: String, }
    Accepted { accepted: bool, }
    Deletion { url: String, confirmation_code: String, }
    Event {
        id: String,
        organization_id: String,
        provider: String,
        topic: String,
        external_id: String,
        /// `pending`, `running`, `done`, `failed` or `dead`.
        state: String,
        attempts: i64,
        received_at: String,
        done_at: Option<String>,
        last_error: Option<String>,
    }
    EventList { items: Vec<Event>, next_cursor: Option<String>, }
    /// A step of an event.
    Moment {
        /// `received`, `committed`, `failed`, `dead`, `done`, `cancelled`, `replayed`, `waiting` or `running`.
        step: String,
        /// When; for what waits, when it is due. `null` where only the order is known.
        at: Option<String>,
        /// When the attempt began: a worker had leased it.
        begun_at: Option<String>,
        duration_ms: Option<i64>,
        reason: Option<String>,
        /// Who asked for it: a member's id, `operator`, or the id of a replay.
        actor: Option<String>,
    }
    EventDetail {
        id: String,
        organization_id: String,
        provider: String,
        topic: String,
        external_id: String,
        state: String,
        attempts: i64,
        received_at: String,
        done_at: Option<String>,
        last_error: Option<String>,
        /// What became of it, oldest first; of many attempts the last.
        timeline: Vec<Moment>,
        /// For owners and admins.
        payload: Option<Value>,
    }
    /// Events that are handled again, oldest first, at a pace.
    Replay {
        id: String,
        provider: Option<String>,
        topic: Option<String>,
        /// `dead`, `failed` or `done`.
        state: String,
        since: Option<String>,
        until: String,
        per_second: i64,
        /// `running`, `paused`, `done` or `cancelled`.
        status: String,
        /// How many events it meant when it was begun.
        total: i64,
        /// How many were put back into the queue so far.
        done: i64,
        created_at: String,
        ended_at: Option<String>,
    }
    ReplayList { items: Vec<Replay>, next_cursor: Option<String>, }
    Contact { id: String, name: String, }
    Conversation {
        id: String,
        organization_id: String,
        /// `messenger`; in a conversation that was imported, what its old platform called it.
        channel: String,
        /// None if it was imported: nobody can be answered in it.
        integration_id: Option<String>,
        contact: Contact,
        /// `bot`, `person` or `paused`.
        owner: String,
        /// `open` or `closed`.
        status: String,
        last_message_at: String,
    }
    ConversationList { items: Vec<Conversation>, next_cursor: Option<String>, }
    Message {
        id: String,
        /// `customer`, `bot`, `agent` or `system`.
        author: String,
        text: String,
        created_at: String,
        /// `received`, `queued`, `sent`, `delivered`, `read`, `failed` or `unknown`.
        delivery: String,
        error: Option<String>,
    }
    MessageList { items: Vec<Message>, next_cursor: Option<String>, }
    PrivacyCounts { conversations: i64, messages: i64, memories: i64, names: i64, events: i64, exports: i64, }
    /// A request that Shopify passed on. Names no customer.
    PrivacyRequest {
        id: String,
        organization_id: String,
        integration_id: String,
        shop: String,
        /// `customers/data_request`, `customers/redact` or `shop/redact`.
        kind: String,
        event_id: String,
        external_ref: String,
        /// `open` or `done`.
        state: String,
        received_at: String,
        due_at: String,
        done_at: Option<String>,
        /// `exported`, `exported_in_part`, `erased` or `kept_connected`.
        outcome: Option<String>,
        /// What was found or erased.
        counts: Option<PrivacyCounts>,
        /// Until when the export can be fetched.
        export_until: Option<String>,
        /// The signed receipt.
        receipt: Option<String>,
        receipt_verified: Option<bool>,
    }
    PrivacyRequestList { items: Vec<PrivacyRequest>, next_cursor: Option<String>, }
    /// What is held of a customer.
    PrivacyExport {
        request: String,
        shop: String,
        received_at: String,
        exported_at: String,
        /// Whom it is about: `{id, email, phone, orders}`.
        subject: Value,
        /// `false`: there was more than an export may hold.
        complete: bool,
        note: String,
        conversations: Vec<Value>,
        events: Vec<Value>,
    }
}
