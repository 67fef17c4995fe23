//! Every tenant method, called with the ids and secrets of one organization, whoever's the transaction is.
//!
//! A stranger's call must find and change nothing; the organization's own call must find or change something, or the
//! sweep proves nothing. A new method is missing here until it is added: `isolation.rs` compares with the sources.

use super::make;
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Conversation, Delivery};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::event::{Event, EventHistory, EventState, EventStep, Replay, ReplayStatus};
use agenstack_core::id::{
    AuditId, BroughtId, ContactId, ConversationId, DataKeyId, EventId, FarewellId, HistoryId, JobId, MailId,
    OrgId, ReplayId, TransferId, UserId,
};
use agenstack_core::integration::{
    ConnectionStatus, Integration, LastError, Provider, SealedTokens, StateChange, Subscription,
};
use agenstack_core::org::Organization;
use agenstack_core::privacy::PrivacyRequest;
use agenstack_core::sealed::Sealed;
use agenstack_store::global::flow::Flow;
use agenstack_store::global::key::StoredKey;
use agenstack_store::global::queue::Queue;
use agenstack_store::global::transfer::Offer;
use agenstack_store::tenant::brought::Brought;
use agenstack_store::tenant::conversation::{ImportedConversation, StoredConversation};
use agenstack_store::tenant::event::{EventFilter, Found, StoredEvent};
use agenstack_store::tenant::event_minute::{MinuteRow, Waiting};
use agenstack_store::tenant::farewell::Farewell;
use agenstack_store::tenant::former::FormerAccount;
use agenstack_store::tenant::integration::{Ends, RefreshedTokens, Tokens};
use agenstack_store::tenant::message::StoredMessage;
use agenstack_store::tenant::offer::PageOffer;
use agenstack_store::tenant::outbox::{Letter, MailState};
use agenstack_store::tenant::privacy::StoredExport;
use agenstack_store::tenant::retention::{Expired, Kept};
use agenstack_store::tenant::sealed::SEALED;
use agenstack_store::testing::{World, sealed, tokens};
use agenstack_store::{Store, StoreError, TenantTx};

/// An organization with rows in every tenant table, in every state that some method asks for.
pub struct Full {
    /// Its owner's proof.
    pub org: OrgCtx,
    /// Its shop; somebody holds the right to refresh until `refresh`.
    pub shop: Integration,
    /// Its page; nobody holds the right to refresh.
    pub page: Integration,
    refresh: Timestamp,
    flow: Flow,
    token: String,
    running: EventId,
    failed: EventId,
    pending: EventId,
    ended: EventId,
    asked: PrivacyRequest,
    exported: PrivacyRequest,
    job: JobId,
    waiting_job: JobId,
    dead_job: JobId,
    conversation: Conversation,
    queued: StoredMessage,
    handed_out: StoredMessage,
    sent: StoredMessage,
    said: StoredMessage,
    change: StateChange,
    farewell: Farewell,
    offer: Offer,
    mail: MailId,
    replay: Replay,
    left: MailId,
    person: UserId,
}

