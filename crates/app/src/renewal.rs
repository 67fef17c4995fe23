//! Renewal of data keys: what an organization sealed with a former key is sealed anew with its newest, online.
//!
//! A pass walks the sealed columns a few rows at a time, and keeps its place in the database: whoever is killed is
//! followed by whoever comes next. A value that its owner writes meanwhile wins. The former keys are destroyed after a
//! pass that met nothing of theirs, and that began when an hour had gone by since the last value of theirs was met: by
//! then no process remembers a former key, and nobody who has read a value is still about to write it back.

use crate::error::AppError;
use crate::keyring::{Keyring, RENEW_SECS};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, Ctx, OrgCtx};
use agenstack_core::id::{DataKeyId, IdMaker, OrgId, RequestId};
use agenstack_core::sealed::{Place, Sealed};
use agenstack_store::Store;
use agenstack_store::global::renewal::{Renewal, RenewalCount};
use agenstack_store::tenant::sealed::{SEALED, SealedColumn};
use agenstack_vault::key_id_of;

/// How long a former key has to be out of use before it is destroyed.
pub const QUIET_SECS: i64 = 3600;
/// Values that do not open keep their key; they are looked at again once a day.
const UNREADABLE_SECS: i64 = 86_400;
/// How long a claimed step may take.
const LEASE_SECS: i64 = 120;
/// Rows that a step looks at, and values that one transaction writes.
const ROWS: i64 = 200;
const WRITES: usize = 20;
/// Steps of one round: the next round goes on half a minute later.
const STEPS: usize = 50;
/// Organizations that `begin` reads at once.
const PAGE: i64 = 200;

/// How the data keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Organizations whose newest key is older than 90 days. It is renewed when they next seal something.
    pub overdue: i64,
    /// Organizations whose former keys still exist.
    pub under_way: RenewalCount,
}

/// Tells how the data keys are.
///
/// # Errors
/// If the database is not available.
pub async fn status(store: &Store, now: Timestamp) -> Result<Status, AppError> {
    let mut tx = store.global_read().await?;
    let overdue = tx.key_overdue(now.plus_secs(-RENEW_SECS)).await?;
    Ok(Status { overdue, under_way: tx.reseal_count().await? })
}

/// Gives one organization a new data key; the workers seal its values anew.
///
/// # Errors
/// [`AppError::NotFound`] if there is no such organization.
pub async fn begin_one(keyring: &Keyring, org: &OrgId) -> Result<bool, AppError> {
    let (former, _) = keyring.store().global_read().await?.key_newest(org).await?;
    keyring.renew(org, &former.id).await
}

