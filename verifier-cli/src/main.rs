//! `tallyroot-verify`: see the library of this package.

fn main() -> std::process::ExitCode {
    verifier_cli::cli::main()
}
