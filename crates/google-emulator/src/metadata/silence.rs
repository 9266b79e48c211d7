//! The first seconds of a pod's life, in which the metadata server does not answer.
//!
//! GKE documents that it "takes a few seconds to start accepting requests on a newly created Pod".
//! What a client sees then is told by its own logs: the connection is made and nothing comes
//! (`timeout awaiting response headers`, doitintl/kubeip#76), and the server's log has it looking
//! for the pod meanwhile (`retry budget exhausted (50 attempts): ip … not recorded in the
//! snapshot`, gcpdiag's rule gke/ERR/2023_011). So a connection is held, and answered once the
//! silence is over. Google's own advice for init containers also retries on refused connections
//! (`--retry-connrefused`), which a server of one address for all pods cannot do for one of them;
//! [`How::Reset`] breaks the connection at its first byte instead.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How the server is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Connections are made and nothing comes until the silence is over.
    #[default]
    Hold,
    /// Connections are reset.
    Reset,
}

/// Who hears nothing, and for how long.
pub(crate) struct Silence {
    /// Of a pod's life.
    young: Duration,
    how: How,
    /// On demand: of one address, or of everybody.
    ordered: Mutex<HashMap<Option<IpAddr>, (Instant, How)>>,
}

impl Silence {
    pub(crate) fn new(young: Duration, how: How) -> Silence {
        Silence { young, how, ordered: Mutex::default() }
    }

    /// Whether it matters how old a pod is.
    pub(crate) fn concerns_young_pods(&self) -> bool {
        !self.young.is_zero()
    }

    /// Orders silence for one address or for everybody.
    pub(crate) fn order(&self, address: Option<IpAddr>, lasts: Duration, how: How) {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        ordered.retain(|_, (until, _)| *until > now);
        let until = now.checked_add(lasts).unwrap_or(now + Duration::from_secs(86_400));
        ordered.insert(address, (until, how));
    }

    /// Ends all that was ordered.
    pub(crate) fn end(&self) {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How long an address hears nothing yet; `started` is when the life of its pod began.
    pub(crate) fn left(
        &self,
        address: IpAddr,
        started: Option<SystemTime>,
        now: SystemTime,
    ) -> Option<(Duration, How)> {
        // A pod that starts in the future is as young as can be: the clocks differ.
        let age = started.map(|it| now.duration_since(it).unwrap_or_default());
        let young = age.and_then(|age| self.young.checked_sub(age)).filter(|it| !it.is_zero());
        let ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let instant = Instant::now();
        let ordered = [Some(address), None]
            .into_iter()
            .filter_map(|it| ordered.get(&it))
            .filter_map(|(until, how)| Some((until.checked_duration_since(instant)?, *how)));
        ordered.chain(young.map(|left| (left, self.how))).max_by_key(|(left, _)| *left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_pod_hears_nothing_while_it_is_young() {
        let silence = Silence::new(SECOND * 3, How::Hold);
        let now = SystemTime::now();
        let left = |age: Duration| silence.left(ip("10.0.0.7"), Some(now - age), now);
        assert_eq!(left(Duration::ZERO), Some((SECOND * 3, How::Hold)));
        assert_eq!(left(SECOND * 2), Some((SECOND, How::Hold)));
        assert_eq!(left(SECOND * 3), None);
        assert_eq!(silence.left(ip("10.0.0.7"), None, now), None);
        assert_eq!(silence.left(ip("10.0.0.7"), Some(now + SECOND), now).unwrap().0, SECOND * 3);
    }

    #[test]
    fn silence_can_be_ordered_for_one_or_for_all() {
        let silence = Silence::new(Duration::ZERO, How::Hold);
        let now = SystemTime::now();
        let hears_nothing = |it: &str| silence.left(ip(it), None, now);
        silence.order(Some(ip("10.0.0.7")), SECOND * 60, How::Reset);
        assert_eq!(hears_nothing("10.0.0.7").unwrap().1, How::Reset);
        assert_eq!(hears_nothing("10.0.0.8"), None);
        silence.order(None, Duration::MAX, How::Hold);
        assert_eq!(hears_nothing("10.0.0.8").unwrap().1, How::Hold);
        silence.end();
        assert_eq!(hears_nothing("10.0.0.7"), None);
    }
}
