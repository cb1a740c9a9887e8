//! The `litellm-rust` binary: parses the command line and hands over to `cli`.
fn main() -> std::process::ExitCode {
    litellm_rust::cli::main()
}
