"""Parameter groups and their values."""

import pytest

ARN = "arn:aws:elasticache:ap-northeast-2:000000000000:parametergroup:"


def create(elasticache, name="mine", family="redis7", **more):
    return elasticache.create_cache_parameter_group(
        CacheParameterGroupName=name, CacheParameterGroupFamily=family, Description="of mine", **more)[
            "CacheParameterGroup"]


def modify(elasticache, values, name="mine"):
    return elasticache.modify_cache_parameter_group(CacheParameterGroupName=name, ParameterNameValues=[
        {"ParameterName": key, "ParameterValue": value} for key, value in values.items()])


def reset(elasticache, *names, name="mine", **more):
    if names:
        more["ParameterNameValues"] = [{"ParameterName": key} for key in names]
    return elasticache.reset_cache_parameter_group(CacheParameterGroupName=name, **more)


def parameters(elasticache, name="mine", **more):
    answer = elasticache.describe_cache_parameters(CacheParameterGroupName=name, **more)
    return {p["ParameterName"]: p for p in answer["Parameters"]}


def set_values(elasticache, name="mine"):
    return {key: p["ParameterValue"] for key, p in parameters(elasticache, name, Source="user").items()}


def describe(elasticache, name):
    groups = elasticache.describe_cache_parameter_groups(CacheParameterGroupName=name)["CacheParameterGroups"]
    assert len(groups) == 1
    return groups[0]


@pytest.fixture
def group(elasticache):
    return create(elasticache)


# ---- groups ----------------------------------------------------------------------------------------------------------


def test_create_and_describe(elasticache, refused):
    group = create(elasticache, name="Mine")
    assert group == {"CacheParameterGroupName": "mine", "CacheParameterGroupFamily": "redis7", "Description": "of mine",
                     "IsGlobal": False, "ARN": ARN + "mine"}
    assert describe(elasticache, "mine") == group
    assert refused("CacheParameterGroupAlreadyExists", create, elasticache=elasticache) == (
        "Parameter group mine already exists")
    refused("InvalidParameterValue", create, elasticache=elasticache, name="other", family="redis9")
    refused("InvalidParameterValue", create, elasticache=elasticache, name="default.redis7")
    assert refused("CacheParameterGroupNotFound", describe, elasticache=elasticache, name="other") == (
        "CacheParameterGroup other not found.")


def test_default_groups(elasticache, refused):
    group = describe(elasticache, "default.redis7")
    assert group == {"CacheParameterGroupName": "default.redis7", "CacheParameterGroupFamily": "redis7",
                     "Description": "Default parameter group for redis7", "IsGlobal": False,
                     "ARN": ARN + "default.redis7"}
    assert describe(elasticache, "default.redis6.x.cluster.on")["Description"] == (
        "Customized default parameter group for redis6.x with cluster mode on")
    refused("InvalidCacheParameterGroupState", modify, elasticache=elasticache, values={"timeout": "20"},
            name="default.redis7")
    refused("InvalidCacheParameterGroupState", reset, elasticache=elasticache, name="default.redis7",
            ResetAllParameters=True)
    assert "is not a valid identifier" in refused(
        "InvalidParameterValue", elasticache.delete_cache_parameter_group, CacheParameterGroupName="default.redis7")
    refused("CacheParameterGroupNotFound", describe, elasticache=elasticache, name="default.redis2.6.cluster.on")


def test_pages(elasticache):
    mine = [f"{letter}-group" for letter in "adez"]
    for name in mine:
        create(elasticache, name)
    pages = list(elasticache.get_paginator("describe_cache_parameter_groups").paginate(
        PaginationConfig={"PageSize": 20}))
    names = [g["CacheParameterGroupName"] for page in pages for g in page["CacheParameterGroups"]]
    assert [len(page["CacheParameterGroups"]) for page in pages] == [20, 5]
    assert names == sorted(names) and len(set(names)) == 25
    assert [name for name in names if not name.startswith("default.")] == mine


def test_delete(elasticache, group, refused):
    elasticache.delete_cache_parameter_group(CacheParameterGroupName="mine")
    refused("CacheParameterGroupNotFound", elasticache.delete_cache_parameter_group, CacheParameterGroupName="mine")


