//! Does what a rotation says: on the disk, and at the issuer.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::place::Place;
use crate::{
    key::{
        api_key::ApiKey,
        journal::Journal,
        shelf::{Replaced, ShelfError},
        step::{Outcome, Step},
    },
    okta::{
        classify::{MintError, Reason},
        issuer::Allowance,
        key_answers::{KeyError, ListedKey},
        keys::KeyIssuer,
    },
    process::secret::Secret,
    token::published::Published,
};

/// Gives tokens to ask with.
pub trait Tokens: Send + Sync {
    /// Gives a token of the credential whose key it is; `None` while there is none.
    fn own(&self) -> Option<Token>;

    /// Gives a token of the credential that asks for new keys.
    fn asking(&self) -> Option<Token>;

    /// Takes what an answer told of the budget of the asking user.
    fn note_allowance(&self, told: Allowance);

    /// Tells whether optional calls should be left out (fault 280).
    fn is_allowance_low(&self) -> bool;
}

/// Holds a token while it is used.
pub enum Token {
    /// One that is served, too.
    Served(Arc<Published>),
    /// One that was minted for this alone.
    Own(Arc<Secret>),
}

impl Token {
    fn secret(&self) -> &Secret {
        match self {
            Self::Served(published) => published.token(),
            Self::Own(secret) => secret,
        }
    }
}

/// Tells how a step went, and what a person should know of it.
pub struct Taken {
    /// How.
    pub outcome: Outcome,
    /// What was in the way, in a sentence.
    pub trouble: Option<String>,
}

impl Taken {
    const fn well(outcome: Outcome) -> Self {
        Self { outcome, trouble: None }
    }

    fn not(outcome: Outcome, trouble: &impl ToString) -> Self {
        Self { outcome, trouble: Some(trouble.to_string()) }
    }
}

/// Holds what the steps of one rotation need.
pub struct Hands<I> {
    user: String,
    issuer: Arc<I>,
    tokens: Arc<dyn Tokens>,
    /// Away while a thread works with it, and for good if that broke off or found somebody else there.
    shelf: Option<Box<dyn Place>>,
    is_overtaken: bool,
    new: Option<Arc<ApiKey>>,
}

impl<I: KeyIssuer> Hands<I> {
    /// Takes up a shelf, and the key that lies beside it if there is one.
    #[must_use]
    pub fn new(
        user: &str,
        issuer: Arc<I>,
        tokens: Arc<dyn Tokens>,
        shelf: Box<dyn Place>,
        beside: Option<ApiKey>,
    ) -> Self {
        let new = beside.map(Arc::new);
        let (user, shelf) = (user.to_owned(), Some(shelf));
        Self { user, issuer, tokens, shelf, is_overtaken: false, new }
    }

    /// Does one step.
    pub async fn take(&mut self, step: &Step, journal: Option<&Journal>) -> Taken {
        match step {
            Step::Rest(_) => Taken::well(Outcome::Done),
            Step::Prove => self.prove().await,
            Step::Record => self.record(journal.cloned()).await,
            Step::Ask => self.ask().await,
            Step::Save => self.save().await,
            Step::TryNew => self.try_new().await,
            Step::Replace { over } => self.replace(over.clone()).await,
            Step::TryFile => self.try_file().await,
            Step::List => self.list().await,
            Step::Delete(id) => self.delete(id).await,
        }
    }

    /// Finds out whether the file could be replaced, long before it has to be.
    ///
    /// # Errors
    ///
    /// Says what is in the way.
    pub async fn probe(&mut self) -> Result<(), ShelfError> {
        self.on_shelf(|shelf| shelf.probe()).await.unwrap_or(Ok(()))
    }

    /// Takes away what is left beside the file.
    pub async fn tidy(&mut self) {
        self.new = None;
        if let Some(Err(error)) = self.on_shelf(|shelf| shelf.tidy()).await {
            tracing::warn!(problem = %error, "a draft of a key stays beside its file");
        }
    }

    /// Lets others rotate, as there is nothing to do here for now.
    pub async fn put_down(&mut self) {
        let put_down = |shelf: &mut dyn Place| {
            shelf.put_down();
            Ok(())
        };
        drop(self.on_shelf(put_down).await);
    }

    async fn prove(&mut self) -> Taken {
        match self.on_shelf(|shelf| shelf.prove()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Taken::not(Outcome::Failed, &error),
            None => return Taken::not(Outcome::Failed, &BROKEN),
        }
        let (Some(own), Some(_)) = (self.tokens.own(), self.tokens.asking()) else {
            return Taken::not(Outcome::Failed, &NO_TOKEN);
        };
        let whose = self.issuer.whose(own.secret()).await;
        match whose.result {
            Ok((name, id)) if self.user == name || self.user.eq_ignore_ascii_case(&id) => {
                Taken::well(Outcome::Done)
            }
            Ok(_) => {
                let user = &self.user;
                let sentence = format!(
                    "the key is not of service user {user}, whose keys would be replaced: correct \
                     rotation.user"
                );
                Taken::not(Outcome::Refused, &sentence)
            }
            Err(error) => Taken::not(Outcome::Failed, &error),
        }
    }

    async fn record(&mut self, journal: Option<Journal>) -> Taken {
        let Some(journal) = journal else { return Taken::well(Outcome::Failed) };
        let recorded = self.on_shelf(move |shelf| shelf.record(&journal)).await;
        Self::judge(recorded, |()| Outcome::Done)
    }

