//! Receipts: what was done, signed with the organization's key, and nothing that tells whose data it was.

use crate::App;
use crate::error::AppError;
use agenstack_core::clock::Timestamp;
use agenstack_core::id::{DataKeyId, OrgId, PrivacyRequestId};
use agenstack_core::privacy::PrivacyKind;
use agenstack_vault::DataKey;
use serde::{Deserialize, Serialize};

const LABEL: &str = "privacy-receipt";

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was found is in the export.
    Exported,
    /// There was more than an export may hold.
    ExportedInPart,
    /// What was found is erased.
    Erased,
    /// The shop has the app again, so that nothing was erased.
    KeptConnected,
}

/// What was found, or erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Conversations with the customer, or with answers from the shop.
    pub conversations: u64,
    /// Messages in them.
    pub messages: u64,
    /// Conversations in which the bot remembered something.
    pub memories: u64,
    /// Names of contacts.
    pub names: u64,
    /// Stored events.
    pub events: u64,
    /// Exports of earlier requests.
    pub exports: u64,
}

/// What was done for a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Which request.
    pub request: PrivacyRequestId,
    /// What was asked.
    pub topic: PrivacyKind,
    /// The shop that asked.
    pub shop: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What was found, or erased.
    pub counts: Counts,
    /// A keyed digest in the place of the customer's identifiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    /// When it came.
    pub received_at: Timestamp,
    /// When it was done.
    pub done_at: Timestamp,
}

/// A receipt as it is stored. What is signed is the receipt as compact JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    receipt: Receipt,
    key: DataKeyId,
    mac: String,
}

fn mac(key: &DataKey, receipt: &Receipt) -> [u8; 32] {
    let bytes = serde_json::to_vec(receipt).expect("a receipt is always JSON");
    key.digest(LABEL, &bytes)
}

/// Signs a receipt, as compact JSON.
pub(super) fn sign(key: &DataKey, receipt: Receipt) -> String {
    let signed = Signed { mac: hex::encode(mac(key, &receipt)), key: key.id().clone(), receipt };
    serde_json::to_string(&signed).expect("a receipt is always JSON")
}

/// The receipt that a stored text holds, if this organization signed exactly that.
///
/// # Errors
/// If the organization's key cannot be read just now.
pub async fn verify(app: &App, org: &OrgId, text: &str) -> Result<Option<Receipt>, AppError> {
    let Ok(signed) = serde_json::from_str::<Signed>(text) else { return Ok(None) };
    let key = match app.keyring().key_by_id(org, &signed.key).await {
        // A key that was replaced is destroyed after a while; whichever followed it digests as it did.
        Err(AppError::NotFound) => match app.keyring().key(org).await {
            Err(AppError::NotFound) => return Ok(None),
            key => key?,
        },
        key => key?,
    };
    Ok(is_genuine(&key, &signed).then_some(signed.receipt))
}

fn is_genuine(key: &DataKey, signed: &Signed) -> bool {
    // Compared as digests of the two, so that the time tells nothing of where they differ.
    let compared = |mac: &[u8]| key.digest("compare", mac);
    hex::decode(&signed.mac).is_ok_and(|given| compared(&given) == compared(&mac(key, &signed.receipt)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::entropy::SeededEntropy;
    use agenstack_core::id::IdMaker;
    use agenstack_vault::{MasterKey, Vault};

    fn key(seed: u64) -> DataKey {
        let (ids, entropy, at) = (IdMaker::new(), SeededEntropy::new(seed), Timestamp::from_millis(1));
        let vault = Vault::new(MasterKey::parse(&MasterKey::generate(&entropy)).unwrap(), None);
        let (org, id) = (OrgId::new(&ids, at, &entropy), DataKeyId::new(&ids, at, &entropy));
        let made = vault.create_data_key(&org, &id, &entropy);
        vault.unwrap_data_key(&org, &id, &made.master_key_id, &made.wrapped).unwrap()
    }

    fn receipt() -> Receipt {
        Receipt {
            request: PrivacyRequestId::new(
                &IdMaker::new(),
                Timestamp::from_millis(1),
                &SeededEntropy::new(3),
            ),
            topic: PrivacyKind::CustomerRedact,
            shop: "lark.myshopify.com".into(),
            outcome: Outcome::Erased,
            counts: Counts { messages: 3, ..Counts::default() },
            customer: Some("00ff".into()),
            received_at: Timestamp::from_millis(1_000),
            done_at: Timestamp::from_millis(2_000),
        }
    }

    #[test]
    fn a_signed_receipt_is_genuine_until_a_letter_of_it_changes() {
        let key = key(1);
        let text = sign(&key, receipt());
        let read = |text: &str| serde_json::from_str::<Signed>(text).ok().filter(|s| is_genuine(&key, s));
        assert_eq!(read(&text).unwrap().receipt, receipt());
        for (from, to) in [
            ("\"messages\":3", "\"messages\":4"),
            ("lark", "bark"),
            ("\"erased\"", "\"kept_connected\""),
            ("customers/redact", "shop/redact"),
            ("00ff", "00fe"),
            ("1970-01-01T00:00:02", "1970-01-01T00:00:03"),
            ("\"counts\":{", "\"counts\":{\"more\":1,"),
            ("\"mac\":\"", "\"mac\":\"00"),
        ] {
            let altered = text.replacen(from, to, 1);
            assert_ne!(altered, text, "{from}");
            assert!(read(&altered).is_none(), "{to}");
        }
    }

    #[test]
    fn another_key_does_not_verify_it() {
        let signed: Signed = serde_json::from_str(&sign(&key(1), receipt())).unwrap();
        assert!(!is_genuine(&key(2), &signed));
    }
}