# ---- values ----------------------------------------------------------------------------------------------------------


def test_parameters_of_a_group(elasticache, group):
    found = parameters(elasticache)
    assert found["maxmemory-policy"] == {
        "ParameterName": "maxmemory-policy", "ParameterValue": "volatile-lru", "Source": "system", "DataType": "string",
        "Description": found["maxmemory-policy"]["Description"], "IsModifiable": True, "ChangeType": "immediate",
        "AllowedValues": "volatile-lru,allkeys-lru,volatile-lfu,allkeys-lfu,volatile-random,allkeys-random,"
                         "volatile-ttl,noeviction",
        "MinimumEngineVersion": "7.0.0"}
    assert found["databases"]["ChangeType"] == "requires-reboot" and found["databases"]["IsModifiable"]
    assert not found["appendonly"]["IsModifiable"]
    assert "ParameterValue" not in found["notify-keyspace-events"]
    assert found["cluster-enabled"]["IsModifiable"] and found["cluster-enabled"]["ParameterValue"] == "no"
    default = parameters(elasticache, "default.redis7")
    assert list(default) == list(found) and not default["cluster-enabled"]["IsModifiable"]
    assert parameters(elasticache, "default.redis7.cluster.on")["cluster-enabled"]["ParameterValue"] == "yes"


def test_sources(elasticache, group):
    modify(elasticache, {"timeout": "20"})
    everything = parameters(elasticache)
    assert list(parameters(elasticache, Source="user")) == ["timeout"]
    assert set(parameters(elasticache, Source="system")) == set(everything) - {"timeout"}
    assert parameters(elasticache, Source="engine-default") == {}


def test_node_type_specific(elasticache, group):
    answer = elasticache.describe_cache_parameters(CacheParameterGroupName="mine")
    found = {p["ParameterName"]: p for p in answer["CacheNodeTypeSpecificParameters"]}
    assert list(found) == ["client-output-buffer-limit-replica-hard-limit",
                           "client-output-buffer-limit-replica-soft-limit", "maxmemory"]
    values = {v["CacheNodeType"]: v["Value"] for v in found["maxmemory"]["CacheNodeTypeSpecificValues"]}
    assert values["cache.t4g.micro"] == "536870912" and "cache.r8g.large" not in values
    assert not found["maxmemory"]["IsModifiable"]
    answer = elasticache.describe_cache_parameters(CacheParameterGroupName="default.memcached1.6")
    found = {p["ParameterName"]: p for p in answer["CacheNodeTypeSpecificParameters"]}
    values = {v["CacheNodeType"]: v["Value"] for v in found["num_threads"]["CacheNodeTypeSpecificValues"]}
    assert values["cache.r6g.large"] == "2" and "cache.r6gd.xlarge" not in values


def test_pages_of_parameters(elasticache, group, refused):
    everything = elasticache.describe_cache_parameters(CacheParameterGroupName="mine")
    pages = list(elasticache.get_paginator("describe_cache_parameters").paginate(
        CacheParameterGroupName="mine", PaginationConfig={"PageSize": 20}))
    assert [len(p["Parameters"]) + len(p["CacheNodeTypeSpecificParameters"]) for p in pages] == [20, 20, 20, 7]
    for key in ("Parameters", "CacheNodeTypeSpecificParameters"):
        assert [x for page in pages for x in page[key]] == everything[key]
    refused("InvalidParameterValue", elasticache.describe_cache_parameters, CacheParameterGroupName="mine", Marker="zz")


def test_engine_defaults(elasticache, refused):
    pages = list(elasticache.get_paginator("describe_engine_default_parameters").paginate(
        CacheParameterGroupFamily="redis7", PaginationConfig={"PageSize": 50}))
    assert len(pages) == 2 and all(p["EngineDefaults"]["CacheParameterGroupFamily"] == "redis7" for p in pages)
    found = [x for page in pages for x in page["EngineDefaults"]["Parameters"]]
    assert found == list(parameters(elasticache, "default.redis7").values())
    refused("InvalidParameterValue", elasticache.describe_engine_default_parameters, CacheParameterGroupFamily="redis9")


