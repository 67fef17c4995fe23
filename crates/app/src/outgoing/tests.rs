use super::*;
use agenstack_core::clock::ManualClock;
use agenstack_core::entropy::SeededEntropy;
use agenstack_providers::pace::paced;

const START: Timestamp = Timestamp::from_secs(1_000_000);

fn line(provider: Provider) -> (Arc<Line>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(START));
    let line = Line::new(provider, clock.clone(), Arc::new(SeededEntropy::new(1)));
    (Arc::new(line), clock)
}

fn lost(provider: Provider) -> ProviderError {
    ProviderError::new(provider, Kind::Unavailable, "timed_out")
}

/// One call within a deed, that ends so.
async fn call(deed: &Arc<Deed>, e: Option<&ProviderError>) -> Result<(), ProviderError> {
    let number = deed.turn(true).await?;
    deed.ended(number, e.map_or(Ended::Well, Ended::Badly), None);
    Ok(())
}

#[tokio::test]
async fn one_connection_has_four_deeds_at_once_and_the_fifth_is_put_off_after_a_second() {
    let (line, _) = line(Provider::Kustomer);
    let mut deeds = Vec::new();
    for _ in 0..AT_ONCE {
        deeds.push(line.clone().enter().await.expect("a place is free"));
    }
    let began = std::time::Instant::now();
    let e = line.clone().enter().await.map(drop).unwrap_err();
    assert!(e.not_asked && e.is_retryable(), "{e}");
    assert_eq!((e.code, e.retry_after_secs), ("busy_here", Some(BUSY_SECS)));
    assert!(began.elapsed() >= PATIENCE, "it waited for a place");
    // One that ends lets the next in.
    let (next, ()) = tokio::join!(line.clone().enter(), async { drop(deeds.pop()) });
    assert!(next.is_ok());
}

#[tokio::test]
async fn that_it_is_called_again_is_said_once_and_not_of_one_that_always_was() {
    let (line, clock) = line(Provider::Shopify);
    let deed = line.clone().enter().await.unwrap();
    let down = lost(Provider::Shopify);
    call(&deed, None).await.unwrap();
    for _ in 0..breaker::MOST {
        assert!(!line.has_recovered());
        call(&deed, Some(&down)).await.unwrap();
    }
    clock.advance_millis(15_000);
    call(&deed, Some(&down)).await.unwrap();
    assert!(!line.has_recovered(), "the probe has failed");
    clock.advance_millis(30_000);
    call(&deed, None).await.unwrap();
    assert_eq!([line.has_recovered(), line.has_recovered()], [true, false]);
}

#[tokio::test]
async fn who_waits_for_a_place_is_put_off_when_those_who_hold_them_find_that_nobody_answers() {
    let (line, clock) = line(Provider::Shopify);
    let mut deeds = Vec::new();
    for _ in 0..AT_ONCE {
        deeds.push(line.clone().enter().await.expect("a place is free"));
    }
    let calls: Vec<_> = futures::future::join_all(deeds.iter().map(|d| d.turn(true))).await;
    let (fifth, ()) = tokio::join!(line.clone().enter(), async {
        for (deed, number) in deeds.iter().zip(calls) {
            deed.ended(number.unwrap(), Ended::Badly(&lost(Provider::Shopify)), None);
        }
        deeds.clear();
    });
    let e = fifth.map(drop).unwrap_err();
    assert_eq!((e.code, e.kind, e.not_asked), ("circuit_open", Kind::Unavailable, true));
    let pause = i64::try_from(e.retry_after_secs.unwrap()).unwrap();
    assert!((10..=13).contains(&pause), "{pause}");
    assert_eq!(line.look().unwrap_err(), e);

    // When it is over, one of them asks, and the others do not wait for the answer.
    clock.advance_millis(pause * 1000);
    let (probe, other) = (line.clone().enter().await.unwrap(), line.clone().enter().await.unwrap());
    let number = probe.turn(true).await.expect("one call finds out");
    let e = other.turn(true).await.unwrap_err();
    assert_eq!((e.code, e.retry_after_secs, e.not_asked), ("circuit_open", Some(5), true));
    probe.ended(number, Ended::Well, None);
    assert_eq!(call(&other, None).await, Ok(()), "and then everybody");
}

#[tokio::test]
async fn what_was_not_used_for_a_quarter_of_an_hour_is_called_as_if_nothing_had_been() {
    let (line, clock) = line(Provider::Shopify);
    let deed = line.clone().enter().await.unwrap();
    for _ in 0..4 {
        call(&deed, Some(&lost(Provider::Shopify))).await.unwrap();
    }
    clock.advance_millis(LATELY_SECS * 1000 - 1);
    assert!(line.is_open(), "nobody has asked since");
    clock.advance_millis(1);
    assert!(!line.is_open(), "and nobody wants to know");
    line.begin();
    for _ in 0..3 {
        assert_eq!(call(&deed, Some(&lost(Provider::Shopify))).await, Ok(()), "one that fails is no reason");
    }
}

#[tokio::test]
async fn a_limit_is_kept_before_it_is_hit_and_a_short_wait_is_waited_for() {
    let (line, clock) = line(Provider::Shopify);
    let deed = line.clone().enter().await.unwrap();
    let number = deed.turn(true).await.unwrap();
    let budget = Budget::Points { most: 2000.0, left: 10.0, per_sec: 100.0, asked: 400.0 };
    deed.ended(number, Ended::Well, Some(budget));
    let e = deed.turn(true).await.unwrap_err();
    assert!(!e.not_asked, "this deed has asked before: it has made an attempt");
    let deed = line.clone().enter().await.unwrap();
    let e = deed.turn(true).await.unwrap_err();
    assert_eq!((e.code, e.retry_after_secs, e.not_asked), ("rate_limited", Some(4), true));
    clock.advance_millis(3_500);
    let (number, ()) = tokio::join!(deed.turn(true), async { clock.advance_millis(400) });
    assert!(number.is_ok(), "400 points after 3.9 s, of which 0.4 were waited");
}

#[tokio::test]
async fn a_probe_that_is_given_up_leaves_the_next_to_another() {
    let (line, clock) = line(Provider::Kustomer);
    let deed = line.clone().enter().await.unwrap();
    let mut e = lost(Provider::Kustomer);
    e.retry_after_secs = Some(30);
    call(&deed, Some(&e)).await.unwrap();
    assert_eq!(deed.turn(true).await.unwrap_err().retry_after_secs, Some(30));
    clock.advance_millis(30_000);
    let number = deed.turn(true).await.unwrap();
    deed.ended(number, Ended::Dropped, None);
    assert_eq!(call(&deed, None).await, Ok(()));
    // What is made outside of a call of a provider is not paced.
    assert_eq!(paced(deed, std::future::ready(1)).await, 1);
}
