//! `bearerd completions` and `bearerd man`

use clap::CommandFactory;

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
    let written = clap_mangen::Man::new(command.clone()).render(&mut page).and_then(|()| {
        command.get_subcommands().filter(|sub| sub.get_name() != "help").try_for_each(|sub| {
            let man = clap_mangen::Man::new(sub.clone());
            man.render_synopsis_section(&mut page)?;
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)
        })
    });
    written.map_err(|error| Exit::failed(format!("the manual page: {}", error.kind())))?;
    terminal::print(&page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
