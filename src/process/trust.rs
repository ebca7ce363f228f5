//! Whom our own TLS clients trust, and how they speak.

use std::sync::Arc;

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};

/// Begins a client that speaks TLS 1.2 and 1.3; there is no key log.
#[must_use]
pub fn client() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions")
}

/// Gives the built-in roots.
#[must_use]
pub fn roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// Gives the built-in roots and those in `pem`; `None` if it holds nothing to trust.
#[must_use]
pub fn roots_with(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = roots();
    let (added, _ignored) = roots.add_parsable_certificates(certificates(pem));
    (added > 0).then_some(roots)
}

/// Lists the certificates in `pem`, but for those that are broken.
#[must_use]
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).flatten().collect()
}
