#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peak_local::fuzzing::copy_pattern(data));
