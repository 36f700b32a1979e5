//! How many requests to one server may be sent again in all, so that many clients' worth of retries do not keep down a
//! server that is trying to come up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::origin::Origin;

/// What an origin starts with and never has more of.
const FULL: u32 = 500;
/// What sending again costs; a request that needed none of it gives one back.
const COST: u32 = 5;
/// Origins remembered. A client that talks to more forgets those that are doing well.
const MOST_ORIGINS: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct RetryBudget {
    /// Only origins that have spent something.
    left: Mutex<HashMap<Origin, u32>>,
}

impl RetryBudget {
    /// Takes the cost of one retry, if there is enough.
    pub(crate) fn spend(&self, origin: &Origin) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= MOST_ORIGINS && !left.contains_key(origin) {
            left.clear();
        }
        let tokens = left.entry(origin.clone()).or_insert(FULL);
        match tokens.checked_sub(COST) {
            Some(rest) => {
                *tokens = rest;
                true
            }
            None => false,
        }
    }

    /// Notes an exchange that went well.
    pub(crate) fn earn(&self, origin: &Origin) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tokens) = left.get_mut(origin) {
            *tokens += 1;
            if *tokens >= FULL {
                left.remove(origin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_server_that_only_fails_uses_up_its_own_budget() {
        let budget = RetryBudget::default();
        let (bad, good) = (origin("http://bad"), origin("http://good"));
        let granted = (0..1000).filter(|_| budget.spend(&bad)).count();
        assert_eq!(granted, (FULL / COST) as usize);
        assert!(budget.spend(&good));
        for _ in 0..COST {
            assert!(!budget.spend(&bad));
            budget.earn(&bad);
        }
        assert!(budget.spend(&bad));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten_when_full_again() {
        let budget = RetryBudget::default();
        for port in 1..2000 {
            assert!(budget.spend(&origin(&format!("http://h:{port}"))));
            assert!(budget.left.lock().unwrap().len() <= MOST_ORIGINS);
        }
        let last = origin("http://h:1999");
        for _ in 0..COST {
            budget.earn(&last);
        }
        assert!(!budget.left.lock().unwrap().contains_key(&last));
    }
}