impl Full {
    /// Stores one; `name` tells it from others in the same database.
    pub async fn new(w: &World, store: &Store, name: &str) -> Self {
        let (org, _) = w.organization(store, name).await;
        let shop = w.connection(store, &org, Provider::Shopify, &format!("{name}.myshopify.com")).await;
        let page = w.connection(store, &org, Provider::Messenger, &format!("page {name}")).await;
        let token = format!("lease {name}");
        let event = |n: &str| format!("{name} {n}");
        let running = make::accept(store, w, &shop, &event("running"), &event("running")).await;
        let failed = make::accept(store, w, &shop, &event("failed"), &event("failed")).await;
        let ended = make::accept(store, w, &page, &event("ended"), &event("ended")).await;
        let (job, waiting_job, dead_job) = (w.id(JobId::new), w.id(JobId::new), w.id(JobId::new));
        let mut tx = store.tenant(&org).await.expect("a transaction");
        tx.job_add(&job, "send", "the subject", job.as_str(), w.now(), w.now()).await.expect("a job");
        tx.job_add(&waiting_job, "send", "{}", waiting_job.as_str(), w.now(), w.now()).await.expect("a job");
        tx.job_add(&dead_job, "send", "{}", dead_job.as_str(), w.now(), w.now()).await.expect("a job");
        tx.commit().await.expect("a commit");
        for (queue, rows) in [(Queue::Events, 3), (Queue::Jobs, 3)] {
            let leased = make::lease(store, queue, &token, w.now(), 1000).await;
            assert_eq!(leased.iter().filter(|row| row.org == *org.org()).count(), rows);
        }
        let tomorrow = w.now().plus_secs(86_400);
        let mut late = w.incoming(Provider::Shopify, &event("pending"), &event("pending"));
        late.received_at = tomorrow;
        let mut tx = store.global().await.expect("a transaction");
        tx.event_accept(&make::route(&shop), &late).await.expect("a new event");
        let key =
            StoredKey { id: w.id(DataKeyId::new), master_key_id: "m1".into(), wrapped: sealed("wrapped") };
        tx.key_add(org.org(), &key, w.now()).await.expect("a key");
        tx.reseal_begin(org.org(), &key.id, w.now()).await.expect("a renewal");
        tx.commit().await.expect("a commit");

        let opened = make::conversation(store, w, &org, &page, &format!("customer {name}")).await;
        let mut conversation = opened.conversation;
        conversation.kustomer_id = Some(format!("kustomer {name}"));
        let c = &conversation.id;
        let queued = make::message(w, c, Author::Bot, Delivery::Queued, None);
        let handed_out = make::message(w, c, Author::Bot, Delivery::Queued, None);
        let sent = make::message(w, c, Author::Bot, Delivery::Sent, Some("mid sent"));
        let said = make::message(w, c, Author::Customer, Delivery::Received, Some("mid said"));
        let flow = make::flow(w, org.org(), Provider::Shopify);
        let refresh = w.now().plus_secs(60);
        let (asked, exported) = (make::request(w, &shop), make::request(w, &shop));
        let it = Self {
            refresh,
            flow,
            token,
            running,
            failed,
            pending: late.id,
            ended,
            asked,
            exported,
            job,
            waiting_job,
            dead_job,
            conversation,
            queued,
            handed_out,
            sent,
            said,
            change: history(w, &shop),
            farewell: farewell(w, &shop),
            offer: offer(w, &shop, &w.id(OrgId::new)),
            mail: w.id(MailId::new),
            replay: replay(w),
            left: w.id(MailId::new),
            person: w.id(UserId::new),
            org,
            shop,
            page,
        };
        it.fill(w, store, tomorrow).await.expect("an organization may fill its own tables");
        it
    }

