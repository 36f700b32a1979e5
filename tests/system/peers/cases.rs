//! The command lines that both clients are given.

use std::fmt;

use serde_json::json;

use super::command_line::{Outcome, TOKEN};
use super::recorder::{Body, Request, World, canonical, image, log_page, version};

const ARTIFACT: &str = "5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b";

/// A way in which we mean to differ: the reason, and how theirs is made like ours.
pub(super) type Known = (&'static str, fn(&mut Outcome));

/// One command line, where it is run, and what the platform holds then.
pub(super) struct Case {
    line: String,
    pub(super) directory: &'static str,
    pub(super) world: World,
    ours_too: &'static [&'static str],
    theirs: Option<(&'static str, &'static str)>,
    /// In what we mean to differ here: the reason, and how theirs is made like ours.
    pub(super) known: Vec<Known>,
}

impl Case {
    pub(super) fn arguments(&self) -> Vec<String> {
        words(&self.line)
    }

    /// What they need to be given in place of it, and why.
    pub(super) fn instead(&self) -> Option<(Vec<String>, &'static str)> {
        self.theirs.map(|(line, reason)| (words(line), reason))
    }

    pub(super) fn our_arguments(&self) -> Vec<String> {
        let mut words = self.arguments();
        words.extend(self.ours_too.iter().map(ToString::to_string));
        words
    }

    /// Runs below the top of the files.
    fn within(mut self, directory: &'static str) -> Self {
        self.directory = directory;
        self
    }

    fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// We need an argument that they do not know.
    fn ours_too(mut self, arguments: &'static [&'static str]) -> Self {
        self.ours_too = arguments;
        self
    }

    /// They need another command line to do the same.
    fn theirs(mut self, line: &'static str, reason: &'static str) -> Self {
        self.theirs = Some((line, reason));
        self
    }

    fn known(mut self, reason: &'static str, apply: fn(&mut Outcome)) -> Self {
        self.known.push((reason, apply));
        self
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "peak {}", self.line)?;
        if !self.directory.is_empty() {
            write!(formatter, " (in {})", self.directory)?;
        }
        Ok(())
    }
}

/// A command line as one would type it: words between spaces, quotes around a word that has some.
fn case(line: impl Into<String>) -> Case {
    Case {
        line: line.into(),
        directory: "",
        world: World::default(),
        ours_too: &[],
        theirs: None,
        known: Vec::new(),
    }
}

pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        if quote == Some(character) {
            quote = None;
        } else if quote.is_none() && matches!(character, '\'' | '"') {
            quote = Some(character);
            word.get_or_insert_default();
        } else if quote.is_none() && character == ' ' {
            words.extend(word.take());
        } else {
            word.get_or_insert_default().push(character);
        }
    }
    words.extend(word);
    words
}

