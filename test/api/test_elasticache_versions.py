"""DescribeCacheEngineVersions, and the catalog's files."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CATALOG = ROOT / "spec" / "catalog"
GENERATOR = ROOT / "tools" / "gen_catalog.py"


@pytest.fixture
def client(shared_service):
    return shared_service.client("elasticache")


def versions(client, **more):
    return [(v["Engine"], v["EngineVersion"]) for v in
            client.describe_cache_engine_versions(**more)["CacheEngineVersions"]]


def test_all(client):
    found = client.describe_cache_engine_versions()["CacheEngineVersions"]
    assert len(found) == 22
    assert found[-6] == {
        "Engine": "redis", "EngineVersion": "7.1", "CacheParameterGroupFamily": "redis7",
        "CacheEngineDescription": "Redis", "CacheEngineVersionDescription": "redis version 7.1"}
    groups = client.describe_cache_parameter_groups()["CacheParameterGroups"]
    assert {v["CacheParameterGroupFamily"] for v in found} <= {g["CacheParameterGroupFamily"] for g in groups}


def test_filters(client):
    assert versions(client, Engine="redis")[-2:] == [("redis", "7.0"), ("redis", "7.1")]
    assert versions(client, Engine="redis", EngineVersion="6.2") == [("redis", "6.2")]
    assert versions(client, EngineVersion="7.1.0") == [("redis", "7.1")]
    assert versions(client, CacheParameterGroupFamily="redis6.x") == [("redis", "6.0"), ("redis", "6.2")]
    assert versions(client, Engine="mysql") == []
    assert versions(client, Engine="redis", CacheParameterGroupFamily="valkey8") == []


def test_defaults(client):
    assert versions(client, DefaultOnly=True) == [("memcached", "1.6.22"), ("redis", "7.1"), ("valkey", "8.2")]
    assert versions(client, Engine="redis", DefaultOnly=True) == [("redis", "7.1")]
    assert versions(client, CacheParameterGroupFamily="redis6.x", DefaultOnly=True) == [("redis", "6.2")]


def test_pages(client, refused):
    pages = list(client.get_paginator("describe_cache_engine_versions").paginate(PaginationConfig={"PageSize": 20}))
    assert [len(p["CacheEngineVersions"]) for p in pages] == [20, 2]
    assert [v for p in pages for v in p["CacheEngineVersions"]] == (
        client.describe_cache_engine_versions()["CacheEngineVersions"])
    refused("InvalidParameterValue", client.describe_cache_engine_versions, Marker="zz")


def test_no_cache_to_scale(client, refused):
    refused("InvalidParameterCombination", client.list_allowed_node_type_modifications)
    refused("InvalidParameterCombination", client.list_allowed_node_type_modifications, CacheClusterId="a",
            ReplicationGroupId="a")
    refused("CacheClusterNotFound", client.list_allowed_node_type_modifications, CacheClusterId="a")
    refused("ReplicationGroupNotFoundFault", client.list_allowed_node_type_modifications, ReplicationGroupId="a")


# ---- the catalog's files ---------------------------------------------------------------------------------------------


def test_directives_exist():
    """Every directive that a parameter is given to is one of larder-server's."""
    table = (ROOT / "src" / "engine" / "server" / "config_table.c").read_text()
    known = set(re.findall(r'"([a-z_-]+)"', table))
    parameters = json.loads((CATALOG / "parameters.json").read_text())["parameters"]
    for name, parameter in parameters.items():
        if "directive" in parameter:
            assert parameter["directive"].split()[0] in known, name


def generate(spec, out):
    return subprocess.run([sys.executable, GENERATOR, spec, out], capture_output=True, text=True, check=False)


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1))


FAULTS = [
    ("engine-versions.json", '"default": "7.1"', '"default": "7.3"', "there is no version 7.3"),
    ("engine-versions.json", '"family": "redis7"', '"family": "valkey7"', "redis has no family valkey7"),
    ("engine-versions.json", '"title"', '"titel"', 'unknown field "titel"'),
    ("node-types.json", '"vcpus": 2', '"vcpus": "2"', "must be an integer"),
    ("node-types.json", '"gib"', '"gb"', 'unknown field "gb"'),
    ("parameters.json", "redis6.x - valkey9", "redis6 - valkey9", "there is no family"),
    ("parameters.json", "redis6.x - valkey9", "valkey9 - redis6.x", "is no span"),
    ("parameters.json", '"type": "integer"', '"type": "int"', "must be one of"),
    ("parameters.json", "normal hard-limit", "normal limit", "must be a directive"),
    ("parameters.json", '"acllog-max-len": {', '"acl-pubsub-default": {', "occurs twice"),
]


@pytest.mark.parametrize("name, old, new, text", FAULTS)
def test_faulty_catalog(tmp_path, name, old, new, text):
    shutil.copytree(CATALOG, tmp_path / "spec")
    edit(tmp_path / "spec" / name, old, new)
    done = generate(tmp_path / "spec", tmp_path / "out")
    assert done.returncode == 1 and name in done.stderr and text in done.stderr
    assert not (tmp_path / "out").exists()


def test_generated_tables_are_stable(tmp_path):
    outs = []
    for name in ("a", "b"):
        assert generate(CATALOG, tmp_path / name).returncode == 0
        outs.append((tmp_path / name / "catalog_tables.c").read_bytes())
    assert outs[0] == outs[1]
