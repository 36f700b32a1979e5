//! Memory behaves as the disk does.

use std::io::{Read, Seek, SeekFrom};

use proptest::prelude::*;

use super::*;

/// A step, over few names, so that steps meet.
#[derive(Debug, Clone)]
enum Step {
    Create(usize, Vec<u8>),
    Append(usize, Vec<u8>),
    Rename(usize, usize),
    Remove(usize),
    RemoveDirectory(usize),
    LookAt(usize),
    Read(usize, u64, usize),
    List(usize),
}

const DIRECTORIES: [&str; 2] = ["one", "one/two"];

fn path(root: &Path, number: usize) -> PathBuf {
    root.join(DIRECTORIES[number % 2])
        .join(format!("file{}", number / 2))
}

fn steps() -> impl Strategy<Value = Step> {
    let file = 0_usize..6;
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        (file.clone(), bytes()).prop_map(|(file, bytes)| Step::Create(file, bytes)),
        (file.clone(), bytes()).prop_map(|(file, bytes)| Step::Append(file, bytes)),
        (file.clone(), file.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        file.clone().prop_map(Step::Remove),
        (0_usize..2).prop_map(Step::RemoveDirectory),
        file.clone().prop_map(Step::LookAt),
        (file, 0_u64..100, 0_usize..50).prop_map(|(file, at, count)| Step::Read(file, at, count)),
        (0_usize..2).prop_map(Step::List),
    ]
}

/// What a step says, as far as both have to say the same.
fn take(system: &dyn FileSystem, root: &Path, step: &Step) -> Result<Vec<u8>, io::ErrorKind> {
    let result = match step {
        Step::Create(file, bytes) => system.create(&path(root, *file)).and_then(|mut file| {
            file.write(bytes)?;
            file.sync()?;
            Ok(Vec::new())
        }),
        Step::Append(file, bytes) => system.append(&path(root, *file)).and_then(|mut file| {
            file.write(bytes)?;
            Ok(Vec::new())
        }),
        Step::Rename(from, to) => system
            .rename(&path(root, *from), &path(root, *to))
            .map(|()| Vec::new()),
        Step::Remove(file) => system.remove(&path(root, *file)).map(|()| Vec::new()),
        Step::RemoveDirectory(number) => {
            let directory = root.join(DIRECTORIES[*number]);
            let result = system.remove_directory(&directory);
            if result.is_ok() {
                system.create_directory(&directory).unwrap();
            }
            result.map(|()| Vec::new())
        }
        Step::LookAt(file) => system
            .look_at(&path(root, *file))
            .map(|state| format!("{} {}", state.size, state.shared).into_bytes()),
        Step::Read(file, at, count) => system.open(&path(root, *file)).and_then(|mut reader| {
            let size = reader.size()?;
            reader.seek(SeekFrom::Start(*at))?;
            let mut bytes = reader.read_bytes(*count)?.to_vec();
            // Memory may give less at a time, and then goes on.
            (&mut reader)
                .take((*count - bytes.len()) as u64)
                .read_to_end(&mut bytes)?;
            bytes.extend(size.to_le_bytes());
            bytes.extend(reader.stream_position()?.to_le_bytes());
            Ok(bytes)
        }),
        Step::List(number) => {
            let mut names = Vec::new();
            let directory = root.join(DIRECTORIES[*number]);
            let result = system.list(&directory, &mut |name| {
                names.push(name.to_owned());
                true
            });
            names.sort();
            result.map(|()| names.join(" ").into_bytes())
        }
    };
    result.map_err(|error| error.kind())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn memory_does_what_the_disk_does(steps in proptest::collection::vec(steps(), 1..60)) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path(), &directory.path().join("lock")).unwrap();
        let memory = Memory::new(u64::MAX);
        let root = Path::new("memory");
        for below in DIRECTORIES {
            disk.create_directory(&directory.path().join(below)).unwrap();
            memory.create_directory(&root.join(below)).unwrap();
        }
        for step in &steps {
            prop_assert_eq!(
                take(&disk, directory.path(), step),
                take(&memory, root, step),
                "{:?}", step
            );
        }
    }

    #[test]
    fn any_part_of_a_file_in_memory_is_what_was_written(
        writes in proptest::collection::vec((1_usize..700_000, any::<bool>()), 1..8),
        at in 0_usize..3_000_000,
        count in 0_usize..2_000_000,
    ) {
        let memory = Memory::new(u64::MAX);
        let file = Path::new("memory/file");
        let mut writer = memory.create(file).unwrap();
        let mut expected = Vec::new();
        for (number, (length, read_between)) in writes.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 240 + number).unwrap()).collect();
            writer.write(&bytes).unwrap();
            expected.extend(bytes);
            if read_between {
                prop_assert_eq!(memory.open(file).unwrap().size().unwrap(), expected.len() as u64);
            }
        }
        let mut reader = memory.open(file).unwrap();
        // What is open stays as it is.
        writer.write(b"more").unwrap();
        memory.remove(file).unwrap();
        reader.seek(SeekFrom::Start(at as u64)).unwrap();
        let mut bytes = Vec::new();
        (&mut reader).take(count as u64).read_to_end(&mut bytes).unwrap();
        let start = at.min(expected.len());
        let end = (start + count).min(expected.len());
        prop_assert!(bytes == expected[start..end]);
    }
}

#[test]
fn the_reader_of_memory_gives_its_own_bytes() {
    let memory = Memory::new(u64::MAX);
    let file = Path::new("memory/file");
    memory.create(file).unwrap().write(b"shared").unwrap();
    let first = memory.open(file).unwrap().read_bytes(10).unwrap();
    let second = memory.open(file).unwrap().read_bytes(10).unwrap();
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[test]
fn memory_is_free_again_when_a_file_is_gone_for_everyone() {
    let memory = Memory::new(1000);
    let file = Path::new("memory/file");
    memory.create(file).unwrap().write(&[0; 700]).unwrap();
    let reader = memory.open(file).unwrap();
    let error = memory.create(Path::new("memory/other")).map(drop);
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    memory.remove(file).unwrap();
    let mut other = memory.create(Path::new("memory/other")).unwrap();
    assert!(other.write(&[0; 745]).is_err());
    other.write(&[0; 744]).unwrap();
    drop(reader);
}
