//! A rotation without a daemon: the same steps, lock and journal, by a command.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::{
    handle::Rotated,
    hands::{Hands, Token, Tokens},
    work::{denied, rotated},
};
use crate::{
    config::model::Credential,
    key::{
        rotation::Rotation,
        shelf::{Shelf, ShelfError},
        step::{Outcome, Plan, Step},
    },
    okta::{
        classify::MintError,
        client::IssuerClient,
        issuer::{Allowance, Issuer},
    },
    process::{clock::Clock, secret::Secret},
};

/// Says why a key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum AloneError {
    /// It is not meant to be, or cannot be, where it lies.
    #[error("{0}")]
    Place(String),
    /// There is no token to ask with.
    #[error("{0}")]
    Mint(MintError),
    /// It did not come to an end.
    #[error("{0}")]
    Unfinished(String),
}

impl From<ShelfError> for AloneError {
    fn from(error: ShelfError) -> Self {
        Self::Place(error.to_string())
    }
}

/// Rotates the key of a credential once; goes on first with what an earlier crash has left.
///
/// `asking` is a token of the credential that asks, if that is another one.
///
/// # Errors
///
/// Says why the key in the file is the same as before, or not known to be another.
pub async fn rotate(
    credential: &Credential,
    issuer: Arc<IssuerClient>,
    asking: Option<Secret>,
    clock: &dyn Clock,
) -> Result<Rotated, AloneError> {
    let Some((path, settings)) = credential.rotated_file().zip(credential.rotation.as_ref()) else {
        let sentence = "only a key from `key_file` is rotated without a daemon, and rotation.user \
                        has to name the service user whose key it is";
        return Err(AloneError::Place(sentence.to_owned()));
    };
    let (path, group) = (path.to_owned(), credential.allow_group_readable_key);
    let opened = spawn_blocking(move || {
        let mut shelf = Shelf::open(&path, group)?;
        let (found, beside) = shelf.look()?;
        let key = shelf.key()?;
        Ok::<_, ShelfError>((shelf, found, beside, key))
    });
    let broken = |_| AloneError::Unfinished("the work with the key file broke off".to_owned());
    let (shelf, found, beside, key) = opened.await.map_err(broken)??;
    let own = match issuer.mint(&key).await.result {
        Ok(grant) => Some(Arc::new(grant.token)),
        // What lies beside the file may be the better one; it is tried first.
        Err(_) if beside.is_some() => None,
        Err(error) => return Err(AloneError::Mint(error)),
    };
    let asking = asking.map(Arc::new).or_else(|| own.clone());
    let tokens = Arc::new(Minted { own, asking });
    let hands = Hands::new(&settings.user, issuer, tokens, Box::new(shelf), beside);
    let plan = Plan { every: None, place: 0.0, delete_old: false };
    Alone { hands, machine: Rotation::resume(plan, found), trouble: None }.run(clock).await
}

struct Alone {
    hands: Hands<IssuerClient>,
    machine: Rotation,
    trouble: Option<String>,
}

impl Alone {
    async fn run(mut self, clock: &dyn Clock) -> Result<Rotated, AloneError> {
        let before = self.machine.key_id().to_owned();
        // First what is left of an earlier one: it may be all that is wanted.
        self.steps(clock).await;
        if self.machine.key_id() == before {
            let wanted = self.machine.want(clock.wall());
            wanted.map_err(|why| {
                AloneError::Unfinished(self.trouble.take().unwrap_or_else(|| denied(why)))
            })?;
            self.steps(clock).await;
        }
        rotated(&self.machine, &before, self.trouble.as_ref()).map_err(AloneError::Unfinished)
    }

    /// Takes steps until there is nothing to do for now.
    async fn steps(&mut self, clock: &dyn Clock) {
        loop {
            let step = self.machine.next(clock.wall());
            if matches!(step, Step::Rest(_)) {
                return;
            }
            let taken = self.hands.take(&step, self.machine.journal()).await;
            let is_well = taken.trouble.is_none() && taken.outcome != Outcome::Failed;
            self.trouble = taken.trouble.or(self.trouble.take().filter(|_| !is_well));
            self.machine.done(clock.wall(), taken.outcome);
            if step == Step::Record && self.machine.is_quiet() && !self.machine.has_new() {
                self.hands.tidy().await;
            }
        }
    }
}

/// Tokens that were minted for this command.
struct Minted {
    own: Option<Arc<Secret>>,
    asking: Option<Arc<Secret>>,
}

impl Tokens for Minted {
    fn own(&self) -> Option<Token> {
        self.own.clone().map(Token::Own)
    }

    fn asking(&self) -> Option<Token> {
        self.asking.clone().map(Token::Own)
    }

    fn note_allowance(&self, _told: Allowance) {}

    fn is_allowance_low(&self) -> bool {
        false
    }
}
