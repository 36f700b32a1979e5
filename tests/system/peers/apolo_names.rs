//! Names of images as the public Python client of the Apolo platform reads them, and as we do.
//!
//! A few thousand texts: names put together by the grammar from parts that are right and parts that are not, and the same
//! with one or two characters changed. Both must give the same image or both an error, but for the listed
//! [`DIFFERENCES`], nearly all of which are where we are stricter.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use peak_sdk::apolo::{Clusters, ImageNameError, LocalImage, RemoteImage};
use serde_json::{Value, json};

use super::python::{self, APOLO};

/// How many texts are read.
const COUNT: usize = 6000;

/// The same texts each time.
const SEED: u64 = 0x0A90_1010;

/// Why a text is an error for one of us alone.
struct Difference {
    name: &'static str,
    /// Who takes it for an error
    is_error: For,
    applies: fn(&str) -> bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum For {
    Us,
    Them,
}

/// In all but the last of these the Python client takes something for a name that no registry takes for one, or two texts for the
/// same image. Each must come up, else it is no difference any more.
const DIFFERENCES: [Difference; 7] = [
    // It looks at the grammar behind the first slash only, so the first part may be anything: capitals, a port, spaces.
    Difference {
        name: "the first part of a name is not checked",
        is_error: For::Us,
        applies: |text| first_part(text).is_some_and(|first| !is_component(first)),
    },
    // As in a URL; a valid name has nothing that would have to be written so.
    Difference {
        name: "percent-encoding is decoded",
        is_error: For::Us,
        applies: |text| is_platform(text) && text.contains('%'),
    },
    Difference {
        name: "`.` and `..` are followed",
        is_error: For::Us,
        applies: |text| is_platform(text) && text.split('/').any(|part| part.starts_with('.')),
    },
    // What a URL parser for browsers leaves out before it looks.
    Difference {
        name: "tabs and ends of lines are left out",
        is_error: For::Us,
        applies: |text| is_platform(text) && text.contains(['\t', '\n', '\r']),
    },
    Difference {
        name: "an empty user or port is none",
        is_error: For::Us,
        applies: |text| {
            let authority = text
                .strip_prefix("image://")
                .and_then(|rest| rest.split('/').next());
            authority
                .is_some_and(|authority| authority.starts_with('@') || authority.ends_with(':'))
        },
    },
    // The specification wants these to be errors; with `image:` in front they are there as well.
    Difference {
        name: "an empty query or fragment behind a registry is none",
        is_error: For::Us,
        applies: |text| !text.starts_with("image:") && text.ends_with(['?', '#']),
    },
    // Docker pulls from there; the Python client takes the colons of the address for those of tags.
    Difference {
        name: "an IPv6 address is a host",
        is_error: For::Them,
        applies: |text| text.starts_with('['),
    },
];

/// Whether a text is read as a URL there.
fn is_platform(text: &str) -> bool {
    text.starts_with("image:") || REGISTRIES.iter().any(|registry| text.starts_with(registry))
}

/// The first of several parts of a path, which is a project or a host.
fn first_part(text: &str) -> Option<&str> {
    let path = match text.strip_prefix("image:") {
        Some(rest) => match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => rest,
        },
        None => REGISTRIES
            .iter()
            .find_map(|registry| text.strip_prefix(registry))
            .unwrap_or(text),
    };
    let path = if is_platform(text) {
        path.trim_start_matches('/')
    } else {
        path
    };
    path.split_once('/').map(|(first, _)| first)
}

fn is_component(text: &str) -> bool {
    text.split(['.', '_', '-']).all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
    })
}

const REGISTRIES: [&str; 2] = ["reg.apolo.example/", "reg2.apolo.example:5000/"];

/// Small numbers that are not random at all.
struct Numbers(u64);

impl Numbers {
    /// One below the limit: splitmix64.
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.below(texts.len())]
    }

    /// One of the first, mostly, else one of the second.
    fn mostly<'a>(&mut self, right: &[&'a str], wrong: &[&'a str]) -> &'a str {
        let texts = if self.below(4) > 0 { right } else { wrong };
        self.pick(texts)
    }
}

