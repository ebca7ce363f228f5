#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bearerd::fuzzing::check("forwarded_answer", data));
