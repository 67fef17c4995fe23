//! Two ready organizations, made as people would make them: signed up, and connected by walking the providers'
//! consent pages.

use agenstack_app::App;
use agenstack_app::account::{self, SignUp};
use agenstack_app::connect::{self, Begin, Outcome};
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::entropy::{OsEntropy, bytes};
use agenstack_core::integration::Provider;
use agenstack_sandbox::Walk;
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use std::net::{IpAddr, Ipv4Addr};

/// An organization of the demo.
struct Plan {
    name: &'static str,
    person: &'static str,
    email: &'static str,
    /// The name of its shop and of its Kustomer account.
    label: &'static str,
    /// Who is logged in at Facebook.
    facebook: &'static str,
    page: &'static str,
}

const PLANS: [Plan; 2] = [
    Plan {
        name: "Lark Supply",
        person: "Lena Lark",
        email: "lena@lark.example",
        label: "lark-supply",
        facebook: "lena",
        page: "100000000000001",
    },
    Plan {
        name: "Fern Goods",
        person: "Finn Fern",
        email: "finn@fern.example",
        label: "fern-goods",
        facebook: "finn",
        page: "100000000000002",
    },
];

/// Makes them; gives lines that tell how to log in.
pub(super) async fn seed(app: &App, sandbox_url: &str) -> anyhow::Result<Vec<String>> {
    let mut lines =
        vec!["Ready organizations (the passwords are new at every start)".to_owned(), String::new()];
    for plan in PLANS {
        let password = URL_SAFE_NO_PAD.encode(bytes::<12>(&OsEntropy));
        match one(app, &plan, &password).await {
            Ok(()) => lines.push(format!(
                "  {:<12} log in as {} with {password}    customer: {sandbox_url}/chat/{}",
                plan.name, plan.email, plan.page
            )),
            Err(error) if error.to_string() == TAKEN => {
                lines.push(format!(
                    "  {:<12} is there already; its password is the one of its first start",
                    plan.name
                ));
            }
            Err(error) => return Err(error.context(format!("{} could not be made ready", plan.name))),
        }
    }
    lines.push(String::new());
    Ok(lines)
}

const TAKEN: &str = "taken";

async fn one(app: &App, plan: &Plan, password: &str) -> anyhow::Result<()> {
    let ctx = app.ctx(Actor::Anonymous);
    let form = SignUp {
        email: plan.email.into(),
        password: SecretString::from(password.to_owned()),
        name: plan.person.into(),
        organization_name: plan.name.into(),
    };
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let made = match account::sign_up(app, &ctx, local, form).await {
        Ok(made) => made,
        Err(e) if e.code() == "email_taken" => bail!(TAKEN),
        Err(e) => return Err(e).context("signing up"),
    };
    let organization = made.organization.context("a new account comes with an organization")?;
    let token = secrecy::ExposeSecret::expose_secret(&made.token).to_owned();
    let session = account::session(app, &ctx, &token).await?.context("a new session is found")?;
    let ctx = app.ctx(Actor::User(session.user.id.clone()));
    let (org, _) = account::org_ctx(app, &ctx, &session, organization.id.as_str()).await?;
    let connect = async |provider: Provider, walk: Walk| {
        let label = Some(plan.label.to_owned());
        let begin = Begin { provider, shop: label.clone(), subdomain: label };
        let url = connect::begin(app, &org, &session, begin).await?;
        let back = walk.through(&url).await?;
        let query = back.split_once('?').map_or("", |(_, q)| q).split('#').next().unwrap_or_default();
        let ctx = app.ctx(Actor::User(session.user.id.clone()));
        match connect::callback(app, &ctx, Some(&session), provider, query).await? {
            Outcome::Connected { .. } | Outcome::ChoosePage { .. } => anyhow::Ok(()),
            Outcome::Failed { reason, .. } => bail!("{}", connect::reason_text(provider, &reason)),
            Outcome::StateRefused => bail!("the state was refused"),
        }
    };
    connect(Provider::Shopify, Walk::approve()).await.context("connecting Shopify")?;
    let person = Walk { person: Some(plan.facebook.into()), ..Walk::default() };
    connect(Provider::Messenger, person).await.context("connecting Facebook")?;
    choose(app, &org, plan.page).await.context("choosing the page")?;
    connect(Provider::Kustomer, Walk::approve()).await.context("connecting Kustomer")
}

async fn choose(app: &App, org: &OrgCtx, page: &str) -> anyhow::Result<()> {
    Ok(connect::choose_page(app, org, page).await.map(drop)?)
}
