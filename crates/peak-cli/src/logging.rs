//! `--verbose`: what the libraries trace, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::arguments::ColorMode;

/// Starts to write traces for as many `-v` as were given; none writes nothing. The libraries remove
/// secrets from what they trace.
pub(crate) fn start(verbose: u8, color: ColorMode) {
    let filter = match verbose {
        0 => return,
        1 => "warn,peak_http=info",
        2 => {
            "info,peak_http=debug,peak_registry=debug,peak_transfer=debug,peak_local=debug,peak_registry_server=debug"
        }
        _ => {
            "info,peak_http=trace,peak_registry=trace,peak_transfer=trace,peak_local=trace,peak_registry_server=trace"
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(color.on(std::io::stderr().is_terminal()))
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::CLOSE)
        .without_time()
        .init();
}

impl ColorMode {
    fn on(self, terminal: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        }
    }
}
