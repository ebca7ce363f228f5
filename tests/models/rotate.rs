//! The key is rotated, while others want tokens, load the configuration, or stop it all.

use std::{rc::Rc, sync::Arc, time::Duration};

use bearerd::{
    key::{step::Plan, superseded::Superseded},
    rotator::{
        handle::{Rotated, RotatorHandle},
        task::{Neighbours, Seat},
    },
    token::timing::RefreshSettings,
};
use tokio_util::sync::CancellationToken;

use crate::{
    cores::{client, explore, finish, pass, settle, spawn, spawn_with_threads},
    explore,
    shelf::{Shelf, ShelfSite},
    together::reports_the_first,
    world::{LETTERS, USER, World, letter},
};

/// Nothing but an operator's word rotates.
const PLAN: Plan = Plan { every: None, place: 0.5, delete_old: false };

/// A rotation of the key of a world's broker.
struct Rotation {
    shelf: Arc<Shelf>,
    superseded: Arc<Superseded>,
    handle: RotatorHandle,
    stop: CancellationToken,
    done: CancellationToken,
}

impl Rotation {
    /// Starts on what lies on the shelf, as a process does.
    fn start(world: &Rc<World>, shelf: &Arc<Shelf>) -> Self {
        let superseded = Arc::<Superseded>::default();
        let asking = world.handle.clone();
        let neighbours = Neighbours {
            issuer: world.issuer(),
            clock: world.clock(),
            own: world.handle.clone(),
            asking: Arc::new(move || Some(asking.clone())),
            nudge: Arc::clone(&shelf.changed),
            superseded: Arc::clone(&superseded),
            on_rotated: None,
        };
        let site = Arc::new(ShelfSite(Arc::clone(shelf)));
        let (seat, handle) = Seat::at("default", site, USER, PLAN, neighbours);
        let [stop, done] = [(); 2].map(|()| CancellationToken::new());
        spawn_with_threads("rotation", Arc::new(seat).run(stop.clone(), done.clone()));
        Self { shelf: Arc::clone(shelf), superseded, handle, stop, done }
    }

    /// Starts on a shelf with the world's first key, and comes to rest.
    fn started(world: &Rc<World>) -> Self {
        let shelf = Shelf::with('A');
        follow(world, &shelf);
        let rotation = Self::start(world, &shelf);
        settle();
        rotation
    }

    /// Fails if the key in use, the journal and the broker do not tell of the same keys.
    fn is_at_rest(&self, world: &World) {
        let (journal, made) = (self.shelf.journal(), world.made());
        let in_use = made.last().copied().unwrap_or('A');
        assert_eq!((self.shelf.key(), letter(&journal.key_id)), (in_use, in_use));
        assert_eq!((journal.asked, &journal.lost), (None, &None));
        let retired: Vec<_> = journal.retired.iter().map(|old| letter(&old.id)).collect();
        let before: Vec<_> = LETTERS.chars().take_while(|it| *it != in_use).collect();
        assert_eq!(retired, before.iter().rev().copied().collect::<Vec<_>>());
        assert!(journal.retired.iter().all(|old| self.superseded.contains(&old.id)));
        let state = world.handle.state();
        assert_eq!(state.key_id.as_deref().map(letter), Some(in_use));
        assert_eq!(state.candidate_key_id, None);
    }
}

/// Gives the broker each key that comes onto the shelf.
fn follow(world: &Rc<World>, shelf: &Arc<Shelf>) {
    let (world, shelf) = (Rc::clone(world), Arc::clone(shelf));
    spawn("the key is followed", async move {
        let mut known = shelf.key();
        loop {
            shelf.changed.notified().await;
            if std::mem::replace(&mut known, shelf.key()) != known {
                world.put(known);
            }
        }
    });
}

/// Begins a model: somebody reports the first token, and a reload comes.
fn begin() -> (Rc<World>, Rotation) {
    let world = Rc::new(World::started());
    let rotation = Rotation::started(&world);
    let first = world.handle.current().unwrap().0.token_id().to_owned();
    explore();
    client("who reports", reports_the_first(world.handle.clone(), first));
    let (reloading, rotating) = (Rc::clone(&world), rotation.handle.clone());
    spawn("reload", async move {
        reloading.settings.send_replace(RefreshSettings { at: 0.4, ..RefreshSettings::default() });
        rotating.reloaded(PLAN);
    });
    (world, rotation)
}

/// Asks for a new key; fails if the answer is neither that nor that there is one on its way.
async fn wants_a_key(world: Rc<World>, rotation: RotatorHandle) {
    match rotation.rotate().await {
        Ok(Rotated { key_id, old_key_id, .. }) => {
            let order: Vec<_> = LETTERS.chars().collect();
            let pair = [letter(&old_key_id), letter(&key_id)];
            assert!(order.windows(2).any(|next| next == pair), "{pair:?}");
            assert!(world.made().contains(&letter(&key_id)));
        }
        Err(sentence) => assert!(sentence.contains("under way"), "{sentence}"),
    }
}

// faults 115, 124
#[test]
fn a_key_that_is_rotated_ends_up_everywhere_or_nowhere() {
    explore::explore("rotate", || {
        let (world, rotation) = begin();
        for name in ["an operator", "another operator"] {
            client(name, wants_a_key(Rc::clone(&world), rotation.handle.clone()));
        }
        finish(Duration::ZERO);
        settle();
        assert!(world.stands_still());
        assert!((1..=2).contains(&world.made().len()), "{:?}", world.made());
        // A key after another waits until a mint is due again.
        pass(Duration::from_secs(60));
        rotation.is_at_rest(&world);
    });
}

// faults 101, 112
#[test]
fn a_stop_loses_no_key_that_okta_has_made() {
    explore::explore("rotate_stop", || {
        let (world, rotation) = begin();
        let operator = rotation.handle.clone();
        spawn("an operator", async move { drop(operator.rotate().await) });
        let stop = rotation.stop.clone();
        spawn("stop", async move { stop.cancel() });
        let (ended, watching) = (rotation.done.clone(), Rc::clone(&world));
        let shelf = Arc::clone(&rotation.shelf);
        client("who waits for the end", async move {
            ended.cancelled().await;
            for made in watching.made() {
                assert!(shelf.holds(made), "the process may go now, and {made} with it");
            }
        });
        finish(Duration::ZERO);
        settle();
        assert!(world.stands_still());
        let next = Rotation::start(&world, &rotation.shelf);
        settle();
        assert!(world.made().len() <= 1, "{:?}", world.made());
        next.is_at_rest(&world);
    });
}
