//! What the sender of one request may do.

use std::sync::Arc;

use peak_oci::RepositoryName;

use crate::auth::actions::Actions;
use crate::auth::rules::RuleTable;
use crate::auth::scope::Access;
use crate::auth::token::Caller;

/// Who asks, the rules for them, and the token that they have, if it was one: all of these must
/// allow a thing.
#[derive(Debug, Clone)]
pub(crate) struct Permissions {
    caller: Caller,
    rules: Arc<RuleTable>,
    granted: Option<Access>,
}

impl Permissions {
    pub(crate) fn new(caller: Caller, rules: Arc<RuleTable>, granted: Option<Access>) -> Self {
        Self {
            caller,
            rules,
            granted,
        }
    }

    /// Where there is no authentication.
    pub(crate) fn everything() -> Self {
        Self::new(Caller::Trusted, Arc::default(), None)
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whether the sender said who they are, or got a token, even one for nobody.
    pub(crate) fn are_of_somebody(&self) -> bool {
        self.by_token() || self.caller != Caller::Anonymous
    }

    /// Whether there is a token, so that another one might allow more.
    pub(crate) fn by_token(&self) -> bool {
        self.granted.is_some()
    }

    /// Whether all of these may be done with a repository.
    pub(crate) fn allow(&self, repository: &RepositoryName, actions: Actions) -> bool {
        let granted = self
            .granted
            .as_ref()
            .map_or(Actions::ALL, |access| access.actions(repository));
        (self.by_rules(repository) & granted).contains(actions)
    }

    /// Whether the list of repositories may be asked for. It has only those that
    /// [`lists`](Self::lists) knows.
    ///
    /// Where nobody may pull something, a token for nobody is good for it, but not no token: a
    /// client that is not asked who it is would take what nobody may see for the whole list.
    pub(crate) fn allow_catalog(&self) -> bool {
        match &self.granted {
            Some(access) => access.catalog,
            None => self.caller != Caller::Anonymous,
        }
    }

    /// Whether a repository is in the list.
    ///
    /// A token for the list is for no repository in it, so here the rules alone count.
    pub(crate) fn lists(&self, repository: &RepositoryName) -> bool {
        self.by_rules(repository).contains(Actions::PULL)
    }

    /// What of this may be granted.
    pub(crate) fn limit(&self, asked: Access) -> Access {
        let mut access = asked.limited(|repository| self.by_rules(repository));
        access.catalog &=
            self.caller != Caller::Anonymous || self.rules.allows_anonymous(Actions::PULL);
        access
    }

    fn by_rules(&self, repository: &RepositoryName) -> Actions {
        match &self.caller {
            Caller::Trusted => Actions::ALL,
            Caller::User(name) => self.rules.allowed(Some(name), repository),
            Caller::Anonymous => self.rules.allowed(None, repository),
        }
    }
}
