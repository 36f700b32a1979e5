//! Ten thousand small JSON requests over loopback: what the layers above hyper cost.

use crate::bench::measure::Command;
use crate::bench::tools::{self, Background};
use crate::bench::{Job, Kind, Race, Run, Runner, Workplace};

pub(super) const JOB: Job = Job {
    name: "small-requests",
    about: "10,000 GETs of 300 bytes of JSON from a server on loopback, parsed, on one thread \
            (`crates/peak-http/examples/small_requests.rs`). The peer is hyper-util's pooled client with nothing \
            above it; the floor is hyper on connections without a pool.",
    prepare,
};

const REQUESTS: &str = "10000";

fn prepare(workplace: &Workplace) -> anyhow::Result<Vec<Race>> {
    let arguments = ["-p", "peak-http", "--example", "small_requests"];
    let program = tools::build(workplace, &arguments, "small_requests")?;
    let mut races = Vec::new();
    for (title, concurrent) in [("one at a time", "1"), ("16 at a time", "16")] {
        let (server, url) = Background::start(&program, &["serve"])?;
        let clients = [
            ("peak_http::Client", Kind::Ours, "peak"),
            ("hyper-util, pooled", Kind::Peer, "hyper-pool"),
            ("hyper, bare connections", Kind::Floor, "hyper-connection"),
        ];
        races.push(Race {
            title,
            runners: clients
                .map(|(name, kind, client)| Runner {
                    name: name.to_owned(),
                    kind,
                    run: Run::Command {
                        command: Command::new(&program).args([client, &url, REQUESTS, concurrent]),
                        output: None,
                        scratch: None,
                    },
                })
                .into(),
            held: vec![Box::new(server)],
        });
    }
    Ok(races)
}
