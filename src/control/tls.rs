//! TLS towards a listener of ours.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, Error, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::process::trust;

/// Tells why no TLS connection came about.
pub(super) enum TlsTrouble {
    /// The file of certificates cannot be used.
    File(PathBuf, io::ErrorKind),
    /// The certificate is not good, or not for this name.
    Untrusted,
    /// The other end speaks no TLS that we speak.
    Stranger,
}

/// Speaks TLS, and goes on only with somebody who is trusted; `trusted` is a PEM file.
pub(super) async fn secure(
    stream: TcpStream,
    authority: &str,
    trusted: Option<&Path>,
) -> Result<TlsStream<TcpStream>, TlsTrouble> {
    let connector = TlsConnector::from(Arc::new(client(trusted)?));
    let host = authority.rsplit_once(':').map_or(authority, |(host, _port)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
    let name = name.map_err(|_| TlsTrouble::Stranger)?;
    connector.connect(name, stream).await.map_err(|error| trouble(&error))
}

fn trouble(error: &io::Error) -> TlsTrouble {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(Error::InvalidCertificate(_)) => TlsTrouble::Untrusted,
        _ => TlsTrouble::Stranger,
    }
}

/// Trusts who proves to have one of these very certificates, and else whom authorities vouch for.
///
/// The usual self-made certificate is an authority too, and no verifier takes that for a server's;
/// nor need a daemon's certificate name the address that its configuration has.
fn client(trusted: Option<&Path>) -> Result<ClientConfig, TlsTrouble> {
    let Some(path) = trusted else {
        return Ok(trust::client().with_root_certificates(trust::roots()).with_no_client_auth());
    };
    let unusable = |kind| TlsTrouble::File(path.to_owned(), kind);
    let pem = std::fs::read(path).map_err(|error| unusable(error.kind()))?;
    let known = trust::certificates(&pem);
    trust::roots_with(&pem)
        .and_then(|roots| trust::looking_client(roots, move |own, _between| known.contains(own)))
        .ok_or_else(|| unusable(io::ErrorKind::InvalidData))
}
