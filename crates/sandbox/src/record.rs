//! What the providers received, and the faults they were told to have.

use crate::clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One call that a provider received. Says whose token it carried, never the token.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Received {
    pub seq: u64,
    pub at: String,
    pub provider: &'static str,
    pub account: String,
    pub method: String,
    pub path: String,
    pub operation: String,
    /// The account that the presented token was issued for.
    pub token_of: Option<String>,
    pub token_kind: Option<&'static str>,
    pub status: u16,
}

/// A delivery of a webhook.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Delivery {
    pub at: String,
    pub provider: &'static str,
    pub account: String,
    pub topic: String,
    pub url: String,
    pub attempts: u32,
    /// The last status; 0 while there is none.
    pub status: u16,
}

/// The next `times` calls that match fail this way.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fault {
    pub provider: String,
    pub account: Option<String>,
    pub operation: Option<String>,
    #[serde(default = "outage")]
    pub status: u16,
    #[serde(default = "once")]
    pub times: u32,
    pub body: Option<Value>,
    #[serde(default)]
    pub retry_after: Option<u32>,
    /// More headers of the answer.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub ends: Ends,
    #[serde(default)]
    pub delay_ms: u64,
    /// The call is executed, and its answer is held back this long.
    #[serde(default)]
    pub hold_ms: u64,
    /// The call is executed, and its answer is lost.
    #[serde(default)]
    pub lose_answer: bool,
}

/// How the answer to a faulty call ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ends {
    /// As it should.
    #[default]
    Whole,
    /// In the middle of its body.
    Cut,
    /// Whole, and it is no JSON.
    Garbage,
    /// Never: nothing is said until whoever asked hangs up.
    Never,
}

fn outage() -> u16 {
    503
}

fn once() -> u32 {
    1
}

/// Both lists. Bounded: the oldest are forgotten.
#[derive(Default)]
pub(crate) struct Record {
    seq: u64,
    pub received: Vec<Received>,
    pub deliveries: Vec<Delivery>,
    pub faults: Vec<Fault>,
}

const MOST: usize = 20_000;

impl Record {
    pub(crate) fn received(&mut self, mut call: Received) {
        self.seq += 1;
        call.seq = self.seq;
        call.at = clock::rfc3339(clock::now_ms());
        if self.received.len() >= MOST {
            self.received.drain(..MOST / 2);
        }
        self.received.push(call);
    }

    /// Takes a fault that matches, once.
    pub(crate) fn fault(&mut self, provider: &str, account: &str, operation: &str) -> Option<Fault> {
        let matches = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        let fault = self.faults.iter_mut().find(|f| {
            f.times > 0
                && f.provider == provider
                && matches(&f.account, account)
                && matches(&f.operation, operation)
        })?;
        fault.times -= 1;
        Some(fault.clone())
    }
}
