#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peak_docker::fuzzing::engine_progress(data));