@pytest.mark.parametrize("family", [
    "memcached1.4", "memcached1.5", "memcached1.6", "redis2.6", "redis2.8", "redis3.2", "redis4.0", "redis5.0",
    "redis6.x", "redis7", "valkey7", "valkey8", "valkey9"])
def test_families(shared_service, family):
    client = shared_service.client("elasticache")
    defaults = client.describe_engine_default_parameters(CacheParameterGroupFamily=family)["EngineDefaults"]
    assert len(defaults["Parameters"]) >= 28 and defaults["CacheNodeTypeSpecificParameters"]
    create(client, "of-" + family.replace(".", "-"), family)


def test_modify(elasticache, group, refused):
    assert modify(elasticache, {"timeout": "20", "notify-keyspace-events": "KEA"})["CacheParameterGroupName"] == "mine"
    modify(elasticache, {"timeout": "0", "maxmemory-policy": "allkeys-lfu", "databases": "100"})
    assert set_values(elasticache) == {
        "timeout": "0", "notify-keyspace-events": "KEA", "maxmemory-policy": "allkeys-lfu", "databases": "100"}
    refused("CacheParameterGroupNotFound", modify, elasticache=elasticache, values={"timeout": "20"}, name="other")


def test_faulty_values(elasticache, group, refused):
    faults = {
        "reserved-memory": "1", "timeout": "19", "appendonly": "yes", "maxmemory": "1", "maxmemory-policy": "lru",
        "rename-commands": "CONFIG hidden", "notify-keyspace-events": "Q", "cluster-enabled": "maybe",
    }
    messages = {name: refused("InvalidParameterValue", modify, elasticache=elasticache,
                              values={"tcp-keepalive": "7", name: value}) for name, value in faults.items()}
    assert messages["reserved-memory"] == "Parameter reserved-memory doesn't exist"
    assert messages["appendonly"] == "The parameter appendonly cannot be modified."
    assert "0,20-" in messages["timeout"]
    assert set_values(elasticache) == {}
    many = {name: p["ParameterValue"] for name, p in parameters(elasticache).items() if p["IsModifiable"]
            and "ParameterValue" in p}
    message = refused("InvalidParameterCombination", modify, elasticache=elasticache,
                      values=dict(list(many.items())[:21]))
    assert message == "Cannot modify more than 20 parameters in a single request"
    modify(elasticache, dict(list(many.items())[:20]))
    assert len(set_values(elasticache)) == 20


def test_value_missing(service, group):
    status, root = service.call("elasticache", "ModifyCacheParameterGroup", {
        "CacheParameterGroupName": "mine", "ParameterNameValues.ParameterNameValue.1.ParameterName": "timeout"})
    assert status == 400 and root.find("Error/Code").text == "InvalidParameterValue"


def test_reset(elasticache, group):
    modify(elasticache, {"timeout": "20", "tcp-keepalive": "7", "slowlog-max-len": "1"})
    reset(elasticache, "tcp-keepalive", "hll-sparse-max-bytes")
    assert set_values(elasticache) == {"timeout": "20", "slowlog-max-len": "1"}
    assert parameters(elasticache)["tcp-keepalive"]["ParameterValue"] == "300"
    reset(elasticache, ResetAllParameters=True)
    assert set_values(elasticache) == {}
    reset(elasticache, ResetAllParameters=True)


def test_faulty_resets(elasticache, group, refused):
    def call(**more):
        return elasticache.reset_cache_parameter_group(CacheParameterGroupName="mine", **more)

    timeout = [{"ParameterName": "timeout", "ParameterValue": "0"}]
    refused("InvalidParameterCombination", call)
    refused("InvalidParameterCombination", call, ResetAllParameters=True, ParameterNameValues=timeout)
    assert refused("InvalidParameterValue", call, ParameterNameValues=[{"ParameterName": "reserved-memory"}]) == (
        "Parameter reserved-memory doesn't exist")
    call(ParameterNameValues=timeout)


def test_values_outlive_a_restart(service, elasticache, group):
    modify(elasticache, {"timeout": "20", "notify-keyspace-events": ""})
    service.restart()
    assert set_values(elasticache) == {"timeout": "20", "notify-keyspace-events": ""}
