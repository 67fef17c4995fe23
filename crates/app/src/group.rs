//! What arrives together is done together: tasks that take from a channel whatever waits in it.

use futures::FutureExt;
use tokio::sync::mpsc::Receiver;

/// All that waits, until `most` of what `count` counts is there; when nothing waits, the first that comes. `None` when nothing
/// can come any more.
pub(crate) async fn next<T>(
    waiting: &mut Receiver<T>,
    most: usize,
    count: impl Fn(&T) -> usize,
) -> Option<Vec<T>> {
    let first = waiting.recv().await?;
    Some(with(first, waiting, most, count))
}

/// The same after the first has come.
pub(crate) fn with<T>(
    first: T,
    waiting: &mut Receiver<T>,
    most: usize,
    count: impl Fn(&T) -> usize,
) -> Vec<T> {
    let mut there = count(&first);
    let mut group = vec![first];
    while there < most
        && let Ok(one) = waiting.try_recv()
    {
        there += count(&one);
        group.push(one);
    }
    group
}

/// Does it; `false` if it panicked. Who waits for it learns that from the answer that never comes, and the next group is done
/// all the same.
pub(crate) async fn survive(work: impl Future<Output = ()>) -> bool {
    std::panic::AssertUnwindSafe(work).catch_unwind().await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::channel;

    #[tokio::test]
    async fn what_waits_is_one_group_up_to_a_bound_of_what_is_counted() {
        let (put, mut waiting) = channel(9);
        for n in [1, 2, 3, 4, 0] {
            put.try_send(n).unwrap();
        }
        assert_eq!(next(&mut waiting, 5, |n| *n).await, Some(vec![1, 2, 3]));
        assert_eq!(next(&mut waiting, 5, |n| *n).await, Some(vec![4, 0]));
        let (group, ()) = tokio::join!(next(&mut waiting, 5, |n| *n), async { put.try_send(7).unwrap() });
        assert_eq!(group, Some(vec![7]));
        drop(put);
        assert_eq!(next(&mut waiting, 5, |n| *n).await, None);
    }

    #[tokio::test]
    async fn a_group_that_panics_takes_nothing_else_with_it() {
        assert!(!survive(async { panic!("on purpose") }).await);
        assert!(survive(async {}).await);
    }
}
