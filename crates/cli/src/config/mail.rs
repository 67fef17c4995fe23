//! `[mail]`: how mail leaves. Without a server it stays in the outbox, where the operator page shows it.

use super::server::is_loopback;
use super::setting::Settings;
use agenstack_core::org::email_address;
use secrecy::SecretString;
use url::Url;

/// How mail leaves.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The mail server, with its password; `None`: mail is only kept.
    pub smtp_url: Option<SecretString>,
    /// The sender: `ana@example.com` or `Ana <ana@example.com>`.
    pub from: Option<String>,
}

impl Mail {
    pub(super) fn read(settings: &mut Settings) -> Self {
        settings.parse_secret("AGENSTACK_SMTP_URL", smtp_url);
        let smtp_url = settings.secret("AGENSTACK_SMTP_URL");
        let from = settings.parse("AGENSTACK_MAIL_FROM", sender);
        if smtp_url.is_some() && settings.text("AGENSTACK_MAIL_FROM").is_none() {
            settings.problem(
                "AGENSTACK_MAIL_FROM",
                "missing, but AGENSTACK_SMTP_URL is set; a mail needs a sender",
            );
        }
        Self { smtp_url, from }
    }
}

fn smtp_url(text: &str) -> Result<(), String> {
    const EXPECTED: &str =
        "expected smtps://user:password@host, or smtp://user:password@host:587?tls=required";
    let url = Url::parse(text).map_err(|_not_shown| EXPECTED.to_owned())?;
    let host = url.host().ok_or_else(|| EXPECTED.to_owned())?;
    let demands_tls = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
    match url.scheme() {
        "smtps" => Ok(()),
        "smtp" if demands_tls || is_loopback(&host) => Ok(()),
        "smtp" => Err("would send the password unencrypted; use smtps://, or add ?tls=required".to_owned()),
        _ => Err(EXPECTED.to_owned()),
    }
}

fn sender(text: &str) -> Result<String, String> {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or(""),
        None => text,
    };
    let fits = email_address(address).is_some() && !text.chars().any(char::is_control);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected ana@example.com or Ana <ana@example.com>".to_owned())
    }
}
