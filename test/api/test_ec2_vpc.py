"""VPCs, subnets, zones, and what comes with a VPC, through boto3."""

import re

import pytest

REGION = "ap-northeast-2"
ID = re.compile(r"[0-9a-f]{17}")


def filters(**values):
    return [{"Name": name.replace("_", "-"), "Values": value if isinstance(value, list) else [value]}
            for name, value in values.items()]


def default_vpc(ec2):
    return ec2.describe_vpcs(Filters=filters(is_default="true"))["Vpcs"][0]


def new_vpc(ec2, cidr="10.0.0.0/16", **arguments):
    return ec2.create_vpc(CidrBlock=cidr, **arguments)["Vpc"]["VpcId"]


def tags_of(kind, **tags):
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


# ---- VPCs ------------------------------------------------------------------------------------------------------------


def test_a_new_account_has_the_default_vpc(ec2):
    vpc = ec2.describe_vpcs()["Vpcs"]
    assert len(vpc) == 1
    assert vpc[0]["CidrBlock"] == "172.31.0.0/16" and vpc[0]["IsDefault"] and vpc[0]["State"] == "available"
    subnets = ec2.describe_subnets(Filters=filters(vpc_id=vpc[0]["VpcId"]))["Subnets"]
    assert sorted((s["AvailabilityZone"], s["CidrBlock"]) for s in subnets) == [
        (f"{REGION}{zone}", f"172.31.{16 * i}.0/20") for i, zone in enumerate("abcd")]
    assert all(s["DefaultForAz"] and s["MapPublicIpOnLaunch"] for s in subnets)
    groups = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    assert [g["VpcId"] for g in groups] == [vpc[0]["VpcId"]]


def test_create_describe_and_delete_a_vpc(ec2, refused):
    made = ec2.create_vpc(CidrBlock="10.1.2.3/16", TagSpecifications=tags_of("vpc", Name="main"))["Vpc"]
    assert ID.fullmatch(made["VpcId"].removeprefix("vpc-"))
    assert made["CidrBlock"] == "10.1.0.0/16" and not made["IsDefault"]
    assert made["OwnerId"] == "000000000000" and made["InstanceTenancy"] == "default"
    assert made["Tags"] == [{"Key": "Name", "Value": "main"}]
    assert made["CidrBlockAssociationSet"][0]["CidrBlock"] == "10.1.0.0/16"
    assert ec2.describe_vpcs(VpcIds=[made["VpcId"]])["Vpcs"] == [made]
    groups = ec2.describe_security_groups(Filters=filters(vpc_id=made["VpcId"]))["SecurityGroups"]
    assert [g["GroupName"] for g in groups] == ["default"]
    ec2.delete_vpc(VpcId=made["VpcId"])
    assert "does not exist" in refused("InvalidVpcID.NotFound", ec2.describe_vpcs, VpcIds=[made["VpcId"]])
    refused("InvalidVpcID.NotFound", ec2.delete_vpc, VpcId=made["VpcId"])
    assert ec2.describe_security_groups(Filters=filters(vpc_id=made["VpcId"]))["SecurityGroups"] == []


@pytest.mark.parametrize("cidr", ["10.0.0.0/8", "10.0.0.0/15", "10.0.0.0/29", "127.1.0.0/16", "169.254.0.0/16",
                                  "224.0.0.0/16", "255.255.0.0/16", "0.1.0.0/16"])
def test_blocks_that_a_vpc_cannot_have(ec2, refused, cidr):
    assert cidr in refused("InvalidVpc.Range", ec2.create_vpc, CidrBlock=cidr)


@pytest.mark.parametrize("cidr", ["10.0.0.0", "10.0.0/16", "10.0.0.256/16", "10.0.0.0/33", "::/64", ""])
def test_what_is_no_block(ec2, refused, cidr):
    refused("InvalidParameterValue", ec2.create_vpc, CidrBlock=cidr)


