//! What can go wrong, by meaning. `web` maps the kind to a status in one place.

use agenstack_core::ctx::Forbidden;
use agenstack_core::integration::Provider;
use agenstack_providers::error::ProviderError;
use agenstack_store::StoreError;
use agenstack_vault::VaultError;

/// A use case that did not happen. Texts are for people and hold nothing secret; the source is for the log.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A value the caller gave is not acceptable.
    #[error("{message}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What is wrong with it and what would be right.
        message: String,
    },
    /// Nobody is signed in, or the credentials are wrong.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// A member whose role does not include the deed.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// The request was made by a page of another site.
    #[error("This request came from another site. Open the page here and try again.")]
    CrossOrigin,
    /// The request's body is larger than what is read here.
    #[error("The request's body is too large.")]
    TooLarge,
    /// Not there, or another organization's: the same answer.
    #[error("There is nothing here.")]
    NotFound,
    /// It cannot be done as things stand.
    #[error("{message}")]
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// What stands in the way and what to do.
        message: String,
    },
    /// Too many attempts.
    #[error("Too many attempts. Wait {retry_after_secs} seconds and try again.")]
    TooMany {
        /// Seconds until another attempt counts.
        retry_after_secs: u64,
    },
    /// The operator has not set this provider up.
    #[error("{} is not set up by the operator of this installation.", .0.title())]
    NotSetUp(Provider),
    /// A provider refused or did not answer.
    #[error("{}", .0.plain())]
    Provider(#[source] ProviderError),
    /// The database is not available.
    #[error("The service cannot reach its database just now. Nothing was changed; try again in a moment.")]
    Unavailable(#[source] StoreError),
    /// A stored secret does not open: wrong master key, or the row was altered.
    #[error(
        "A stored secret could not be opened. Connect the account again, or ask the operator to check the master key."
    )]
    Sealed(#[source] VaultError),
    /// Our own fault.
    #[error("Something went wrong on our side.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AppError {
    /// A refused value.
    pub fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }
    /// A deed that cannot be done as things stand.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::CrossOrigin => "cross_origin",
            Self::TooLarge => "too_large",
            Self::NotFound => "not_found",
            Self::Conflict { code, .. } => code,
            Self::TooMany { .. } => "too_many_attempts",
            Self::NotSetUp(_) => "provider_not_set_up",
            Self::Provider(e) => e.code,
            Self::Unavailable(_) => "unavailable",
            Self::Sealed(_) => "sealed",
            Self::Internal(_) => "internal",
        }
    }
    /// Whether what was done was not committed because another holds the lease by now.
    pub(crate) fn is_lease_lost(&self) -> bool {
        matches!(self, Self::Internal(source) if matches!(source.downcast_ref(), Some(StoreError::LeaseLost)))
    }
    /// Whether a queued deed may be tried again later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Provider(e) => e.is_retryable(),
            Self::Unavailable(_) | Self::Internal(_) | Self::TooMany { .. } => true,
            // The connection may come back: kept for the day of retries.
            Self::Conflict { code, .. } => {
                matches!(*code, "needs_reconnect" | "paused" | "refreshing" | "mail_later")
            }
            _ => false,
        }
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        use agenstack_store::error::Kind;
        match error.kind() {
            Kind::Unavailable => Self::Unavailable(error),
            Kind::NotFound => Self::NotFound,
            Kind::Conflict => {
                Self::conflict("conflict", "Somebody else changed this at the same moment. Try again.")
            }
            Kind::Internal => Self::Internal(Box::new(error)),
        }
    }
}

impl From<VaultError> for AppError {
    fn from(error: VaultError) -> Self {
        Self::Sealed(error)
    }
}

impl From<ProviderError> for AppError {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}