/// Gives every organization a new data key, except those whose key is not an hour old: so it can be stopped and begun
/// again. Gives how many.
///
/// # Errors
/// If the database is not available; what was done before stays done.
pub async fn begin_all(keyring: &Keyring) -> Result<i64, AppError> {
    let until = keyring.now().plus_secs(-QUIET_SECS);
    let (mut after, mut done): (Option<OrgId>, i64) = (None, 0);
    loop {
        let page = keyring.store().global_read().await?.key_made_until(after.as_ref(), until, PAGE).await?;
        let Some(last) = page.last() else { return Ok(done) };
        after = Some(last.clone());
        for org in &page {
            match begin_one(keyring, org).await {
                Ok(made) => done += i64::from(made),
                // Deleted meanwhile.
                Err(AppError::NotFound) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// One round of a worker: some steps, each for the organization that waited longest. Gives how many.
///
/// # Errors
/// If the database is not available; the claimed step is free again after a while.
pub async fn round(keyring: &Keyring) -> Result<usize, AppError> {
    for n in 0..STEPS {
        if !step(keyring).await? {
            return Ok(n);
        }
    }
    Ok(STEPS)
}

/// One step; `false` if nothing is due.
async fn step(keyring: &Keyring) -> Result<bool, AppError> {
    let now = keyring.now();
    if keyring.store().global_read().await?.reseal_count().await?.organizations == 0 {
        // Asking first keeps an idle worker from taking SQLite's one place to write.
        return Ok(false);
    }
    let held = now.plus_secs(LEASE_SECS);
    let mut tx = keyring.store().global().await?;
    let claimed = tx.reseal_claim(now, held).await?;
    tx.commit().await?;
    let Some((proof, mut it)) = claimed else { return Ok(false) };
    let request = RequestId::new(&IdMaker::new(), now, keyring.entropy());
    let org = OrgCtx::from_queue(Ctx { actor: Actor::Worker, request, now }, &proof);
    let key = keyring.newest(&it.org).await?;
    if key.id() != &it.key {
        it = Renewal { key: key.id().clone(), place: String::new(), settled_at: now, ..it };
    }
    // A column that this version does not know begins the pass again.
    let at = SEALED.iter().position(|c| name(c) == it.place);
    let at = at.unwrap_or_else(|| {
        it = Renewal { bookmark: String::new(), found: 0, unreadable: 0, pass_at: now, ..it.clone() };
        0
    });
    let more = walk(keyring, &org, &SEALED[at], &mut it).await?;
    it.next_at = now;
    let mut tx = keyring.store().global().await?;
    if more {
        it.place = name(&SEALED[at]);
    } else if let Some(next) = SEALED.get(at + 1) {
        (it.place, it.bookmark) = (name(next), String::new());
    } else if ends(&mut it, now) {
        // Only whoever still holds the step may end it: nobody has begun anew.
        if tx.reseal_end(&it.org, held).await? {
            let destroyed = tx.key_destroy_older(&it.org, &it.key).await?;
            tx.commit().await?;
            tracing::info!(org.id = %it.org, destroyed, resealed = it.resealed, "former data keys are destroyed");
        }
        return Ok(true);
    }
    tx.reseal_save(&it, held).await?;
    tx.commit().await?;
    Ok(true)
}

/// The end of a pass: whether the former keys can go, or else when the next pass begins.
fn ends(it: &mut Renewal, now: Timestamp) -> bool {
    if it.found == 0 && it.pass_at >= it.settled_at.plus_secs(QUIET_SECS) {
        return true;
    }
    (it.place, it.bookmark) = (String::new(), String::new());
    if it.found > 0 {
        it.settled_at = now;
    }
    let pause = if it.unreadable > 0 { UNREADABLE_SECS } else { QUIET_SECS };
    it.next_at = it.settled_at.plus_secs(pause);
    false
}

fn name(column: &SealedColumn) -> String {
    format!("{}.{}", column.table, column.column)
}

/// Looks at the next rows of a column and seals anew what an older key sealed. Whether there may be more.
async fn walk(
    keyring: &Keyring,
    org: &OrgCtx,
    column: &SealedColumn,
    it: &mut Renewal,
) -> Result<bool, AppError> {
    let store = keyring.store();
    let heads = store.tenant_read(org).await?.sealed_heads(column, &it.bookmark, ROWS).await?;
    let is_old = |head: &Sealed| key_id_of(head).is_ok_and(|id: DataKeyId| id < it.key);
    let old: Vec<&str> = heads
        .iter()
        .filter(|(_, head)| head.as_ref().is_some_and(is_old))
        .map(|(row, _)| row.as_str())
        .collect();
    it.found += i64::try_from(old.len()).unwrap_or(i64::MAX);
    for rows in old.chunks(WRITES) {
        let (sealed, unreadable) = reseal(keyring, org, column, rows).await?;
        it.unreadable += unreadable;
        let mut tx = store.tenant(org).await?;
        for (row, old, new) in &sealed {
            it.resealed += i64::from(tx.sealed_swap(column, row, old, new).await?);
        }
        tx.commit().await?;
    }
    if let Some((row, _)) = heads.last() {
        it.bookmark.clone_from(row);
    }
    Ok(heads.len() as i64 == ROWS)
}

type Swap<'a> = (&'a str, Sealed, Sealed);

/// Seals rows anew, outside of any writing transaction; and how many do not open.
async fn reseal<'a>(
    keyring: &Keyring,
    org: &OrgCtx,
    column: &SealedColumn,
    rows: &[&'a str],
) -> Result<(Vec<Swap<'a>>, i64), AppError> {
    let key = keyring.newest(org.org()).await?;
    let (mut sealed, mut unreadable) = (Vec::with_capacity(rows.len()), 0);
    for row in rows {
        let found = keyring.store().tenant_read(org).await?.sealed_get(column, row).await?;
        let Some(old) = found else { continue };
        let place = Place { table: column.table, row, column: column.column };
        match keyring.open(org.org(), place, &old).await {
            Ok(plain) => {
                let new = key.seal(place, &plain, keyring.entropy());
                sealed.push((*row, old, new));
            }
            Err(AppError::Sealed(error)) => {
                tracing::error!(org.id = %org.org(), table = column.table, row, column = column.column, %error, "a value could not be sealed anew");
                unreadable += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Ok((sealed, unreadable))
}

#[cfg(test)]
mod tests;
