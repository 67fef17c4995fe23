//! A report as people and programs read it. The same report gives the same text.

mod markdown;
mod sarif;
mod table;

pub use markdown::markdown;
pub use sarif::sarif;
pub use table::table;

use crate::Report;

/// `{"findings":[…],"summary":{…}}`.
pub fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("plain data")
}
