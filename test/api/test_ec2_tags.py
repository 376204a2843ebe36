"""Tags of EC2's resources, and what survives a restart."""

import pytest


@pytest.fixture
def made(ec2):
    """One resource of each kind that has tags, by type."""
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    rule, = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]
    return {"vpc": vpc, "subnet": subnet, "security-group": group, "security-group-rule": rule["SecurityGroupRuleId"]}


def tags(**values):
    return [{"Key": key, "Value": value} for key, value in values.items()]


def described(ec2, **filters):
    filters = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
    return [(t["ResourceType"], t["ResourceId"], t["Key"], t["Value"])
            for t in ec2.describe_tags(Filters=filters)["Tags"]]


def test_create_and_delete_tags(ec2, made):
    ec2.create_tags(Resources=list(made.values()), Tags=tags(Name="x", Team="a"))
    ec2.create_tags(Resources=[made["vpc"]], Tags=tags(Name="y", Empty=""))
    expected = {(kind, resource, key, value) for kind, resource in made.items()
                for key, value in (("Name", "y" if kind == "vpc" else "x"), ("Team", "a"))}
    expected.add(("vpc", made["vpc"], "Empty", ""))
    assert set(described(ec2)) == expected
    assert ec2.describe_vpcs(VpcIds=[made["vpc"]])["Vpcs"][0]["Tags"] == tags(Name="y", Team="a", Empty="")
    assert ec2.describe_subnets(Filters=[{"Name": "tag:Name", "Values": ["x"]}])["Subnets"][0]["SubnetId"] == \
        made["subnet"]
    for wanted, count in (({"key": "Name"}, 4), ({"value": "a"}, 4), ({"value": ""}, 1), ({"resource_type": "vpc"}, 3),
                          ({"resource_id": made["subnet"]}, 2), ({"key": "N*", "value": "?"}, 4)):
        assert len(described(ec2, **wanted)) == count, wanted
    ec2.delete_tags(Resources=list(made.values()), Tags=[{"Key": "Name", "Value": "x"}, {"Key": "Absent"}])
    assert described(ec2, key="Name") == [("vpc", made["vpc"], "Name", "y")]
    ec2.delete_tags(Resources=[made["vpc"]], Tags=[{"Key": "Name"}, {"Key": "Team", "Value": ""}])
    assert {t[2] for t in described(ec2, resource_type="vpc")} == {"Team", "Empty"}
    ec2.delete_tags(Resources=list(made.values()))
    assert described(ec2) == []


def test_tags_that_are_refused(ec2, refused, made):
    vpc = made["vpc"]
    refused("InvalidParameterValue", ec2.create_tags, Resources=[vpc], Tags=tags(**{"aws:x": "y"}))
    refused("InvalidParameterValue", ec2.create_tags, Resources=[vpc], Tags=tags(**{"": "y"}))
    refused("InvalidParameterValue", ec2.create_tags, Resources=[vpc], Tags=tags(**{"x" * 129: "y"}))
    refused("InvalidParameterValue", ec2.create_tags, Resources=[vpc], Tags=tags(x="y" * 257))
    refused("InvalidParameterValue", ec2.create_tags, Resources=[vpc], Tags=tags(x="1") + tags(x="2"))
    refused("InvalidID", ec2.create_tags, Resources=["nonsense"], Tags=tags(x="y"))
    refused("InvalidVpcID.NotFound", ec2.create_tags, Resources=[vpc, "vpc-12345678"], Tags=tags(x="y"))
    refused("InvalidSecurityGroupRuleId.NotFound", ec2.create_tags, Resources=["sgr-12345678"], Tags=tags(x="y"))
    refused("InvalidSubnetID.Malformed", ec2.delete_tags, Resources=["subnet-x"], Tags=tags(x="y"))
    refused("UnsupportedOperation", ec2.create_tags, Resources=["eni-12345678"], Tags=tags(x="y"))
    assert described(ec2) == []
    refused("InvalidParameterValue", ec2.create_vpc, CidrBlock="10.0.0.0/16",
            TagSpecifications=[{"ResourceType": "subnet", "Tags": tags(x="y")}])
    refused("InvalidParameterValue", ec2.create_vpc, CidrBlock="10.0.0.0/16",
            TagSpecifications=[{"ResourceType": "vpc", "Tags": tags(x="1") + tags(x="2")}])


def test_the_number_of_tags_is_limited(ec2, refused, made):
    fifty = tags(**{f"key{i}": "v" for i in range(50)})
    ec2.create_tags(Resources=[made["vpc"]], Tags=fifty)
    ec2.create_tags(Resources=[made["vpc"]], Tags=fifty)
    refused("TagLimitExceeded", ec2.create_tags, Resources=[made["subnet"], made["vpc"]], Tags=tags(more="v"))
    assert described(ec2, resource_type="subnet") == [], "nothing of it was done"
    refused("TagLimitExceeded", ec2.create_vpc, CidrBlock="10.0.0.0/16",
            TagSpecifications=[{"ResourceType": "vpc", "Tags": fifty + tags(more="v")}])


def test_pages_of_tags(ec2, made):
    long = "키" * 120
    ec2.create_tags(Resources=list(made.values()), Tags=tags(**{f"{long}{i}": "v" for i in range(4)}))
    pages = list(ec2.get_paginator("describe_tags").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Tags"]) for page in pages] == [5, 5, 5, 1]
    assert len({(t["ResourceId"], t["Key"]) for page in pages for t in page["Tags"]}) == 16


def everything(ec2):
    answers = {}
    for call in ("vpcs", "subnets", "security_groups", "security_group_rules", "network_interfaces", "network_acls",
                 "route_tables", "internet_gateways", "dhcp_options", "tags", "availability_zones", "regions",
                 "account_attributes"):
        answer = getattr(ec2, "describe_" + call)()
        del answer["ResponseMetadata"]
        answers[call] = answer
    return answers


@pytest.mark.parametrize("ends", ["stop", "kill"])
def test_a_restart_keeps_everything(service, ec2, made, ends):
    host, = ec2.describe_network_interfaces()["NetworkInterfaces"]
    extra = ec2.create_security_group(GroupName="host", Description="d")["GroupId"]
    ec2.modify_network_interface_attribute(NetworkInterfaceId=host["NetworkInterfaceId"],
                                           Groups=[extra, host["Groups"][0]["GroupId"]])
    ec2.create_tags(Resources=list(made.values()), Tags=tags(Name="이름", Empty=""))
    ec2.authorize_security_group_ingress(GroupId=made["security-group"], IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "UserIdGroupPairs": [{"GroupId": made["security-group"]}],
         "IpRanges": [{"CidrIp": "10.0.0.0/8", "Description": "d"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}])
    ec2.modify_vpc_attribute(VpcId=made["vpc"], EnableDnsHostnames={"Value": True})
    ec2.modify_subnet_attribute(SubnetId=made["subnet"], MapPublicIpOnLaunch={"Value": True})
    before = everything(ec2)
    if ends == "stop":
        service.restart()
    else:
        service.kill()
        service.start()
    assert everything(ec2) == before
    assert ec2.describe_vpc_attribute(VpcId=made["vpc"], Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
