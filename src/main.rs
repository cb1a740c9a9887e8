//! The `litellm-rust` binary: parses the command line and hands over to `cli`.

/// docs/where-the-time-goes.md has what it saves and what it costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    litellm_rust::cli::main()
}