    async fn fill(&self, w: &World, store: &Store, tomorrow: Timestamp) -> Result<(), StoreError> {
        let mut tx = store.tenant(&self.org).await?;
        tx.event_failed(&self.failed, &self.token, EventState::Failed, tomorrow, "no answer").await?;
        tx.event_done(&self.ended, &self.token, w.now(), w.now()).await?;
        tx.job_failed(&self.waiting_job, &self.token, EventState::Failed, tomorrow, "no answer").await?;
        tx.job_failed(&self.dead_job, &self.token, EventState::Dead, w.now(), "no answer").await?;
        tx.event_history_add(&self.failed, &step(w)).await?;
        tx.conversation_update(&self.conversation, Some(&sealed("memory"))).await?;
        for message in [&self.queued, &self.handed_out, &self.sent, &self.said] {
            assert!(tx.message_add(message).await?);
        }
        assert!(tx.message_handed_out(&self.handed_out.id, w.now()).await?);
        tx.message_about_set(&self.sent.id, &self.shop.id).await?;
        tx.privacy_open(&self.asked).await?;
        tx.privacy_open(&self.exported).await?;
        assert!(
            tx.privacy_done(&self.exported.id, w.now(), "signed", Some((&sealed("export"), tomorrow)))
                .await?
        );
        tx.flow_add(&self.flow, self.flow.id.as_str().as_bytes()).await?;
        tx.offer_replace(&[make::offer(w, &self.page.external_id, "Lark")]).await?;
        assert!(
            tx.integration_refresh_lease(&self.shop.id, &self.seen(&self.shop), w.now(), self.refresh)
                .await?
        );
        tx.audit_add(&w.id(AuditId::new), "user", "integration.connect", self.shop.id.as_str(), w.now())
            .await?;
        let mut former =
            w.integration(self.org.org(), Provider::Kustomer, &format!("former {}", self.shop.external_id));
        former.status = ConnectionStatus::Disconnected;
        tx.integration_put(&former, &SealedTokens::default(), Ends::default(), true).await?;
        tx.history_add(&self.shop.id, &self.change).await?;
        tx.mail_add(&self.mail, self.change.id.as_str(), &self.person, &letter(), MailState::Queued, w.now())
            .await?;
        tx.mail_add(&self.left, "another notice", &self.person, &letter(), MailState::Kept, w.now()).await?;
        tx.former_add(&elsewhere("former"), w.now()).await?;
        tx.brought_add(&brought(w, "a bot"), w.now()).await?;
        let paused = LastError { code: "x".into(), message: "no".into(), at: w.now() };
        tx.integration_failed(&self.page.id, self.page.generation, Some(ConnectionStatus::Paused), &paused)
            .await?;
        tx.farewell_add(&self.farewell).await?;
        tx.transfer_add(&self.offer, "user").await?;
        tx.replay_add(&self.replay).await?;
        let ended = Replay { status: ReplayStatus::Done, ..replay(w) };
        tx.replay_add(&ended).await?;
        tx.replay_turn(&ended.id, ReplayStatus::Done, ReplayStatus::Done, Some(w.now())).await?;
        tx.commit().await
    }

    fn seen(&self, it: &Integration) -> Tokens {
        Tokens {
            sealed: tokens("seen"),
            expires_at: it.token_expires_at,
            refresh_expires_at: None,
            renew_at: None,
            renew_failures: 0,
            generation: it.generation,
            status: it.status,
            wait_until: None,
        }
    }

    /// What its shop and events are called after.
    fn name(&self) -> &str {
        self.shop.external_id.trim_end_matches(".myshopify.com")
    }

    /// What no stranger may be given.
    pub fn secrets(&self) -> Vec<&str> {
        vec![
            self.org.org().as_str(),
            self.shop.id.as_str(),
            self.page.id.as_str(),
            self.page.external_id.as_str(),
            self.running.as_str(),
            self.failed.as_str(),
            self.pending.as_str(),
            self.ended.as_str(),
            self.asked.id.as_str(),
            self.exported.id.as_str(),
            self.job.as_str(),
            self.conversation.id.as_str(),
            self.queued.id.as_str(),
            self.handed_out.id.as_str(),
            self.sent.id.as_str(),
            self.said.id.as_str(),
            self.change.id.as_str(),
            self.farewell.id.as_str(),
            self.offer.id.as_str(),
            self.mail.as_str(),
            self.left.as_str(),
        ]
    }
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Finds what it is given the id of.
    Find,
    /// Changes what it is given the id of.
    Change,
    /// Adds rows.
    Add,
    /// Reads or changes whatever the organization has.
    Whole,
}

/// What a call's answer shows, as texts; empty if it shows nothing.
trait Shown {
    fn shown(self) -> Vec<String>;
}

macro_rules! shown {
    ($($kind:ty: |$it:ident| $texts:expr;)*) => {$(
        impl Shown for $kind {
            fn shown(self) -> Vec<String> {
                let $it = self;
                $texts
            }
        }
    )*};
}

fn marked(is: bool) -> Vec<String> {
    if is { vec!["something".into()] } else { Vec::new() }
}

