//! What was found before and is known: its findings are not told again.

use crate::{Category, Finding, FingerprintKey, Report, ScanError, Severity, Summary};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Known {
    file: String,
    category: Category,
    severity: Severity,
    fingerprint: String,
    /// How often; one more is new.
    count: usize,
}

/// The file: fingerprints and the key they were made with, never a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    version: u32,
    key: String,
    findings: Vec<Known>,
}

impl Baseline {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, ScanError> {
        let read: Self = serde_json::from_str(text).map_err(|e| ScanError::Baseline(e.to_string()))?;
        if read.version != 1 {
            return Err(ScanError::Baseline(format!("version {} is not known here", read.version)));
        }
        read.key()?;
        Ok(read)
    }

    /// The key that its fingerprints were made with.
    pub fn key(&self) -> Result<FingerprintKey, ScanError> {
        let mut key = [0; 32];
        hex::decode_to_slice(&self.key, &mut key)
            .map_err(|_| ScanError::Baseline("its key is damaged".to_owned()))?;
        Ok(FingerprintKey::new(key))
    }

    /// One that knows everything in this report.
    pub fn of(report: &Report, key: &FingerprintKey) -> Self {
        let mut known: BTreeMap<(String, Category, Severity, String), usize> = BTreeMap::new();
        for f in &report.findings {
            *known.entry((f.file.clone(), f.category, f.severity, f.fingerprint.clone())).or_default() += 1;
        }
        let findings = known
            .into_iter()
            .map(|((file, category, severity, fingerprint), count)| Known {
                file,
                category,
                severity,
                fingerprint,
                count,
            })
            .collect();
        Self { version: 1, key: hex::encode(key.0), findings }
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// The report without what is known. Lines may have moved; a finding that became worse is new.
    pub fn without_known(&self, report: Report) -> Report {
        let mut left: BTreeMap<(String, Category, String), Vec<(Severity, usize)>> = BTreeMap::new();
        for k in &self.findings {
            left.entry((k.file.clone(), k.category, k.fingerprint.clone()))
                .or_default()
                .push((k.severity, k.count));
        }
        let is_known = |finding: &Finding| {
            let Some(entries) =
                left.get_mut(&(finding.file.clone(), finding.category, finding.fingerprint.clone()))
            else {
                return false;
            };
            let Some(entry) =
                entries.iter_mut().find(|(severity, n)| *n > 0 && finding.severity <= *severity)
            else {
                return false;
            };
            entry.1 -= 1;
            true
        };
        let (known, new): (Vec<_>, Vec<_>) = report.findings.into_iter().partition(is_known);
        Report::new(new, Summary { in_baseline: known.len(), ..report.summary })
    }
}
