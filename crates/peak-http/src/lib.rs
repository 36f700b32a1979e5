//! Transport core: an HTTP client with deadlines, retries, authentication, redirects, replayable bodies and typed errors.
