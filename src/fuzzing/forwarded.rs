//! What the issuer may answer to a forwarded call, in the bytes of its connection.

use bytes::Bytes;
use tokio::runtime;

use crate::okta::{
    brief::{self, Came},
    machine,
};

// Rows that this is about (faults 31, 35, 140).
pub(super) fn answer(data: &[u8]) {
    let came = |bytes: &[u8]| brief::read(&Bytes::copy_from_slice(bytes));
    let is_other = |bytes: &[u8]| matches!(came(bytes), Came::Other);
    match came(data) {
        Came::Whole(answer) => {
            for end in 0..data.len() {
                let is_begun = matches!(came(&data[..end]), Came::Start | Came::Head);
                assert!(is_begun, "after {end} bytes");
            }
            assert!(is_other(&[data, b"H"].concat()), "something follows it");
            let runtime = runtime::Builder::new_current_thread().enable_time().build();
            let read = runtime.expect("a runtime").block_on(machine::read(data));
            let (machines, is_free) = read.expect("the machine reads it");
            assert!(is_free, "another call can follow");
            assert_eq!(answer.status(), machines.status());
            assert_eq!(answer.headers(), machines.headers());
            assert_eq!(answer.body(), machines.body());
        }
        Came::Start | Came::Head => {
            let half = &data[..data.len() / 2];
            assert!(!is_other(half), "what was for the machine comes back");
        }
        Came::Other => {}
    }
}
