"""Fixtures for tests of the whole service: larderd with nodes, endpoints and names.

    cloud         a service with a fresh state directory, for one test (class Cloud of cloud.py)
    start_cloud   start_cloud(*options) runs another one
    refused       refused(code, function, **arguments): the call must fail with that code; returns the message

The clients are those of the tests of the API: every answer that one of them gets is checked against botocore's model. At
the end of a test the service ends as an operator ends it, and no process of it may be left.
"""

import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
API = HERE.parent / "api"


def _load_api():
    """The module with the service and the checked clients; another conftest, so it needs another name."""
    sys.path.append(str(API))
    spec = importlib.util.spec_from_file_location("api_conftest", API / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


api = _load_api()
refused = api.refused

from cloud import Cloud  # noqa: E402 - what it needs has to be there first


@pytest.fixture
def start_cloud(tmp_path):
    """start_cloud(*options) runs a service for this test."""
    clouds = []

    def run(*options):
        service = api.Service(tmp_path / f"state-{len(clouds)}", options)
        clouds.append(Cloud(service.start()))
        return clouds[-1]

    yield run
    faults = []
    for one in clouds:
        try:
            one.service.stop()
        except AssertionError as failure:
            faults.append(str(failure))
        left = one.leave_nothing()
        if left and "--keep-nodes" not in one.service.options:
            faults.append(f"processes were left: {left}")
        faults += one.sanitizer_reports()
    assert not faults, "\n".join(faults)


@pytest.fixture
def cloud(start_cloud):
    return start_cloud()
