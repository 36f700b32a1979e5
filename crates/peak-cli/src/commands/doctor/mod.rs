//! `peak doctor`: whether settings, credentials, the Docker Engine, the network and the platform are as they should be,
//! and what a registry can do.

mod check;
mod configuration;
mod credentials;
mod door;
mod engine;
mod network;
mod platform;
mod registry;
mod table;

use std::time::Duration;

use clap::Args;
use peak_sdk::oci::{Reference, RepositoryName};
use peak_sdk::registry::Registry;
use serde_json::json;

use self::check::{Check, Status};
use self::network::Trust;
use crate::application::{Application, tls_of_environment};
use crate::commands::registry::{CONNECTION_HEADING, TlsArguments, check_host};
use crate::convert::login_instead;
use crate::error::{CliError, ErrorKind};
use crate::output::printable;

/// How long one check may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = "\
Each line begins with ok, warn (something that not every command needs is missing), FAIL (something
that is set, or that was asked for, does not work) or skip (it was not tried, and how to try it).
It ends with code 1 where a check failed. No secret is shown. What is said of the connection is for
the registry; whom to trust for the platform too is said by PEAK_CA_FILE.

Examples:
  peak doctor
  peak doctor 127.0.0.1:7325
  peak doctor 127.0.0.1:7325/hello-web --output json
  peak doctor 127.0.0.1:7325/hello-web --write-to scratch --write-to scratch-too")]
pub(crate) struct DoctorArguments {
    /// A registry to check too, as `host[:port]`, with a repository or an image of it where there is one:
    /// `host[:port]/repository[:tag]`
    #[arg(value_name = "HOST[/REPO]")]
    host: Option<String>,
    /// Repository of the registry that may be written to, to find out how it takes and deletes blobs; what is sent is
    /// taken back. Give a second one to find out whether it mounts blobs from the first
    #[arg(long, value_name = "REPO", requires = "host")]
    write_to: Vec<String>,
    /// The registry speaks plain HTTP, or TLS with whatever certificate it shows, as `host[:port]`. Loopback needs no such
    /// mark for plain HTTP
    #[arg(long, value_name = "HOST", help_heading = CONNECTION_HEADING)]
    insecure: Vec<String>,
    #[command(flatten)]
    tls: TlsArguments,
}

/// What is asked about a registry.
struct Asked {
    /// `host[:port]`
    host: String,
    image: Option<Reference>,
    write_to: Vec<RepositoryName>,
}

impl DoctorArguments {
    /// Whom to trust on the way to the platform, and on that to the registry.
    fn trust(&self) -> Result<(Trust, Trust), CliError> {
        // What the variable names and cannot be used is a check of its own, and the others are made all the same.
        let environment = tls_of_environment();
        let about = |advice| match &environment {
            Ok(_) => advice,
            Err(_) => "PEAK_CA_FILE cannot be used, see above",
        };
        let about_platform = about("to trust a CA of your own, name its PEM file in PEAK_CA_FILE");
        let about_registry = if self.tls.names_a_ca() {
            "its CA is not among those in the file of --ca-file; --insecure HOST takes any certificate of that host"
        } else {
            about(
                "to trust a CA of your own, name its PEM file with --ca-file; --insecure HOST takes any certificate of \
                 that host",
            )
        };
        let environment = environment.unwrap_or_default();
        let of_registry = self.tls.options_or(|| Ok(environment.clone()))?;
        Ok((
            Trust::new(environment, about_platform),
            Trust::new(of_registry, about_registry),
        ))
    }

    fn asked(&self) -> Result<Option<Asked>, CliError> {
        let Some(text) = &self.host else {
            return Ok(None);
        };
        let text = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text)
            .trim_end_matches('/');
        let (host, image) = if text.contains('/') {
            let image = Reference::parse(text).map_err(|error| {
                CliError::from_chain(ErrorKind::Usage, &error).with_hint(
                    login_instead(text).unwrap_or_else(|| {
                        "write it as host[:port] or host[:port]/repository[:tag]".to_owned()
                    }),
                )
            })?;
            (image.registry().to_owned(), Some(image))
        } else {
            (text.to_owned(), None)
        };
        check_host(&host)?;
        if let Some(other) = self.insecure.iter().find(|other| **other != host) {
            return Err(CliError::usage(format!(
                "--insecure names `{}`, and `{host}` is what is looked at",
                printable(other)
            ))
            .with_hint(format!("write --insecure {host}")));
        }
        if self.write_to.len() > 2 {
            return Err(CliError::usage("--write-to takes two repositories at most"));
        }
        let write_to = self.write_to.iter().map(|name| {
            let name = name.strip_prefix(&format!("{host}/")).unwrap_or(name);
            name.parse().map_err(|_| {
                CliError::usage(format!("`{}` is no name of a repository", printable(name)))
                    .with_hint("write it without the host and without a tag, as team/scratch")
            })
        });
        let write_to = write_to.collect::<Result<Vec<RepositoryName>, _>>()?;
        if let [first, second] = write_to.as_slice()
            && first == second
        {
            return Err(
                CliError::usage("--write-to names the same repository twice")
                    .with_hint("blobs are mounted from one repository into another"),
            );
        }
        Ok(Some(Asked {
            host,
            image,
            write_to,
        }))
    }
}

pub(crate) async fn run(
    application: &Application,
    arguments: DoctorArguments,
) -> Result<(), CliError> {
    let asked = arguments.asked()?;
    let (platform_trust, registry_trust) = arguments.trust()?;
    let mut builder = Registry::builder().tls(registry_trust.options.clone());
    for host in &arguments.insecure {
        builder = builder.insecure(host);
    }
    // Where no client can be made, the settings of the platform are to blame, which have checks of their own.
    let client = application.registry(builder)?;
    if let Some(asked) = &asked {
        registry::announce(application, asked);
    }
    let of_registry = async {
        match &asked {
            None => Vec::new(),
            Some(asked) => {
                registry::checks(&client, asked, registry_trust, &arguments.insecure).await
            }
        }
    };
    let of_host = async {
        match &asked {
            None => Vec::new(),
            Some(asked) => vec![credentials::of_registry(&client, asked).await],
        }
    };
    let work = async {
        tokio::join!(
            Box::pin(configuration::checks(application)),
            Box::pin(of_host),
            Box::pin(engine::check()),
            Box::pin(platform::checks(application, platform_trust)),
            Box::pin(of_registry),
        )
    };
    let meter = application.progress.meter("doctor", "checking");
    let (configuration, of_host, engine, platform, of_registry) = meter.watch(work).await;
    drop(meter);
    let checks: Vec<Check> = configuration
        .into_iter()
        .chain(credentials::of_platform(application))
        .chain(of_host)
        .chain([engine])
        .chain(network::settings())
        .chain(platform)
        .chain(of_registry)
        .collect();
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let failed = count(Status::Failed);
    let result = json!({
        "checks": checks,
        "summary": {
            "ok": count(Status::Ok),
            "warning": count(Status::Warning),
            "failed": failed,
            "skipped": count(Status::Skipped),
        },
    });
    application
        .output
        .value(&result, || Ok(table::table(&checks)))?;
    match failed {
        0 => Ok(()),
        _ => Err(
            CliError::other(format!("{failed} of {} checks failed", checks.len()))
                .with_hint("what to do stands with each of them"),
        ),
    }
}
