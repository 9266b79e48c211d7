//! Bodies of uploads and batches.
#![no_main]

#[path = "../../crates/google-emulator/tests/parsers/cloud.rs"]
mod cloud;
#[path = "../../crates/google-emulator/tests/parsers/multipart.rs"]
mod multipart;

libfuzzer_sys::fuzz_target!(|data: &[u8]| multipart::check(data));
