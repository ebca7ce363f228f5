//! Performance of the daemon beside yardsticks, as ratios in one run.
//!
//! `cargo bench --locked --bench bearerd` starts the real binary, an emulated issuer for it, and
//! beside it servers that send the same bytes: bare hyper, nginx, and a bare loop around `epoll`. A
//! load of its own visits them in turn, so that whatever else the machine does meets all of them
//! alike. What counts is the ratio.
//!
//! The harness plays all parts but nginx, each in a process of its own: it directs, and executes
//! itself anew as a yardstick and as the load.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark reads the clock and prints its table"
)]

mod client;
mod contenders;
mod figures;
mod floor;
mod forward;
mod hold;
mod idle;
mod instructions;
mod issuer;
mod load;
mod machine;
mod memory;
mod nginx;
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
        Some(Role::Forward(forward)) => forward::play(forward),
        Some(Role::Floor(yardstick)) => floor::play(yardstick),
        Some(Role::Hold(crowd)) => hold::play(crowd),
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
    hold::raise_limit()?;
    if !nginx::is_there() {
        eprintln!("nginx is missing, and with it its figures: apt-get install nginx-light");
    }
    let stage = Stage::set(options)?;
    let rows = match (options.proxy, options.instructions) {
        (false, false) => measure(&stage, options.plan())?,
        (false, true) => instructions::measure(&stage)?,
        (true, false) => proxy::measure(&stage, options.plan())?,
        (true, true) => instructions::measure_forwarded(&stage)?,
    };
    report::print(&rows, options)
}

fn measure(stage: &Stage, plan: Plan) -> io::Result<Vec<Row>> {
    let started = startup::measure(stage, plan.starts)?;
    let servers = stage.start_all()?;
    let memory = memory::measure(&servers, plan.rest)?;
    let idle = idle::measure(&servers, plan.idle)?;
    let held = hold::measure(stage, &servers, plan.crowd)?;
    let load = rounds::measure(stage, &servers, plan)?;
    Ok([started, memory, idle, held, load, vec![stage.size()?]].concat())
}
