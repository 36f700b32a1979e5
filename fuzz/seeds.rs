// Included by the tests of each crate that has fuzz targets: what fuzzing is for holds for its seeds on any toolchain.

/// How many changed copies of each seed are tried, unless `PEAK_FUZZ_ROUNDS` says otherwise.
const ROUNDS: u32 = 32;

/// Runs the body of a fuzz target with each of its seeds and with what was once found (`fuzz/seeds/TARGET`): whole, cut
/// short, and with bytes changed, always the same ones. What fails is kept in `target/fuzz-seeds` and named on stderr.
fn hold(target: &str, body: fn(&[u8])) {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = workspace.join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no seeds", directory.display());
    let seeds: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let rounds = std::env::var("PEAK_FUZZ_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for (path, seed) in paths.iter().zip(&seeds) {
        let cuts = (0..seed.len()).step_by(seed.len() / 32 + 1);
        let short = cuts
            .chain([seed.len()])
            .map(|length| seed[..length].to_vec());
        let changed: Vec<_> = (0..rounds).map(|_| random.change(seed, &seeds)).collect();
        for input in short.chain(changed) {
            if std::panic::catch_unwind(|| body(&input)).is_err() {
                let kept = workspace.join("target/fuzz-seeds").join(target);
                std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
                std::fs::write(&kept, &input).unwrap();
                panic!(
                    "{target} fails for {}, made from {}; see above",
                    kept.display(),
                    path.display()
                );
            }
        }
    }
}

/// Bytes that mean something to one parser or another.
const TELLING: &[u8] = b"\0\n\r \"',;:=/\\@#*[]{}<>-+.0aZ\xff";

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    /// A copy of a seed with a few bytes changed, doubled, taken away, or taken from another seed.
    fn change(&mut self, seed: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(input.len() + 1);
            let end = (at + 1 + self.below(8)).min(input.len());
            match self.below(6) {
                0 => drop(input.drain(at..end)),
                1 => {
                    let doubled = input[at..end].to_vec();
                    input.splice(at..at, doubled);
                }
                2 => input.insert(at, TELLING[self.below(TELLING.len())]),
                3 => {
                    let other = &others[self.below(others.len())];
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(24)).min(other.len());
                    input.splice(at..end, other[from..to].iter().copied());
                }
                kind => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte = match kind {
                            4 => *byte ^ (1 << self.below(8)),
                            _ => u8::try_from(self.below(256)).unwrap(),
                        };
                    }
                }
            }
        }
        input
    }
}
