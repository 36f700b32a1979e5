//! URLs that need no credentials: what is behind one is read by whoever has it, for a short time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// How long a signature is good.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The most signatures that are good at the same time; with one more, the oldest ends early.
const SIGNATURES: usize = 1024;

/// A build whose log may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SignedLog {
    pub(super) image: u64,
    pub(super) build: u64,
}

/// The signatures that are good. Each is 122 random bits, kept in memory alone, so a restart ends all.
#[derive(Clone, Default)]
pub(super) struct Signatures(Arc<Mutex<HashMap<Uuid, (Instant, SignedLog)>>>);

impl Signatures {
    /// A signature that is good from now on.
    pub(super) fn sign(&self, log: SignedLog) -> Uuid {
        self.sign_at(Instant::now(), log)
    }

    /// What a signature is for, while it is good. The text is as it came from the network.
    pub(super) fn verify(&self, signature: &str) -> Option<SignedLog> {
        self.verify_at(Instant::now(), signature)
    }

    fn sign_at(&self, now: Instant, log: SignedLog) -> Uuid {
        let mut good = self.lock();
        good.retain(|_, (signed, _)| is_good(*signed, now));
        if good.len() >= SIGNATURES
            && let Some(oldest) = good
                .iter()
                .min_by_key(|(_, (signed, _))| *signed)
                .map(|(signature, _)| *signature)
        {
            good.remove(&oldest);
        }
        let signature = Uuid::new_v4();
        good.insert(signature, (now, log));
        signature
    }

    fn verify_at(&self, now: Instant, signature: &str) -> Option<SignedLog> {
        let signature = Uuid::try_parse(signature).ok()?;
        let (signed, log) = *self.lock().get(&signature)?;
        is_good(signed, now).then_some(log)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (Instant, SignedLog)>> {
        // Every change of the map is a single call, so a panic elsewhere leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_good(signed: Instant, now: Instant) -> bool {
    now.saturating_duration_since(signed) < LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: SignedLog = SignedLog { image: 1, build: 2 };

    #[test]
    fn a_signature_is_good_for_what_it_was_made_for_until_it_expires() {
        let signatures = Signatures::default();
        let now = Instant::now();
        let signature = signatures.sign_at(now, LOG).to_string();
        let just_before = now + LIFETIME.checked_sub(Duration::from_millis(1)).unwrap();
        assert_eq!(signatures.verify_at(just_before, &signature), Some(LOG));
        assert_eq!(signatures.verify_at(now + LIFETIME, &signature), None);
        for wrong in ["", "abc", &Uuid::new_v4().to_string()] {
            assert_eq!(signatures.verify_at(now, wrong), None, "{wrong:?}");
        }
        signatures.sign_at(now + LIFETIME, LOG);
        assert_eq!(signatures.lock().len(), 1, "what has expired is forgotten");
    }

    #[test]
    fn there_are_only_so_many() {
        let signatures = Signatures::default();
        let now = Instant::now();
        let oldest = signatures.sign_at(now, LOG).to_string();
        let second = signatures
            .sign_at(now + Duration::from_millis(1), LOG)
            .to_string();
        for _ in 2..=SIGNATURES {
            signatures.sign_at(now + Duration::from_millis(2), LOG);
        }
        assert_eq!(signatures.lock().len(), SIGNATURES);
        assert_eq!(signatures.verify_at(now, &oldest), None);
        assert_eq!(signatures.verify_at(now, &second), Some(LOG));
    }
}
