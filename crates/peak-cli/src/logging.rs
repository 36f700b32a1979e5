//! `--verbose`: what the libraries say while they work, on standard error.
//!
//! `-v` shows each exchange with a server in one line, `-vv` its headers too, `-vvv` also bodies of JSON. The libraries
//! remove secrets from what they say.

use std::fmt;

use peak_sdk::registry_server::Observer;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{EnvFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::color::{self, Paint};

/// The events that are the access log.
const ACCESS_LOG: &str = Observer::ACCESS_LOG_TARGET;

/// What a server shows by itself: nobody asks it again what went wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serving {
    /// Whether requests are logged.
    pub(crate) access_log: bool,
    /// Whether errors are shown and warnings are not.
    pub(crate) quiet: bool,
}

/// Starts to show as much as so many `-v` ask for; none shows nothing, but what a server has to warn of. Its
/// access log is lines of JSON between that.
pub(crate) fn start(verbose: u8, serving: Option<Serving>) {
    let filter = match (verbose, serving) {
        (0, None) => return,
        (0, Some(Serving { quiet: true, .. })) => "error",
        (0, Some(_)) => "warn",
        (1, _) => "warn,peak_http=info",
        (2, _) => "info,peak_http=debug",
        _ => {
            "info,peak_http=trace,peak_registry=debug,peak_transfer=debug,peak_local=debug,peak_registry_server=debug,peak_serve=debug"
        }
    };
    let said = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(color::is_on(&std::io::stderr()))
        .event_format(Plain)
        .with_filter(EnvFilter::new(format!("{filter},{ACCESS_LOG}=off")));
    let logged = serving.filter(|serving| serving.access_log);
    let accesses = logged.map(|_| {
        tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_level(false)
            .with_target(false)
            .with_writer(std::io::stderr)
            .with_filter(Targets::new().with_target(ACCESS_LOG, Level::INFO))
    });
    tracing_subscriber::registry()
        .with(said)
        .with(accesses)
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
            Level::ERROR => label(&mut writer, "error:", Paint::Error)?,
            Level::WARN => label(&mut writer, "warning:", Paint::Warning)?,
            _ => {}
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn label(writer: &mut Writer<'_>, text: &str, paint: Paint) -> fmt::Result {
    let text = color::painted(text, paint, writer.has_ansi_escapes());
    write!(writer, "{text} ")
}