shown! {
    (): |_it| Vec::new();
    StateChange: |it| vec![it.id.as_str().into()];
    Letter: |it| vec![it.subject];
    Farewell: |it| vec![it.id.as_str().into()];
    Offer: |it| vec![it.id.as_str().into()];
    bool: |it| marked(it);
    u64: |it| marked(it > 0);
    i64: |it| marked(it > 0);
    Timestamp: |it| marked(it.millis() > 0);
    String: |it| vec![it];
    Sealed: |_it| marked(true);
    (String, Option<Sealed>): |it| vec![it.0];
    Tokens: |_it| marked(true);
    Organization: |it| vec![it.id.as_str().into()];
    Integration: |it| vec![it.id.as_str().into(), it.external_id];
    Event: |it| vec![it.id.as_str().into()];
    StoredConversation: |it| vec![it.conversation.id.as_str().into(), it.conversation.contact.id.as_str().into()];
    StoredMessage: |it| vec![it.id.as_str().into()];
    PageOffer: |it| vec![it.page_id];
    EventId: |it| vec![it.as_str().into()];
    StoredEvent: |it| vec![it.event.id.as_str().into()];
    PrivacyRequest: |it| vec![it.id.as_str().into()];
    FormerAccount: |it| vec![it.account];
    Brought: |it| vec![it.id.as_str().into()];
    (ContactId, bool): |it| vec![it.0.as_str().into()];
    (ConversationId, bool): |it| vec![it.0.as_str().into()];
    StoredExport: |it| vec![it.id.as_str().into()];
    Replay: |it| vec![it.id.as_str().into()];
    EventHistory: |it| it.actor.into_iter().collect();
    (Vec<MinuteRow>, Option<Timestamp>): |it| marked(!it.0.is_empty());
    Waiting: |it| marked(it.count > 0);
    Found: |it| it.events.into_iter().map(|e| e.id.as_str().to_owned()).collect();
    Expired: |it| marked(it.events > 0);
}

impl<T: Shown> Shown for Option<T> {
    fn shown(self) -> Vec<String> {
        self.map(T::shown).unwrap_or_default()
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(self) -> Vec<String> {
        self.into_iter().flat_map(T::shown).collect()
    }
}

macro_rules! calls {
    ($tx:ident, $v:ident, $w:ident; $($label:literal $kind:ident $method:ident($($argument:expr),* $(,)?);)*) => {
        /// Label, kind and method of each call.
        pub const CALLS: &[(&str, Kind, &str)] = &[$(($label, Kind::$kind, stringify!($method))),*];

        /// Makes the call with this label in `tx`, with the ids of `v`.
        pub async fn call(label: &str, $tx: &mut TenantTx, $v: &Full, $w: &World) -> Result<Vec<String>, StoreError> {
            match label {
                $($label => $tx.$method($($argument),*).await.map(Shown::shown),)*
                _ => panic!("no call {label}"),
            }
        }
    };
}

fn renamed(it: &Integration, generation: i64) -> Integration {
    Integration { generation, status: ConnectionStatus::Connected, ..it.clone() }
}

fn error(at: Timestamp) -> LastError {
    LastError { code: "x".into(), message: "taken over".into(), at }
}

fn moved(c: &Conversation) -> Conversation {
    Conversation { kustomer_id: Some("taken over".into()), ..c.clone() }
}

fn refreshed(now: Timestamp) -> RefreshedTokens {
    RefreshedTokens {
        access_token: sealed("taken over"),
        refresh_token: None,
        expires_at: Some(now),
        refresh_expires_at: None,
        renew_at: None,
    }
}

fn history(w: &World, it: &Integration) -> StateChange {
    StateChange {
        id: w.id(HistoryId::new),
        generation: it.generation,
        actor: "worker".into(),
        status: ConnectionStatus::Paused,
        code: "shop_frozen".into(),
        message: "The shop is frozen.".into(),
        at: w.now(),
    }
}

fn replay(w: &World) -> Replay {
    Replay {
        id: w.id(ReplayId::new),
        provider: None,
        topic: None,
        state: EventState::Failed,
        since: None,
        until: w.now().plus_secs(999_999),
        per_second: 9,
        status: ReplayStatus::Running,
        total: 1,
        done: 0,
        position: None,
        created_at: w.now(),
        ended_at: None,
    }
}

fn later(w: &World) -> Kept {
    Kept { done: w.now().plus_secs(999_999), dead: w.now().plus_secs(999_999) }
}

fn step(w: &World) -> EventHistory {
    EventHistory {
        step: EventStep::Failed,
        begun_at: Some(w.now()),
        at: w.now(),
        reason: Some("no answer".into()),
        actor: Some("somebody".into()),
    }
}

fn letter() -> Letter {
    Letter {
        address: "ana@example.com".into(),
        subject: "Shopify needs reconnecting".into(),
        body: "Hello".into(),
    }
}

fn elsewhere(account: &str) -> FormerAccount {
    FormerAccount {
        provider: Provider::Kustomer,
        account: account.into(),
        label: "Lark Supply".into(),
        connected_at: None,
    }
}

fn brought(w: &World, source_id: &str) -> Brought {
    Brought {
        id: w.id(BroughtId::new),
        kind: "bot".into(),
        source_id: source_id.into(),
        title: "Lark".into(),
        content: sealed("content"),
    }
}

fn imported<'a>(w: &World, contact: &'a ContactId) -> ImportedConversation<'a> {
    ImportedConversation {
        external_id: "old:1",
        channel: "web",
        contact,
        memory: None,
        last_customer_at: w.now(),
        last_message_at: w.now(),
        created_at: w.now(),
    }
}

