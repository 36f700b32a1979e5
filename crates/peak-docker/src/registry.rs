//! Push and pull through the Engine: it speaks with the registry, with the credentials that it is given.

use http::header::HeaderName;
use peak_http::Body;
use peak_oci::{Digest, Reference};

use crate::call::{Call, in_path, repository, tagged};
use crate::credentials::{EngineCredentials, registry_auth};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::follow::follow;
use crate::progress::EngineEvent;

const X_REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");

/// What [`Engine::push`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pushed {
    /// The digest of the manifest that the registry has now; `None` if the Engine does not say.
    pub digest: Option<Digest>,
    /// The size of that manifest, in bytes.
    pub size: Option<u64>,
}

/// What [`Engine::pull`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pulled {
    /// The digest of the manifest that the registry has; `None` if the Engine does not say.
    pub digest: Option<Digest>,
    /// Whether the Engine had the image before.
    pub was_up_to_date: bool,
}

impl Engine {
    /// Pushes the image of this name to the registry that the name says. Every message of the Engine is given to
    /// `on_event` in order, also those about layers that the registry has.
    ///
    /// The credentials are sent to the Engine, which shows them to that registry.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if the Engine has no such image; [`EngineError::Unauthorized`] and
    /// [`EngineError::Denied`] if the registry does not take it; [`EngineError::Interrupted`] if the Engine goes away;
    /// [`EngineError::InvalidName`] for a reference without a tag or with a digest;
    /// [`EngineError::UnprotectedCredentials`].
    pub async fn push(
        &self,
        image: &Reference,
        credentials: Option<&EngineCredentials>,
        mut on_event: impl FnMut(EngineEvent) + Send,
    ) -> Result<Pushed, EngineError> {
        let (name, tag) = tagged(image)?;
        let path = format!("images/{}/push", in_path(&name)?);
        let call =
            Call::post("docker_push_image", format!("push of {image}"), path).query("tag", tag);
        let mut pushed = Pushed {
            digest: None,
            size: None,
        };
        let noted = |event: EngineEvent| {
            if let Some(result) = &event.result
                && let Some(digest) = &result.digest
            {
                pushed.digest = Some(digest.clone());
                pushed.size = result.size;
            }
            on_event(event);
        };
        Box::pin(self.transfer(call, image, credentials, noted)).await?;
        Ok(pushed)
    }

    /// Pulls an image from the registry that its name says into the Engine, which then has it by this name. Every message
    /// of the Engine is given to `on_event` in order.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if the registry has no such image; [`EngineError::Unauthorized`] and
    /// [`EngineError::Denied`] if it does not give it; [`EngineError::Interrupted`] if the Engine goes away;
    /// [`EngineError::InvalidName`] for a reference with neither tag nor digest, upon which the Engine would pull all tags;
    /// [`EngineError::UnprotectedCredentials`].
    pub async fn pull(
        &self,
        image: &Reference,
        credentials: Option<&EngineCredentials>,
        mut on_event: impl FnMut(EngineEvent) + Send,
    ) -> Result<Pulled, EngineError> {
        let selector = image.selector().ok_or_else(|| EngineError::InvalidName {
            name: image.to_string(),
            why: "has neither tag nor digest",
        })?;
        let what = format!("pull of {image}");
        let call = Call::post("docker_pull_image", what, "images/create")
            .query("fromImage", repository(image)?)
            .query("tag", selector.to_string());
        let mut pulled = Pulled {
            digest: None,
            was_up_to_date: false,
        };
        let noted = |event: EngineEvent| {
            if let (None, Some(status)) = (&event.id, &event.status) {
                if let Some(digest) = status.strip_prefix("Digest: ") {
                    pulled.digest = digest.trim().parse().ok();
                }
                pulled.was_up_to_date |= status.starts_with("Status: Image is up to date");
            }
            on_event(event);
        };
        Box::pin(self.transfer(call, image, credentials, noted)).await?;
        Ok(pulled)
    }

    async fn transfer(
        &self,
        call: Call,
        image: &Reference,
        credentials: Option<&EngineCredentials>,
        on_event: impl FnMut(EngineEvent) + Send,
    ) -> Result<(), EngineError> {
        let connection = self.connection().await?;
        self.check_protection(&connection, credentials)?;
        let header = registry_auth(image.registry(), credentials);
        let header = header.ok_or_else(|| EngineError::unsendable_credentials(&call.what))?;
        let call = call.header(X_REGISTRY_AUTH, header);
        let patience = self.patience(&connection, &call.what);
        let response = Box::pin(self.begin(&connection, &call, Body::empty(), &patience)).await?;
        Box::pin(follow(&call.what, response, &patience, on_event)).await
    }
}