pub(super) fn cases() -> Vec<Case> {
    [
        artifacts(),
        reading(),
        creating(),
        creating_from_files(),
        versions(),
        templates(),
        upserts(),
        deleting(),
        output(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every command, with the options that all of them have.
fn output() -> Vec<Case> {
    let json_only = "images get-build-logs --image-id 9 --build-id 7";
    let commands = [
        "artifacts list",
        "artifacts describe 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b",
        "artifacts create artifact.yaml",
        "artifacts create-version 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b no-body.yaml",
        "artifacts update-metadata 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b artifact-metadata.yaml -p name=n",
        "artifacts delete 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b",
        "artifacts delete-version 5fd54c2c-6d2b-4e1b-9d6e-1d1f2f3e4a5b 3",
        "images list",
        "images list-versions 9",
        "images list-builds 9",
        "images describe 9",
        "images describe-version --image-id 9 --version-id 3",
        "images create upload.yaml",
        "images create-version 9 upload.yaml",
        "images update-version --image-id 9 --version-id 3 upload.yaml",
        "images delete 9",
        "images delete-version --image-id 9 --version-id 3",
        "images delete-versions --image-id 9 --version-ids 1",
    ];
    let mut cases = vec![
        case(format!("{json_only} -o json")).world(log()),
        case(format!("{json_only} --paging --no-follow --no-save")).world(log()),
        case(format!("artifacts download {ARTIFACT} out.zip --paging")).known(SAVED, |theirs| {
            theirs.printed = Some(json!({"file": "out.zip", "size": 10}));
        }),
        upsert("images create-or-update upload.yaml -o json"),
        upsert("images create-or-update upload.yaml --output yaml"),
    ];
    for command in commands {
        if command.contains(" list") {
            cases.push(case(format!("{command} -o table")).world(found()));
        }
        for option in ["-o json", "--output yaml", "--paging"] {
            cases.push(case(format!("{command} {option}")).world(found()));
        }
    }
    cases
}

fn artifacts() -> Vec<Case> {
    vec![
        case("artifacts list"),
        case("artifacts list --page-size 5 --page-number 2"),
        case(format!("artifacts describe {ARTIFACT}")),
        case(format!(
            "artifacts describe {ARTIFACT} --page-number 3 --page-size 10"
        )),
        case("artifacts describe a/b?c").known(
            "an id is one part of the path, whatever is in it",
            |theirs| {
                for request in &mut theirs.requests {
                    request.path = request.path.replace("a/b", "a%2Fb%3Fc");
                    request.query.clear();
                }
            },
        ),
        case("artifacts create artifact.yaml"),
        case("artifacts create artifact.json"),
        case("artifacts create artifact-ignores.yaml"),
        case("artifacts create artifact-default-ignore.yaml"),
        case("artifacts create artifact-minimal.yaml"),
        case("artifacts create artifact-numbers.yaml"),
        case("artifacts create artifact-template.yaml --params-file=parameters.yaml -p name=é=x")
            .theirs(
                "artifacts create artifact-template.yaml --params-file=parameters.yaml -p name=é",
                EQUALS,
            )
            .known("see above", |theirs| set_field(theirs, "name", "é=x")),
        case("artifacts create artifact-template.yaml -v parameters.yaml -p name=n"),
        case("artifacts create artifact-template.yaml"),
        case("artifacts create artifact-absent-path.yaml"),
        case("artifacts create absent.yaml"),
        case("artifacts create artifact-relative-default-ignore.yaml").theirs(
            "artifacts create artifact-default-ignore.yaml",
            "they do not find the default ignore file of a relative path, and fail",
        ),
        case("artifacts create empty.yaml"),
        case("artifacts create list.yaml"),
        case("artifacts create no-body.yaml"),
        case(format!(
            "artifacts create-version {ARTIFACT} artifact-version.yaml -p path=plain -p validate=no"
        )),
        case(format!(
            "artifacts create-version {ARTIFACT} no-body.yaml --params-file parameters.yaml"
        )),
        case(format!(
            "artifacts create-version {ARTIFACT} artifact-minimal.yaml"
        )),
        case(format!(
            "artifacts update-metadata {ARTIFACT} artifact-metadata.yaml -p name=new"
        )),
        case(format!(
            "artifacts update-metadata {ARTIFACT} artifact-metadata.yaml --params-file parameters.yaml --params extra=[1,{{a:b}}] --params 'description=é \"quoted\"'"
        )),
        case(format!(
            "artifacts update-metadata {ARTIFACT} artifact-metadata.yaml -v parameters.yaml -p extra=1.50 -p 'description=ä, ö'"
        )),
        case(format!("artifacts update-metadata {ARTIFACT} no-body.yaml")),
        case(format!("artifacts download {ARTIFACT} out.zip")).known(SAVED, |theirs| {
            theirs.printed = Some(json!({"file": "out.zip", "size": 10}));
        }),
        case(format!(
            "artifacts download {ARTIFACT} ./plain/out.zip --version 3"
        ))
        .known(SAVED, |theirs| {
            theirs.printed = Some(json!({"file": "./plain/out.zip", "size": 10}));
        }),
        case(format!("artifacts download {ARTIFACT} plain")).known(
            "we see that the target is a directory before we ask for the archive",
            |theirs| theirs.requests.clear(),
        ),
        case(format!(
            "artifacts download {ARTIFACT} out.zip --version 1.0"
        )),
        case(format!("artifacts delete {ARTIFACT}")),
        case(format!("artifacts delete-version {ARTIFACT} 12")),
    ]
}

fn found() -> World {
    World {
        images: vec![vec![image(9, "found"), image(10, "found-too")]],
        versions: vec![vec![version(3, "1.0.0"), version(4, "1.0.1")]],
        logs: vec![],
    }
}

fn log() -> World {
    World {
        logs: vec![
            log_page("building", &["one", "två [bold]"], Some("page 2/+=")),
            log_page("success", &["three"], Some("page 3")),
            log_page("success", &[], Some("page 3")),
        ],
        ..World::default()
    }
}

fn reading() -> Vec<Case> {
    vec![
        case("images list").world(found()),
        case("images list --page-size 1 --page-number 2 --name 'a & b+c=é'"),
        case("images list --status ready,in-use --status deleting --scope custom --scope global"),
        case(
            "images list --last-build-status=success,failed --tags one --tags 'two words,three&four' --tags=é",
        ),
        case("images list --status '' --tags a,,b --tags ' c'"),
        case("images list --status unheard-of"),
        case("images list --page-size many"),
        case("images list-versions 9").world(found()),
        case(
            "images list-versions 9 --page-size 2 --page-number 3 --version 1.0 --status ready,in-use --last-build-status success --last-build-status stopped --tags x,y",
        ),
        case("images list-versions"),
        case("images describe 9"),
        case("images describe-version --image-id 9 --version-id=3"),
        case("images describe-version --image-id 9"),
        case("images list-builds 9"),
        case("images list-builds 9 --count 5"),
        case(
            "images list-builds 9 --count -1 --version-ids 1,2 --version-ids 3 --build-status building,failed --build-status stopped --date-from 2024-01-01T00:00:00.000Z --date-to 2024-02-01T00:00:00Z --page-size 10 --page-number 2",
        ).known("we send every date in the one form that the platform answers with", |theirs| {
            for values in theirs.requests.iter_mut().flat_map(|request| request.query.values_mut()) {
                for value in values {
                    *value = value.replace("02-01T00:00:00Z", "02-01T00:00:00.000Z");
                }
            }
        }),
        case("images list-builds 9 --date-from 2024-01-01"),
        case("images get-build-logs --image-id 9 --build-id 7").world(log()),
        case("images get-build-logs --image-id 9 --build-id 7 --next-token 'a/b+c='").world(log()),
        case("images get-build-logs --image-id 9 --build-id 7 --follow").world(log()),
        case("images get-build-logs --image-id 9 --build-id 7 --follow --next-token start")
            .world(log()),
        case("images get-build-logs --image-id 9 --build-id 7 --save").known(SAVED, |theirs| {
            theirs.printed = Some(json!({"file": "image_build_logs_9_7.log", "size": 14}));
        }),
        case("images get-build-logs --image-id 9 --build-id 7 --save --follow --next-token 3 --file-name log").known(SAVED, |theirs| {
            theirs.printed = Some(json!({"file": "log", "size": 14}));
        }),
        case("images get-build-logs --image-id 9 --build-id 7 --save --file-name 'my log.txt'").known(SAVED, |theirs| {
            theirs.printed = Some(json!({"file": "my log.txt", "size": 14}));
        }),
        case("images get-build-logs --image-id 9 --build-id 7 --file-name ignored.txt")
            .world(log()),
        case("images get-build-logs --image-id 9"),
    ]
}

fn creating() -> Vec<Case> {
    vec![
        case("images create --name n --type workflow"),
        case("images create --name 'ä & \"b\"' --version 1.2.3-rc.1 --type workspace-python --description 'two\nlines 😀'"),
        case("images create --name n --type api --source upload --artifact-path plain --use-cache --context sub/dir --dockerfile-path docker/Dockerfile.prod"),
        case("images create --name n --type api --artifact-path . --artifact-ignore-files first.ignore --artifact-ignore-files second.ignore").within("project"),
        case("images create --name n --type api --artifact-path .").within("project"),
        case("images create --name n --type api --artifact-path project --artifact-ignore-files first.ignore"),
        case("images create --name n --type api --artifact-path absent"),
        case("images create --name n --type api --artifact-path plain/Dockerfile"),
        case("images create --name n --type api --artifact-path project --artifact-ignore-files absent.ignore"),
        case("images create --name n --type webapp --source github --repository https://example.com/o/r?a=b --branch feature/é --token secret-token --dockerfile-path D --context c"),
        case("images create --name n --type workspace-r --source dockerfile --dockerfile 'FROM a\nRUN echo \"b\"  &&  c\n'"),
        case("images create --name n --type api --build-arguments A=1 --build-arguments B=b=c,d --build-arguments 'C=é \"x\"' --build-arguments D="),
        case("images create --name n --type api --secrets a,b --secrets c"),
        case("images create --name n --type api --build-arguments novalue"),
    ]
}

/// With all that FILE can hold.
fn creating_from_files() -> Vec<Case> {
    vec![
        case(r#"images create --name n --type api --build-details '{"source":"github","repository":"r","useCache":false,"buildArguments":[{"name":"OLD","value":"1"}],"secrets":["OLD"],"extra":{"a":[1,null,12345678901234567890123,1.50]},"empty":null}'"#).known(
            "we round a number in JSON beyond 64 bits; nothing in the API has one",
            |theirs| set_build_details(theirs, r#"{"source":"github","repository":"r","useCache":false,"buildArguments":[{"name":"OLD","value":"1"}],"secrets":["OLD"],"extra":{"a":[1,null,1.2345678901234568e22,1.50]},"empty":null}"#),
        ),
        case(r#"images create --name n --type api --build-details '{"source":"github","branch":"old","useCache":false,"buildArguments":[{"name":"OLD","value":"1"}],"secrets":["OLD"]}' --branch new --build-arguments NEW=2 --secrets NEW --use-cache"#),
        case("images create --name n --build-details '{not json}'"),
        case("images create upload.yaml -p description=hello"),
        case("images create upload.yaml -p description=hello --name other --version 9.9.9 --type api --description mine"),
        case("images create upload.yaml --build-arguments ONLY=this --secrets X,Y --source github --artifact-path project --artifact-ignore-files second.ignore"),
        case(r#"images create upload.yaml --build-details '{"context":"elsewhere","useCache":true}' --dockerfile-path Other"#),
        case("images create github.yaml -p type=workflow"),
        case("images create github.yaml -p type=api --token t --repository r --branch b"),
        case("images create dockerfile.yaml -p 'greeting=hej \"du\"'").known(
            "a block at the end of FILE keeps its last newline; theirs loses it as the template is rendered",
            |theirs| set_build_details(theirs, r##"{"source":"dockerfile","dockerfile":"# syntax=docker/dockerfile:1\nFROM nginx:1.27\nRUN echo \"a\" && \\\n    echo 'b: hej \"du\"'\n\nCMD [\"nginx\", \"-g\", \"daemon off;\"]\n"}"##),
        ),
        case("images create dockerfile.json -p name=json -p cache=false"),
        case("images create dockerfile.json -p name=json -p cache=true --dockerfile 'FROM other'"),
        case("images create numbers.yaml")
            .known("`1:30` is a time and text to us, not a number to the base 60", |theirs| {
                set_field(theirs, "sexagesimal", "1:30");
            })
            .known("a whole number beyond 64 bits keeps its digits as text", |theirs| {
                let large = r#"{"a":"12345678901234567890123","b":0.1,"c":1.50}"#;
                set_field(theirs, "large", &canonical(large).unwrap());
            }),
        case("images create merge.yaml"),
        case("images create keys.yaml").known(
            "keys of maps are text to us, as they are written; they send `false` for `no`",
            |theirs| edit_fields(theirs, |fields| {
                fields.insert("map".to_owned(), vec![canonical(r#"{"no":1,"2":"b","text":"d"}"#).unwrap()]);
            }),
        ),
        case("images create duplicates.yaml").known(
            "a key that is there twice is a mistake; they take the last one",
            fail,
        ),
        case("images create date.yaml"),
        case("images create --name n").known(
            "we refuse what the platform would refuse, before anything is packed and sent",
            fail,
        ),
        case("images create nested.yaml --artifact-path plain --artifact-ignore-files '' "),
        case(r#"images create nested.yaml --artifact-path project --artifact-ignore-files first.ignore --build-details '{"other":{"a":{"b":9,"z":[2]},"d":[2,3]}}'"#),
        case("images create scalar-build-details.yaml --source upload"),
        case("images create scalar-build-details.yaml"),
        case("images create no-body.yaml --name n --type api"),
        case("images create empty.yaml --name n"),
        case("images create list.yaml"),
        case("images create broken.yaml"),
        case("images create absent.yaml"),
    ]
}

fn versions() -> Vec<Case> {
    vec![
        case("images create-version 9"),
        case(
            "images create-version 9 --version 1.2.3 --description d --source dockerfile --dockerfile 'FROM a' --use-cache --build-arguments A=1 --secrets s --artifact-path plain --artifact-ignore-files Dockerfile --context c --dockerfile-path p --repository r --branch b --token t",
        ),
        case(
            r#"images create-version 9 --build-details '{"source":"upload","context":"x"}' --context y"#,
        ),
        case("images create-version 9 upload.yaml --version 2.0.0"),
        case("images create-version 9 github.yaml -v parameters.yaml"),
        case("images create-version 9 dockerfile.json -v parameters.yaml -p cache=true"),
        case("images create-version 9 --name n"),
        case("images create-version nine")
            .theirs(
                "images create-version 9",
                "ids may be text to us, as the platform has answered them",
            )
            .known("see above", |theirs| {
                for request in &mut theirs.requests {
                    request.path = request.path.replace("/9/", "/nine/");
                }
            }),
        case("images create-version 9 --no-use-cache").known(NO_CACHE, |theirs| {
            set_build_details(theirs, r#"{"useCache":false}"#);
        }),
        case("images create --name n --type api --source upload --no-use-cache").known(
            NO_CACHE,
            |theirs| {
                set_build_details(theirs, r#"{"source":"upload","useCache":false}"#);
            },
        ),
        case("images create-version 1 --use-cache").known(
            "they take `imageId`, being 1, for the true of `--use-cache`, and send it as a field",
            |theirs| remove_field(theirs, "imageId"),
        ),
        case("images create --name n --type api --artifact-path plain --context plain").known(
            "they send any option whose value is that of another as a field",
            |theirs| remove_field(theirs, "artifactPath"),
        ),
        case("images update-version --image-id 9 --version-id 3"),
        case(
            "images update-version --image-id 9 --version-id 3 upload.yaml -v parameters.yaml -p description=new",
        ),
        case("images update-version --image-id 9 --version-id 3 --no-use-cache").known(
            NO_CACHE,
            |theirs| {
                set_build_details(theirs, r#"{"useCache":false}"#);
            },
        ),
        case(
            "images update-version --image-id 9 --version-id 3 --description d --source github --dockerfile-path p --context c --repository r --branch b --token t --use-cache --build-arguments A=1 --build-arguments B=2 --secrets s,t --artifact-path plain",
        ),
        case(
            "images update-version --image-id 9 --version-id 3 upload.yaml --dockerfile 'FROM a\n' --artifact-path project --artifact-ignore-files first.ignore",
        ),
        case(
            r#"images update-version --image-id 9 --version-id 3 dockerfile.yaml --build-details '{"dockerfile":"FROM b"}'"#,
        ),
        case("images update-version --image-id 9 --version-id 3 --version 1.0.0"),
        case("images update-version --version-id 3"),
    ]
}

fn templates() -> Vec<Case> {
    vec![
        case("images create loop.yaml -v parameters.yaml"),
        case(
            "images create loop.yaml -v parameters.yaml -p kind=workflow -p version=1.0.0 -p secrets=abc -p name=from-option",
        ),
        case("images create types.yaml"),
        case("images create types.yaml -v parameters.yaml"),
        case("images create types.yaml -v parameters.yaml -p count=3 -p nothing="),
        case("images create types.yaml --params count=3 --params-file=parameters.yaml"),
        case("images create types.yaml -p a=b=c").theirs("images create types.yaml -p a=b", EQUALS),
        case("images create types.yaml -p novalue"),
        case("images create types.yaml -v absent.yaml"),
        case("images create includes.yaml -p base=nginx").known(AFTER_INCLUDE, after_include),
        case("images create includes.yaml -p base=nginx -p cache=no")
            .known(AFTER_INCLUDE, after_include),
        case("images create ../includes.yaml -p base=nginx --artifact-path .")
            .within("plain")
            .known(AFTER_INCLUDE, after_include),
        case("images create include-absent.yaml"),
        case("images create circular.yaml"),
        case("images create one-name.yaml"),
        case("images create two-names.yaml").theirs(
            "images create one-name.yaml",
            "they take a file that is included by two spellings of its name for a circle",
        ),
        case("images create include-optional.yaml"),
        case("images create undefined-attribute.yaml"),
        case("images create broken-template.yaml"),
        case("images create features.yaml -v parameters.yaml").known(
            "our templates have no tuples, only lists",
            |theirs| {
                set_field(
                    theirs,
                    "values",
                    "True False None 1.0 [1, 'a', None] {'k': 'v'} [1, 2]",
                );
            },
        ),
    ]
}

fn upserts() -> Vec<Case> {
    let other_page = World {
        images: vec![
            vec![image(8, "upload-image-too")],
            vec![image(9, "upload-image")],
        ],
        versions: vec![
            vec![version(2, "0.0.1-test.1")],
            vec![version(3, "0.0.1-test")],
        ],
        logs: vec![],
    };
    let only_similar = World {
        images: vec![vec![
            image(8, "upload-image-too"),
            image(9, "an-upload-image"),
        ]],
        ..World::default()
    };
    let new_version = World {
        images: vec![vec![image(8, "upload-image-too"), image(9, "upload-image")]],
        versions: vec![vec![version(2, "0.0.1-test.1")]],
        logs: vec![],
    };
    let there = World {
        images: vec![vec![image(9, "upload-image")]],
        versions: vec![vec![version(3, "0.0.1-test")]],
        logs: vec![],
    };
    vec![
        upsert("images create-or-update upload.yaml"),
        upsert("images create-or-update upload.yaml").world(only_similar),
        upsert("images create-or-update upload.yaml").world(new_version).known(BODY_AS_IT_IS, for_a_version),
        upsert("images create-or-update upload.yaml").world(there.clone()).known(BODY_AS_IT_IS, for_an_update),
        case("images create-or-update upload.yaml")
            .world(other_page)
            .theirs(
                "images update-version --image-id 9 --version-id 3 upload.yaml",
                "they look at the first page of what a search finds, and create an image that is there",
            )
            .known(BODY_AS_IT_IS, for_an_update)
            .known("see above", |theirs| {
                let images = "/image-management/api/v2/images/";
                let versions = "/image-management/api/v2/images/9/versions";
                let searches = [
                    search(images, "upload-image", 100, 1),
                    search(images, "upload-image", 100, 2),
                    search(versions, "0.0.1-test", 1, 1),
                    search(versions, "0.0.1-test", 1, 2),
                ];
                theirs.requests.splice(..0, searches);
            }),
        upsert("images create-or-update --name upload-image --type api --source dockerfile --dockerfile 'FROM a' --secrets s --build-arguments A=1")
            .world(there.clone())
            .known(BODY_AS_IT_IS, for_a_version),
        upsert("images create-or-update --name upload-image --version 0.0.1-test --type api --description d --source github --repository r --branch b --token t --context c --dockerfile-path p --use-cache")
            .world(there.clone())
            .known(BODY_AS_IT_IS, for_an_update),
        upsert(r#"images create-or-update upload.yaml -p description=x --build-details '{"source":"github"}' --artifact-path project --artifact-ignore-files first.ignore --version 1.0.0"#)
            .world(there.clone())
            .known(BODY_AS_IT_IS, for_a_version),
        upsert("images create-or-update --name upload-image --version 0.0.1-test")
            .world(there)
            .known(BODY_AS_IT_IS, for_an_update),
        upsert("images create-or-update --name n --type api"),
        upsert("images create-or-update types.yaml -v parameters.yaml -p count=3"),
        upsert("images create-or-update --name n --type api --no-use-cache").known(NO_CACHE, |theirs| {
            set_build_details(theirs, r#"{"useCache":false}"#);
        }),
        case("images create-or-update --type api").known(
            "without a name there is nothing to look for, and the platform refuses to create it",
            fail,
        ),
    ]
}

const BODY_AS_IT_IS: &str = "they send all fields of the body, also those that an image or a version that is there cannot take";

pub(super) fn for_a_version(theirs: &mut Outcome) {
    remove_field(theirs, "name");
    remove_field(theirs, "type");
}

fn for_an_update(theirs: &mut Outcome) {
    for_a_version(theirs);
    remove_field(theirs, "version");
}

fn upsert(line: &'static str) -> Case {
    case(line).known(
        "we say which page of what a search finds we want",
        first_page,
    )
}

pub(super) fn first_page(theirs: &mut Outcome) {
    for request in &mut theirs.requests {
        if request.method == "GET" {
            let first = vec!["1".to_owned()];
            request.query.insert("pageNumber".to_owned(), first);
        }
    }
}

fn search(path: &str, term: &str, size: u64, page: u64) -> Request {
    let query = [
        ("searchTerm", term.to_owned()),
        ("pageSize", size.to_string()),
        ("pageNumber", page.to_string()),
    ];
    Request {
        method: "GET".to_owned(),
        path: path.to_owned(),
        query: query
            .into_iter()
            .map(|(key, value)| (key.to_owned(), vec![value]))
            .collect(),
        authorization: Some(TOKEN.to_owned()),
        body: Body::None,
    }
}

fn deleting() -> Vec<Case> {
    vec![
        case("images delete 9"),
        case("images delete-version --image-id 9 --version-id 3"),
        case("images delete-versions --image-id 9 --version-ids 1"),
        case("images delete-versions --image-id 9 --version-ids 1,2 --version-ids 3")
            .ours_too(&["--yes"]),
        case("images delete-versions --image-id 9 --version-ids 1,2").known(
            "we do not delete more than one thing unless somebody agrees, or `--yes` does",
            fail,
        ),
        case("images delete-versions --image-id 9 --version-ids 1,,2"),
        case("images delete-versions --image-id 9"),
        case("images delete"),
    ]
}

/// The fields of the form that was sent last.
fn edit_fields(
    theirs: &mut Outcome,
    edit: impl FnOnce(&mut std::collections::BTreeMap<String, Vec<String>>),
) {
    if let Some(Body::Form { fields, .. }) =
        theirs.requests.last_mut().map(|request| &mut request.body)
    {
        edit(fields);
    }
}

fn set_field(theirs: &mut Outcome, name: &str, value: &str) {
    edit_fields(theirs, |fields| {
        fields.insert(name.to_owned(), vec![value.to_owned()]);
    });
}

fn set_build_details(theirs: &mut Outcome, details: &str) {
    set_field(theirs, "buildDetails", &canonical(details).unwrap());
}

fn remove_field(theirs: &mut Outcome, name: &str) {
    edit_fields(theirs, |fields| {
        fields.remove(name);
    });
}

const EQUALS: &str = "a value may have a `=` in it to us";

const NO_CACHE: &str = "they lose `--no-use-cache`, and the build then uses the cache";

const SAVED: &str = "we say what was saved, and they nothing, or not as JSON";

const AFTER_INCLUDE: &str = "they drop what stands behind an include on its line";

fn after_include(theirs: &mut Outcome) {
    set_field(theirs, "name", "included dropped");
}

/// They should have failed at once.
fn fail(theirs: &mut Outcome) {
    *theirs = Outcome {
        succeeded: false,
        requests: Vec::new(),
        files: std::collections::BTreeMap::new(),
        printed: None,
    };
}
