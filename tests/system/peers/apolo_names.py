"""The parser of names of images of the public Python client of the Apolo platform, for the tests in this directory.

The first line of standard input is a JSON object: `clusters` (name to URL of the registry), `default_cluster`,
`default_org` and `default_project`. Each further line is a JSON string, a text to read, and is answered with a line

    {"remote": …, "remote_no_tag": …, "local": …}

each an object in the form of the vectors in crates/peak-apolo/tests/vectors, or `{"error": "…"}`.
"""

from __future__ import annotations

import json
import sys

from apolo_sdk import LocalImage, RemoteImage, TagOption
from apolo_sdk._parsing_utils import _ImageNameParser
from yarl import URL


def shown(image: RemoteImage) -> dict:
    return {
        "name": image.name,
        "tag": image.tag,
        "registry": image.registry,
        "cluster": image.cluster_name,
        "org": image.org_name,
        "project": image.project_name,
        "docker_url": image.as_docker_url(),
        "str": str(image),
    }


def main() -> None:
    config = json.loads(sys.stdin.readline())
    parser = _ImageNameParser(
        default_cluster=config["default_cluster"],
        default_org=config["default_org"],
        default_project=config["default_project"],
        registry_urls={name: URL(url) for name, url in config["clusters"].items()},
    )

    def local(text: str) -> dict:
        image: LocalImage = parser.parse_as_local_image(text)
        platform = parser.convert_to_platform_image(image)
        return {"name": image.name, "tag": image.tag, "to_platform": str(platform)}

    readers = {
        "remote": lambda text: shown(parser.parse_remote(text)),
        "remote_no_tag": lambda text: shown(parser.parse_remote(text, tag_option=TagOption.DENY)),
        "local": local,
    }
    for line in sys.stdin:
        text = json.loads(line)
        answer = {}
        for name, read in readers.items():
            try:
                answer[name] = read(text)
            # An unknown cluster is a RuntimeError, and every other mistake a ValueError. Anything else is a mistake of
            # this script or of the client, and ends both.
            except (ValueError, RuntimeError) as error:
                answer[name] = {"error": str(error)}
        print(json.dumps(answer), flush=True)


main()
