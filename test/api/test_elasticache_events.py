"""DescribeEvents."""

import datetime


def make_groups(elasticache, count, first=0):
    for i in range(first, first + count):
        elasticache.create_cache_parameter_group(
            CacheParameterGroupName=f"group-{i:02}", CacheParameterGroupFamily="redis7", Description="of events")


def events(elasticache, **more):
    return elasticache.describe_events(**more)["Events"]


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def test_newest_first(elasticache):
    assert events(elasticache) == []
    before = now()
    make_groups(elasticache, 3)
    found = events(elasticache)
    assert [e["SourceIdentifier"] for e in found] == ["group-02", "group-01", "group-00"]
    assert {e["SourceType"] for e in found} == {"cache-parameter-group"}
    assert found[0]["Message"] == "Created cache parameter group group-02"
    assert all(before - datetime.timedelta(seconds=1) <= e["Date"] <= now() for e in found)


def test_sources(elasticache, refused):
    make_groups(elasticache, 2)
    elasticache.modify_cache_parameter_group(CacheParameterGroupName="group-00", ParameterNameValues=[
        {"ParameterName": "timeout", "ParameterValue": "20"}, {"ParameterName": "databases", "ParameterValue": "4"}])
    found = events(elasticache, SourceIdentifier="Group-00", SourceType="cache-parameter-group")
    assert [e["Message"] for e in found] == [
        "Updated parameter databases to 4 with apply method pending-reboot",
        "Updated parameter timeout to 20 with apply method immediate", "Created cache parameter group group-00"]
    assert events(elasticache, SourceType="cache-cluster") == []
    assert len(events(elasticache, SourceType="cache-parameter-group")) == 4
    refused("InvalidParameterCombination", elasticache.describe_events, SourceIdentifier="group-00")


def test_times(elasticache, refused):
    make_groups(elasticache, 1)
    minute = datetime.timedelta(minutes=1)
    assert len(events(elasticache, Duration=1)) == 1
    assert len(events(elasticache, StartTime=now() - minute)) == 1
    assert len(events(elasticache, StartTime=now() - minute, EndTime=now() + minute)) == 1
    assert len(events(elasticache, EndTime=now() + 30 * minute)) == 1
    assert len(events(elasticache, StartTime=now() - 5 * minute, Duration=10)) == 1
    assert events(elasticache, StartTime=now() + minute) == []
    assert events(elasticache, EndTime=now() - minute) == []
    assert events(elasticache, EndTime=now() + 30 * minute, Duration=10) == []
    assert events(elasticache, StartTime=now() - 10 * minute, Duration=5) == []
    refused("InvalidParameterCombination", elasticache.describe_events, StartTime=now(), EndTime=now() - minute)
    refused("InvalidParameterCombination", elasticache.describe_events, StartTime=now() - minute, EndTime=now(),
            Duration=1)
    refused("InvalidParameterValue", elasticache.describe_events, Duration=20161)


def test_pages(elasticache, refused):
    make_groups(elasticache, 45)
    first = elasticache.describe_events(MaxRecords=20)
    # What happens in between moves nothing.
    make_groups(elasticache, 5, first=50)
    second = elasticache.describe_events(MaxRecords=20, Marker=first["Marker"])
    third = elasticache.describe_events(MaxRecords=20, Marker=second["Marker"])
    assert "Marker" not in third
    names = [e["SourceIdentifier"] for page in (first, second, third) for e in page["Events"]]
    assert names == [f"group-{i:02}" for i in reversed(range(45))]
    refused("InvalidParameterValue", elasticache.describe_events, Marker="x")
