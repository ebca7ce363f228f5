//! The certificate of a listener: read with care, checked, shown to whoever comes by TCP.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::ring::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use zeroize::Zeroizing;

use crate::{
    config::model::Tls,
    process::{
        feed::Source,
        fingerprint::Fingerprint,
        owned_file::{Access, Contents, FileError, read_file},
        path_error::PathError,
        trusted_dir::{Trail, TrustedDir},
    },
    token::timing::Wall,
};

/// The reason in `bearerd_requests_denied_total` of a connection that never spoke TLS.
pub const REFUSED: &str = "tls";

/// The one protocol that is spoken inside: nobody is led to HTTP/2 (fault 269).
const HTTP_1: &[u8] = b"http/1.1";

/// Holds a certificate with its key, ready to be shown.
pub struct Certificate {
    setup: Arc<ServerConfig>,
    own: CertificateDer<'static>,
    path: PathBuf,
    fingerprint: Fingerprint,
}

impl Certificate {
    /// Reads both files and checks that they belong together. Blocks as the file system does.
    ///
    /// # Errors
    ///
    /// When a file or the way to it is not as it should be: the key's as strict as an API key's.
    pub fn load(files: &Tls) -> Result<Self, TlsError> {
        files.read(&mut Trail::default())
    }

    /// Speaks TLS 1.2 or 1.3 on a new connection; nobody else bounds the time of it.
    pub fn welcome(
        &self,
        stream: TcpStream,
    ) -> impl Future<Output = std::io::Result<TlsStream<TcpStream>>> + Send + use<> {
        TlsAcceptor::from(Arc::clone(&self.setup)).accept(stream)
    }

    /// Tells whether this is the same content.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Says what clients will not like about it at this time.
    #[must_use]
    pub fn warning(&self, now: Wall) -> Option<TlsWarning> {
        let path = self.path.clone();
        match trial(&self.own, now) {
            Err(CertificateError::ExpiredContext { not_after, .. }) => {
                Some(TlsWarning::Ended { path, at: wall(not_after) })
            }
            Err(CertificateError::NotValidYetContext { not_before, .. }) => {
                Some(TlsWarning::NotYet { path, at: wall(not_before) })
            }
            // Who signed it and for which name is for its clients to judge.
            _ => None,
        }
    }
}

/// Lets a certificate be verified as if it were trusted, which looks at its dates first.
fn trial(own: &CertificateDer<'_>, now: Wall) -> Result<(), CertificateError> {
    let refused = |error| match error {
        rustls::Error::InvalidCertificate(error) => error,
        _ => CertificateError::BadEncoding,
    };
    let mut roots = RootCertStore::empty();
    roots.add(own.clone().into_owned()).map_err(refused)?;
    let parsed = ParsedCertificate::try_from(own).map_err(refused)?;
    let now = UnixTime::since_unix_epoch(now.since_epoch());
    let algorithms = default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms)
        .map_err(refused)
}

const fn wall(time: UnixTime) -> Wall {
    Wall::from_unix(Duration::from_secs(time.as_secs()))
}

/// Says what is odd about a certificate, in a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsWarning {
    /// Its time is over.
    #[error("the certificate in {path} ended at {at}, so clients refuse it: renew it")]
    Ended {
        /// The file.
        path: PathBuf,
        /// Its end.
        at: Wall,
    },
    /// Its time has not come.
    #[error(
        "the certificate in {path} begins at {at}, so clients refuse it until then: \
             check the clock, or whoever issues it"
    )]
    NotYet {
        /// The file.
        path: PathBuf,
        /// Its begin.
        at: Wall,
    },
}