def test_a_vpc_in_use_stays(ec2, refused):
    vpc = new_vpc(ec2)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    refused("DependencyViolation", ec2.delete_vpc, VpcId=vpc)
    ec2.delete_subnet(SubnetId=subnet)
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    refused("DependencyViolation", ec2.delete_vpc, VpcId=vpc)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_vpc(VpcId=vpc)
    refused("DependencyViolation", ec2.delete_vpc, VpcId=default_vpc(ec2)["VpcId"])


def test_attributes_of_a_vpc(ec2, refused):
    vpc = new_vpc(ec2)

    def attribute(name):
        answer = ec2.describe_vpc_attribute(VpcId=vpc, Attribute=name)
        assert answer["VpcId"] == vpc
        return answer[name[0].upper() + name[1:]]["Value"]
    names = ["enableDnsSupport", "enableDnsHostnames", "enableNetworkAddressUsageMetrics"]
    assert [attribute(name) for name in names] == [True, False, False]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsSupport={"Value": False})
    ec2.modify_vpc_attribute(VpcId=vpc, EnableNetworkAddressUsageMetrics={"Value": True})
    assert [attribute(name) for name in names] == [False, True, True]
    refused("InvalidParameterCombination", ec2.modify_vpc_attribute, VpcId=vpc, EnableDnsHostnames={"Value": True},
            EnableDnsSupport={"Value": True})
    refused("MissingParameter", ec2.modify_vpc_attribute, VpcId=vpc)
    refused("InvalidParameterValue", ec2.describe_vpc_attribute, VpcId=vpc, Attribute="enableAnything")


def test_the_number_of_vpcs_is_limited(ec2, refused):
    for i in range(63):
        new_vpc(ec2, f"10.{i}.0.0/24")
    refused("VpcLimitExceeded", ec2.create_vpc, CidrBlock="10.99.0.0/24")


def test_a_dry_run_changes_nothing(ec2, refused):
    refused("DryRunOperation", ec2.create_vpc, CidrBlock="10.0.0.0/16", DryRun=True)
    assert len(ec2.describe_vpcs()["Vpcs"]) == 1


# ---- ids, filters, pages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code,call,argument,good", [
    ("InvalidVpcID", "describe_vpcs", "VpcIds", "vpc-"),
    ("InvalidSubnetID", "describe_subnets", "SubnetIds", "subnet-"),
    ("InvalidGroup", "describe_security_groups", "GroupIds", "sg-"),
    ("InvalidSecurityGroupRuleId", "describe_security_group_rules", "SecurityGroupRuleIds", "sgr-"),
    ("InvalidNetworkInterfaceID", "describe_network_interfaces", "NetworkInterfaceIds", "eni-"),
    ("InvalidNetworkAclID", "describe_network_acls", "NetworkAclIds", "acl-"),
    ("InvalidRouteTableID", "describe_route_tables", "RouteTableIds", "rtb-"),
    ("InvalidInternetGatewayID", "describe_internet_gateways", "InternetGatewayIds", "igw-"),
    ("InvalidDhcpOptionID", "describe_dhcp_options", "DhcpOptionsIds", "dopt-"),
])
def test_ids_that_nobody_has(ec2, refused, code, call, argument, good):
    malformed = {"InvalidGroup": "InvalidGroupId", "InvalidDhcpOptionID": "InvalidDhcpOptionsId"}.get(code, code)
    if code in ("InvalidNetworkInterfaceID", "InvalidNetworkAclID", "InvalidRouteTableID", "InvalidInternetGatewayID"):
        malformed = code[:-1] + "d"
    function = getattr(ec2, call)
    for digits in ("0123456789abcdef0", "12345678"):
        assert good + digits in refused(code + ".NotFound", function, **{argument: [good + digits]})
    for bad in ("x", good, good + "123", good + "0123456789ABCDEF0", good + "g" * 17, "i-12345678", good[:-1]):
        assert f'"{bad}"' in refused(malformed + ".Malformed", function, **{argument: [bad]})


