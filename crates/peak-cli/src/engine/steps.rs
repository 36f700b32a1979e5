//! Which images a build makes, as far as the Engine says so while it builds.
//!
//! Every step of a build leaves an image, and the API tells of the last one only. What the builder prints names them all:
//!
//! ```text
//! Step 1/3 : FROM base
//!  ---> 3418830f7ca7
//! Step 2/3 : ENV A=b
//!  ---> Using cache
//!  ---> cf7cf4e0d362
//! Step 3/3 : RUN something
//!  ---> Running in 1c27592f795d
//! (what it prints)
//! Removing intermediate container 1c27592f795d
//!  ---> bf4698ebc144
//! ```

/// A longer line is not looked at, in bytes: none of the builder's own is.
const MAX_LINE: usize = 16 * 1024;

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    line: String,
    is_from: bool,
    is_cached: bool,
    /// The container that runs: what is printed now is its own.
    container: Option<String>,
    made: Vec<String>,
    /// The image of the last step, made or not.
    last: String,
}

impl Steps {
    /// Takes the next piece of what the builder prints.
    pub(super) fn read(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            if self.line.len() < MAX_LINE {
                self.line.push_str(part);
            }
            if part.ends_with('\n') {
                let line = std::mem::take(&mut self.line);
                self.read_line(line.trim());
            }
        }
    }

    /// The build has ended with this image. Builders that print something else (Podman's) have made it, as far as we know.
    pub(super) fn end(&mut self, id: &str) {
        let known = id.strip_prefix("sha256:").unwrap_or(id);
        if self.last.is_empty() || !known.starts_with(&self.last) {
            self.made.push(id.to_owned());
        }
    }

    /// The identifiers of the images that were made, in their order. Those that were there before are not among them.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.made)
    }

    fn read_line(&mut self, line: &str) {
        if let Some(container) = &self.container {
            if line.strip_prefix("Removing intermediate container ") == Some(container) {
                self.container = None;
            }
        } else if let Some((_, instruction)) = line
            .strip_prefix("Step ")
            .and_then(|step| step.split_once(" : "))
        {
            let keyword = instruction.split_whitespace().next().unwrap_or_default();
            self.is_from = keyword.eq_ignore_ascii_case("FROM");
            self.is_cached = false;
        } else if let Some(what) = line.strip_prefix("---> ") {
            if let Some(container) = what.strip_prefix("Running in ") {
                self.container = Some(container.to_owned());
            } else if what == "Using cache" {
                self.is_cached = true;
            } else if is_identifier(what) {
                what.clone_into(&mut self.last);
                if !self.is_from && !self.is_cached {
                    self.made.push(what.to_owned());
                }
            }
        }
    }
}

fn is_identifier(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(text: &str) -> Vec<String> {
        let mut steps = Steps::default();
        // However it is cut.
        for character in text.chars() {
            steps.read(&character.to_string());
        }
        let mut whole = Steps::default();
        whole.read(text);
        let made = steps.take();
        assert_eq!(made, whole.take());
        made
    }

    #[test]
    fn what_steps_make_is_known_and_what_was_there_is_not_theirs() {
        let text = "Step 1/4 : FROM base\n ---> 3418830f7ca7\nStep 2/4 : ENV A=b\n ---> Using cache\n ---> cf7cf4e0d362\n\
            Step 3/4 : COPY a /\n ---> 38034a065e72\nStep 4/4 : RUN x\n ---> Running in 1c27592f795d\nout\n\
            Removing intermediate container 1c27592f795d\n ---> bf4698ebc144\nSuccessfully built bf4698ebc144\n";
        assert_eq!(made(text), ["38034a065e72", "bf4698ebc144"]);
    }

    #[test]
    fn what_a_container_prints_is_not_the_builders_word() {
        let text = "Step 2/2 : RUN docker build .\n ---> Running in 1c27592f795d\nStep 1/1 : COPY a /\n ---> 111111111111\n\
            Removing intermediate container 222222222222\n ---> 333333333333\n";
        assert!(made(text).is_empty());
    }

    #[test]
    fn the_image_of_a_build_is_its_own_unless_it_was_there() {
        let mut steps = Steps::default();
        steps.read("Step 1/2 : FROM a\n ---> 3418830f7ca7\nStep 2/2 : ENV A=b\n ---> Using cache\n ---> cf7cf4e0d362\n");
        steps.end("sha256:cf7cf4e0d362aaaa");
        assert!(steps.take().is_empty());
        steps.read("STEP 1/2: FROM a\nSTEP 2/2: RUN b\n--> bf4698ebc144\n");
        steps.end("sha256:bf4698ebc144aaaa");
        assert_eq!(steps.take(), ["sha256:bf4698ebc144aaaa"]);
    }

    #[test]
    fn lines_without_end_take_no_memory() {
        let mut steps = Steps::default();
        for _ in 0..10 {
            steps.read(&"x".repeat(MAX_LINE));
        }
        assert!(steps.line.len() <= 2 * MAX_LINE);
    }
}
