//! Performance of the daemon beside yardsticks, as ratios in one run.
//!
//! `cargo bench --locked --bench bearerd` starts the real binary, an emulated issuer for it, and a
//! bare hyper server that sends the very same bytes. A load of its own visits them in turn, so that
//! whatever else the machine does meets all of them alike. What counts is the ratio.
//!
//! The harness plays three parts, each in a process of its own: it directs, and executes itself
//! anew as the yardstick and as the load.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark reads the clock and prints its table"
)]

mod client;
mod contenders;
mod figures;
mod instructions;
mod issuer;
mod load;
mod machine;
mod memory;
mod options;
mod place;
mod proxy;
mod report;
mod rounds;
mod server;
mod startup;
mod yardstick;

use std::{io, process::ExitCode};

use clap::Parser;

use crate::{
    contenders::Stage,
    figures::Row,
    options::{Options, Plan, Role},
};

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match &options.role {
        None => direct(&options),
        Some(Role::Load(visit)) => load::play(visit),
        Some(Role::Yardstick(yardstick)) => yardstick::play(yardstick),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the benchmark failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every measurement, one after the other, and prints the table.
fn direct(options: &Options) -> io::Result<()> {
    let stage = Stage::set(options)?;
    let rows = if options.instructions {
        instructions::measure(&stage)?
    } else if options.proxy {
        proxy::measure(&stage, options.plan())?
    } else {
        measure(&stage, options.plan())?
    };
    report::print(&rows, options.json)
}

fn measure(stage: &Stage, plan: Plan) -> io::Result<Vec<Row>> {
    let started = startup::measure(stage, plan.starts)?;
    let servers = stage.start_all()?;
    let memory = memory::measure(&servers, plan.rest)?;
    let load = rounds::measure(stage, &servers, plan)?;
    Ok([started, memory, load, vec![stage.size()?]].concat())
}