/// What stands before the parts of a name.
fn beginning(numbers: &mut Numbers) -> String {
    match numbers.below(8) {
        0 | 1 => String::new(),
        2 => "image:".to_owned(),
        3 => numbers
            .mostly(
                &["image:/"],
                &["image:///", "image:////", "IMAGE:", "image"],
            )
            .to_owned(),
        4 | 5 => {
            let cluster = numbers.mostly(
                &["default", "other"],
                &[
                    "DEFAULT",
                    "nocluster",
                    "",
                    "default:",
                    "default:80",
                    "default:x",
                    "@default",
                    "me@default",
                    "me:pw@default",
                    "default.",
                    "reg.apolo.example",
                    "[default]",
                    "d efault",
                    "default%20",
                ],
            );
            format!("image://{cluster}/")
        }
        6 => numbers.pick(&REGISTRIES).to_owned(),
        _ => numbers
            .mostly(
                &["localhost:5000/", "docker.io/", "quay.io/", "library/"],
                &[
                    "reg.apolo.example",
                    "reg.apolo.example:443/",
                    "REG.apolo.example/",
                    "reg2.apolo.example/",
                    "localhost/",
                    "localhost:/",
                    "localhost:x/",
                    "[::1]:5000/",
                    "A/",
                    "/",
                    "//",
                    "https://quay.io/",
                    "docker://quay.io/",
                ],
            )
            .to_owned(),
    }
}

