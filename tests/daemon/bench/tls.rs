//! Certificates, good and bad, an issuer that shows them, and clients that look at them.

use std::{io, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Home, PATIENCE, Place, RawIssuer, Visitor, issuer::granted};

/// Signs certificates.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

/// Holds what a server shows.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

pub(crate) fn authority(name: &str) -> Authority {
    CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate().unwrap()).unwrap()
}

/// Makes an authority that another one vouches for.
pub(crate) fn intermediate(name: &str, root: &Authority) -> Authority {
    let key = KeyPair::generate().unwrap();
    CertifiedIssuer::signed_by(authority_params(name), key, root).unwrap()
}

/// Makes an authority that nobody vouches for, and many certificates of it, each of which leads to all.
pub(crate) fn maze(doors: u64) -> (Authority, Vec<CertificateDer<'static>>) {
    let key = KeyPair::generate().unwrap();
    let door = |number: u64| {
        let mut params = authority_params("maze");
        params.serial_number = Some(number.into());
        params.self_signed(&key).unwrap().der().clone()
    };
    let doors = (1..=doors).map(door).collect();
    (CertifiedIssuer::self_signed(authority_params("maze"), key).unwrap(), doors)
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// Says what a server certificate is like; by default it is good.
pub(crate) fn leaf(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

/// Ends a certificate long ago.
pub(crate) fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    params
}

/// Lets a certificate begin far ahead.
pub(crate) fn not_yet(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2200, 1, 1);
    params.not_after = date_time_ymd(2201, 1, 1);
    params
}

impl Identity {
    /// Signs a leaf; the chain holds the leaf alone.
    pub(crate) fn signed(params: &CertificateParams, by: &Authority) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, by).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.into() }
    }

    /// Lets a leaf sign itself.
    pub(crate) fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.into() }
    }

    /// Shows the intermediate authority too.
    pub(crate) fn with(mut self, intermediate: &Authority) -> Self {
        self.chain.push(intermediate.der().clone());
        self
    }

    /// Puts chain and key into a home, each in one step.
    pub(crate) fn write(&self, home: &Home) {
        self.write_chain(home);
        self.write_key(home, 0o600);
    }

    pub(crate) fn write_chain(&self, home: &Home) {
        let chain: String = self.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
        home.replace("tls.crt", chain.as_bytes(), 0o644);
    }

    pub(crate) fn write_key(&self, home: &Home, mode: u32) {
        home.replace("tls.key", pem("PRIVATE KEY", self.key.secret_der()).as_bytes(), mode);
    }

    fn acceptor(self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .unwrap();
        Arc::new(config).into()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// Makes a client that trusts this authority alone.
pub(crate) fn client(ca: &Authority) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// What a server has shown.
pub(crate) struct Shown {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) protocol: Option<Vec<u8>>,
}

/// Speaks TLS with a listener that is to be called `localhost`.
pub(crate) async fn visit(place: &Place, client: ClientConfig) -> io::Result<(Visitor, Shown)> {
    let Place::Tcp(address) = place else { panic!("TLS is for TCP") };
    let stream = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(Arc::new(client));
    let handshake = connector.connect("localhost".try_into().unwrap(), stream);
    let stream = timeout(PATIENCE, handshake).await.expect("a handshake ends in time")?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().unwrap()[0].clone().into_owned();
    let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
    Ok((Visitor::over(stream), Shown { certificate, protocol }))
}

/// Starts an issuer that grants `token` to whoever trusts its certificate.
pub(crate) async fn issuer(identity: Identity, token: &str) -> RawIssuer {
    issuer_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), identity, token)
}

/// Starts one where somebody listens already.
pub(crate) fn issuer_on(listener: TcpListener, identity: Identity, token: &str) -> RawIssuer {
    let (acceptor, token) = (identity.acceptor(), token.to_owned());
    RawIssuer::on(listener, move |stream, _, seen| {
        let (acceptor, token) = (acceptor.clone(), token.clone());
        async move {
            let mut stream = acceptor.accept(stream).await?;
            seen.read_request(&mut stream).await?;
            stream.write_all(&granted(&token)).await?;
            stream.shutdown().await
        }
    })
}

/// Names the address of an issuer as a TLS one.
pub(crate) fn url(issuer: &RawIssuer) -> String {
    format!("https://{}", issuer.address)
}

/// Answers a hello as a server does that speaks TLS 1.1 only.
pub(crate) async fn answer_as_tls11(stream: &mut (impl AsyncWriteExt + Unpin)) -> io::Result<()> {
    // ServerHello: version 3.2, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA.
    let hello = [&[3, 2][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 2, 0, length + 4, 2, 0, 0, length][..], &hello].concat();
    stream.write_all(&record).await
}