FILTERS_OF_VPCS = [
    (filters(cidr="10.*"), ["a", "b"]), (filters(cidr="10.?.0.0/16"), ["a", "b"]), (filters(cidr="10.1.0.0/16"), ["b"]),
    (filters(cidr=["10.1.0.0/16", "10.0.*"]), ["a", "b"]), (filters(is_default="false"), ["a", "b"]),
    ([{"Name": "tag:Name", "Values": ["a"]}], ["a"]), (filters(tag_key="Name"), ["a", "b"]),
    ([{"Name": "tag:Name", "Values": ["a*b"]}], []), ([{"Name": "tag:Name", "Values": ["a?"]}], ["a"]),
    ([{"Name": "tag:Name", "Values": ["*"]}], ["a", "b"]), ([{"Name": "tag:name", "Values": ["a"]}], []),
    ([{"Name": "tag:Name", "Values": [r"\a"]}], ["a"]), ([{"Name": "tag:Name", "Values": [r"\*"]}], []),
    (filters(state="available", is_default="false", cidr="10.1*"), ["b"]), (filters(state="pending"), []),
    (filters(owner_id="000000000000", is_default="false"), ["a", "b"]),
    ([{"Name": "cidr-block-association.cidr-block", "Values": ["10.1.0.0/16"]}], ["b"]),
    ([{"Name": "ipv6-cidr-block-association.state", "Values": ["*"]}], []),
]


def test_filters(ec2, refused):
    made = {name: new_vpc(ec2, cidr, TagSpecifications=tags_of("vpc", Name=name))
            for name, cidr in (("a", "10.0.0.0/16"), ("b", "10.1.0.0/16"))}
    for wanted, expected in FILTERS_OF_VPCS:
        found = {vpc["VpcId"] for vpc in ec2.describe_vpcs(Filters=wanted)["Vpcs"]}
        assert found == {made[name] for name in expected}, wanted
    assert refused("InvalidParameterValue", ec2.describe_vpcs, Filters=filters(colour="red")) == \
        "The filter 'colour' is invalid"
    refused("InvalidParameterValue", ec2.describe_vpcs, Filters=[{"Name": "cidr", "Values": []}])
    refused("FilterLimitExceeded", ec2.describe_vpcs, Filters=filters(cidr=[str(i) for i in range(201)]))
    refused("InvalidParameterValue", ec2.describe_vpcs, Filters=filters(cidr="x" * 257))


def test_a_pattern_costs_no_more_than_its_length(ec2):
    ec2.create_tags(Resources=[default_vpc(ec2)["VpcId"]], Tags=[{"Key": "k", "Value": "a" * 256}])
    hostile = "*a" * 127 + "b"
    assert ec2.describe_vpcs(Filters=[{"Name": "tag:k", "Values": [hostile] * 100}])["Vpcs"] == []
    assert ec2.describe_vpcs(Filters=[{"Name": "tag:k", "Values": ["?" * 256]}])["Vpcs"] != []
    assert ec2.describe_vpcs(Filters=[{"Name": "tag:k", "Values": ["?" * 255]}])["Vpcs"] == []


