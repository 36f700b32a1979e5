#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peak_registry_server::fuzzing::registry_path(data));
