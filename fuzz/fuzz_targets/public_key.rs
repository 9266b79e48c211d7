//! Public keys that a certificate is wanted for.
#![no_main]

#[path = "../../crates/google-emulator/tests/parsers/public_key.rs"]
mod public_key;

libfuzzer_sys::fuzz_target!(|data: &[u8]| public_key::check(data));