def test_wildcards_stand_for_characters(ec2):
    vpc = default_vpc(ec2)["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "k", "Value": "캐시"}])
    for pattern, fits in (("캐?", True), ("??", True), ("?", False), ("*시", True), ("캐", False)):
        found = ec2.describe_vpcs(Filters=[{"Name": "tag:k", "Values": [pattern]}])["Vpcs"]
        assert bool(found) == fits, pattern


def test_pages(service, ec2, refused):
    made = {new_vpc(ec2, f"10.{i}.0.0/24") for i in range(12)}
    pages = list(ec2.get_paginator("describe_vpcs").paginate(Filters=filters(is_default="false"),
                                                            PaginationConfig={"PageSize": 5}))
    assert [len(page["Vpcs"]) for page in pages] == [5, 5, 2]
    assert {vpc["VpcId"] for page in pages for vpc in page["Vpcs"]} == made
    assert "NextToken" not in pages[-1]
    for size in ("4", "1001", "x"):
        status, answer = service.call("ec2", "DescribeVpcs", {"MaxResults": size})
        assert (status, answer.find(".//Code").text) == (400, "InvalidParameterValue")
    refused("InvalidNextToken", ec2.describe_vpcs, MaxResults=5, NextToken="nonsense")
    refused("InvalidParameterCombination", ec2.describe_vpcs, MaxResults=5, VpcIds=[made.pop()])


# ---- subnets ---------------------------------------------------------------------------------------------------------


def test_create_describe_and_delete_a_subnet(ec2, refused):
    vpc = new_vpc(ec2)
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.7/24", AvailabilityZone=f"{REGION}c",
                             TagSpecifications=tags_of("subnet", Name="c"))["Subnet"]
    assert made["CidrBlock"] == "10.0.1.0/24" and made["AvailabilityZone"] == f"{REGION}c"
    assert made["AvailabilityZoneId"] == "apne2-az3" and made["AvailableIpAddressCount"] == 251
    assert made["SubnetArn"] == f"arn:aws:ec2:{REGION}:000000000000:subnet/{made['SubnetId']}"
    assert not made["DefaultForAz"] and not made["MapPublicIpOnLaunch"] and made["State"] == "available"
    assert ec2.describe_subnets(SubnetIds=[made["SubnetId"]])["Subnets"] == [made]
    ec2.delete_subnet(SubnetId=made["SubnetId"])
    refused("InvalidSubnetID.NotFound", ec2.delete_subnet, SubnetId=made["SubnetId"])


def test_blocks_that_a_subnet_cannot_have(ec2, refused):
    vpc = new_vpc(ec2)
    for cidr in ("10.1.0.0/24", "10.0.0.0/15", "10.0.0.0/29"):
        refused("InvalidSubnet.Range", ec2.create_subnet, VpcId=vpc, CidrBlock=cidr)
    ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.16.0/20")
    for cidr in ("10.0.16.0/20", "10.0.31.0/28", "10.0.0.0/16"):
        refused("InvalidSubnet.Conflict", ec2.create_subnet, VpcId=vpc, CidrBlock=cidr)
    other = new_vpc(ec2)
    ec2.create_subnet(VpcId=other, CidrBlock="10.0.16.0/20")
    refused("InvalidVpcID.NotFound", ec2.create_subnet, VpcId="vpc-12345678", CidrBlock="10.0.0.0/24")


def test_zones_of_subnets(ec2, refused):
    vpc = new_vpc(ec2)
    chosen = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{i}.0/24")["Subnet"]["AvailabilityZone"] for i in range(5)]
    assert chosen == [REGION + zone for zone in "abcda"]
    by_id = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.9.0/24", AvailabilityZoneId="apne2-az2")["Subnet"]
    assert by_id["AvailabilityZone"] == f"{REGION}b"
    for zone in (f"{REGION}e", "us-east-1a", REGION, ""):
        assert f"{REGION}a, {REGION}b" in refused("InvalidParameterValue", ec2.create_subnet, VpcId=vpc,
                                                  CidrBlock="10.0.8.0/24", AvailabilityZone=zone)
    refused("InvalidParameterCombination", ec2.create_subnet, VpcId=vpc, CidrBlock="10.0.8.0/24",
            AvailabilityZone=f"{REGION}a", AvailabilityZoneId="apne2-az1")


