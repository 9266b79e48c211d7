//! Policies, their members and their conditions.
#![no_main]

#[path = "../../crates/google-emulator/tests/parsers/policy.rs"]
mod policy;

libfuzzer_sys::fuzz_target!(|data: &[u8]| policy::check(data));
