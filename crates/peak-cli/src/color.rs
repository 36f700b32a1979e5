//! Colours that can be read on a light and on a dark terminal: bold, red and magenta, and nothing else. What they say
//! stands there in words too.

use std::io::IsTerminal;
use std::sync::OnceLock;

use crate::arguments::ColorMode;

static MODE: OnceLock<ColorMode> = OnceLock::new();

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    Error,
    Warning,
    Heading,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Error => "\u{1b}[1;31m",
            // Yellow cannot be read on white, nor blue on black.
            Self::Warning => "\u{1b}[1;35m",
            Self::Heading => "\u{1b}[1m",
        }
    }
}

/// Sets for the whole program what `--color` says. Until then it counts as `auto`.
pub(crate) fn choose(mode: ColorMode) {
    // It is set once, by the one command line there is.
    let _ = MODE.set(mode);
}

/// Whether what goes to this stream is coloured.
pub(crate) fn is_on(stream: &impl IsTerminal) -> bool {
    let mode = MODE.get().copied().unwrap_or_default();
    decide(mode, stream.is_terminal(), |name| {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    })
}

fn decide(mode: ColorMode, terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    match mode {
        ColorMode::Always => true,
        ColorMode::Never => false,
        ColorMode::Auto => {
            let knows_colors = variable("TERM").is_some_and(|name| name != "dumb");
            terminal && knows_colors && variable("NO_COLOR").is_none()
        }
    }
}

/// The text as it looks on a stream that is coloured, or not.
pub(crate) fn painted(text: &str, paint: Paint, is_on: bool) -> String {
    if is_on {
        format!("{}{text}\u{1b}[0m", paint.code())
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_wants_a_terminal_that_knows_colors_and_nobody_who_wants_none() {
        let term = |name: &str| (name == "TERM").then(|| "xterm".to_owned());
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".to_owned());
        let both = |name: &str| (name == "TERM" || name == "NO_COLOR").then(|| "1".to_owned());
        assert!(decide(ColorMode::Auto, true, term));
        assert!(!decide(ColorMode::Auto, false, term));
        assert!(!decide(ColorMode::Auto, true, dumb));
        assert!(!decide(ColorMode::Auto, true, both));
        assert!(!decide(ColorMode::Auto, true, |_| None));
        assert!(decide(ColorMode::Always, false, dumb));
        assert!(!decide(ColorMode::Never, true, term));
    }

    #[test]
    fn text_that_is_not_painted_is_as_it_was() {
        assert_eq!(painted("error:", Paint::Error, false), "error:");
        assert_eq!(painted("A", Paint::Heading, true), "\u{1b}[1mA\u{1b}[0m");
    }
}