def test_attributes_of_a_subnet(ec2, refused):
    subnet = ec2.create_subnet(VpcId=new_vpc(ec2), CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    ec2.modify_subnet_attribute(SubnetId=subnet, PrivateDnsHostnameTypeOnLaunch="resource-name")
    ec2.modify_subnet_attribute(SubnetId=subnet, EnableResourceNameDnsARecordOnLaunch={"Value": True})
    ec2.modify_subnet_attribute(SubnetId=subnet, AssignIpv6AddressOnCreation={"Value": False})
    shown = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]
    assert shown["MapPublicIpOnLaunch"]
    assert shown["PrivateDnsNameOptionsOnLaunch"] == {
        "HostnameType": "resource-name", "EnableResourceNameDnsARecord": True,
        "EnableResourceNameDnsAAAARecord": False}
    refused("UnsupportedOperation", ec2.modify_subnet_attribute, SubnetId=subnet,
            AssignIpv6AddressOnCreation={"Value": True})
    refused("InvalidParameterCombination", ec2.modify_subnet_attribute, SubnetId=subnet,
            MapPublicIpOnLaunch={"Value": True}, PrivateDnsHostnameTypeOnLaunch="ip-name")


FILTERS_OF_SUBNETS = [
    (filters(availability_zone=f"{REGION}a"), 1), (filters(availability_zone=f"{REGION}?"), 4),
    (filters(availability_zone_id="apne2-az4"), 1), (filters(cidr_block="172.31.*"), 4),
    (filters(default_for_az="true"), 4), (filters(default_for_az="false"), 0), (filters(state="available"), 4),
    (filters(map_public_ip_on_launch="true"), 4), (filters(available_ip_address_count="40*"), 4),
    (filters(subnet_arn="*:subnet/*"), 4), (filters(tag_key="*"), 0), (filters(ipv6_native="false"), 4),
]


def test_filters_of_subnets(ec2):
    for wanted, count in FILTERS_OF_SUBNETS:
        assert len(ec2.describe_subnets(Filters=wanted)["Subnets"]) == count, wanted


def test_the_subnet_of_the_host_stays_and_others_leave_their_groups(ec2, refused):
    by_zone = {s["AvailabilityZone"][-1]: s["SubnetId"] for s in ec2.describe_subnets()["Subnets"]}
    refused("DependencyViolation", ec2.delete_subnet, SubnetId=by_zone["a"])
    for zone in "bcd":
        ec2.delete_subnet(SubnetId=by_zone[zone])
    assert len(ec2.describe_subnets()["Subnets"]) == 1


# ---- what comes with a VPC, the region, the account ------------------------------------------------------------------


def test_network_acls(ec2):
    vpc = new_vpc(ec2)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    acl, = ec2.describe_network_acls(Filters=filters(default="true", vpc_id=vpc))["NetworkAcls"]
    assert acl["IsDefault"] and [a["SubnetId"] for a in acl["Associations"]] == [subnet]
    assert {(e["Egress"], e["RuleNumber"], e["RuleAction"]) for e in acl["Entries"]} == {
        (egress, number, action) for egress in (True, False) for number, action in ((100, "allow"), (32767, "deny"))}
    assert ec2.describe_network_acls(NetworkAclIds=[acl["NetworkAclId"]])["NetworkAcls"] == [acl]
    assert len(ec2.describe_network_acls()["NetworkAcls"]) == 2
    assert ec2.describe_network_acls(Filters=[{"Name": "association.subnet-id", "Values": [subnet]}])[
        "NetworkAcls"] == [acl]


