#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peak_docker::fuzzing::daemon_image(data));
