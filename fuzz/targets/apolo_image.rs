#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peak_apolo::fuzzing::apolo_image(data));
