//! What fails for one cause is one failure: the first question says it, and those behind it refer to that one.

use peak_sdk::registry::{NotAsked, Probed, Registry};

use super::check::{Check, Group};
use crate::error::{CliError, ErrorKind};
use crate::refused;

const GROUP: Group = Group::Registry;

/// Questions that are likely to fail together.
#[derive(Clone)]
pub(super) struct Door<'a> {
    client: &'a Registry,
    /// The question that has failed, and the kind of failures that come of it; `None` where all do.
    shut: Option<(&'static str, Option<ErrorKind>)>,
}

impl<'a> Door<'a> {
    pub(super) fn new(client: &'a Registry) -> Self {
        Self { client, shut: None }
    }

    /// Whatever fails from here on fails because of this question.
    pub(super) fn shut(&mut self, name: &'static str) {
        self.shut.get_or_insert((name, None));
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut.is_some()
    }

    /// A check of what was found; of what was not asked, how to ask it.
    pub(super) async fn of<T>(
        &mut self,
        name: &'static str,
        probed: Probed<T>,
        found: impl FnOnce(T) -> Check,
    ) -> Check {
        match probed {
            Probed::Found(answer) => found(answer),
            Probed::NotAsked(
                NotAsked::NeedsImage | NotAsked::NeedsAccess | NotAsked::NeedsUploads,
            ) if self.is_shut() => self.refer(name),
            Probed::NotAsked(why) => not_asked(name, why),
            Probed::Failed(error) => self.failed(name, CliError::from(error)).await,
        }
    }

    /// A check of a question that has failed, with the account that was used where that matters.
    pub(super) async fn failed(&mut self, name: &'static str, error: CliError) -> Check {
        if let Some((_, kind)) = self.shut
            && kind.is_none_or(|kind| kind == error.kind)
        {
            return self.refer(name);
        }
        self.shut.get_or_insert((name, Some(error.kind)));
        let error = refused::with_account(self.client, error).await;
        Check::error(GROUP, name, &error)
    }

    /// A check that says where the failure stands.
    pub(super) fn refer(&self, name: &'static str) -> Check {
        match self.shut {
            Some((cause, _)) => Check::skipped(GROUP, name, format!("not found out: see {cause}")),
            None => Check::skipped(GROUP, name, "not found out"),
        }
    }
}

/// How to ask what was not asked.
fn not_asked(name: &'static str, why: NotAsked) -> Check {
    let (finding, hint) = match why {
        NotAsked::NeedsRepository => (
            "not tried: it takes a repository",
            "name one: peak doctor HOST/REPO",
        ),
        NotAsked::NeedsImage => (
            "not tried: there is no image to ask about",
            "name an image of the registry: peak doctor HOST/REPO:TAG",
        ),
        NotAsked::NeedsLeaveToWrite => (
            "not tried: it takes a repository to write to",
            "--write-to REPO tries it, and takes back what it sends",
        ),
        NotAsked::NeedsTwoRepositories => (
            "not tried: it takes two repositories to write to",
            "a second --write-to REPO tries it, and deletes what it stores",
        ),
        NotAsked::NoTokens => ("no tokens are used", ""),
        _ => ("not tried", ""),
    };
    let check = Check::skipped(GROUP, name, finding);
    if hint.is_empty() {
        check
    } else {
        check.hint(hint)
    }
}
