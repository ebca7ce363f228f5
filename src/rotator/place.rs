//! Where a rotated key lies: what a rotation asks of every such place.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use crate::{
    config::model::Credential,
    key::{
        api_key::ApiKey,
        journal::Journal,
        shelf::{Replaced, Shelf, ShelfError},
        step::Found,
    },
};
#[cfg(feature = "kubernetes")]
use crate::{
    config::model::KeySource,
    kubernetes::shelf::{SecretShelf, SecretSite},
};

/// Holds the place of one key, and the right to change it. Every method may block.
///
/// An error that tells of somebody else's work ends the work at this place: it is taken anew.
pub trait Place: Send + Sync {
    /// Reads the key in use.
    ///
    /// # Errors
    ///
    /// When there is none.
    fn key(&mut self) -> Result<ApiKey, ShelfError>;

    /// Finds out, and leaves no trace, whether the key could be replaced.
    ///
    /// # Errors
    ///
    /// Says what is in the way.
    fn probe(&mut self) -> Result<(), ShelfError>;

    /// Proves that the key can be replaced, and reserves what that takes.
    ///
    /// # Errors
    ///
    /// Says what is in the way.
    fn prove(&mut self) -> Result<(), ShelfError>;

    /// Shows, right before Okta is asked, that nobody else rotates this key.
    ///
    /// # Errors
    ///
    /// When somebody may.
    fn hold(&mut self) -> Result<(), ShelfError>;

    /// Writes the journal.
    ///
    /// # Errors
    ///
    /// Then either the old or the new one stands there.
    fn record(&mut self, journal: &Journal) -> Result<(), ShelfError>;

    /// Puts the new key beside the one in use.
    ///
    /// # Errors
    ///
    /// When that cannot be done now.
    fn save(&mut self, new: &ApiKey) -> Result<(), ShelfError>;

    /// Puts the new key in the place of the one with this id.
    ///
    /// # Errors
    ///
    /// When that cannot be done now.
    fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError>;

    /// Takes away what is left beside the key.
    ///
    /// # Errors
    ///
    /// When it cannot be taken away.
    fn tidy(&mut self) -> Result<(), ShelfError>;

    /// Lets others rotate, until the next [`Place::prove`] or [`Place::record`].
    fn put_down(&mut self);
}

/// A file is one daemon's as long as the place is taken: its lock is held all the while.
impl Place for Shelf {
    fn key(&mut self) -> Result<ApiKey, ShelfError> {
        Self::key(self)
    }

    fn probe(&mut self) -> Result<(), ShelfError> {
        Self::probe(self)
    }

    fn prove(&mut self) -> Result<(), ShelfError> {
        Self::prove(self)
    }

    fn hold(&mut self) -> Result<(), ShelfError> {
        Ok(())
    }

    fn record(&mut self, journal: &Journal) -> Result<(), ShelfError> {
        Self::record(self, journal)
    }

    fn save(&mut self, new: &ApiKey) -> Result<(), ShelfError> {
        // The file says for which team it is, and its successor says the same.
        let old = Self::key(self)?;
        Self::save(self, new, old.team_name())
    }

    fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError> {
        Self::replace(self, over, new)
    }

    fn tidy(&mut self) -> Result<(), ShelfError> {
        Self::tidy(self)
    }

    fn put_down(&mut self) {}
}

#[cfg(feature = "kubernetes")]
impl Place for SecretShelf {
    fn key(&mut self) -> Result<ApiKey, ShelfError> {
        Self::key(self)
    }

    fn probe(&mut self) -> Result<(), ShelfError> {
        Self::probe(self)
    }

    fn prove(&mut self) -> Result<(), ShelfError> {
        Self::prove(self)
    }

    fn hold(&mut self) -> Result<(), ShelfError> {
        Self::hold(self)
    }

    fn record(&mut self, journal: &Journal) -> Result<(), ShelfError> {
        Self::record(self, journal)
    }

    fn save(&mut self, new: &ApiKey) -> Result<(), ShelfError> {
        Self::save(self, new)
    }

    fn replace(&mut self, over: &str, new: &ApiKey) -> Result<Replaced, ShelfError> {
        Self::replace(self, over, new)
    }

    fn tidy(&mut self) -> Result<(), ShelfError> {
        Self::tidy(self)
    }

    fn put_down(&mut self) {
        Self::put_down(self);
    }
}

/// A place that has been taken, and what was found there: also the key beside the one in use.
pub type TakenPlace = (Box<dyn Place>, Found, Option<ApiKey>);

/// Shows signs of life as long as it is polled.
pub type Keeping<'s> = Pin<Box<dyn Future<Output = ()> + Send + 's>>;

/// Names a place that can be taken, again and again.
pub trait Site: Send + Sync + 'static {
    /// Tells where that is, for messages.
    fn path(&self) -> &Path;

    /// Takes the place. May block.
    ///
    /// # Errors
    ///
    /// When there is no key, or somebody else has the place.
    fn take(&self) -> Result<TakenPlace, ShelfError>;

    /// Shows others that this daemon is alive, where they could not know.
    fn keep(&self) -> Keeping<'_> {
        Box::pin(std::future::pending())
    }

    /// Tells the file that the key is in, if it is in one, and whether its group may read it.
    fn file(&self) -> Option<(PathBuf, bool)> {
        None
    }
}

/// Finds where the key of a credential is replaced; `None` if it is not.
pub(super) fn site_of(credential: &Credential) -> Option<Arc<dyn Site>> {
    credential.rotation.as_ref()?;
    #[cfg(feature = "kubernetes")]
    if let KeySource::Secret(name) = &credential.key {
        let site = SecretSite::new(name.clone());
        return Some(Arc::new(OfSecret { name: name.to_string().into(), site }));
    }
    let path = credential.rotated_file()?.to_owned();
    Some(Arc::new(OfFile { path, allow_group_readable: credential.allow_group_readable_key }))
}

/// A key in a file.
struct OfFile {
    path: PathBuf,
    allow_group_readable: bool,
}

impl Site for OfFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn take(&self) -> Result<TakenPlace, ShelfError> {
        let mut shelf = Shelf::open(&self.path, self.allow_group_readable)?;
        let (found, beside) = shelf.look()?;
        Ok((Box::new(shelf), found, beside))
    }

    fn file(&self) -> Option<(PathBuf, bool)> {
        Some((self.path.clone(), self.allow_group_readable))
    }
}

/// A key in a Kubernetes Secret.
#[cfg(feature = "kubernetes")]
struct OfSecret {
    /// How people know it.
    name: PathBuf,
    /// How it is reached.
    site: SecretSite,
}

#[cfg(feature = "kubernetes")]
impl Site for OfSecret {
    fn path(&self) -> &Path {
        &self.name
    }

    fn take(&self) -> Result<TakenPlace, ShelfError> {
        let (shelf, found, beside) = SecretShelf::open(&self.site)?;
        Ok((Box::new(shelf), found, beside))
    }

    fn keep(&self) -> Keeping<'_> {
        Box::pin(async { match self.site.keep().await {} })
    }
}
