//! Whom our own TLS clients trust, and how they speak.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    WantsVerifier,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    version::{TLS12, TLS13},
};

/// Begins a client that speaks TLS 1.2 and 1.3; there is no key log.
#[must_use]
pub fn client() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions")
}

/// Makes a client that lets `knows` look at each server first: its own certificate and those between.
///
/// Whom it does not know has to be vouched for by `roots`; `None` if there are none. In any case the
/// server proves that it has the key to its certificate.
#[must_use]
pub fn looking_client<K>(roots: RootCertStore, knows: K) -> Option<ClientConfig>
where
    K: Fn(&CertificateDer<'_>, &[CertificateDer<'_>]) -> bool + Send + Sync + 'static,
{
    let provider = Arc::new(ring::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = Looking { knows, authorities: authorities.build().ok()? };
    let config = client().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    Some(config.with_no_client_auth())
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

/// Looks at what a server shows, then verifies as usual.
struct Looking<K> {
    knows: K,
    authorities: Arc<WebPkiServerVerifier>,
}

impl<K> fmt::Debug for Looking<K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Looking").finish_non_exhaustive()
    }
}

impl<K> ServerCertVerifier for Looking<K>
where
    K: Fn(&CertificateDer<'_>, &[CertificateDer<'_>]) -> bool + Send + Sync,
{
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if (self.knows)(own, intermediates) {
            return Ok(ServerCertVerified::assertion());
        }
        self.authorities.verify_server_cert(own, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, own, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, own, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}
