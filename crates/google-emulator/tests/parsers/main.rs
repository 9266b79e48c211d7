//! What the parsers of foreign bytes promise, checked on the seeds of the fuzzer: an input that once
//! broke a promise is kept there.
#![expect(clippy::unwrap_used, reason = "what a test needs and does not find ends the test")]

mod cloud;
mod multipart;
mod policy;
mod public_key;
mod token;

use std::path::Path;

/// Checks every seed of a target, and that there are some.
fn each_seed(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let seed = std::fs::read(&path).unwrap();
        let checked = std::panic::catch_unwind(|| check(&seed));
        assert!(checked.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count > 0, "{} is empty", folder.display());
}

#[test]
fn no_token_is_believed_that_was_not_signed_here_for_here() {
    each_seed("token", token::check);
}

#[test]
fn a_multipart_body_is_read_the_same_however_it_comes() {
    each_seed("multipart", multipart::check);
}

#[test]
fn a_public_key_is_taken_as_it_is_written_or_not_at_all() {
    each_seed("public_key", public_key::check);
}

#[test]
fn a_policy_means_the_same_after_it_was_written() {
    each_seed("policy", policy::check);
}

/// The seeds would prove little if nothing in them were ever accepted.
#[test]
fn the_genuine_tokens_among_the_seeds_are_believed() {
    token::genuine_ones_are_believed();
}
