//! The archive that goes with a request.

use peak_sdk::pack::FileList;
use peak_sdk::platform::Artifact;

use super::DryRun;
use crate::application::Application;
use crate::commands::pack::{Packed, PackingInput, scan_directory};
use crate::error::CliError;

/// An archive that goes with a request: packed, or in a dry run only listed.
pub(crate) enum Upload {
    Packed(Packed),
    Listed(FileList, Artifact),
}

impl Upload {
    /// Packs the directory, or lists what would be packed.
    pub(crate) async fn prepare(
        application: &Application,
        input: &PackingInput,
        dry: DryRun,
    ) -> Result<Self, CliError> {
        let options = input.to_options();
        if dry.dry_run {
            let files = scan_directory(&input.path, &options).await?;
            return Ok(Self::listed(files));
        }
        Packed::of(application, &input.path, &options)
            .await
            .map(Self::Packed)
    }

    /// Files that were listed already, for a dry run.
    pub(crate) fn listed(files: FileList) -> Self {
        Self::Listed(files, Artifact::with_length("artifact.zip", 0))
    }

    pub(crate) fn artifact(&self) -> &Artifact {
        match self {
            Self::Packed(packed) => &packed.artifact,
            Self::Listed(_, artifact) => artifact,
        }
    }

    /// What would be packed, in a dry run.
    pub(super) fn files(&self) -> Option<&FileList> {
        match self {
            Self::Packed(_) => None,
            Self::Listed(files, _) => Some(files),
        }
    }
}
