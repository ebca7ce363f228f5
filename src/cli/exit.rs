//! How a command ends: the exit codes and the line that explains them.

use std::process::ExitCode;

use super::terminal;
use crate::{
    app::AppError, control::client::ClientError, local::bind::BindError, okta::classify::Reason,
};

/// Wrong usage.
pub(super) const USAGE: u8 = 2;
const FAILED: u8 = 1;
const UNREACHABLE: u8 = 69;
const DENIED: u8 = 77;
const CONFIGURATION: u8 = 78;

/// Names the kinds of failure that have a code of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Failed,
    Unreachable,
    Denied,
    Configuration,
}

impl Class {
    /// Tells the exit code.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Failed => FAILED,
            Self::Unreachable => UNREACHABLE,
            Self::Denied => DENIED,
            Self::Configuration => CONFIGURATION,
        }
    }

    /// Tells the class of a mint that failed for this reason.
    pub(super) const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Unauthorized | Reason::NotFound | Reason::BadRequest | Reason::WrongTeam => {
                Self::Configuration
            }
            Reason::Forbidden => Self::Denied,
            _ => Self::Unreachable,
        }
    }
}

/// Says how a command failed.
#[derive(Debug)]
pub(super) struct Exit {
    code: u8,
    /// Empty when there is nothing more to say.
    sentence: String,
}

impl Exit {
    /// It did not work.
    pub(super) fn failed(sentence: impl Into<String>) -> Self {
        Self { code: FAILED, sentence: sentence.into() }
    }

    /// The answer is no, and has been printed or needs no words.
    pub(super) const fn silent() -> Self {
        Self { code: FAILED, sentence: String::new() }
    }

    /// The flags cannot mean anything.
    pub(super) fn usage(sentence: impl Into<String>) -> Self {
        Self { code: USAGE, sentence: sentence.into() }
    }

    /// The daemon or the issuer cannot be reached.
    pub(super) fn unreachable(sentence: impl Into<String>) -> Self {
        Self { code: UNREACHABLE, sentence: sentence.into() }
    }

    /// Somebody else may.
    pub(super) fn denied(sentence: impl Into<String>) -> Self {
        Self { code: DENIED, sentence: sentence.into() }
    }

    /// The configuration or a key file is wrong.
    pub(super) fn configuration(sentence: impl Into<String>) -> Self {
        Self { code: CONFIGURATION, sentence: sentence.into() }
    }

    /// There is no token, for this reason.
    pub(super) fn unminted(sentence: impl Into<String>, reason: Reason) -> Self {
        Self::of(Class::of(reason), sentence)
    }

    /// It failed in this way.
    pub(super) fn of(class: Class, sentence: impl Into<String>) -> Self {
        Self { code: class.code(), sentence: sentence.into() }
    }

    /// A code of another convention's; no sentence where somebody else has said why.
    pub(super) fn with_code(code: u8, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }

    /// Tells whether another try may find somebody.
    pub(super) const fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// Tells what it would say.
    pub(super) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// Says it and gives the code.
    pub(super) fn report(&self) -> ExitCode {
        for line in self.sentence.lines() {
            terminal::complain(line);
        }
        ExitCode::from(self.code)
    }
}

impl From<AppError> for Exit {
    fn from(error: AppError) -> Self {
        let sentence = error.to_string();
        match error {
            AppError::Config(_)
            | AppError::Transport(_)
            | AppError::AccessToken(_)
            | AppError::Tls(..)
            | AppError::Sink(_)
            | AppError::NeedsRestart(_) => Self::configuration(sentence),
            AppError::Bind(BindError::PortDenied { .. }) => Self::denied(sentence),
            AppError::Bind(_)
            | AppError::Activation(_)
            | AppError::NoSandbox(_)
            | AppError::Helper(_) => Self::failed(sentence),
        }
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unreachable(_, std::io::ErrorKind::PermissionDenied) => {
                Self::denied(error.to_string())
            }
            ClientError::Trusted(..) => Self::configuration(error.to_string()),
            _ => Self::unreachable(error.to_string()),
        }
    }
}