fn farewell(w: &World, it: &Integration) -> Farewell {
    Farewell {
        id: w.id(FarewellId::new),
        integration: it.id.clone(),
        account: it.account_identifier.clone(),
        webhook_id: None,
        access_token: Some(sealed("last access")),
        refresh_token: None,
        client_id: Some("client".into()),
        client_secret: Some(sealed("client")),
        created_at: w.now(),
    }
}

fn offer(w: &World, it: &Integration, to: &OrgId) -> Offer {
    Offer {
        id: w.id(TransferId::new),
        from: it.organization_id.clone(),
        integration: it.id.clone(),
        provider: it.provider,
        external_id: it.external_id.clone(),
        label: "Lark Supply".into(),
        to: to.clone(),
        created_at: w.now(),
        expires_at: w.now().plus_secs(600),
    }
}

calls! { tx, v, w;
    "an audit entry" Add audit_add(&w.id(AuditId::new), "user", "x", "y", w.now());
    "an audit entry with a receipt" Add audit_receipt_add(&w.id(AuditId::new), ("user", "x"), "y", w.now(), "signed");
    "a contact's name" Change contact_name(&v.conversation.contact.id, "taken over");
    "a conversation by its customer" Find conversation_by_customer(&v.page.id, &v.conversation.external_id);
    "a conversation by its Kustomer id" Find conversation_by_kustomer(v.conversation.kustomer_id.as_deref().unwrap_or(""));
    "how many conversations" Whole conversation_count(None);
    "a conversation by its id" Find conversation_find(&v.conversation.id);
    "what the bot remembers erased" Change conversation_forget(&v.conversation.id);
    "all conversations in order" Whole conversation_scan(None, 100);
    "all conversations" Whole conversation_list(None, None, None, 100);
    "the newest conversation" Whole conversation_newest();
    "a conversation begun" Add conversation_open((&w.id(ConversationId::new), &w.id(ContactId::new)), &v.page.id,
        "a new customer", "Bo", w.now());
    "a conversation changed" Change conversation_update(&moved(&v.conversation), None);
    "events given up" Change event_cancel(&v.shop.id, 9, "taken over", w.now());
    "an event done" Change event_done(&v.running, &v.token, w.now(), w.now());
    "an event failed" Change event_failed(&v.running, &v.token, EventState::Dead, w.now(), "taken over");
    "an event put off" Change event_put_off(&v.running, &v.token, w.now(), "taken over");
    "an event erased" Change event_erase(&v.failed, &sealed("taken over"));
    "events of a conversation" Find event_of_conversation(&format!("{} ended", v.name()), None);
    "all events of a provider" Whole event_scan(Provider::Shopify, None, 100);
    "an event by its id" Find event_find(&v.pending);
    "all events" Whole event_list(&EventFilter::default(), None, 100);
    "a payload" Find event_payload(&v.pending);
    "what became of an event added" Add event_history_add(&v.ended, &step(w));
    "how an event was done kept" Change event_history_keep(&v.ended);
    "what became of an event" Find event_history_list(&v.failed);
    "the oldest event" Whole event_oldest();
    "events searched" Whole event_search(&EventFilter::default(), None, 100);
    "events searched within a bound" Whole event_search_within(&EventFilter::default(), None, 100, 100);
    "events by the minute" Whole event_minutes(Timestamp::from_millis(0), 100);
    "events that wait" Whole event_waiting(100);
    "events kept long enough" Whole event_expire(None, later(w), 100);
    "deeds kept long enough" Whole job_expire(later(w).dead, 9);
    "replays kept long enough" Whole replay_expire(later(w).done);
    "an event replayed" Change event_replay(&v.failed, w.now());
    "events woken" Whole event_wake(w.now(), w.now());
    "a farewell kept" Add farewell_add(&farewell(w, &v.page));
    "a farewell by its id" Find farewell_find(&v.farewell.id);
    "a farewell's tokens" Change farewell_tokens(&v.farewell.id, &sealed("taken over"), None);
    "a farewell said" Change farewell_end(&v.farewell.id);
    "how many events a replay means" Whole replay_count(&v.replay);
    "a replay begun" Add replay_add(&replay(w));
    "a replay by its id" Find replay_find(&v.replay.id);
    "all replays" Whole replay_list(9);
    "a replay moved on" Whole replay_step(&v.replay, 9, w.now());
    "a replay paused" Change replay_turn(&v.replay.id, ReplayStatus::Running, ReplayStatus::Paused, None);
    "an authorization begun" Add flow_add(&make::flow(w, v.org.org(), Provider::Shopify), w.id(AuditId::new).as_str().as_bytes());
    "a change of state" Add history_add(&v.shop.id, &history(w, &v.shop));
    "a change of state by its id" Find history_find(&v.shop.id, &v.change.id);
    "changes of state" Whole history_list(&v.shop.id, 9);
    "a connection by its account" Find integration_by_account(v.shop.provider, &v.shop.external_id);
    "a connection ended" Change integration_end(&v.shop.id, v.shop.generation);
    "a connection failed" Change integration_failed(&v.shop.id, v.shop.generation, Some(ConnectionStatus::Paused), &error(w.now()));
    "a connection forgotten" Change integration_forget(&v.shop.id, v.shop.generation, &error(w.now()));
    "a connection by its id" Find integration_find(&v.shop.id);
    "all connections" Whole integration_list();
    "a connection added" Add integration_put(&w.integration(v.org.org(), Provider::Kustomer, "added"), &tokens("x"), Ends::default(), true);
    "a connection renewed" Change integration_put(&renamed(&v.shop, v.shop.generation + 1), &tokens("taken over"), Ends::default(), false);
    "the right to refresh taken" Change integration_refresh_lease(&v.page.id, &v.seen(&v.page), w.now(), w.now().plus_secs(9));
    "the right to refresh given back" Change integration_refresh_failed(&v.shop.id, v.refresh, w.now());
    "tokens refreshed" Change integration_refreshed(&v.shop.id, v.shop.generation, v.refresh, &refreshed(w.now()));
    "scopes changed" Change integration_scopes(&v.shop.id, v.shop.generation, &["taken over".to_owned()], &[]);
    "a connection succeeded" Change integration_succeeded(&v.shop.id, v.shop.generation, w.now());
    "a subscription found" Change integration_subscription(&v.shop.id, v.shop.generation, Subscription::Off, w.now());
    "ended connections" Whole integration_ended(9);
    "connections that stand still" Whole integration_troubled();
    "what waits for a connection" Whole integration_waiting(&v.shop.id);
    "a mail written" Add mail_add(&w.id(MailId::new), "a notice", &w.id(UserId::new), &letter(), MailState::Queued, w.now());
    "a mail by its id" Find mail_find(&v.mail);
    "a mail sent" Change mail_ended(&v.mail, MailState::Sent, w.now(), None);
    "a mail emptied" Change mail_empty(&v.left, "taken over");
    "whether a mail was written" Find mail_written(v.change.id.as_str(), &v.person);
    "a former account noted" Add former_add(&elsewhere(v.name()), w.now());
    "former accounts" Whole former_list();
    "what was brought kept" Add brought_add(&brought(w, "a new one"), w.now());
    "what was brought" Whole brought_list(None, 100);
    "a customer imported" Add contact_import(&w.id(ContactId::new), "old:1", "Bo", w.now());
    "a conversation imported" Add conversation_import(&w.id(ConversationId::new), &imported(w, &v.conversation.contact.id));
    "whether somebody was written to" Whole mail_noticed(&v.shop.id, &v.change.code, &w.id(HistoryId::new), Timestamp::from_millis(0));
    "tokens" Find integration_tokens(&v.shop.id);
    "a wait begun" Change integration_wait(&v.shop.id, v.shop.generation, w.now());
    "a webhook changed" Change integration_webhook(&v.shop.id, v.shop.generation, "taken over", &sealed("taken over"), None);
    "a job added" Add job_add(&w.id(JobId::new), "x", "{}", "y", w.now(), w.now());
    "a job done" Change job_done(&v.job, &v.token);
    "a job failed" Change job_failed(&v.job, &v.token, EventState::Dead, w.now(), "taken over");
    "a job put off" Change job_put_off(&v.job, &v.token, w.now(), "taken over");
    "a job's subject" Find job_subject(&v.job, &v.token);
    "jobs woken" Whole job_wake(w.now(), w.now());
    "a message added" Add message_add(&make::message(w, &v.conversation.id, Author::Agent, Delivery::Sent, Some("mid new")));
    "messages about a connection" Find message_about(&v.shop.id, None, 100);
    "what a message is about" Change message_about_set(&v.said.id, &v.page.id);
    "a message erased" Change message_erase(&v.said.id, &sealed("taken over"));
    "a message by its provider's id" Find message_by_external(&v.conversation.id, "mid said");
    "messages given up" Change message_cancel(&v.page.id, "taken over");
    "a delivery changed" Change message_delivery(&v.sent.id, Delivery::Failed, Some("taken over"));
    "a message by its id" Find message_find(&v.said.id);
    "a message handed out" Change message_handed_out(&v.queued.id, w.now());
    "the last message" Whole message_last(&v.conversation.id);
    "all messages" Whole message_list(&v.conversation.id, None, 100);
    "messages reached" Change message_reached(&v.conversation.id, w.now(), Delivery::Read);
    "a message sent" Change message_sent(&v.queued.id, "taken over");
    "a message taken back" Change message_taken_back(&v.handed_out.id);
    "all offers" Whole offer_list(Timestamp::from_millis(0));
    "an offer removed" Change offer_remove(&v.page.external_id);
    "offers replaced" Add offer_replace(&[make::offer(w, "1", "x")]);
    "the organization" Whole organization_get();
    "rows of the organization deleted" Whole organization_erase(1);
    "the keys of values" Whole sealed_heads(&SEALED[0], "", 100);
    "a sealed value" Find sealed_get(&SEALED[0], v.shop.id.as_str());
    "a value sealed anew" Change sealed_swap(&SEALED[0], v.shop.id.as_str(), &sealed("first access"), &sealed("anew"));
    "an account offered" Add transfer_add(&offer(w, &v.page, v.org.org()), "user");
    "an account on offer" Find transfer_open(&v.shop.id);
    "an offer taken back" Change transfer_withdraw(&v.shop.id);
    "an offer taken" Change transfer_taken(&v.offer.id);
    "a request done" Change privacy_done(&v.asked.id, w.now(), "taken over", None);
    "an export" Find privacy_export(&v.exported.id);
    "an export erased" Change privacy_export_erase(&v.exported.id);
    "all exports" Whole privacy_exports(None, 100);
    "a request by its id" Find privacy_find(&v.exported.id);
    "all requests" Whole privacy_list(None, 100);
    "a request noted" Add privacy_open(&make::request(w, &v.shop));
}
