//! A certificate for loopback, and an authority for it that signs nothing else.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::{
    process::clock::{Clock, SystemClock},
    token::timing::Wall,
};

/// Names of this machine for itself.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Room for clocks that do not agree.
const BEFORE: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than anybody lets it run.
const LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Holds what a listener needs for TLS, all as PEM.
pub(super) struct Loopback {
    /// The authority, for clients to trust; its key is gone.
    pub(super) authority: String,
    /// The listener's certificate, then the authority's.
    pub(super) chain: String,
    /// The key of the listener's certificate.
    pub(super) key: String,
}

impl Loopback {
    /// Makes an authority, lets it sign one certificate and forgets its key.
    pub(super) fn make() -> Result<Self, rcgen::Error> {
        let now = SystemClock.wall();
        let authority = CertifiedIssuer::self_signed(authority(now), KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let own = certificate(now)?.signed_by(&key, &authority)?;
        let chain = own.pem() + &authority.pem();
        Ok(Self { authority: authority.pem(), chain, key: key.serialize_pem() })
    }
}

fn authority(now: Wall) -> CertificateParams {
    let mut params = dated(CertificateParams::default(), now);
    params.distinguished_name.push(DnType::CommonName, "bearerd dev: made for one run");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn certificate(now: Wall) -> Result<CertificateParams, rcgen::Error> {
    let mut params = dated(CertificateParams::new(NAMES.map(str::to_owned))?, now);
    params.distinguished_name.push(DnType::CommonName, "bearerd dev");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python wants it (RFC 5280, section 4.2.1.1).
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn dated(mut params: CertificateParams, now: Wall) -> CertificateParams {
    let on = |day: Wall| date_time_ymd(1970, 1, 1) + day.since_epoch();
    params.not_before = on(now - BEFORE);
    params.not_after = on(now + LIFE);
    params
}
