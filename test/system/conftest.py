"""Fixtures for tests of the whole service: larderd with nodes, endpoints and names.

    cloud         a service with a fresh state directory, for one test (class Cloud of cloud.py)
    start_cloud   start_cloud(*options) runs another one
    refused       refused(code, function, **arguments): the call must fail with that code; returns the message

At the end of a test the service ends as an operator ends it, and no process of it may be left.
"""

import pytest
from cloud import Cloud, api

refused = api.refused


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
        one.wake()
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
