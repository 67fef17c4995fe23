//! Credentials that were once committed: removing them later did not make them secret again.

use crate::text::{self, Content};
use crate::{Category, Finding, Options, ScanError};
use gix::revision::walk::Sorting;
use gix::traverse::commit::simple::CommitTimeOrder;
use std::collections::HashSet;
use std::path::Path;

/// Every credential in any version that a branch, a tag or a stash leads to, under the first commit that had it, unless it
/// still stands in the same file and was found there.
pub(crate) fn findings(
    root: &Path,
    options: &Options,
    present: &[Finding],
) -> Result<Vec<Finding>, ScanError> {
    let failed = |e: &dyn std::fmt::Display| ScanError::History(e.to_string());
    let repository =
        gix::discover_opts(root, Default::default(), Default::default()).map_err(|e| failed(&e))?;
    let looker = options.looker()?.credentials_only();
    let known: HashSet<(&str, &str)> =
        present.iter().map(|f| (f.file.as_str(), f.fingerprint.as_str())).collect();
    let mut tips = Vec::new();
    if let Ok(head) = repository.head_id() {
        tips.push(head.detach());
    }
    let references = repository.references().map_err(|e| failed(&e))?;
    for reference in references.all().map_err(|e| failed(&e))? {
        let Ok(mut reference) = reference else { continue };
        let Ok(id) = reference.peel_to_id() else { continue };
        if repository.find_object(id).is_ok_and(|object| object.kind == gix::object::Kind::Commit) {
            tips.push(id.detach());
        }
    }
    if tips.is_empty() {
        return Ok(Vec::new());
    }
    let walk = repository
        .rev_walk(tips)
        .sorting(Sorting::ByCommitTime(CommitTimeOrder::NewestFirst))
        .all()
        .map_err(|e| failed(&e))?;
    let mut commits = Vec::new();
    for info in walk {
        commits.push(info.map_err(|e| failed(&e))?.id);
    }
    // The oldest first, so that a value is told under the commit that brought it.
    let (mut seen, mut told, mut found) = (HashSet::new(), HashSet::new(), Vec::new());
    for commit in commits.into_iter().rev() {
        let tree = repository
            .find_commit(commit)
            .map_err(|e| failed(&e))?
            .tree_id()
            .map_err(|e| failed(&e))?
            .detach();
        let mut open = vec![(tree, String::new())];
        while let Some((id, folder)) = open.pop() {
            if !seen.insert((id, folder.clone())) {
                continue;
            }
            let tree = repository.find_tree(id).map_err(|e| failed(&e))?;
            for entry in tree.iter() {
                let entry = entry.map_err(|e| failed(&e))?;
                let name = entry.filename().to_string();
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if entry.mode().is_tree() {
                    open.push((entry.oid().to_owned(), path));
                } else if entry.mode().is_blob() && seen.insert((entry.oid().to_owned(), path.clone())) {
                    let blob = repository.find_object(entry.oid()).map_err(|e| failed(&e))?;
                    let Content::Text(text) = text::decode(blob.data.clone()) else { continue };
                    for mut finding in looker.look(&path, &text).findings {
                        let new = !known.contains(&(finding.file.as_str(), finding.fingerprint.as_str()))
                            && told.insert((finding.file.clone(), finding.fingerprint.clone()));
                        if new && finding.category == Category::CredentialLiteral {
                            finding.commit = Some(commit.to_string());
                            finding.remedy = format!(
                                "{} It stood in the history since commit {}.",
                                finding.remedy,
                                &commit.to_string()[..10]
                            );
                            found.push(finding);
                        }
                    }
                }
            }
        }
    }
    Ok(found)
}