/// Says why a certificate cannot be shown, in a sentence for people; it quotes no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file itself, or the way to it.
    #[error("{0}")]
    File(#[from] FileError),
    /// No certificate in the file.
    #[error("{0} holds no certificate: put the chain there as PEM, the listener's own one first")]
    NoCertificate(PathBuf),
    /// Something that is no certificate.
    #[error(
        "{0} holds a certificate that cannot be read: put the chain there as PEM, \
             the listener's own one first"
    )]
    BadCertificate(PathBuf),
    /// No key in the file.
    #[error("{0} holds no private key: put it there as PEM, without a passphrase")]
    NoKey(PathBuf),
    /// A key that nobody here can sign with.
    #[error(
        "{0} holds a private key of a kind that is not supported: \
             use ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 8192 bits"
    )]
    BadKey(PathBuf),
    /// Two files that do not belong together.
    #[error("{key} is not the key of the certificate in {certificate}: put the two together again")]
    Mismatch {
        /// File of the key.
        key: PathBuf,
        /// File of the certificate.
        certificate: PathBuf,
    },
    /// The reading itself broke off, for a reason of our own.
    #[error("reading {0} broke off; it will be read again")]
    BrokeOff(PathBuf),
}

impl TlsError {
    /// Names the kind of error, for logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::File(error) => error.label(),
            Self::NoCertificate(_) => "no_certificate",
            Self::BadCertificate(_) => "bad_certificate",
            Self::NoKey(_) => "no_key",
            Self::BadKey(_) => "bad_key",
            Self::Mismatch { .. } => "mismatch",
            Self::BrokeOff(_) => "broke_off",
        }
    }
}

impl From<PathError> for TlsError {
    fn from(error: PathError) -> Self {
        Self::File(error.into())
    }
}

impl Source for Tls {
    type Content = Certificate;
    type Trouble = TlsError;

    fn read(&self, trail: &mut Trail) -> Result<Certificate, TlsError> {
        let root = TrustedDir::open(Path::new("/"), trail)?;
        // A certificate is shown to everybody, so everybody may read it.
        let chain = read_file(&root, &self.cert_file, Access::Unchecked, trail)?;
        let key = read_file(&root, &self.key_file, Access::OwnerOnly, trail)?;
        certificate(&chain, &key)
    }

    fn fingerprint(found: &Certificate) -> Fingerprint {
        found.fingerprint
    }

    fn broken_off(&self) -> TlsError {
        TlsError::BrokeOff(self.cert_file.clone())
    }
}

fn certificate(chain: &Contents, key: &Contents) -> Result<Certificate, TlsError> {
    let bad = || TlsError::BadCertificate(chain.path.clone());
    let certificates = CertificateDer::pem_slice_iter(&chain.bytes).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_may_quote| bad())?;
    let Some(own) = certificates.first().cloned() else {
        return Err(TlsError::NoCertificate(chain.path.clone()));
    };
    let pair = CertifiedKey::new(certificates, signer(key)?);
    pair.keys_match().map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { key: key.path.clone(), certificate: chain.path.clone() }
        }
        _ => bad(),
    })?;
    Ok(Certificate {
        setup: Arc::new(setup(pair)),
        own,
        path: chain.path.clone(),
        fingerprint: Fingerprint::of([chain.bytes.as_slice(), key.bytes.as_slice()]),
    })
}

fn signer(key: &Contents) -> Result<Arc<dyn rustls::sign::SigningKey>, TlsError> {
    let der = PrivateKeyDer::from_pem_slice(&key.bytes).map(Zeroizing::new);
    let der = der.map_err(|_may_quote| TlsError::NoKey(key.path.clone()))?;
    any_supported_type(&der).map_err(|_may_quote| TlsError::BadKey(key.path.clone()))
}

