//! What lies within reach and what beyond.

use super::*;

const ALL: Held = Held { files: true, network: true, calls: true, powers: true };

fn reach(read: &[&str], write: &[&str], bind: &[u16], connect: &[u16]) -> Reach {
    let paths =
        |paths: &[&str]| Places(paths.iter().map(|path| (path.into(), path.into())).collect());
    Reach {
        read: paths(read),
        write: paths(write),
        bind: bind.iter().copied().collect(),
        connect: connect.iter().copied().collect(),
        ..Reach::default()
    }
}

#[test]
fn what_lies_below_is_within_reach() {
    let held = reach(&["/etc"], &["/run/bearerd"], &[8420], &[443]);
    for within in [
        reach(&[], &[], &[], &[]),
        reach(&["/etc/bearerd/tls"], &["/run/bearerd/more"], &[8420], &[443]),
        reach(&["/run/bearerd/key"], &[], &[], &[]),
    ] {
        assert_eq!(held.lacks(&within, ALL), None, "{within:?}");
    }
}

#[test]
fn what_is_out_of_reach_is_named() {
    let held = reach(&["/etc"], &["/run/bearerd"], &[8420], &[443]);
    for (beyond, named) in [
        (reach(&["/etcetera"], &[], &[], &[]), "/etcetera"),
        (reach(&[], &["/etc/bearerd"], &[], &[]), "/etc/bearerd"),
        (reach(&[], &[], &[8421], &[]), "TCP port 8421"),
        (reach(&[], &[], &[], &[80]), "TCP port 80"),
        (reach(&["/srv"], &["/run"], &[1], &[2]), "/run"),
    ] {
        assert_eq!(held.lacks(&beyond, ALL).as_deref(), Some(named));
    }
}

#[test]
fn what_is_not_held_keeps_nothing_out_of_reach() {
    let beyond = reach(&["/srv"], &["/srv"], &[1], &[2]);
    assert_eq!(Reach::default().lacks(&beyond, Held::default()), None);
    let only_ports = Held { network: true, ..Held::default() };
    assert_eq!(Reach::default().lacks(&beyond, only_ports).as_deref(), Some("TCP port 1"));
}

#[test]
fn a_place_that_is_not_there_yet_is_within_reach_of_what_is_above() {
    let home = tempfile::tempdir().unwrap();
    let real = home.path().canonicalize().unwrap();
    let mut reach = Reach::default();
    reach.write_below(&home.path().join("not/yet"));
    assert_eq!(reach.write.iter().collect::<Vec<_>>(), [real]);
    let lacking = Reach::default().lacks(&reach, ALL).unwrap();
    assert!(lacking.ends_with("/not/yet"), "{lacking}");
}

#[test]
fn what_is_missing_can_be_told() {
    assert_eq!(ALL.missing(), None);
    assert_eq!(Held { network: false, ..ALL }.missing(), None);
    assert!(Held::default().missing().is_some_and(|missing| missing.contains("landlock")));
    assert!(Held { calls: false, ..ALL }.missing().is_some());
    assert_eq!(ALL.to_string(), "files, ports, system calls, capabilities");
    assert_eq!(Held::default().to_string(), "nothing");
}
