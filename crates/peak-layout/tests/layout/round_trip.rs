//! Any image through every end, and the same image comes out.

use peak_layout::{
    Directory, DockerArchive, DockerArchiveOptions, DockerArchiveWriter, OciArchive,
    OciArchiveWriter,
};
use peak_oci::{Algorithm, Descriptor, Source};
use proptest::prelude::*;

use crate::support::{Memory, Wrap, transfer};

#[derive(Clone, Debug)]
enum Shape {
    Image(Vec<(Vec<u8>, Wrap)>, bool),
    Artifact(Vec<Vec<u8>>, bool),
    Index(Vec<Shape>),
}

fn wrap() -> impl Strategy<Value = Wrap> {
    prop_oneof![Just(Wrap::Plain), Just(Wrap::Gzip), Just(Wrap::Zstd)]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 1..2000),
        (any::<u8>(), 2000..300_000_usize).prop_map(|(byte, size)| vec![byte; size]),
    ]
}

fn layers() -> impl Strategy<Value = Vec<(Vec<u8>, Wrap)>> {
    prop::collection::vec((content(), wrap()), 0..4)
}

fn shape() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![
        (layers(), any::<bool>()).prop_map(|(layers, is_docker)| Shape::Image(layers, is_docker)),
        (prop::collection::vec(content(), 0..3), any::<bool>())
            .prop_map(|(blobs, subject)| Shape::Artifact(blobs, subject)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..4).prop_map(Shape::Index)
    })
}

fn build(memory: &mut Memory, shape: &Shape, algorithm: Algorithm) -> Descriptor {
    match shape {
        Shape::Image(layers, is_docker) => memory.image(layers, algorithm, *is_docker),
        Shape::Artifact(blobs, with_subject) => {
            let subject = with_subject.then(|| memory.image(&[], algorithm, false));
            memory.artifact(blobs, subject, algorithm)
        }
        Shape::Index(children) => {
            let children = children
                .iter()
                .map(|child| build(memory, child, algorithm))
                .collect();
            memory.index(children, algorithm)
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_image_survives_a_directory_and_an_archive(shape in shape(), sha512 in any::<bool>()) {
        let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let mut memory = Memory::default();
        build(&mut memory, &shape, algorithm);
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let expected = peak_oci::validate(&memory, None).await.unwrap();
            let root = memory.manifest(None).await.unwrap();

            let directory = Directory::create(folder.path().join("layout")).unwrap();
            transfer(&memory, &directory, None).await.unwrap();
            let archive = folder.path().join("image.tar");
            let writer = OciArchiveWriter::create(&archive).unwrap();
            transfer(&directory, &writer, Some("v1")).await.unwrap();
            let archive = OciArchive::open(&archive).unwrap();
            let back = Directory::create(folder.path().join("back")).unwrap();
            transfer(&archive, &back, None).await.unwrap();

            for end in [&directory as &dyn Source, &archive, &back] {
                let report = peak_oci::validate(end, None).await.unwrap();
                assert_eq!(report, expected);
                assert_eq!(end.manifest(None).await.unwrap().bytes(), root.bytes());
            }
        });
    }

    #[test]
    fn an_image_keeps_its_config_and_its_layers_in_a_docker_archive(
        layers in layers(),
        is_docker in any::<bool>(),
        sha512 in any::<bool>(),
    ) {
        let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
        let mut memory = Memory::default();
        memory.image(&layers, algorithm, is_docker);
        let folder = tempfile::tempdir().unwrap();
        run(async {
            let path = folder.path().join("image.tar");
            let writer = DockerArchiveWriter::create(&path, DockerArchiveOptions::new()).unwrap();
            let root = transfer(&memory, &writer, None).await.unwrap();
            let archive = DockerArchive::open(&path, None).unwrap();
            peak_oci::validate(&archive, None).await.unwrap();
            let made = archive.manifest(None).await.unwrap();
            let (made, root) = (made.value().as_image().unwrap(), root.value().as_image().unwrap());
            if !sha512 {
                assert_eq!(made.config.digest, root.config.digest);
            }
            assert_eq!(made.config.size, root.config.size);
            let digests: Vec<_> = made.layers.iter().map(|layer| layer.digest.clone()).collect();
            let expected: Vec<_> = layers
                .iter()
                .map(|(content, _)| peak_oci::Digest::sha256_of(content))
                .collect();
            // An empty or short layer that begins like a compressed file would be read as one; random bytes hardly do.
            assert_eq!(digests, expected);

            // And once more, from what was made.
            let again = folder.path().join("again.tar");
            let writer = DockerArchiveWriter::create(&again, DockerArchiveOptions::new()).unwrap();
            transfer(&archive, &writer, None).await.unwrap();
            assert_eq!(
                DockerArchive::open(&again, None).unwrap().manifest(None).await.unwrap().digest(),
                archive.manifest(None).await.unwrap().digest(),
            );
        });
    }
}
