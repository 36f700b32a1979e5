//! HTTPS or plain HTTP: for registries that may be spoken to in the clear, whether they speak TLS is found out, once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peak_http::{Client, Error, ErrorKind};
use tokio::sync::OnceCell;

use crate::RegistryError;
use crate::connection::transport;
use crate::host::{Clear, Host, Scheme};

/// Most registries of which it is remembered.
const MOST: usize = 64;

/// How long a registry on loopback is waited for. One that says nothing to the greeting of TLS, as a server may that
/// waits for the end of a line, is spoken to in the clear then.
const LOOPBACK_LIMIT: Duration = Duration::from_secs(1);

/// How long any other is waited for. One that says nothing gives no leave to speak in the clear.
const LIMIT: Duration = Duration::from_secs(10);

/// One registry: who comes while it is being asked waits for the answer.
type Cell = Arc<OnceCell<Result<Scheme, Error>>>;

/// How each registry is spoken to.
#[derive(Default)]
pub(crate) struct Schemes {
    cells: Mutex<HashMap<String, Cell>>,
}

impl Schemes {
    /// How the registry is spoken to. Only one that may be spoken to in the clear is asked, and credentials have no part
    /// in it.
    pub(crate) async fn of(&self, client: &Client, host: &Host) -> Result<Scheme, RegistryError> {
        let limit = match host.clear() {
            Clear::Never => return Ok(Scheme::Https),
            Clear::Loopback => LOOPBACK_LIMIT,
            Clear::Marked => LIMIT,
        };
        let root = host.root(Scheme::Https)?;
        let cell = self.cell(host.name());
        // Where its future is dropped, the next one that waits asks in its place.
        let found = cell
            .get_or_init(async || match client.speaks_tls(&root, limit).await {
                Ok(true) => Ok(Scheme::Https),
                Ok(false) => Ok(Scheme::Http),
                Err(error)
                    if error.kind() == ErrorKind::Timeout && host.clear() == Clear::Loopback =>
                {
                    Ok(Scheme::Http)
                }
                Err(error) => Err(error),
            })
            .await;
        match found {
            Ok(scheme) => Ok(*scheme),
            Err(error) => {
                self.remove_if(host.name(), |known| Arc::ptr_eq(known, &cell));
                match error.kind() {
                    // The request itself says best what is wrong; and its port may be another than that of TLS.
                    ErrorKind::Connect | ErrorKind::Proxy => Ok(Scheme::Http),
                    _ => Err(transport(host.name(), error.clone())),
                }
            }
        }
    }

    /// After a request in the clear that failed: by now, the registry may be another one. That a registry speaks TLS is
    /// never forgotten.
    pub(crate) fn doubt(&self, host: &Host) {
        self.remove_if(host.name(), |known| {
            matches!(known.get(), Some(Ok(Scheme::Http)))
        });
    }

    fn cell(&self, registry: &str) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = cells.get(registry) {
            return Arc::clone(known);
        }
        if cells.len() >= MOST
            && let Some(any) = cells.keys().next().cloned()
        {
            cells.remove(&any);
        }
        let cell = Cell::default();
        cells.insert(registry.to_owned(), Arc::clone(&cell));
        cell
    }

    fn remove_if(&self, registry: &str, condition: impl FnOnce(&Cell) -> bool) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.get(registry).is_some_and(condition) {
            cells.remove(registry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_registries_do_not_fill_the_memory() {
        let schemes = Schemes::default();
        for port in 1..=1000 {
            schemes.cell(&format!("127.0.0.1:{port}"));
        }
        assert_eq!(schemes.cells.lock().unwrap().len(), MOST);
    }
}
