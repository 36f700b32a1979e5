//! `peak man`: the help of every command as a manual page.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde_json::json;

use crate::application::Application;
use crate::arguments::CommandLine;
use crate::blocking::blocking;
use crate::error::{CliError, tidy};

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  peak man ~/.local/share/man/man1")]
pub(crate) struct ManArguments {
    /// Directory for the pages; it is made if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// A page, and the name of its file.
struct Page {
    file: String,
    text: Vec<u8>,
}

pub(crate) async fn run(
    application: &Application,
    arguments: ManArguments,
) -> Result<(), CliError> {
    let directory = arguments.directory;
    let failed = {
        let directory = directory.clone();
        move |error: &io::Error| {
            CliError::other(format!(
                "the manual pages cannot be written to `{}`: {}",
                directory.display(),
                tidy(&error.to_string())
            ))
        }
    };
    if directory.exists() && !directory.is_dir() {
        return Err(
            CliError::usage(format!("`{}` is no directory", directory.display()))
                .with_hint("name a directory; each command's page becomes a file in it"),
        );
    }
    let pages = pages().map_err(|error| failed(&error))?;
    let count = pages.len();
    let target = directory.clone();
    blocking(move || write(&pages, &target))
        .await?
        .map_err(|error| failed(&error))?;
    application.output.object(
        &json!({"directory": directory, "pages": count}),
        &[
            ("directory", directory.display().to_string()),
            ("pages", count.to_string()),
        ],
    )
}

/// Writes the pages. Each one appears whole, in place of an earlier one.
fn write(pages: &[Page], directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for page in pages {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".peak-man-");
        // A page is for everybody who uses the machine, as far as the umask says so.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(directory)?;
        file.write_all(&page.text)?;
        file.persist(directory.join(&page.file))?;
    }
    Ok(())
}

/// The pages of all commands that `--help` shows.
fn pages() -> io::Result<Vec<Page>> {
    let mut root = CommandLine::command().disable_help_subcommand(true);
    root.build();
    let source = format!("{} {}", root.get_name(), env!("CARGO_PKG_VERSION"));
    let mut pages = Vec::new();
    let mut waiting = vec![(&root, None)];
    while let Some((command, parent)) = waiting.pop() {
        pages.push(page(command, parent, &source)?);
        let shown = command
            .get_subcommands()
            .filter(|subcommand| !subcommand.is_hide_set());
        waiting.extend(shown.map(|subcommand| (subcommand, Some(command))));
    }
    Ok(pages)
}

/// The page of a command: clap's own sections, and then what stands below its help, which has headings of its own.
fn page(command: &Command, parent: Option<&Command>, source: &str) -> io::Result<Page> {
    let mut command = command.clone();
    // As in the help: without the global options, which have a section.
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    let command = command.override_usage(usage);
    let man = Man::new(command.clone());
    // The title is written here, since `Man` leaves an empty date out and what follows then stands in its place. There
    // is none: from the same program come the same pages.
    let title = full_name(&command);
    let mut text = format!(".TH \"{title}\" \"1\" \"\" \"{source}\" \"Peak\"\n").into_bytes();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command
        .get_subcommands()
        .any(|subcommand| !subcommand.is_hide_set())
    {
        man.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    if let Some(help) = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
    {
        below_the_help(&mut rest, &help.to_string());
    }
    if let Some(parent) = parent {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([roman(format!("{}(1)", full_name(parent)))]);
    }
    rest.to_writer(&mut text)?;
    Ok(Page {
        file: man.get_filename(),
        text,
    })
}

/// The name of a command as its page has it: `peak-registry-tags`.
fn full_name(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

/// What stands below the help of a command: `Example:` and the like become sections, what is indented stays as it is, and
/// the rest is text.
fn below_the_help(roff: &mut Roff, help: &str) {
    let mut has_heading = false;
    let mut is_verbatim = false;
    for line in help.lines() {
        let verbatim = line.strip_prefix("  ");
        if is_verbatim && verbatim.is_none() {
            roff.control("fi", []);
            roff.control("RE", []);
            is_verbatim = false;
        }
        let heading = line
            .strip_suffix(':')
            .filter(|name| name.split_whitespace().count() <= 2);
        if let Some(heading) = heading.filter(|_| verbatim.is_none()) {
            roff.control("SH", [heading.to_uppercase().as_str()]);
            has_heading = true;
            continue;
        }
        if !has_heading {
            roff.control("SH", ["NOTES"]);
            has_heading = true;
        }
        match verbatim {
            Some(line) => {
                if !is_verbatim {
                    roff.control("RS", ["4"]);
                    roff.control("nf", []);
                    is_verbatim = true;
                }
                roff.text([roman(line)]);
            }
            None if line.is_empty() => {
                roff.control("PP", []);
            }
            None => {
                roff.text([roman(line)]);
            }
        }
    }
    if is_verbatim {
        roff.control("fi", []);
        roff.control("RE", []);
    }
}
