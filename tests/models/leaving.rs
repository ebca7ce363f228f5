//! Waiters leave, and the mint goes on.

use std::{cell::Cell, rc::Rc, time::Duration};

use bearerd::token::{
    handle::{Claim, Refreshed, Rejection},
    lease::Serial,
};

use crate::{
    cores::{Id, client, dismiss, explore, finish, settle, spawn},
    explore,
    world::World,
};

/// More than the first token has left.
const WANTED: Duration = Duration::from_secs(55 * 60);

fn leaves(name: &'static str, id: Id, left: &Rc<Cell<usize>>) {
    let left = Rc::clone(left);
    spawn(name, async move { left.set(left.get() + usize::from(dismiss(id))) });
}

// fault 179
#[test]
fn a_mint_goes_on_when_the_last_waiter_leaves() {
    let abandoned = Rc::new(Cell::new(0));
    explore::explore("leaving", || {
        let world = Rc::new(World::started());
        let first = world.handle.current().unwrap().0.token_id().to_owned();
        explore();
        let left = Rc::new(Cell::new(0));
        let wanting = world.handle.clone();
        let id = client("who wants more life", async move {
            let (token, _) = wanting.with_life(WANTED).await.unwrap();
            assert!(token.serial() > Serial::new(1));
        });
        leaves("who wants more life leaves", id, &left);
        let reporting = world.handle.clone();
        let id = client("who reports", async move {
            let heard = reporting.reject(Claim::TokenId(&first)).await;
            assert!(matches!(heard, Rejection::Refreshed(_) | Rejection::Stale(_)));
        });
        leaves("who reports leaves", id, &left);
        let asking = world.handle.clone();
        let id = client("operator", async move {
            assert!(matches!(asking.refresh().await, Refreshed::New(_)));
        });
        leaves("operator leaves", id, &left);
        finish(Duration::ZERO);
        settle();
        let mints = world.mints().len();
        let serial = Serial::new(u64::try_from(mints).unwrap());
        assert_eq!(world.serial(), serial, "what every mint has brought was published");
        if mints == 1 {
            return assert_eq!(left.get(), 3, "nobody has begun");
        }
        assert!(world.stands_still());
        if left.get() == 3 {
            abandoned.set(abandoned.get() + 1);
        }
        let next = world.handle.clone();
        client("the next one", async move {
            let (token, _) = next.with_life(WANTED).await.unwrap();
            assert_eq!(token.serial(), serial);
            assert_eq!(world.mints().len(), mints, "it needs no mint of its own");
        });
        finish(Duration::ZERO);
    });
    println!("in {} of them everybody had left while the mint was going on", abandoned.get());
    assert!(abandoned.get() > 0 || std::env::var_os("BEARERD_TEST_SCHEDULE").is_some());
}