def test_route_tables_and_gateways(ec2):
    vpc = new_vpc(ec2)
    table, = ec2.describe_route_tables(Filters=[{"Name": "association.main", "Values": ["true"]},
                                                {"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    assert [(r["DestinationCidrBlock"], r["GatewayId"]) for r in table["Routes"]] == [("10.0.0.0/16", "local")]
    assert table["Associations"][0]["Main"]
    assert ec2.describe_route_tables(RouteTableIds=[table["RouteTableId"]])["RouteTables"] == [table]
    default = default_vpc(ec2)["VpcId"]
    gateway, = ec2.describe_internet_gateways()["InternetGateways"]
    assert gateway["Attachments"] == [{"State": "available", "VpcId": default}]
    through = [{"Name": "route.gateway-id", "Values": [gateway["InternetGatewayId"]]}]
    table, = ec2.describe_route_tables(Filters=through)["RouteTables"]
    assert table["VpcId"] == default
    assert ec2.describe_internet_gateways(Filters=[{"Name": "attachment.vpc-id", "Values": [vpc]}])[
        "InternetGateways"] == []


def test_dhcp_options(ec2):
    options, = ec2.describe_dhcp_options(DhcpOptionsIds=[default_vpc(ec2)["DhcpOptionsId"]])["DhcpOptions"]
    assert {c["Key"]: c["Values"][0]["Value"] for c in options["DhcpConfigurations"]} == {
        "domain-name": f"{REGION}.compute.internal", "domain-name-servers": "AmazonProvidedDNS"}
    assert ec2.describe_dhcp_options(Filters=filters(key="ntp-servers"))["DhcpOptions"] == []


def test_zones_and_regions(ec2, refused):
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [(z["ZoneName"], z["ZoneId"]) for z in zones] == [
        (f"{REGION}{letter}", f"apne2-az{i}") for i, letter in enumerate("abcd", 1)]
    assert all(z["State"] == "available" and z["RegionName"] == REGION for z in zones)
    assert ec2.describe_availability_zones(ZoneNames=[f"{REGION}b"])["AvailabilityZones"] == [zones[1]]
    assert ec2.describe_availability_zones(ZoneIds=["apne2-az4"])["AvailabilityZones"] == [zones[3]]
    assert ec2.describe_availability_zones(Filters=filters(zone_type="local-zone"))["AvailabilityZones"] == []
    refused("InvalidParameterValue", ec2.describe_availability_zones, ZoneNames=["us-east-1a"])
    region, = ec2.describe_regions()["Regions"]
    assert region["RegionName"] == REGION and "amazonaws" not in region["Endpoint"]
    refused("InvalidParameterValue", ec2.describe_regions, RegionNames=["us-east-1"])


@pytest.mark.parametrize("region,short", [("us-east-1", "use1"), ("eu-central-1", "euc1"), ("ap-southeast-4", "apse4"),
                                          ("us-gov-west-1", "usgw1"), ("ap-south-1", "aps1")])
def test_ids_of_zones_elsewhere(start_service, region, short):
    client = start_service("--region", region).client("ec2", region)
    assert client.describe_availability_zones()["AvailabilityZones"][0]["ZoneId"] == f"{short}-az1"


def test_the_account(ec2, refused):
    attributes = {a["AttributeName"]: a["AttributeValues"][0]["AttributeValue"]
                  for a in ec2.describe_account_attributes()["AccountAttributes"]}
    assert attributes == {"supported-platforms": "VPC", "default-vpc": default_vpc(ec2)["VpcId"]}
    one = ec2.describe_account_attributes(AttributeNames=["default-vpc"])["AccountAttributes"]
    assert [a["AttributeName"] for a in one] == ["default-vpc"]
    refused("UnsupportedOperation", ec2.describe_vpc_classic_link)
    refused("UnsupportedOperation", ec2.describe_vpc_classic_link_dns_support)


# ---- interfaces ------------------------------------------------------------------------------------------------------


def test_the_interface_of_the_host(ec2, refused):
    host, = ec2.describe_network_interfaces()["NetworkInterfaces"]
    vpc = default_vpc(ec2)["VpcId"]
    subnet, = ec2.describe_subnets(Filters=filters(availability_zone=f"{REGION}a"))["Subnets"]
    assert host["PrivateIpAddress"] == "172.31.0.4" and host["Status"] == "in-use" and not host["RequesterManaged"]
    assert (host["VpcId"], host["SubnetId"], host["AvailabilityZone"]) == (vpc, subnet["SubnetId"], f"{REGION}a")
    assert [g["GroupName"] for g in host["Groups"]] == ["default"]
    default = host["Groups"][0]["GroupId"]
    group = ec2.create_security_group(GroupName="host", Description="d")["GroupId"]
    identity = {"NetworkInterfaceId": host["NetworkInterfaceId"]}
    ec2.modify_network_interface_attribute(**identity, Groups=[group, default, group])
    for wanted, count in ((filters(group_id=group), 1), (filters(group_name="host"), 1), (filters(vpc_id=vpc), 1),
                          (filters(status="available"), 0), (filters(subnet_id=subnet["SubnetId"]), 1),
                          (filters(network_interface_id="eni-*"), 1), (filters(requester_managed="true"), 0),
                          ([{"Name": "addresses.private-ip-address", "Values": ["172.31.0.4"]}], 1),
                          ([{"Name": "attachment.status", "Values": ["attached"]}], 1)):
        assert len(ec2.describe_network_interfaces(Filters=wanted)["NetworkInterfaces"]) == count, wanted
    shown, = ec2.describe_network_interfaces(NetworkInterfaceIds=[host["NetworkInterfaceId"]])["NetworkInterfaces"]
    assert [g["GroupId"] for g in shown["Groups"]] == [group, default]
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    ec2.modify_network_interface_attribute(**identity, Groups=[default])
    ec2.delete_security_group(GroupId=group)
    refused("InvalidSecurityGroupID.NotFound", ec2.modify_network_interface_attribute, **identity, Groups=[group])
    other = ec2.create_security_group(GroupName="x", Description="d", VpcId=new_vpc(ec2))["GroupId"]
    refused("InvalidParameterValue", ec2.modify_network_interface_attribute, **identity, Groups=[other])
    refused("UnsupportedOperation", ec2.modify_network_interface_attribute, **identity, Description={"Value": "x"})
    refused("InvalidNetworkInterfaceID.NotFound", ec2.modify_network_interface_attribute,
            NetworkInterfaceId="eni-12345678", Groups=[default])
    many = [ec2.create_security_group(GroupName=f"g{i}", Description="d")["GroupId"] for i in range(6)]
    refused("SecurityGroupsPerInterfaceLimitExceeded", ec2.modify_network_interface_attribute, **identity, Groups=many)


def test_interfaces_of_cache_clusters(ec2, elasticache, refused):
    vpc = new_vpc(ec2)
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    spare = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="cache", Description="d", VpcId=vpc)["GroupId"]
    elasticache.create_cache_subnet_group(CacheSubnetGroupName="s", CacheSubnetGroupDescription="d",
                                          SubnetIds=[subnet, spare])
    ec2.delete_subnet(SubnetId=spare)
    shown, = elasticache.describe_cache_subnet_groups(CacheSubnetGroupName="s")["CacheSubnetGroups"]
    assert [s["SubnetIdentifier"] for s in shown["Subnets"]] == [subnet]
    refused("DependencyViolation", ec2.delete_subnet, SubnetId=subnet)
    elasticache.create_cache_cluster(CacheClusterId="one", Engine="redis", CacheNodeType="cache.t3.micro",
                                     NumCacheNodes=1, CacheSubnetGroupName="s", SecurityGroupIds=[group])
    one, = ec2.describe_network_interfaces(Filters=filters(group_id=group))["NetworkInterfaces"]
    assert one["Description"] == "ElastiCache one" and one["RequesterManaged"]
    assert one["RequesterId"] == "amazon-elasticache" and one["Status"] == "in-use"
    assert (one["VpcId"], one["SubnetId"]) == (vpc, subnet) and one["PrivateIpAddress"].startswith("10.0.0.")
    assert [g["GroupId"] for g in one["Groups"]] == [group]
    assert len(ec2.describe_network_interfaces()["NetworkInterfaces"]) == 2
    assert ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["AvailableIpAddressCount"] < 251
    refused("OperationNotPermitted", ec2.modify_network_interface_attribute,
            NetworkInterfaceId=one["NetworkInterfaceId"], Groups=[group])
    refused("DependencyViolation", ec2.delete_subnet, SubnetId=subnet)
    refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    refused("DependencyViolation", ec2.delete_vpc, VpcId=vpc)
