//! The flags that say which configuration is meant.

use std::{ffi::OsString, path::PathBuf};

use super::exit::Exit;
use crate::{
    config::{self, Flag, Loaded, Sources},
    process::{path_error::our_uid, shares::Shares},
};

/// Holds the flags that every command takes that reads the configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Settings {
    /// Configuration file, TOML or .json; later ones win [default: /etc/bearerd/bearerd.toml]
    #[arg(long = "config", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Set one key, as `--set log.level=debug`; wins over files and environment
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Stands in for `$XDG_RUNTIME_DIR` where there is none.
    #[arg(skip)]
    runtime_dir: Option<PathBuf>,
}

impl Settings {
    /// Uses exactly this file.
    #[cfg(feature = "emulator")]
    pub(super) fn of(file: PathBuf) -> Self {
        Self { files: vec![file], ..Self::default() }
    }

    /// Gives sockets without a configured place one, where the system gives none.
    pub(super) fn fall_back_to(&mut self, runtime_dir: PathBuf) {
        self.runtime_dir = Some(runtime_dir);
    }

    /// Spells the flags again, for another process of ours.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let files = self.files.iter().flat_map(|file| ["--config".into(), file.into()]);
        let set = self.set.iter().map(|(key, value)| format!("{key}={value}"));
        files.chain(set.flat_map(|pair| ["--set".into(), pair.into()])).collect()
    }

    /// Names everything the configuration is put together from.
    pub(super) fn sources(&self) -> Sources {
        let flags = self.set.iter().map(|(key, value)| Flag {
            name: "--set".to_owned(),
            key: key.clone(),
            value: value.clone(),
        });
        let gid = rustix::process::getegid().as_raw();
        let environment = std::env::vars_os().collect();
        let mut sources =
            Sources::new(self.files.clone(), environment, flags.collect(), our_uid(), gid);
        let around = &mut sources.surroundings;
        around.xdg_runtime_dir = around.xdg_runtime_dir.take().or_else(|| self.runtime_dir.clone());
        sources.surroundings.descriptors = Some(Shares::of_process().listeners);
        sources
    }

    /// Reads the configuration.
    pub(super) fn load(&self) -> Result<Loaded, Exit> {
        config::load(&self.sources()).map_err(|findings| Exit::configuration(findings.to_string()))
    }
}

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}
