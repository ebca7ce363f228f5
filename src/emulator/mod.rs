//! The emulated issuer.
