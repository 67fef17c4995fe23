//! Walks a consent page as a browser would: gets the page, submits its own form, and gives the address it is sent
//! back to. For the demo's seed and for tests; it knows no more of the pages than their markup.

use std::time::Duration;

/// What the person does on the page.
#[derive(Clone, Debug, Default)]
pub struct Walk {
    /// Says no.
    pub deny: bool,
    /// Meta: who one is, such as `finn`.
    pub person: Option<String>,
    /// Boxes to untick, by their value: page ids, permissions, scopes.
    pub untick: Vec<String>,
}

/// Why a consent page led nowhere.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The page could not be had.
    #[error("the consent page cannot be reached")]
    Unreachable(#[from] reqwest::Error),
    /// The provider refused the request; its own words.
    #[error("the provider refused: {0}")]
    Refused(String),
    /// There is no form on it.
    #[error("the consent page has no form")]
    NoForm,
}

impl Walk {
    /// Says yes to everything.
    pub fn approve() -> Self {
        Self::default()
    }

    /// Walks the page at `url`; gives where the browser is sent.
    ///
    /// # Errors
    /// If there is no page, the provider refuses, or it does not send the browser anywhere.
    pub async fn through(&self, url: &str) -> Result<String, WalkError> {
        // An error means that the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .tls_backend_preconfigured(tls)
            .build()?;
        let url = match &self.person {
            Some(person) => format!("{url}&person={person}"),
            None => url.to_owned(),
        };
        let answer = client.get(&url).send().await?;
        let status = answer.status();
        let page = answer.text().await?;
        if !status.is_success() {
            return Err(WalkError::Refused(
                between(&page, "<p class=\"problem\">", "</p>").unwrap_or_default(),
            ));
        }
        let form = between(&page, "<form id=\"consent\"", "</form>").ok_or(WalkError::NoForm)?;
        let action = attribute(&form, "action").unwrap_or_default();
        let mut fields = Vec::new();
        for input in form.split("<input").skip(1) {
            let input = input.split('>').next().unwrap_or_default();
            let (Some(name), Some(value)) = (attribute(input, "name"), attribute(input, "value")) else {
                continue;
            };
            let ticked = input.contains("type=\"hidden\"") || input.contains(" checked");
            if ticked && !self.untick.contains(&value) {
                fields.push((name, value));
            }
        }
        let buttons: Vec<String> = form
            .split("<button")
            .skip(1)
            .filter_map(|b| attribute(b.split('>').next().unwrap_or_default(), "value"))
            .collect();
        let pressed = if self.deny { buttons.last() } else { buttons.first() };
        fields.push(("decision".into(), pressed.cloned().ok_or(WalkError::NoForm)?));
        let target =
            url::Url::parse(&url).ok().and_then(|u| u.join(&action).ok()).ok_or(WalkError::NoForm)?;
        let answer = client.post(target).form(&fields).send().await?;
        let location = answer.headers().get("location").and_then(|v| v.to_str().ok()).map(str::to_owned);
        location.ok_or_else(|| WalkError::Refused(format!("status {}", answer.status().as_u16())))
    }
}

fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let (_, rest) = text.split_once(from)?;
    Some(rest.split_once(to)?.0.to_owned())
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = between(tag, &format!(" {name}=\""), "\"")?;
    // Templates escape these five in attributes, as numbers.
    let plain =
        value.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'");
    Some(plain.replace("&#38;", "&"))
}
