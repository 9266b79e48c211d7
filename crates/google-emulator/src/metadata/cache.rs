//! Tokens that are asked for again and again, fetched once.

use super::chain::{Refusal, Token};
use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// More keys than a node has service accounts and its clients have sets of scopes. A pod may ask
/// for any scopes it likes, but not fill the memory of the node with them.
const MOST_KEYS: usize = 4096;
/// A token is fetched anew this long before it ends, as Compute Engine's metadata server does.
const EARLY: Duration = Duration::from_secs(300);

/// A cache of tokens in which concurrent requests for one key are one fetch.
pub(crate) struct Cache<K> {
    slots: Mutex<HashMap<K, Arc<Slot>>>,
    /// The longest that a token is given again, however long it lasts.
    keep: Duration,
}

#[derive(Default)]
struct Slot {
    state: Mutex<State>,
    /// Held by the one who fetches.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct State {
    token: Option<Kept>,
    /// Of the last flight, if it failed.
    failure: Option<Refusal>,
    /// How many flights have landed.
    landed: u64,
}

#[derive(Clone)]
struct Kept {
    token: Token,
    fetched: SystemTime,
}

impl Slot {
    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn land(&self, result: &Result<Token, Refusal>, now: SystemTime) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.landed += 1;
        match result {
            Ok(token) => {
                state.token = Some(Kept { token: token.clone(), fetched: now });
                state.failure = None;
            }
            Err(refusal) => {
                // Google's answer is believed; where there is none, the old token may still do.
                if refusal.is_final() {
                    state.token = None;
                }
                state.failure = Some(refusal.clone());
            }
        }
    }
}

impl<K: Eq + Hash + Clone> Cache<K> {
    /// A cache that gives a token again for at most this long.
    pub(crate) fn new(keep: Duration) -> Cache<K> {
        Cache { slots: Mutex::default(), keep }
    }

    /// The token of a key, from memory if it lasts, else from `fetch`. A failure is shared by those
    /// who have waited for it and by nobody after them.
    pub(crate) async fn get<F>(
        &self,
        key: &K,
        now: SystemTime,
        fetch: impl FnOnce() -> F,
    ) -> Result<Token, Refusal>
    where
        F: Future<Output = Result<Token, Refusal>>,
    {
        let slot = self.slot(key, now);
        let seen = slot.state();
        if let Some(token) = self.lasting(&seen, now) {
            return Ok(token);
        }
        let _flight = slot.flight.lock().await;
        let state = slot.state();
        if let Some(token) = self.lasting(&state, now) {
            return Ok(token);
        }
        if let Some(failure) = state.failure.filter(|_| state.landed > seen.landed) {
            return Err(failure);
        }
        let result = fetch().await;
        slot.land(&result, now);
        match (result, state.token) {
            (Err(refusal), Some(old)) if !refusal.is_final() && old.token.expires > now => {
                Ok(old.token)
            }
            (result, _) => result,
        }
    }

