//! `bearerd`: see the library's map.

use std::process::ExitCode;

fn main() -> ExitCode {
    bearerd::cli::main()
}