/// A name by the grammar, with parts that are not all right.
fn name(numbers: &mut Numbers) -> String {
    let mut text = beginning(numbers);
    for at in 0..=numbers.below(4) {
        if at > 0 {
            text.push_str(numbers.mostly(&["/"], &["//", "/./", "/../", ":", "\\", "%2F"]));
        }
        text.push_str(numbers.mostly(
            &[
                "acme",
                "proj",
                "team",
                "app",
                "ubuntu",
                "my-img.v2",
                "my_img",
                "0",
                "image",
                "latest",
            ],
            &[
                "",
                "-",
                "-x",
                "x-",
                "_x",
                "x_",
                "a..b",
                "a__b",
                "a--b",
                "a._b",
                ".",
                "..",
                "App",
                "é",
                "a b",
                "a+b",
                "a%62",
                "%61b",
                "a%",
                "a\tb",
                "a\n",
                "~",
                "\u{0}",
                "host:5000",
                "ａｐｐ",
                "a\u{200b}b",
            ],
        ));
    }
    if numbers.below(2) == 0 {
        text.push(':');
        let long = "T".repeat(128 + numbers.below(2));
        text.push_str(numbers.mostly(
            &["latest", "v1", "1.0_rc-1", "_", "A", &long],
            &[
                "", "-v", ".v", "v:w", "v/w", "v w", "é", "v+1", "%76", "v?", "v\n", ":", "5000",
            ],
        ));
    }
    if numbers.below(12) == 0 {
        text.push_str(numbers.pick(&[
            "?",
            "#",
            "?a=b",
            "#a",
            "/",
            ":",
            " ",
            "\n",
            "@sha256:aa",
            "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ]));
    }
    text
}

/// Changes a character or two.
fn mutated(text: &str, numbers: &mut Numbers) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    for _ in 0..=numbers.below(2) {
        let at = numbers.below(characters.len() + 1);
        let other = numbers
            .pick(&[
                ":", "/", "-", ".", "_", "@", "?", "#", "%", "a", "Z", "0", " ", "\n", "é", "\\",
                "[", "]",
            ])
            .chars()
            .next()
            .unwrap();
        match numbers.below(4) {
            0 if at < characters.len() => drop(characters.remove(at)),
            1 if at < characters.len() => characters[at] = other,
            2 if at + 1 < characters.len() => characters.swap(at, at + 1),
            _ => characters.insert(at, other),
        }
    }
    characters.into_iter().collect()
}

fn texts() -> Vec<String> {
    let mut numbers = Numbers(SEED);
    let mut texts: Vec<String> = [
        "",
        "-",
        ":",
        "/",
        "image",
        "image:",
        "image:latest",
        "image:/",
        "image://",
        "image:latest:latest",
    ]
    .map(str::to_owned)
    .into();
    while texts.len() < COUNT {
        let text = name(&mut numbers);
        let text = match numbers.below(3) {
            0 => mutated(&text, &mut numbers),
            _ => text,
        };
        texts.push(text);
    }
    texts
}

fn remote(image: Result<RemoteImage, ImageNameError>) -> Option<Value> {
    let image = image.ok()?;
    Some(json!({
        "name": image.name,
        "tag": image.tag,
        "registry": image.registry,
        "cluster": image.cluster_name(),
        "org": image.org_name(),
        "project": image.project_name(),
        "docker_url": image.as_docker_url(false),
        "str": image.to_string(),
    }))
}

fn local(clusters: &Clusters, text: &str) -> Option<Value> {
    let image: LocalImage = text.parse().ok()?;
    let platform = clusters.to_platform(&image).unwrap();
    Some(json!({"name": image.name, "tag": image.tag, "to_platform": platform.to_string()}))
}

#[test]
fn names_are_read_as_the_python_client_reads_them() {
    let Some(interpreter) = python::interpreter_with(&APOLO) else {
        return;
    };
    let config = json!({
        "clusters": {"default": "https://reg.apolo.example", "other": "http://reg2.apolo.example:5000"},
        "default_cluster": "default",
        "default_org": "acme",
        "default_project": "proj",
    });
    let clusters = Clusters::builder("default")
        .cluster("default", "https://reg.apolo.example")
        .cluster("other", "http://reg2.apolo.example:5000")
        .default_org("acme")
        .default_project("proj")
        .build()
        .unwrap();
    let texts = texts();
    eprintln!("{} names from the seed {SEED:#x}", texts.len());

    let mut child = python::run_script(&interpreter, "apolo_names.py")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut jobs = child.stdin.take().unwrap();
    let mut results = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(jobs, "{config}").unwrap();

    let mut images = 0;
    let mut wrong = Vec::new();
    let mut met = [0_usize; DIFFERENCES.len()];
    for text in &texts {
        writeln!(jobs, "{}", Value::from(text.as_str())).unwrap();
        let theirs: Value = serde_json::from_str(&results.next().unwrap().unwrap()).unwrap();
        let ours = [
            ("remote", remote(clusters.parse_remote(text))),
            (
                "remote_no_tag",
                remote(clusters.parse_remote_without_tag(text)),
            ),
            ("local", local(&clusters, text)),
        ];
        for (how, ours) in ours {
            let theirs = Some(&theirs[how]).filter(|theirs| theirs.get("error").is_none());
            images += usize::from(ours.is_some());
            if ours.as_ref() == theirs {
                continue;
            }
            let is_error = match (&ours, theirs) {
                (None, Some(_)) => Some(For::Us),
                (Some(_), None) => Some(For::Them),
                _ => None,
            };
            let known = DIFFERENCES.iter().position(|difference| {
                is_error == Some(difference.is_error) && (difference.applies)(text)
            });
            match known {
                Some(known) => met[known] += 1,
                None => wrong.push(format!(
                    "{how} {text:?}\n  ours   {ours:?}\n  theirs {theirs:?}"
                )),
            }
        }
    }
    drop(jobs);
    assert!(child.wait().unwrap().success());
    for (difference, met) in DIFFERENCES.iter().zip(met) {
        eprintln!("{met} times: {}", difference.name);
        assert!(met > 0, "no text shows any more that {}", difference.name);
    }
    assert!(images > COUNT / 4, "only {images} names were names at all");
    assert!(
        wrong.is_empty(),
        "{} answers differ, of the names from the seed {SEED:#x}; the first:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}
