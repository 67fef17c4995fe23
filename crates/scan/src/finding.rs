//! What is found: never with the value itself.

use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

/// What kind of leftover it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// The name of a setting that holds one customer's credential or account, defined or read.
    TenantCredentialEnv,
    /// A secret under a prefix that front-end bundlers publish.
    PlatformSecretExposed,
    /// A credential written down.
    CredentialLiteral,
    /// A fixed shop, account, page, organization or customer.
    TenantLiteral,
}

impl Category {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::TenantCredentialEnv,
        Self::PlatformSecretExposed,
        Self::CredentialLiteral,
        Self::TenantLiteral,
    ];

    /// As it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantCredentialEnv => "tenant_credential_env",
            Self::PlatformSecretExposed => "platform_secret_exposed",
            Self::CredentialLiteral => "credential_literal",
            Self::TenantLiteral => "tenant_literal",
        }
    }

    /// What such a finding is, in one sentence.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::TenantCredentialEnv => "A setting holds one customer's credential or account.",
            Self::PlatformSecretExposed => {
                "A secret has a name that front-end bundlers publish to every browser."
            }
            Self::CredentialLiteral => {
                "A credential is written down where everybody with the code can read it."
            }
            Self::TenantLiteral => "The code knows one customer's shop, account, page, organization or name.",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth a look.
    Low,
    /// Should go.
    Medium,
    /// Ties the code to one customer.
    High,
    /// Lets one customer act as another, or is published already.
    Critical,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// As it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// One leftover.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, from the directory that was scanned, with `/`.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What kind it is.
    pub category: Category,
    /// How bad it is.
    pub severity: Severity,
    /// Its line, with every value masked.
    pub excerpt: String,
    /// What to do, in one sentence.
    pub remedy: String,
    /// Equal for equal values, under the key of this run or of the baseline.
    pub fingerprint: String,
    /// The commit that brought it, for what stands in the history only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

/// What fingerprints are made with. Without the key nobody can try values against them.
#[derive(Clone)]
pub struct FingerprintKey(pub(crate) [u8; 32]);

impl FingerprintKey {
    /// From 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn of(&self, value: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a MAC takes keys of every length");
        mac.update(value.as_bytes());
        hex::encode(&mac.finalize().into_bytes()[..8])
    }
}

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey")
    }
}
