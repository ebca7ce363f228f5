//! The word of a token comes after the token.

use std::{rc::Rc, time::Duration};

use bearerd::token::{handle::Refreshed, lease::Serial};

use crate::{
    cores::{client, explore, finish, pass, point, settle, spawn},
    explore,
    world::{Eyes, LIFE, World, letter, maker},
};

/// Waits for a token as clients do, without one that is valid.
async fn wait(world: Rc<World>, serial: Serial) {
    let got = world.handle.current_within(Duration::from_millis(900)).await;
    assert_eq!(got.expect("a token").0.serial(), serial);
}

/// Watches until a token of the new key is there; looks at what there is whenever it is told.
async fn watch(world: Rc<World>) {
    let (mut eyes, mut seen) = (Eyes::default(), Serial::new(1));
    loop {
        let told = world.handle.changed_from(seen).await;
        point();
        let (token, _) = world.handle.current().unwrap();
        assert!(token.serial() >= told, "told of {told}, and {} is there", token.serial());
        let state = world.handle.state();
        let used = letter(state.key_id.as_deref().unwrap());
        assert!(used >= maker(&token), "the token is of another key than is said to be in use");
        seen = eyes.see(&token);
        if maker(&token) == 'B' {
            return;
        }
    }
}

// faults 115, 177
#[test]
fn whoever_is_woken_finds_the_token_and_the_state_that_he_is_woken_for() {
    explore::explore("word", || {
        let world = Rc::new(World::started());
        explore();
        client("first watcher", watch(Rc::clone(&world)));
        client("second watcher", watch(Rc::clone(&world)));
        let asking = Rc::clone(&world);
        client("operator", async move {
            let refreshed = asking.handle.refresh().await;
            assert!(matches!(refreshed, Refreshed::New(_)));
        });
        let rotating = Rc::clone(&world);
        spawn("a new key", async move { rotating.put('B') });
        finish(Duration::ZERO);
        assert_eq!(world.mints().last(), Some(&'B'));
    });
}

// fault 178
#[test]
fn who_waits_for_the_first_token_gets_it_when_it_comes() {
    explore::explore("first", || {
        let world = Rc::new(World::new());
        explore();
        for name in ["first client", "second client", "third client"] {
            client(name, wait(Rc::clone(&world), Serial::new(1)));
        }
        let starting = Rc::clone(&world);
        spawn("the key", async move { starting.put('A') });
        finish(Duration::ZERO);
        assert_eq!(world.mints(), ['A']);
    });
}

// faults 178, 202
#[test]
fn who_looks_at_a_token_that_is_over_does_not_miss_the_next_one() {
    explore::explore("over", || {
        let world = Rc::new(World::started());
        world.stop();
        settle();
        pass(LIFE);
        world.start();
        explore();
        for name in ["first client", "second client", "third client"] {
            client(name, wait(Rc::clone(&world), Serial::new(2)));
        }
        let starting = Rc::clone(&world);
        spawn("the key", async move { starting.put('A') });
        finish(Duration::ZERO);
        assert_eq!(world.mints(), ['A', 'A']);
    });
}
