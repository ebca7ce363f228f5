//! What an emulated issuer is started with: the flags of `bearerd emulator`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, ValueEnum};
use reqwest::Url;

use super::{limits::ThrottleForm, schedule::FaultPlan, users::Role};

/// Says how an emulated issuer behaves.
///
/// The defaults are those of the flags.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Address to listen on; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub bind: SocketAddr,

    /// Origin that links in answers name, when it is not the bound address.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<Url>,

    /// Name of the team.
    #[arg(long, default_value = "acme")]
    pub team: String,

    /// Name of the service user that the initial key belongs to.
    #[arg(long, default_value = "robot")]
    pub user: String,

    /// Role of that service user.
    #[arg(long, value_enum, default_value = "resource_admin")]
    pub role: Role,

    /// Id of the initial key; random if not given.
    #[arg(long, value_name = "UUID")]
    pub key_id: Option<String>,

    /// File for the initial key: taken from there if it exists, else written there, mode 0600.
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,

    /// Lifetime of tokens.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub lifetime: Duration,

    /// Life that is left to the other keys of a user after a rotation.
    #[arg(long, value_name = "DURATION", default_value = "2d", value_parser = humantime::parse_duration)]
    pub grace: Duration,

    /// Time that every answer takes at least.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    pub latency: Duration,

    /// Requests that each user may make in a window.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub rate_limit: u32,

    /// Length of that window.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub rate_window: Duration,

    /// Seconds that the issuer's clock is ahead, or with a minus behind.
    #[arg(long, value_name = "SECONDS", default_value_t = 0, allow_negative_numbers = true)]
    pub clock_skew: i64,

    /// Digits after the second in times.
    #[arg(long, value_name = "0..9", default_value_t = 9, value_parser = clap::value_parser!(u8).range(0..=9))]
    pub fraction: u8,

    /// Make tokens that parse as a JWT with an `exp`.
    #[arg(long)]
    pub jwt: bool,

    /// What an unknown team is answered.
    #[arg(long, value_enum, default_value = "401")]
    pub unknown_team: UnknownTeam,

    /// What a 429 says of the time to come back.
    #[arg(long, value_enum, default_value = "retry-at")]
    pub throttle: ThrottleForm,

    /// How the pages of a list are linked.
    #[arg(long, value_enum, default_value = "absolute")]
    pub links: LinkForm,

    /// What a second rotation does to an end that an older key has already.
    #[arg(long, value_enum, default_value = "keep")]
    pub rotation_end: RotationEnd,

    /// What becomes of the tokens of a key that is deleted.
    #[arg(long, value_enum, default_value = "die")]
    pub deleted_key_tokens: DeletedKeyTokens,

    /// Fault to begin with, may be repeated: `[mint@|api@|rotate@]KIND[:COUNT][=ARGUMENT]`.
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<FaultPlan>,
}

impl Default for Options {
    fn default() -> Self {
        // The flags are the one place where defaults are written down.
        Line::try_parse_from(["emulator"]).expect("every flag has a default").options
    }
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

/// Says what a team that does not exist is answered (conformance case T7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UnknownTeam {
    /// 401 `authentication_error`.
    #[value(name = "401")]
    Unauthorized,
    /// 404 `resource_does_not_exist`.
    #[value(name = "404")]
    NotFound,
}

/// Says how `Link` names other pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LinkForm {
    /// With scheme and host.
    Absolute,
    /// From the root of the host.
    Relative,
}

/// Says what a rotation does to a key that is already to end (fault 282).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RotationEnd {
    /// The earlier end stays.
    Keep,
    /// The key gets a whole new grace.
    Move,
}

/// Says whether tokens outlive the deletion of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeletedKeyTokens {
    /// They die with it.
    Die,
    /// They live to their own end.
    Live,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_reach_the_options() {
        let line = Line::try_parse_from([
            "emulator",
            "--lifetime=90s",
            "--clock-skew",
            "-300",
            "--fault=mint@503:2",
            "--fault=hang",
            "--role=none",
            "--unknown-team=404",
        ]);
        let options = line.unwrap_or_else(|error| panic!("{error}")).options;
        assert_eq!(options.lifetime, Duration::from_secs(90));
        assert_eq!(options.clock_skew, -300);
        assert_eq!(options.faults.len(), 2);
        assert_eq!(options.role, Role::None);
        assert_eq!(options.unknown_team, UnknownTeam::NotFound);
    }

    #[test]
    fn defaults_are_those_of_the_documented_issuer() {
        let options = Options::default();
        assert_eq!(options.team, "acme");
        assert_eq!(options.lifetime, Duration::from_secs(3600));
        assert_eq!(options.grace, Duration::from_secs(2 * 24 * 3600));
        assert_eq!(options.rate_limit, 10_000);
    }

    #[test]
    fn an_unknown_fault_is_refused_by_name() {
        let error = Line::try_parse_from(["emulator", "--fault=earthquake"]).err();
        assert!(error.is_some_and(|error| error.to_string().contains("earthquake")));
    }
}