    /// Forgets one token, if it is still that one.
    pub(crate) fn forget(&self, key: &K, token: &Token) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let is_that = |slot: &Arc<Slot>| {
            slot.state().token.is_some_and(|kept| kept.token.value == token.value)
        };
        if slots.get(key).is_some_and(is_that) {
            slots.remove(key);
        }
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn slot(&self, key: &K, now: SystemTime) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        if slots.len() >= MOST_KEYS {
            slots.retain(|_, slot| self.lasting(&slot.state(), now).is_some());
        }
        if slots.len() >= MOST_KEYS {
            slots.clear();
        }
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    fn lasting(&self, state: &State, now: SystemTime) -> Option<Token> {
        let Kept { token, fetched } = state.token.as_ref()?;
        let life = token.expires.duration_since(*fetched).unwrap_or_default();
        // A token of a short life would never be given again if it had to last five minutes more.
        let early = EARLY.min(life / 4);
        let left = token.expires.duration_since(now).ok()?;
        let age = now.duration_since(*fetched).unwrap_or_default();
        (left > early && age < self.keep).then(|| token.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn token(value: &str, expires: u64) -> Token {
        Token { value: value.into(), expires: at(expires) }
    }

    fn refused() -> Refusal {
        Refusal::Status { status: 403, message: "no".into() }
    }

    async fn get(cache: &Cache<u8>, now: u64, result: Result<Token, Refusal>) -> (String, bool) {
        let mut fetched = false;
        let got = cache
            .get(&1, at(now), || {
                fetched = true;
                async { result }
            })
            .await;
        (got.map_or_else(|it| it.to_string(), |it| it.value.to_string()), fetched)
    }

    #[tokio::test]
    async fn a_token_is_fetched_anew_before_it_ends() {
        let cache = Cache::new(HOUR * 2);
        assert_eq!(get(&cache, 0, Ok(token("a", 3600))).await, ("a".into(), true));
        assert_eq!(get(&cache, 3299, Ok(token("b", 9999))).await, ("a".into(), false));
        assert_eq!(get(&cache, 3300, Ok(token("b", 6900))).await, ("b".into(), true));
    }

    #[tokio::test]
    async fn a_short_token_is_given_again_too() {
        let cache = Cache::new(HOUR);
        assert_eq!(get(&cache, 0, Ok(token("a", 20))).await, ("a".into(), true));
        assert_eq!(get(&cache, 14, Ok(token("b", 40))).await, ("a".into(), false));
        assert_eq!(get(&cache, 16, Ok(token("b", 40))).await, ("b".into(), true));
    }

    #[tokio::test]
    async fn a_token_is_kept_no_longer_than_told() {
        let cache = Cache::new(Duration::from_secs(5));
        get(&cache, 0, Ok(token("a", 3600))).await;
        assert_eq!(get(&cache, 4, Ok(token("b", 3600))).await, ("a".into(), false));
        assert_eq!(get(&cache, 5, Ok(token("b", 3600))).await, ("b".into(), true));
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = Cache::new(HOUR);
        assert!(get(&cache, 0, Err(refused())).await.1);
        assert_eq!(get(&cache, 0, Ok(token("a", 3600))).await, ("a".into(), true));
    }

    #[tokio::test]
    async fn an_old_token_serves_while_google_is_out_of_reach_and_not_when_it_refuses() {
        let cache = Cache::new(HOUR);
        get(&cache, 0, Ok(token("a", 3600))).await;
        let away = Refusal::Unreachable("away".into());
        assert_eq!(get(&cache, 3400, Err(away.clone())).await, ("a".into(), true));
        assert_ne!(get(&cache, 3601, Err(away)).await.0, "a");
        let cache = Cache::new(HOUR);
        get(&cache, 0, Ok(token("a", 3600))).await;
        assert_ne!(get(&cache, 3400, Err(refused())).await.0, "a");
        assert_eq!(get(&cache, 3400, Ok(token("b", 7000))).await, ("b".into(), true));
    }

    #[tokio::test]
    async fn concurrent_requests_are_one_fetch_in_success_and_in_failure() {
        for outcome in [Ok(token("a", 3600)), Err(refused())] {
            let cache = Cache::new(HOUR);
            let fetches = AtomicU32::new(0);
            let one = || {
                cache.get(&1, at(0), || async {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    outcome.clone()
                })
            };
            let all = futures::future::join_all((0..50).map(|_| one())).await;
            assert_eq!(fetches.load(Ordering::SeqCst), 1);
            assert!(all.iter().all(|it| *it == outcome));
        }
    }

    #[tokio::test]
    async fn a_fetch_that_is_given_up_leaves_the_way_free() {
        let cache = Cache::new(HOUR);
        let never = cache.get(&1, at(0), std::future::pending);
        assert!(futures::poll!(Box::pin(never)).is_pending());
        assert_eq!(get(&cache, 0, Ok(token("a", 3600))).await, ("a".into(), true));
    }

    #[tokio::test]
    async fn the_number_of_keys_is_limited() {
        let cache = Cache::new(HOUR);
        for key in 0..MOST_KEYS * 2 {
            let fetch = || async { Ok(token("a", 3600)) };
            cache.get(&key, at(0), fetch).await.unwrap();
        }
        assert!(cache.slots.lock().unwrap().len() <= MOST_KEYS);
    }
}
