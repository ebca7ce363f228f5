//! `bearerd emulator`

use super::{
    exit::Exit,
    run::{catch_signals, signals},
    terminal,
};
use crate::{
    emulator::{Emulator, Options},
    process::signals::Signal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
}

pub(super) async fn run(args: Args) -> Result<(), Exit> {
    let refused = |error: std::io::Error| Exit::failed(error.to_string());
    let key_file = args.options.key_file.clone();
    let mut signals = signals(catch_signals()?)?;
    let emulator = Emulator::start(args.options).await.map_err(refused)?;
    let key = key_file.map_or_else(
        || {
            let (id, secret) = emulator.key();
            // The emulator's own key is worth nothing anywhere else.
            format!("{{\"key_id\":\"{id}\",\"key_secret\":\"{secret}\"}}")
        },
        |path| path.display().to_string(),
    );
    let issuer = emulator.base_url();
    terminal::say(&format!("issuer  {issuer}\nkey     {key}\nfaults  {issuer}/_emulator/"))?;
    while signals.next().await != Signal::Stop {}
    emulator.stop().await;
    Ok(())
}
