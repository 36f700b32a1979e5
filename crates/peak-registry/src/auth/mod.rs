//! Proves to a registry who asks: Basic, or a Bearer token from the token server that the registry names.
//!
//! Nothing is sent before a registry asks for it. What it then accepted is kept, so that the next request carries it
//! from the start.
//!
//! | module | what |
//! |---|---|
//! | `challenge` | reads `WWW-Authenticate` |
//! | `scope` | what a token is asked for |
//! | `realm` | which token server a registry may send us to |
//! | `token` | asks a token server |
//! | `grants` | keeps tokens, and fetches each once |
//! | `credentials` | who we are |
//! | `identities` | whose credentials a request may carry |
//! | `keychain` | credentials at rest |
//! | `authenticator` | puts all of it on requests |
//! | `login` | checks credentials and keeps them |

mod authenticator;
pub(crate) mod challenge;
mod credentials;
mod grants;
mod identities;
mod keychain;
mod login;
mod realm;
mod scope;
#[cfg(test)]
mod tests;
pub(crate) mod token;

pub(crate) use self::authenticator::RegistryAuthenticator;
pub use self::credentials::Credentials;
pub(crate) use self::credentials::Identity;
pub(crate) use self::identities::Identities;
pub use self::keychain::{
    CredentialProvider, CredentialSource, ExaminedHelper, ExaminedSource, Explanation,
    ExplanationStep, KeptIn, Keychain, KeychainBuilder, KeychainError, SourceOutcome, SourceState,
};
pub use self::login::{Login, Logout};
pub(crate) use self::scope::Scope;
