//! Holds the table of ports and sockets in the threat model to what the defaults open.

use std::{collections::BTreeSet, path::Path};

use super::*;
use crate::config::model::Bind;

fn threat_model() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/threat-model.md"))
        .unwrap()
}

/// Gives the cells of each row below the head that begins so, without it and its line.
fn rows<'text>(text: &'text str, head: &str) -> Vec<Vec<&'text str>> {
    let table = text.lines().skip_while(|line| !line.starts_with(head)).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn shown(bind: &Bind) -> String {
    match bind {
        Bind::Unix(path) => format!("`unix:{}`", path.display()),
        Bind::Tcp(address) => format!("`tcp:{address}`"),
        Bind::Systemd(name) => format!("`systemd:{name}`"),
    }
}

#[test]
fn the_table_of_sockets_names_all_that_is_open_by_default_and_no_more() {
    let config = Given::nothing().file("b.toml", BASE).loaded().config;
    let control = Bind::Unix(config.control.unwrap().path);
    let telemetry = config.telemetry.bind;
    let opened: BTreeSet<_> = config
        .listeners
        .values()
        .flat_map(|listener| &listener.bind)
        .chain([&control, &telemetry])
        .map(shown)
        .collect();

    let text = threat_model();
    let table = rows(&text, "| socket | where | default |");
    assert!(table.len() >= 5, "{table:?}");
    let on = table.iter().filter(|row| row[2] == "on").map(|row| row[1].to_owned());
    assert_eq!(on.collect::<BTreeSet<_>>(), opened);
    let off = table.iter().filter(|row| row[2] == "off").count();
    assert_eq!(off, table.len() - opened.len(), "each row is on or off: {table:?}");
}

#[test]
fn the_table_of_sockets_says_their_modes() {
    let config = Given::nothing().file("b.toml", BASE).loaded().config;
    let modes = [
        ("programs, unix", config.listeners["default"].socket.mode),
        ("control, unix", config.control.unwrap().socket().mode),
    ];
    let text = threat_model();
    let table = rows(&text, "| socket | where | default |");
    for (name, mode) in modes {
        let row = table.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name}"));
        assert!(row[3].contains(&format!("({mode:04o})")), "{name} has {mode:04o}: {row:?}");
    }
}