fn setup(pair: CertifiedKey) -> ServerConfig {
    let mut setup = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    setup.alpn_protocols = vec![HTTP_1.to_vec()];
    setup
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{Permissions, set_permissions, write},
        os::unix::fs::PermissionsExt,
    };

    use base64::{Engine, engine::general_purpose::STANDARD};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use tempfile::{TempDir, tempdir};

    use super::*;

    /// Makes a certificate that signs itself, from 2001 to 2101, and its key; both as PEM.
    fn pair() -> (String, String) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2101, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn home(certificate: &str, key: &str) -> (TempDir, Tls) {
        let home = tempdir().unwrap();
        let (cert_file, key_file) = (home.path().join("tls.crt"), home.path().join("tls.key"));
        write(&cert_file, certificate).unwrap();
        write(&key_file, key).unwrap();
        set_permissions(&key_file, Permissions::from_mode(0o600)).unwrap();
        (home, Tls { cert_file, key_file })
    }

    /// Takes the SEC1 form of a P-256 key out of its PKCS#8 form.
    fn sec1(key: &str) -> String {
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let der = der.secret_der();
        let begin = [0x30, 0x6b, 2, 1, 1, 4, 32];
        let at = der.windows(begin.len()).position(|bytes| bytes == begin).unwrap();
        let body = STANDARD.encode(&der[at..]);
        format!("-----BEGIN EC PRIVATE KEY-----\n{body}\n-----END EC PRIVATE KEY-----\n")
    }

    #[test]
    fn a_chain_and_a_key_of_each_form_are_taken() {
        let (certificate, key) = pair();
        let (other, _) = pair();
        let both = format!("{key}{certificate}");
        for (certificate, key) in [
            (&certificate, &key),
            (&certificate, &sec1(&key)),
            (&format!("{certificate}{other}"), &key),
            (&both, &both),
        ] {
            let (_home, files) = home(certificate, key);
            assert!(Certificate::load(&files).is_ok());
        }
    }

    #[test]
    fn what_cannot_be_shown_is_told_without_a_word_of_it() {
        let (certificate, key) = pair();
        let (_, other) = pair();
        let broken = certificate.replace("MII", "M!I");
        let shorter = certificate.replacen("MII", "MIJ", 1);
        let odd_key = key.replacen("MIG", "MIH", 1);
        let secret = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        for (certificate, key, label, words) in [
            ("", &*key, "no_certificate", "holds no certificate: put the chain there as PEM"),
            (&key, &key, "no_certificate", "tls.crt holds no certificate"),
            (&broken, &key, "bad_certificate", "tls.crt holds a certificate that cannot be read"),
            (&shorter, &key, "bad_certificate", "tls.crt holds a certificate that cannot be read"),
            (&certificate, &certificate, "no_key", "tls.key holds no private key: put it there"),
            (&certificate, &secret, "no_key", "without a passphrase"),
            (&certificate, &odd_key, "bad_key", "tls.key holds a private key of a kind that"),
            (&certificate, &other, "mismatch", "tls.key is not the key of the certificate in"),
        ] {
            let (_home, files) = home(certificate, key);
            let error = Certificate::load(&files).err().unwrap();
            let sentence = error.to_string();
            assert_eq!(error.label(), label, "{sentence}");
            assert!(sentence.contains(words) && !sentence.contains("MI"), "{sentence}");
        }
    }

    // fault 84
    #[test]
    fn a_key_is_guarded_as_strictly_as_an_api_key() {
        let (certificate, key) = pair();
        let (_home, files) = home(&certificate, &key);
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            set_permissions(&files.key_file, Permissions::from_mode(mode)).unwrap();
            let outcome = Certificate::load(&files).map_err(|error| error.to_string());
            assert_eq!(outcome.is_ok(), is_fine, "{mode:o}");
            assert!(outcome.err().is_none_or(|error| error.contains("run chmod 600")));
        }
        std::fs::remove_file(&files.key_file).unwrap();
        assert_eq!(Certificate::load(&files).err().unwrap().label(), "missing");
    }

    #[test]
    fn only_another_content_is_another_certificate() {
        let ((certificate, key), (other, other_key)) = (pair(), pair());
        let load = |certificate: &str, key: &str| {
            let (_home, files) = home(certificate, key);
            Certificate::load(&files).unwrap()
        };
        let first = load(&certificate, &key);
        assert!(first.is_same(&load(&certificate, &key)));
        assert!(!first.is_same(&load(&other, &other_key)));
        assert!(!first.is_same(&load(&format!("{certificate}{other}"), &key)));
    }

    #[test]
    fn dates_are_looked_at_and_nothing_else() {
        let (certificate, key) = pair();
        let (_home, files) = home(&certificate, &key);
        let certificate = Certificate::load(&files).unwrap();
        let on = |year: u64| Wall::from_unix(Duration::from_secs((year - 1970) * 31_557_600));
        let said = |year| certificate.warning(on(year)).map(|warning| warning.to_string());
        assert!(said(1980).unwrap().contains("begins at 2001-01-01T00:00:00Z"));
        assert_eq!(said(2050), None);
        assert!(said(2150).unwrap().contains("ended at 2101-01-01T00:00:00Z"));
    }
}
