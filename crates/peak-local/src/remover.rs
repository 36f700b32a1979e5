//! Carrying deletions out, one after the other, behind the requests that asked for them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::chain;
use crate::shared::Shared;
use crate::state::StateError;

/// What carries deletions out.
pub(crate) struct Remover {
    shared: Arc<Shared>,
    stop: CancellationToken,
    #[cfg(feature = "faults")]
    faults: crate::faults::Faults,
}

impl Remover {
    /// A remover that ends when `stop` is cancelled.
    pub(crate) fn new(
        shared: Arc<Shared>,
        stop: CancellationToken,
        #[cfg(feature = "faults")] faults: crate::faults::Faults,
    ) -> Self {
        Self {
            shared,
            stop,
            #[cfg(feature = "faults")]
            faults,
        }
    }

    /// Carries out what an earlier process left, then what is asked for, until `stop` is cancelled. What is then
    /// still written down is left to the next process.
    pub(crate) async fn run(self) {
        loop {
            #[cfg(feature = "faults")]
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.faults.deletions_go_on() => {}
            }
            if self.stop.is_cancelled() {
                return;
            }
            match self.shared.blocking(remove_next).await {
                Ok(Ok(true)) => continue,
                Ok(Ok(false)) => {}
                Ok(Err(error)) => {
                    tracing::error!(error = %chain(&error), "a deletion could not be carried out");
                }
                Err(error) => tracing::error!(%error, "a deletion could not be carried out"),
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.shared.deletions.notified() => {}
            }
        }
    }
}

/// Carries out the first deletion that is written down, if there is one.
fn remove_next(shared: &Shared) -> Result<bool, StateError> {
    let Some((number, doomed)) = shared.state.next_deletion()? else {
        return Ok(false);
    };
    match shared.state.carry_out(number, &doomed, &shared.registry) {
        Ok(archives) => shared.remove_unused(&archives),
        Err(error) => {
            tracing::error!(error = %chain(&error), ?doomed, "a deletion could not be carried out");
            shared.state.give_up(number, &doomed)?;
        }
    }
    Ok(true)
}
