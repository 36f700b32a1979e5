//! `--verbose`: what the libraries say while they work, on standard error.
//!
//! `-v` shows each exchange with a server in one line, `-vv` its headers too, `-vvv` also bodies of JSON. The libraries
//! remove secrets from what they say.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::arguments::ColorMode;

/// Starts to show as much as so many `-v` ask for; none shows nothing.
pub(crate) fn start(verbose: u8, color: ColorMode) {
    let filter = match verbose {
        0 => return,
        1 => "warn,peak_http=info",
        2 => "info,peak_http=debug",
        _ => {
            "info,peak_http=trace,peak_registry=debug,peak_transfer=debug,peak_local=debug,peak_registry_server=debug"
        }
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(color.on(std::io::stderr().is_terminal()))
        .event_format(Plain)
        .init();
}

/// What is said and nothing around it: who reads along knows what runs, and when.
struct Plain;

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => writer.write_str("error: ")?,
            Level::WARN => writer.write_str("warning: ")?,
            _ => {}
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
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
