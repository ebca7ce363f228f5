//! What others hold of a rotation: the way to ask for one, and how it stands.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{key::step::Plan, token::timing::Wall};

/// Longest wait for a rotation that an operator asked for.
const PATIENCE: Duration = Duration::from_secs(50);

/// The rotations of the daemon by the names of their credentials.
pub type Rotators = ArcSwap<BTreeMap<String, RotatorHandle>>;

/// Asks one rotation, and tells how it stands; a cheap clone.
#[derive(Clone)]
pub struct RotatorHandle {
    commands: mpsc::Sender<Command>,
    view: Arc<ArcSwap<View>>,
}

/// Asks something of a rotation.
pub(super) enum Command {
    /// Rotate now.
    Rotate(oneshot::Sender<Result<Rotated, String>>),
    /// A configuration was loaded.
    Reloaded(Plan),
}

/// Tells how a rotation stands; holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// When the key is rotated next.
    pub next: Option<Wall>,
    /// When the key in use ends, as far as is known.
    pub key_ends: Option<Wall>,
    /// What a person should know.
    pub trouble: Option<String>,
}

/// Tells of a rotation that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Id of the key in use.
    pub key_id: String,
    /// Id of the key before it.
    pub old_key_id: String,
    /// When that one ends, as far as is known.
    pub old_ends: Wall,
}

impl RotatorHandle {
    /// Makes both ends.
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>, Arc<ArcSwap<View>>) {
        let (commands, line) = mpsc::channel(16);
        let view = Arc::new(ArcSwap::default());
        (Self { commands, view: Arc::clone(&view) }, line, view)
    }

    /// Tells how it stands.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Rotates now; waits until that is done, or has come to a stop.
    ///
    /// # Errors
    ///
    /// Says why it is not done, in a sentence.
    pub async fn rotate(&self) -> Result<Rotated, String> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.commands.send(Command::Rotate(reply)).await.ok()?;
            answer.await.ok()
        };
        let late = || Err("it is under way and takes long: see 'bearerd status'".to_owned());
        timeout(PATIENCE, exchange).await.ok().flatten().unwrap_or_else(late)
    }

    /// Tells that a configuration was loaded: what was forbidden may be allowed now.
    pub fn reloaded(&self, plan: Plan) {
        // A line that is full holds a word of it already.
        self.commands.try_send(Command::Reloaded(plan)).ok();
    }
}
