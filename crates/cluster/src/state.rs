//! How it stands with a cluster, from what Docker and the API server say of it. Pure.

use crate::docker::Container;
use crate::node::NODE_IMAGE;

/// What Docker knows about the cluster's node.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    Absent,
    Foreign {
        image: String,
    },
    /// Made by us, to the end.
    Ours(Container),
    /// Made by us, but not to the end: its making was interrupted.
    Unfinished,
    /// Made by us to the end, but from another cache, which has its kubeconfig and its images.
    Elsewhere {
        cache: String,
    },
}

/// Whose cluster it is, from its nodes and the node that we wrote down.
pub(crate) fn judge(nodes: Vec<Container>, finished: &str) -> State {
    if let Some(foreign) = nodes.iter().find(|it| !it.image.starts_with(NODE_IMAGE)) {
        return State::Foreign { image: foreign.image.clone() };
    }
    match nodes.into_iter().next() {
        None => State::Absent,
        Some(node) if node.id == finished => State::Ours(node),
        Some(_) => State::Unfinished,
    }
}

/// The pods with a container that has run since before `since`. Both times are RFC 3339 in UTC, of
/// which the first 19 characters, to the second, compare as text.
pub(crate) fn stale_pods<'a>(pods: &'a str, since: &str) -> Vec<&'a str> {
    let second = |time: &str| time.get(..19).unwrap_or_default().to_owned();
    let stale = pods.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        words.any(|started| second(started) < second(since)).then_some(name)
    });
    stale.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, image: &str) -> Container {
        Container { id: id.into(), image: image.into(), state: "running".into() }
    }

    #[test]
    fn a_cluster_of_another_image_is_foreign() {
        let state = judge(vec![container("1", "kindest/node:v1.36.1")], "1");
        assert_eq!(state, State::Foreign { image: "kindest/node:v1.36.1".into() });
    }

    #[test]
    fn a_cluster_whose_making_was_interrupted_is_unfinished() {
        let ours = container("1", &format!("{NODE_IMAGE}abc"));
        assert_eq!(judge(vec![ours.clone()], ""), State::Unfinished);
        assert_eq!(judge(vec![ours.clone()], "2"), State::Unfinished);
        assert_eq!(judge(vec![ours.clone()], "1"), State::Ours(ours));
        assert_eq!(judge(vec![], "1"), State::Absent);
    }

    #[test]
    fn a_pod_that_ran_before_the_nodes_start_is_stale() {
        let pods = "old 2026-11-23T02:00:00Z\nmixed 2026-11-23T02:00:09Z 2026-11-23T02:00:00Z\nnew 2026-11-23T02:00:09Z\nwaiting\n";
        assert_eq!(stale_pods(pods, "2026-11-23T02:00:08.123456789Z"), ["old", "mixed"]);
    }
}