    async fn ask(&mut self) -> Taken {
        let Some(token) = self.tokens.asking() else {
            return Taken::not(Outcome::Failed, &NO_TOKEN);
        };
        match self.on_shelf(|shelf| shelf.hold()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return Taken::not(Outcome::Failed, &error),
            None => return Taken::not(Outcome::Failed, &BROKEN),
        }
        let told = self.issuer.rotate_key(token.secret(), &self.user).await;
        told.allowance.into_iter().for_each(|told| self.tokens.note_allowance(told));
        match told.result {
            Ok(new) => {
                let id = new.key.id().to_owned();
                self.new = Some(Arc::new(new.key));
                Taken::well(Outcome::Issued(id))
            }
            Err(error @ KeyError::Role) => Taken::not(Outcome::Refused, &error),
            Err(error) if error.may_be_done() => Taken::not(Outcome::Lost, &error),
            Err(error) => Taken::not(Outcome::Failed, &error),
        }
    }

    async fn save(&mut self) -> Taken {
        let Some(new) = self.new.clone() else { return Taken::well(Outcome::Failed) };
        let saved = self.on_shelf(move |shelf| shelf.save(&new)).await;
        Self::judge(saved, |()| Outcome::Done)
    }

    async fn try_new(&self) -> Taken {
        let Some(new) = &self.new else { return Taken::well(Outcome::Refused) };
        match self.issuer.mint(new).await.result {
            Ok(_token) => Taken::well(Outcome::Done),
            Err(error) => unminted(error),
        }
    }

    async fn replace(&mut self, over: String) -> Taken {
        let Some(new) = self.new.clone() else { return Taken::well(Outcome::Failed) };
        let replaced = self.on_shelf(move |shelf| shelf.replace(&over, &new)).await;
        Self::judge(replaced, |replaced| match replaced {
            Replaced::Done => Outcome::Done,
            Replaced::Overtaken => Outcome::Overtaken,
        })
    }

    async fn try_file(&mut self) -> Taken {
        let key = match self.on_shelf(|shelf| shelf.key()).await {
            Some(Ok(key)) => key,
            Some(Err(error)) => return Taken::not(Outcome::Failed, &error),
            None => return Taken::not(Outcome::Failed, &BROKEN),
        };
        match self.issuer.mint(&key).await.result {
            Ok(_token) => Taken::well(Outcome::Minted(key.id().to_owned())),
            Err(error) => unminted(error),
        }
    }

    async fn list(&mut self) -> Taken {
        let Some(Ok(key)) = self.on_shelf(|shelf| shelf.key()).await else {
            return Taken::well(Outcome::Failed);
        };
        match self.find_listed(key.id()).await {
            Some(listed) => {
                Taken::well(Outcome::Listed { since: listed.issued, ends: listed.ends })
            }
            None => Taken::well(Outcome::Failed),
        }
    }

    /// Finds a key in the user's list, if that may be asked for and the budget is not low.
    pub async fn find_listed(&self, id: &str) -> Option<ListedKey> {
        let token = self.tokens.asking().filter(|_| !self.tokens.is_allowance_low())?;
        let told = self.issuer.list_keys(token.secret(), &self.user).await;
        told.allowance.into_iter().for_each(|told| self.tokens.note_allowance(told));
        let keys = told.result.ok()?;
        keys.into_iter().find(|key| key.id.eq_ignore_ascii_case(id))
    }

    async fn delete(&self, id: &str) -> Taken {
        let Some(token) = self.tokens.asking() else {
            return Taken::not(Outcome::Failed, &NO_TOKEN);
        };
        match self.issuer.delete_key(token.secret(), &self.user, id).await.result {
            Ok(()) => Taken::well(Outcome::Done),
            Err(error @ KeyError::Role) => Taken::not(Outcome::Refused, &error),
            Err(error) => Taken::not(Outcome::Failed, &error),
        }
    }

    fn judge<T>(done: Option<Result<T, ShelfError>>, read: impl FnOnce(T) -> Outcome) -> Taken {
        match done {
            Some(Ok(done)) => Taken::well(read(done)),
            Some(Err(error)) => Taken::not(Outcome::Failed, &error),
            None => Taken::not(Outcome::Failed, &BROKEN),
        }
    }

    /// Works with the shelf on a thread for what blocks; `None` if that broke off.
    async fn on_shelf<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Place) -> Result<T, ShelfError> + Send + 'static,
    ) -> Option<Result<T, ShelfError>> {
        let mut shelf = self.shelf.take()?;
        let (shelf, done) = spawn_blocking(move || {
            let done = work(&mut *shelf);
            let is_overtaken = done.as_ref().is_err_and(ShelfError::is_of_another);
            if is_overtaken {
                shelf.put_down();
            }
            (Some(shelf).filter(|_| !is_overtaken), done)
        })
        .await
        .ok()?;
        self.is_overtaken = shelf.is_none();
        self.shelf = shelf;
        Some(done)
    }

    /// Tells whether the shelf is still there.
    #[must_use]
    pub const fn are_whole(&self) -> bool {
        self.shelf.is_some()
    }

    /// Tells whether the shelf is gone because somebody else has been, or is, at work there.
    #[must_use]
    pub const fn are_overtaken(&self) -> bool {
        self.is_overtaken
    }
}

const BROKEN: &str = "the work with the key file broke off; it is begun anew";
const NO_TOKEN: &str = "there is no token to ask with yet";

/// Tells a key that is refused from an issuer that cannot be asked.
fn unminted(error: MintError) -> Taken {
    let outcome = match error.reason {
        Reason::Unauthorized
        | Reason::Forbidden
        | Reason::NotFound
        | Reason::BadRequest
        | Reason::WrongTeam => Outcome::Refused,
        _ => Outcome::Failed,
    };
    Taken::not(outcome, &error)
}
