//! Lists: a page of one, or all of it, shown while it is walked.

use std::pin::pin;

use clap::Args;
use futures_util::TryStreamExt;
use peak_sdk::platform::Operation;
use peak_sdk::platform::pages::{self, Page};
use serde_json::Value;

use crate::application::Application;
use crate::arguments::from_one;
use crate::error::CliError;
use crate::output::{Output, table, to_yaml, write_out};
use crate::view::Column;

/// Which part of a list is shown.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct PageOptions {
    /// How many entries a page holds [default: as the platform has it]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = from_one)]
    pub(crate) page_size: Option<u64>,
    /// The page to show, counted from 1 [default: the first]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = from_one)]
    pub(crate) page_number: Option<u64>,
}

/// Whether a list is walked to its end.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WalkOptions {
    #[command(flatten)]
    pub(crate) page: PageOptions,
    /// Show every page, one after the other
    #[arg(long, conflicts_with = "page_number")]
    pub(crate) all: bool,
}

/// A list as the API gives it: where its items and their number stand, and what a person sees of them.
pub(crate) struct ListForm {
    pub(crate) items: &'static str,
    pub(crate) count: &'static str,
    pub(crate) columns: &'static [Column],
}

impl ListForm {
    fn table(&self, items: &[Value]) -> String {
        let heading: Vec<_> = self.columns.iter().map(|column| column.heading).collect();
        let rows = items
            .iter()
            .map(|item| self.columns.iter().map(|column| column.of(item)).collect())
            .collect();
        table(&heading, rows)
    }

    /// What a person sees in place of a table without rows.
    fn nothing(&self, page: Option<u64>, pages: Option<u64>) -> String {
        match (page, pages) {
            (Some(page), Some(pages)) if pages > 0 && page > pages => format!(
                "there is no page {page} of {}; the last one is {pages}\n",
                self.items
            ),
            _ => format!("no {}\n", self.items),
        }
    }

    /// What a person sees of one page.
    pub(crate) fn page(&self, answer: &Value) -> String {
        let items = answer.get(self.items).and_then(Value::as_array);
        let items = items.map(Vec::as_slice).unwrap_or_default();
        let number = |key: &str| answer.get(key).and_then(Value::as_u64);
        let mut text = if items.is_empty() {
            self.nothing(number("pageNumber"), number("pageCount"))
        } else {
            self.table(items)
        };
        if let (Some(page), Some(pages), Some(count)) = (
            number("pageNumber"),
            number("pageCount"),
            number(self.count),
        ) && pages > 1
            && !items.is_empty()
        {
            text.extend([format!(
                "\npage {page} of {pages}, {count} in all; --page-number shows another, --all shows every one\n"
            )]);
        }
        text
    }
}

/// Shows a page of a list, or all of them.
pub(crate) async fn list<O, F>(
    application: &Application,
    form: &ListForm,
    options: WalkOptions,
    page: F,
) -> Result<(), CliError>
where
    O: Operation,
    F: Fn(Option<u64>) -> O,
{
    let session = application.session()?;
    if !options.all {
        let answer: Value = session.call_as(&page(options.page.page_number)).await?;
        return application.output.value(&answer, || Ok(form.page(&answer)));
    }
    let mut printer = Printer::new(application.output, form);
    let walked = pages::items(|number| {
        let operation = page(Some(number));
        let session = &session;
        async move {
            let mut answer: Value = session.call_as(&operation).await?;
            let items = answer.get_mut(form.items).map(Value::take);
            let count = answer.get("pageCount").and_then(Value::as_u64);
            // A page is one item of the walk, so that it is shown as a whole.
            let items = match items {
                Some(Value::Array(items)) if !items.is_empty() => vec![items],
                _ => Vec::new(),
            };
            Ok(Page::new(items, count))
        }
    });
    let mut walked = pin!(walked);
    while let Some(items) = walked.try_next().await? {
        printer.page(&items)?;
    }
    printer.end()
}

/// Prints a list while it is walked, without keeping it.
struct Printer<'a> {
    output: Output,
    form: &'a ListForm,
    count: u64,
}

impl<'a> Printer<'a> {
    fn new(output: Output, form: &'a ListForm) -> Self {
        Self {
            output,
            form,
            count: 0,
        }
    }

    /// Prints a page, which is not empty.
    fn page(&mut self, items: &[Value]) -> Result<(), CliError> {
        let name = self.form.items;
        match self.output {
            Output::Json if self.count == 0 => write_out(format!("{{\n  \"{name}\": ["))?,
            Output::Yaml if self.count == 0 => write_out(format!("{name}:\n"))?,
            _ => {}
        }
        match self.output {
            Output::Table => write_out(self.form.table(items))?,
            Output::Yaml => {
                for item in items {
                    write_out(format!("- {}", indented(&to_yaml(item)?, "  ")))?;
                }
            }
            Output::Json => {
                for (number, item) in items.iter().enumerate() {
                    let text = format!("{item:#}");
                    let comma = if self.count == 0 && number == 0 {
                        ""
                    } else {
                        ","
                    };
                    write_out(format!("{comma}\n    {}", indented(&text, "    ")))?;
                }
            }
        }
        self.count += items.len() as u64;
        Ok(())
    }

    fn end(self) -> Result<(), CliError> {
        let (items, name, count) = (self.form.items, self.form.count, self.count);
        match self.output {
            Output::Table if count == 0 => write_out(self.form.nothing(None, None)),
            Output::Table => Ok(()),
            Output::Yaml if count == 0 => write_out(format!("{items}: []\n{name}: 0\n")),
            Output::Json if count == 0 => {
                write_out(format!("{{\n  \"{items}\": [],\n  \"{name}\": 0\n}}\n"))
            }
            Output::Yaml => write_out(format!("{name}: {count}\n")),
            Output::Json => write_out(format!("\n  ],\n  \"{name}\": {count}\n}}\n")),
        }
    }
}

/// The text with all lines but the first indented.
fn indented(text: &str, by: &str) -> String {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |text, line| text + by + line)
}

#[cfg(test)]
mod tests {
    use super::indented;

    #[test]
    fn lines_after_the_first_are_indented() {
        assert_eq!(indented("a\nb\n", "  "), "a\n  b\n");
    }
}
