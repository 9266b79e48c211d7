//! Tokens of pods and of this cloud.
#![no_main]

#[path = "../../crates/google-emulator/tests/parsers/cloud.rs"]
mod cloud;
#[path = "../../crates/google-emulator/tests/parsers/token.rs"]
mod token;

libfuzzer_sys::fuzz_target!(|data: &[u8]| token::check(data));
