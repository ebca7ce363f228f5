//! `bearerd completions` and `bearerd man`

use std::io;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, exit::Exit, terminal};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(super) fn completions(args: &CompletionArgs) -> Result<(), Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "bearerd", &mut script);
    terminal::print(&script)
}

/// One page: the program, then every command.
pub(super) fn man() -> Result<(), Exit> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let written = Man::new(command.clone()).render(&mut page);
    let written = written.and_then(|()| describe_all(&command, &mut page));
    written.map_err(|error| Exit::failed(format!("the manual page: {}", error.kind())))?;
    terminal::print(&page)
}

/// Describes what is below a command, and below that.
fn describe_all(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let man = Man::new(below.clone());
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        describe_all(below, page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
