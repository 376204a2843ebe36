"""The calls that Terraform makes for aws_vpc, aws_subnet and aws_security_group, in its order."""


def one_filter(name, value):
    return {"Name": name, "Values": [value]}


def tags(kind, name):
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]


def read_vpc(ec2, vpc):
    shown, = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    attributes = [ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)
                  for name in ("enableDnsHostnames", "enableDnsSupport", "enableNetworkAddressUsageMetrics")]
    acl, = ec2.describe_network_acls(Filters=[one_filter("default", "true"), one_filter("vpc-id", vpc)])["NetworkAcls"]
    table, = ec2.describe_route_tables(Filters=[one_filter("association.main", "true"), one_filter("vpc-id", vpc)])[
        "RouteTables"]
    group, = ec2.describe_security_groups(Filters=[one_filter("group-name", "default"), one_filter("vpc-id", vpc)])[
        "SecurityGroups"]
    for answer in attributes:
        del answer["ResponseMetadata"]
    assert shown["State"] == "available" and shown["DhcpOptionsId"]
    return shown, attributes, acl["NetworkAclId"], table["RouteTableId"], group["GroupId"]


def create(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", InstanceTenancy="default",
                         TagSpecifications=tags("vpc", "tf"))["Vpc"]["VpcId"]
    assert ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["State"] == "available"
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    assert ec2.describe_vpc_attribute(VpcId=vpc, Attribute="enableDnsHostnames")["EnableDnsHostnames"]["Value"]
    subnets = []
    for i, zone in enumerate("ac"):
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24", AvailabilityZone=f"ap-northeast-2{zone}",
                                   TagSpecifications=tags("subnet", zone))["Subnet"]
        assert ec2.describe_subnets(SubnetIds=[subnet["SubnetId"]])["Subnets"] == [subnet]
        subnets.append(subnet["SubnetId"])
    ec2.modify_subnet_attribute(SubnetId=subnets[0], MapPublicIpOnLaunch={"Value": True})
    group = ec2.create_security_group(GroupName="tf", Description="Managed by Terraform", VpcId=vpc,
                                      TagSpecifications=tags("security-group", "tf"))["GroupId"]
    assert len(ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]) == 1
    return vpc, subnets, group


def set_rules(ec2, group, refused):
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=[
        {"FromPort": 0, "ToPort": 0, "IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}])
    # It takes this one for what it is: there was no such rule.
    refused("InvalidPermission.NotFound", ec2.revoke_security_group_egress, GroupId=group, IpPermissions=[
        {"FromPort": 0, "ToPort": 0, "IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}])
    everywhere = [{"FromPort": 0, "ToPort": 0, "IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=everywhere)
    inside = [{"FromPort": 6379, "ToPort": 6379, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": "10.0.0.0/16"}],
               "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=inside)
    shown, = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
    assert [(p["IpProtocol"], p["FromPort"], p["ToPort"]) for p in shown["IpPermissions"]] == [("tcp", 6379, 6379)]
    assert [p["IpRanges"] for p in shown["IpPermissionsEgress"]] == [[{"CidrIp": "0.0.0.0/0"}]]
    return shown


def nobody_there(ec2, **what):
    (name, value), = what.items()
    found = ec2.describe_network_interfaces(Filters=[one_filter(name.replace("_", "-"), value)])
    assert found["NetworkInterfaces"] == []


def test_apply_plan_and_destroy(service, ec2, sts, refused):
    assert sts.get_caller_identity()["Account"] == "000000000000"
    vpc, subnets, group = create(ec2)
    shown = set_rules(ec2, group, refused)
    state = read_vpc(ec2, vpc)

    service.restart()
    assert read_vpc(ec2, vpc) == state, "a plan finds no change"
    assert ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"] == [shown]

    nobody_there(ec2, group_id=group)
    ec2.delete_security_group(GroupId=group)
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[group])
    for subnet in subnets:
        nobody_there(ec2, subnet_id=subnet)
        ec2.delete_subnet(SubnetId=subnet)
        refused("InvalidSubnetID.NotFound", ec2.describe_subnets, SubnetIds=[subnet])
    ec2.delete_vpc(VpcId=vpc)
    refused("InvalidVpcID.NotFound", ec2.describe_vpcs, VpcIds=[vpc])
