//! The return from a consent page that knows only `code`, `state` and refusals (Meta, Kustomer).

use crate::query::Query;
use secrecy::SecretString;

/// Someone authorized.
#[derive(Clone, Debug)]
pub struct CodeCallback {
    /// To be exchanged once.
    pub code: SecretString,
    /// What we gave along; the flow is found by it.
    pub state: String,
    /// Who says to have issued the code, if it was said (RFC 9207).
    pub issuer: Option<String>,
}

/// A return that connects nothing. The state, where there is one, still names the flow that ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeCallbackError {
    /// A parameter stands there twice, or the query is too large.
    #[error("the callback is not readable")]
    Unreadable,
    /// The person or the provider said no.
    #[error("authorization was denied")]
    Denied {
        /// The state that came along.
        state: Option<String>,
    },
    /// Neither a code nor a refusal, or no state.
    #[error("the callback is not complete")]
    Incomplete {
        /// The state that came along.
        state: Option<String>,
    },
    /// The code was issued by someone else (mix-up).
    #[error("the callback comes from another issuer")]
    Issuer {
        /// The state that came along.
        state: Option<String>,
    },
}

impl CodeCallbackError {
    /// A stable word for programs and for the reason in a redirect.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable => "callback_unreadable",
            Self::Denied { .. } => "denied",
            Self::Incomplete { .. } => "callback_incomplete",
            Self::Issuer { .. } => "callback_issuer",
        }
    }

    /// The state that came along, if any.
    pub fn state(&self) -> Option<&str> {
        match self {
            Self::Unreadable => None,
            Self::Denied { state } | Self::Incomplete { state } | Self::Issuer { state } => state.as_deref(),
        }
    }
}

/// Reads a callback (`messenger.md` 1.3): every combination without a code is "not connected".
pub(crate) fn parse(raw_query: &str) -> Result<CodeCallback, CodeCallbackError> {
    let query = Query::parse(raw_query).map_err(|_| CodeCallbackError::Unreadable)?;
    let state = query.get("state").map(str::to_owned);
    if query.get("error").is_some() || query.get("error_code").is_some() {
        return Err(CodeCallbackError::Denied { state });
    }
    match (query.get("code"), state) {
        (Some(code), Some(state)) => Ok(CodeCallback {
            code: SecretString::from(code.to_owned()),
            state,
            issuer: query.get("iss").map(str::to_owned),
        }),
        (_, state) => Err(CodeCallbackError::Incomplete { state }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn only_a_code_with_a_state_is_a_yes() {
        let ok = parse("code=c0de&state=s").unwrap();
        assert_eq!((ok.code.expose_secret(), ok.state.as_str()), ("c0de", "s"));
        assert!(!format!("{ok:?}").contains("c0de"));
        let some = Some("s".to_owned());
        for (query, expected) in [
            ("error=access_denied&state=s", CodeCallbackError::Denied { state: some.clone() }),
            ("error=access_denied&code=c&state=s", CodeCallbackError::Denied { state: some.clone() }),
            ("error_code=1&state=s", CodeCallbackError::Denied { state: some.clone() }),
            ("state=s", CodeCallbackError::Incomplete { state: some.clone() }),
            ("code=&state=s", CodeCallbackError::Incomplete { state: some }),
            ("code=c", CodeCallbackError::Incomplete { state: None }),
            ("code=c&state=s&state=t", CodeCallbackError::Unreadable),
        ] {
            assert_eq!(parse(query).unwrap_err(), expected, "{query}");
        }
    }
}
