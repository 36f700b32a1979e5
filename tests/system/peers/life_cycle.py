"""A life cycle of artifacts or of images through the public Python client, each answer checked.

Runs in an empty directory, against the platform at `PEAK_ENDPOINT_URL`, which holds nothing yet.
"""

from __future__ import annotations

import io
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable

import peak_sdk
from peak import exceptions
from peak.resources import artifacts, images

LIMIT = 60


def step(what: str) -> None:
    print(what, flush=True)


def refused(kind: type[Exception], call: Callable[[], Any]) -> str:
    try:
        answer = call()
    except kind as error:
        return str(error)
    raise AssertionError(f"not refused: {answer}")


def eventually(what: str, call: Callable[[], Any]) -> Any:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        answer = call()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"never came: {what}")


def gone(call: Callable[[], Any]) -> bool:
    try:
        call()
    except exceptions.NotFoundException:
        return True
    return False


def write(directory: str, files: dict[str, str]) -> str:
    for name, content in files.items():
        path = Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    # Absolute, since the client does not find the default ignore file of a relative one.
    return str(Path(directory).resolve())


def unpacked(path: str) -> dict[str, str]:
    with zipfile.ZipFile(io.BytesIO(Path(path).read_bytes())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def equal(found: Any, expected: Any) -> None:
    assert found == expected, f"{found!r} is not {expected!r}"


def has(answer: dict[str, Any], **expected: Any) -> None:
    """The named fields, whatever else there is."""
    for name, value in expected.items():
        assert answer.get(name) == value, f"{name} is not {value!r} in {answer}"


def live_with_artifacts() -> None:
    client = artifacts.get_client()
    directory = write(
        "one",
        {
            ".dockerignore": "*.log\n!kept.log\n",
            "gone.log": "gone",
            "kept.log": "kept",
            "sub/deep/café.txt": "é",
        },
    )
    expected = {
        ".dockerignore": "*.log\n!kept.log\n",
        "kept.log": "kept",
        "sub/": "",
        "sub/deep/": "",
        "sub/deep/café.txt": "é",
    }

    step("nothing is there")
    has(client.list_artifacts(return_iterator=False), artifactCount=0, artifacts=[])
    equal(list(client.list_artifacts()), [])

    step("create")
    made = client.create_artifact(
        name="first", artifact={"path": directory}, description="Eins", scan=False, validate=False
    )
    artifact = made["id"]
    has(made, version=1)
    other = client.create_artifact(name="second", artifact={"path": directory})["id"]
    assert other != artifact

    step("describe")
    described = client.describe_artifact(artifact)
    has(described, id=artifact, name="first", description="Eins")
    equal([version["version"] for version in described["versions"]], [1])

    step("new version with an ignore file of another name")
    write("one", {"my.ignore": "sub\n.dockerignore\nmy.ignore\n"})
    equal(
        client.create_artifact_version(artifact, {"path": directory, "ignore_files": ["my.ignore"]}, scan=True),
        {"version": 2},
    )
    described = client.describe_artifact(artifact, page_number=1, page_size=1)
    equal(len(described["versions"]), 1)
    equal(
        sorted(version["version"] for version in client.describe_artifact(artifact)["versions"]),
        [1, 2],
    )

    step("update")
    equal(client.update_artifact(artifact, {"name": "renamed", "description": "Zwei ü"}), {})
    has(client.describe_artifact(artifact), name="renamed", description="Zwei ü")
    equal(client.update_artifact(artifact, {"description": "Drei"}), {})
    has(client.describe_artifact(artifact), name="renamed", description="Drei")

    step("download")
    client.download_artifact(artifact, "first.zip", version=1)
    equal(unpacked("first.zip"), expected)
    client.download_artifact(artifact, "latest.zip")
    equal(unpacked("latest.zip"), {"gone.log": "gone", "kept.log": "kept"})
    refused(exceptions.NotFoundException, lambda: client.download_artifact(artifact, "absent.zip", version=3))

    step("list")
    listed = client.list_artifacts(page_size=1, page_number=2, return_iterator=False)
    has(listed, artifactCount=2, pageCount=2, pageNumber=2, pageSize=1)
    equal(len(listed["artifacts"]), 1)
    equal({entry["id"] for entry in client.list_artifacts(page_size=1)}, {artifact, other})

    step("delete a version")
    equal(client.delete_artifact_version(artifact, 1), {})
    eventually("version 1 is gone", lambda: gone(lambda: client.download_artifact(artifact, "x.zip", version=1)))
    equal([version["version"] for version in client.describe_artifact(artifact)["versions"]], [2])
    refused(exceptions.NotFoundException, lambda: client.delete_artifact_version(artifact, 1))

    step("delete")
    for each in (artifact, other):
        equal(client.delete_artifact(each), {})
        eventually("the artifact is gone", lambda each=each: gone(lambda: client.describe_artifact(each)))
    refused(exceptions.NotFoundException, lambda: client.delete_artifact(artifact))
    has(client.list_artifacts(return_iterator=False), artifactCount=0, artifacts=[])


def follow(client: images.Image, image: int, build: int) -> tuple[str, str]:
    """All of a build's log, and how the build ended."""
    messages: list[str] = []
    token = None
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        page = client.get_build_logs(image, build, next_token=token)
        messages += [line["message"] for line in page["logs"]]
        token = page.get("nextToken")
        if page["buildStatus"] != "building" and (token is None or not page["logs"]):
            return page["buildStatus"], "\n".join(messages)
        time.sleep(0.02)
    raise AssertionError("the build does not end")


def live_with_images() -> None:
    client = images.get_client()
    directory = write(
        "app",
        {
            ".dockerignore": "secret.txt\n",
            "Dockerfile": "FROM scratch\nARG GREETING=none\nLABEL greeting=$GREETING\nCOPY . /srv\n",
            "secret.txt": "not for the image",
            "page.html": "<p>1</p>",
        },
    )
    artifact = {"path": directory}

    step("nothing is there")
    has(client.list_images(return_iterator=False), imageCount=0, images=[])

    step("create from an upload")
    made = client.create_image(
        {
            "name": "web",
            "type": "workflow",
            "description": "Das Web",
            "buildDetails": {
                "source": "upload",
                "useCache": False,
                "buildArguments": [{"name": "GREETING", "value": "grüß=dich"}],
            },
        },
        artifact,
    )
    image, version, build = made["imageId"], made["versionId"], made["buildId"]
    status, log = follow(client, image, build)
    equal(status, "success")
    assert "COPY" in log and "secret" not in log, log
    refused(
        (exceptions.ConflictException, exceptions.UnprocessableEntityException),
        lambda: client.create_image({"name": "web", "type": "workflow"}, artifact),
    )

    step("describe")
    described = client.describe_image(image)
    has(described, id=image, name="web", type="workflow", scope="custom")
    has(described["latestVersion"], id=version, version="0.0.1", status="ready", lastBuildStatus="success")
    first = client.describe_version(image, version)
    has(first, id=version, version="0.0.1", description="Das Web", imageName="web")
    has(first["buildDetails"], source="upload", useCache=False)
    equal(first["buildDetails"]["buildArguments"], [{"name": "GREETING", "value": "grüß=dich"}])
    assert first["pullUrl"].endswith("/web:0.0.1"), first

    step("create from the text of a Dockerfile")
    other = client.create_image(
        {
            "name": "web-two",
            "type": "api",
            "version": "1.0.0",
            "buildDetails": {"source": "dockerfile", "dockerfile": "FROM scratch\nLABEL a=b\n"},
        }
    )
    equal(follow(client, other["imageId"], other["buildId"])[0], "success")

    step("a build that fails")
    broken = client.create_image(
        {"name": "broken", "type": "api", "buildDetails": {"source": "dockerfile", "dockerfile": "COPY\n"}}
    )
    equal(follow(client, broken["imageId"], broken["buildId"])[0], "failed")

    step("list with filters")
    names = lambda **filters: sorted(entry["name"] for entry in client.list_images(**filters))  # noqa: E731
    equal(names(), ["broken", "web", "web-two"])
    equal(names(page_size=1), ["broken", "web", "web-two"])
    equal(names(name="web"), ["web", "web-two"])
    equal(names(name="web", last_build_status=["failed"]), [])
    equal(names(last_build_status=["failed", "stopped"]), ["broken"])
    equal(names(status=["ready"]), ["web", "web-two"])
    equal(names(status=["ready", "in-use"], scope=["custom"]), ["web", "web-two"])
    equal(names(scope=["global"]), [])
    equal(names(tags=["nobody-has-it"]), [])
    page = client.list_images(page_size=2, page_number=2, return_iterator=False)
    has(page, imageCount=3, pageCount=2, pageNumber=2, pageSize=2)
    equal(len(page["images"]), 1)
    refused(
        (exceptions.BadRequestException, exceptions.UnprocessableEntityException),
        lambda: client.list_images(status=["unheard-of"], return_iterator=False),
    )

    step("new version")
    write("app", {"page.html": "<p>2</p>"})
    made = client.create_version(image, {"description": "Zwei", "buildDetails": {"source": "upload"}}, artifact)
    has(made, imageId=image)
    second = made["versionId"]
    assert second != version
    equal(follow(client, image, made["buildId"])[0], "success")
    has(client.describe_version(image, second), version="0.0.2", description="Zwei", status="ready")

    step("update a version")
    made = client.update_version(
        image,
        second,
        {"description": "Zwei, neu", "buildDetails": {"source": "upload", "useCache": False, "dockerfilePath": "Dockerfile"}},
        artifact,
    )
    has(made, imageId=image, versionId=second)
    equal(follow(client, image, made["buildId"])[0], "success")
    has(client.describe_version(image, second), description="Zwei, neu", lastBuildStatus="success")
    has(client.update_version(image, second, {"description": "nur Text"}), imageId=image, versionId=second)
    has(client.describe_version(image, second), description="nur Text", lastBuildStatus="success")

    step("create or update: another version, then the same again, then another image")
    body = {"name": "web", "type": "workflow", "version": "1.0.0", "buildDetails": {"source": "upload"}}
    made = client.create_or_update_image_version(body, artifact)
    has(made, imageId=image)
    third = made["versionId"]
    assert third not in (version, second)
    equal(follow(client, image, made["buildId"])[0], "success")
    again = client.create_or_update_image_version({**body, "description": "noch einmal"}, artifact)
    has(again, imageId=image, versionId=third)
    assert again["buildId"] != made["buildId"]
    equal(follow(client, image, again["buildId"])[0], "success")
    has(client.describe_version(image, third), description="noch einmal", isLatest=True)
    made = client.create_or_update_image_version({**body, "name": "we"}, artifact)
    assert made["imageId"] != image
    equal(follow(client, made["imageId"], made["buildId"])[0], "success")

    step("list versions")
    versions = lambda **filters: sorted(  # noqa: E731
        entry["version"] for entry in client.list_image_versions(image, **filters)
    )
    equal(versions(), ["0.0.1", "0.0.2", "1.0.0"])
    equal(versions(page_size=2), ["0.0.1", "0.0.2", "1.0.0"])
    equal(versions(version="0.0."), ["0.0.1", "0.0.2"])
    equal(versions(status=["ready"], last_build_status=["success"]), ["0.0.1", "0.0.2", "1.0.0"])
    equal(versions(status=["deleting"]), [])
    has(client.list_image_versions(image, page_size=1, return_iterator=False), versionCount=3, pageCount=3)

    step("list builds")
    builds = lambda **filters: list(client.list_image_builds(image, **filters))  # noqa: E731
    equal(len(builds()), 5)
    equal(len(builds(page_size=2)), 5)
    equal({entry["status"] for entry in builds()}, {"success"})
    equal(len(builds(version_ids=[str(second), str(third)])), 4)
    equal(len(builds(build_status=["failed", "stopped"])), 0)
    equal(len(builds(date_from="2020-01-01T00:00:00.000Z", date_to="2099-01-01T00:00:00.000Z")), 5)
    equal(len(builds(date_to="2020-01-01T00:00:00.000Z")), 0)
    newest = client.list_image_builds(image, count=2, return_iterator=False)
    equal([entry["versionId"] for entry in newest["builds"]], [third, third])
    equal(newest["builds"][0]["buildId"], again["buildId"])
    for name in ("startedAt", "finishedAt", "useCache", "version"):
        assert name in newest["builds"][0], newest

    step("save logs")
    equal(client.get_build_logs(image, build, save=True, file_name="build.log"), None)
    saved = Path("build.log").read_text(encoding="utf-8")
    for line in log.splitlines():
        assert line in saved, f"{line!r} is not in {saved}"
    equal(client.get_build_logs(image, build, save=True), None)
    equal(Path(f"image_build_logs_{image}_{build}.log").read_text(encoding="utf-8"), saved)
    refused(exceptions.NotFoundException, lambda: client.get_build_logs(image, 999))

    step("delete versions")
    equal(client.delete_version(image, version), {})
    eventually("the version is gone", lambda: gone(lambda: client.describe_version(image, version)))
    equal(client.delete_versions(image, [second, third]), {})
    for each in (second, third):
        eventually("the version is gone", lambda each=each: gone(lambda: client.describe_version(image, each)))
    equal(versions(), [])
    refused(exceptions.NotFoundException, lambda: client.delete_version(image, version))

    step("delete images")
    for entry in list(client.list_images()):
        equal(client.delete_image(entry["id"]), {})
        eventually("the image is gone", lambda entry=entry: gone(lambda: client.describe_image(entry["id"])))
    refused(exceptions.NotFoundException, lambda: client.delete_image(image))
    has(client.list_images(return_iterator=False), imageCount=0, images=[])


if __name__ == "__main__":
    peak_sdk.patch()
    peak_sdk.ENDPOINT = os.environ["PEAK_ENDPOINT_URL"]
    {"artifacts": live_with_artifacts, "images": live_with_images}[sys.argv[1]]()
    print("all done")
