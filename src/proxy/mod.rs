//! Okta's own paths: existing clients work by changing one URL.
//!
//! Pure: [`path`], [`rules`], [`replay`], [`headers`], [`link`].

pub mod headers;
pub mod link;
pub mod path;
pub mod replay;
pub mod rules;
