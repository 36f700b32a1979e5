//! The embedded Peak platform: images API, builder and registry on one address.
