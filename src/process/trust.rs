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

#[cfg(test)]
mod tests {
    use std::slice;

    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::{
        ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion,
        pki_types::PrivateKeyDer,
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    };

    use super::*;

    /// An authority, and a certificate of its with the key that goes with it.
    struct Issued {
        authority: String,
        own: CertificateDer<'static>,
        key: KeyPair,
    }

    fn issued() -> Issued {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let own = params.signed_by(&key, &authority).unwrap().der().clone();
        Issued { authority: authority.pem(), own, key }
    }

    /// Shows a certificate, whether or not the key is the one that goes with it.
    #[derive(Debug)]
    struct Shows(Arc<CertifiedKey>);

    impl ResolvesServerCert for Shows {
        fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    /// Tells what a client makes of a server that shows a certificate and signs with a key.
    fn shaken(
        client: ClientConfig,
        version: &'static SupportedProtocolVersion,
        own: &CertificateDer<'static>,
        key: &KeyPair,
    ) -> Result<(), Error> {
        let provider = Arc::new(ring::default_provider());
        let signer =
            ring::sign::any_supported_type(&PrivateKeyDer::try_from(key.serialize_der()).unwrap())
                .unwrap();
        let shows = Shows(Arc::new(CertifiedKey::new(vec![own.clone()], signer)));
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shows));
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        for _ in 0..9 {
            let mut sent = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut sent).unwrap();
            }
            server.read_tls(&mut &*sent).unwrap();
            server.process_new_packets().unwrap();
            let mut answered = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answered).unwrap();
            }
            client.read_tls(&mut &*answered).unwrap();
            client.process_new_packets()?;
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        Ok(())
    }

    /// Makes a client that trusts an authority, and besides knows some certificates.
    fn looking(authority: &str, known: &[CertificateDer<'static>]) -> ClientConfig {
        let known = known.to_vec();
        let roots = roots_with(authority.as_bytes()).unwrap();
        looking_client(roots, move |own, between| {
            assert!(between.is_empty());
            known.contains(own)
        })
        .unwrap()
    }

    #[test]
    fn who_is_vouched_for_or_known_gets_in_and_nobody_else() {
        let [ours, other] = [(); 2].map(|()| issued());
        for version in [&TLS13, &TLS12] {
            let shows_ours = |client| shaken(client, version, &ours.own, &ours.key);
            assert_eq!(shows_ours(looking(&ours.authority, &[])), Ok(()));
            assert_eq!(shows_ours(looking(&other.authority, slice::from_ref(&ours.own))), Ok(()));
            let stranger = shows_ours(looking(&other.authority, slice::from_ref(&other.own)));
            assert!(matches!(stranger, Err(Error::InvalidCertificate(_))), "{stranger:?}");
        }
    }

    // A certificate is no secret: whoever shows one has to have its key.
    #[test]
    fn a_known_certificate_with_another_key_is_nobodys() {
        let [ours, other] = [(); 2].map(|()| issued());
        for version in [&TLS13, &TLS12] {
            let client = looking(&ours.authority, slice::from_ref(&ours.own));
            let forged = shaken(client, version, &ours.own, &other.key);
            assert!(matches!(forged, Err(Error::InvalidCertificate(_))), "{forged:?}");
        }
    }

    #[test]
    fn what_holds_no_certificate_gives_no_roots() {
        let pem = issued().authority;
        assert_eq!(certificates((pem.clone() + &pem).as_bytes()).len(), 2);
        for nothing in ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(roots_with(nothing.as_bytes()).is_none(), "{nothing}");
        }
        assert_eq!(roots_with(pem.as_bytes()).unwrap().len(), roots().len() + 1);
        assert!(looking_client(RootCertStore::empty(), |_, _| true).is_none());
    }

    #[test]
    fn nothing_of_whom_it_knows_is_shown() {
        let provider = Arc::new(ring::default_provider());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots()), provider);
        let verifier = Looking { knows: (), authorities: authorities.build().unwrap() };
        assert_eq!(format!("{verifier:?}"), "Looking { .. }");
    }
}
