//! The broker ends, for good or for another one, whatever is going on.

use std::{rc::Rc, time::Duration};

use bearerd::token::{
    handle::{Claim, Handle, Refreshed, Rejection},
    lease::Serial,
};

use crate::{
    cores::{client, explore, finish, settle, spawn},
    explore,
    world::{Eyes, World},
};

async fn reports(handle: Handle, first: String) {
    let mut eyes = Eyes::default();
    match handle.reject(Claim::TokenId(&first)).await {
        Rejection::Refreshed(token) | Rejection::Stale(token) => {
            eyes.see(&token);
        }
        Rejection::Failed => {}
        Rejection::Throttled(_) | Rejection::NoToken => panic!("the first token is still valid"),
    }
    eyes.see(&handle.current().unwrap().0);
}

async fn asks(handle: Handle) {
    if let Refreshed::New(token) = handle.refresh().await {
        assert!(token.serial() > Serial::new(1));
    }
}

async fn wants(handle: Handle) {
    let mut eyes = Eyes::default();
    let (token, _) = handle.with_life(Duration::from_secs(55 * 60)).await.unwrap();
    eyes.see(&token);
    eyes.see(&handle.current().unwrap().0);
}

fn crowd(world: &World) {
    let first = world.handle.current().unwrap().0.token_id().to_owned();
    explore();
    client("who reports", reports(world.handle.clone(), first));
    client("operator", asks(world.handle.clone()));
    client("who wants more life", wants(world.handle.clone()));
}

// faults 180, 205
#[test]
fn a_stop_lets_everybody_go_at_once() {
    explore::explore("stop", || {
        let world = Rc::new(World::started());
        crowd(&world);
        let rotating = Rc::clone(&world);
        spawn("a new key", async move { rotating.put('B') });
        let stopping = Rc::clone(&world);
        spawn("stop", async move {
            stopping.stop();
            stopping.leave_seat();
        });
        finish(Duration::ZERO);
        assert!(world.stands_still());
        assert!(world.handle.current().is_some(), "what there is is served to the end");
    });
}

// faults 115, 259
#[test]
fn another_broker_on_the_seat_hears_whom_the_first_did_not() {
    explore::explore("successor", || {
        let world = Rc::new(World::started());
        crowd(&world);
        let changing = Rc::clone(&world);
        spawn("reload with another client", async move {
            changing.stop();
            changing.start();
            changing.put('B');
        });
        finish(Duration::ZERO);
        settle();
        assert!(world.stands_still());
        assert!(world.serial() > Serial::new(1));
        assert_eq!(world.mints().last(), Some(&'B'));
    });
}
