//! What `ship` and `registry copy, pull, push` share: a copy with its progress, into a place opened beforehand.

use peak_sdk::docker::{Engine, EngineConfig};
use peak_sdk::layout::LayoutError;
use peak_sdk::oci::{ContentError, Placement, Selector, Sink, Source};
use peak_sdk::registry::Registry;
use peak_sdk::transfer::{Clients, CopyOptions, CopyReport, Target, TargetError, Transfer};

use crate::application::Application;
use crate::error::CliError;

/// Whom these places are asked of.
pub(crate) fn clients<'a>(
    registry: &Registry,
    places: impl IntoIterator<Item = &'a Target>,
) -> Result<Clients, CliError> {
    let clients = Clients::from(registry);
    Ok(match engine_of(places)? {
        Some(engine) => clients.engine(engine),
        None => clients,
    })
}

/// Opens a place to read the image that it names.
pub(crate) fn open_source(
    place: &Target,
    clients: &Clients,
) -> Result<(Box<dyn Source>, Option<Selector>), CliError> {
    place.open_source(clients).map_err(|error| match &error {
        // As a place to write to it would have to be empty; to be read, it has to be one.
        TargetError::Layout(LayoutError::NotALayout { path }) => CliError::usage(format!(
            "{} is not an OCI image layout",
            path.display()
        ))
        .with_hint(
            "name a directory that `peak registry pull` has filled, or an archive as oci-archive:FILE or docker-archive:FILE",
        ),
        _ => error.into(),
    })
}

/// The Docker Engine, where one of these places is an image of it; its settings are not even read otherwise.
fn engine_of<'a>(places: impl IntoIterator<Item = &'a Target>) -> Result<Option<Engine>, CliError> {
    let mut places = places.into_iter();
    if !places.any(|place| matches!(place, Target::DockerDaemon(_))) {
        return Ok(None);
    }
    let config = EngineConfig::from_environment()?;
    Ok(Some(Engine::new(config)))
}

/// Finds out whether there is an Engine where one of these places is an image of it, before any work is done for it.
pub(crate) async fn reach_engine(places: &[Target]) -> Result<(), CliError> {
    if let Some(engine) = engine_of(places)? {
        engine.ping().await.map_err(ContentError::from)?;
    }
    Ok(())
}

/// A place to copy images to, known to be writable.
pub(crate) struct Destination {
    target: Target,
    pub(crate) sink: Box<dyn Sink>,
    placement: Placement,
}

impl Destination {
    /// Opens the place, before any work is done for it.
    pub(crate) fn open(target: Target, clients: &Clients) -> Result<Self, CliError> {
        let (sink, placement) = target.open_sink(clients)?;
        Ok(Self {
            target,
            sink,
            placement,
        })
    }

    /// The name of the place.
    pub(crate) fn name(&self) -> String {
        self.target.to_string()
    }

    /// Copies an image here.
    pub(crate) async fn receive(
        &self,
        application: &Application,
        source: &dyn Source,
        selector: Option<&Selector>,
        options: CopyOptions,
    ) -> Result<CopyReport, CliError> {
        if !self.target.keeps_digests() {
            application.progress.warning(&format!(
                "{} holds no manifests: the image keeps its id there, but not its digest",
                self.name()
            ));
        }
        let meter = application.progress.transfer("copy", self.name());
        let options = options.progress(meter.listener());
        let run = Transfer::new(source, self.sink.as_ref(), options);
        let copying = Box::pin(run.image(selector, self.placement.clone()));
        let report = meter.watch(copying).await?;
        warn(application, &report);
        Ok(report)
    }
}

/// Says what a person should know about a copy that went well.
pub(crate) fn warn(application: &Application, report: &CopyReport) {
    for digest in &report.missing_referrers {
        application.progress.warning(&format!(
            "{digest} is listed as a referrer of the image, but the source does not have it"
        ));
    }
    for digest in &report.missing_foreign_layers {
        application.progress.warning(&format!(
            "the foreign layer {digest} is not at the source and stays where its URLs point"
        ));
    }
}
