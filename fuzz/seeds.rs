// Included by the tests of each crate that has fuzz targets: what fuzzing is for holds for its seeds on any toolchain.

/// Runs the body of a fuzz target with each of its seeds and with what was once found (`fuzz/seeds/TARGET`), whole and
/// cut short. What fails says on stderr which file it was.
fn hold(target: &str, body: fn(&[u8])) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} has no seeds", directory.display());
    for seed in seeds {
        let data = std::fs::read(&seed).unwrap();
        let cuts = (0..data.len()).step_by(data.len() / 32 + 1);
        for length in cuts.chain([data.len()]) {
            let result = std::panic::catch_unwind(|| body(&data[..length]));
            assert!(
                result.is_ok(),
                "the first {length} bytes of {} fail; see above",
                seed.display()
            );
        }
    }
}
