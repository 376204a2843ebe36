"""Security groups and their rules, through boto3."""

import pytest

ACCOUNT = "000000000000"
ARN = f"arn:aws:ec2:ap-northeast-2:{ACCOUNT}:"


def new_vpc(ec2, cidr="10.0.0.0/16"):
    return ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"]


@pytest.fixture
def vpc(ec2):
    return new_vpc(ec2)


@pytest.fixture
def group(ec2, vpc):
    """A group outside the default VPC."""
    return ec2.create_security_group(GroupName="cache", Description="for tests", VpcId=vpc)["GroupId"]


def describe(ec2, group):
    return ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]


def rules(ec2, group):
    return ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])["SecurityGroupRules"]


def tcp(first, last=None, protocol="tcp", **peers):
    """A permission; cidr, cidr6, group name its peers, description describes them."""
    description = {"Description": peers["description"]} if "description" in peers else {}
    permission = {"IpProtocol": protocol, "FromPort": first, "ToPort": first if last is None else last}
    if "cidr" in peers:
        permission["IpRanges"] = [{"CidrIp": peers["cidr"], **description}]
    if "cidr6" in peers:
        permission["Ipv6Ranges"] = [{"CidrIpv6": peers["cidr6"], **description}]
    if "group" in peers:
        permission["UserIdGroupPairs"] = [{"GroupId": peers["group"], **description}]
    return permission


EVERYTHING = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
EVERYTHING6 = {"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}


# ---- groups ----------------------------------------------------------------------------------------------------------


def test_create_describe_and_delete_a_group(ec2, refused, vpc):
    made = ec2.create_security_group(
        GroupName="cache", Description="for tests", VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": [{"Key": "Name", "Value": "x"}]}])
    assert made["Tags"] == [{"Key": "Name", "Value": "x"}]
    shown = describe(ec2, made["GroupId"])
    assert (shown["GroupName"], shown["Description"], shown["VpcId"]) == ("cache", "for tests", vpc)
    assert shown["OwnerId"] == ACCOUNT and shown["IpPermissions"] == []
    assert shown["IpPermissionsEgress"] == [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
                                             "Ipv6Ranges": [], "PrefixListIds": [], "UserIdGroupPairs": []}]
    ec2.delete_security_group(GroupId=made["GroupId"])
    refused("InvalidGroup.NotFound", ec2.delete_security_group, GroupId=made["GroupId"])
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupIds=[made["GroupId"]])


def test_names_in_the_default_vpc(ec2, refused, group):
    made = ec2.create_security_group(GroupName="by name", Description="d")["GroupId"]
    assert [g["GroupId"] for g in ec2.describe_security_groups(GroupNames=["by name"])["SecurityGroups"]] == [made]
    ec2.authorize_security_group_ingress(GroupName="by name", IpPermissions=[tcp(1, cidr="10.0.0.0/8")])
    assert len(describe(ec2, made)["IpPermissions"]) == 1
    for call in (ec2.delete_security_group, ec2.authorize_security_group_ingress):
        assert "default VPC" in refused("InvalidGroup.NotFound", call, GroupName="cache")
        refused("MissingParameter", call)
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupNames=["cache"])
    ec2.delete_security_group(GroupName="by name")
    refused("InvalidGroup.NotFound", ec2.describe_security_groups, GroupNames=["by name"])


@pytest.mark.parametrize("name,description", [
    ("sg-mine", "d"), ("default", "d"), ("a\tb", "d"), ("이름", "d"), ("<x>", "d"), ("x" * 256, "d"), ("", "d"),
    ("x", "설명"), ("x", "a\"b"), ("x", "d" * 256),
])
def test_names_that_a_group_cannot_have(ec2, refused, vpc, name, description):
    refused("InvalidParameterValue", ec2.create_security_group, GroupName=name, Description=description, VpcId=vpc)


def test_a_name_is_there_once_in_a_vpc(ec2, refused, vpc, group):
    refused("InvalidGroup.Duplicate", ec2.create_security_group, GroupName="cache", Description="d", VpcId=vpc)
    ec2.create_security_group(GroupName="cache", Description="d", VpcId=new_vpc(ec2))
    ec2.create_security_group(GroupName="cache", Description="d")
    refused("InvalidVpcID.NotFound", ec2.create_security_group, GroupName="x", Description="d", VpcId="vpc-12345678")


def test_groups_in_use_stay(ec2, refused, vpc, group):
    default, = ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [vpc]},
                                                     {"Name": "group-name", "Values": ["default"]}])["SecurityGroups"]
    refused("CannotDelete", ec2.delete_security_group, GroupId=default["GroupId"])
    refused("CannotDelete", ec2.delete_security_group, GroupName="default")
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(6379, group=group)])
    ec2.authorize_security_group_ingress(GroupId=default["GroupId"], IpPermissions=[tcp(6379, group=group)])
    assert group in refused("DependencyViolation", ec2.delete_security_group, GroupId=group)
    ec2.revoke_security_group_ingress(GroupId=default["GroupId"], IpPermissions=[tcp(6379, group=group)])
    ec2.delete_security_group(GroupId=group)


# ---- rules -----------------------------------------------------------------------------------------------------------


def test_authorize_and_revoke(ec2, group):
    self_and_blocks = {"IpProtocol": "TCP", "FromPort": 6379, "ToPort": 6380,
                       "IpRanges": [{"CidrIp": "10.0.3.4/16", "Description": "inside"}, {"CidrIp": "192.168.0.0/24"}],
                       "Ipv6Ranges": [{"CidrIpv6": "2001:DB8:0:0::1/32"}], "UserIdGroupPairs": [{"GroupId": group}]}
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[self_and_blocks])
    assert made["Return"]
    assert [(r.get("CidrIpv4"), r.get("CidrIpv6"), r.get("ReferencedGroupInfo", {}).get("GroupId"))
            for r in made["SecurityGroupRules"]] == [
        ("10.0.0.0/16", None, None), ("192.168.0.0/24", None, None), (None, "2001:db8::/32", None), (None, None, group)]
    first = made["SecurityGroupRules"][0]
    assert (first["IpProtocol"], first["FromPort"], first["ToPort"], first["IsEgress"]) == ("tcp", 6379, 6380, False)
    assert first["Description"] == "inside" and first["GroupOwnerId"] == ACCOUNT
    shown = describe(ec2, group)["IpPermissions"]
    assert shown == [{"IpProtocol": "tcp", "FromPort": 6379, "ToPort": 6380, "PrefixListIds": [],
                      "IpRanges": [{"CidrIp": "10.0.0.0/16", "Description": "inside"}, {"CidrIp": "192.168.0.0/24"}],
                      "Ipv6Ranges": [{"CidrIpv6": "2001:db8::/32"}],
                      "UserIdGroupPairs": [{"UserId": ACCOUNT, "GroupId": group}]}]
    assert len(rules(ec2, group)) == 5
    ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=shown)
    assert describe(ec2, group)["IpPermissions"] == []


def test_a_single_permission_by_its_parts(service, ec2, refused, group):
    ec2.authorize_security_group_ingress(GroupId=group, IpProtocol="6", FromPort=1, ToPort=2, CidrIp="10.0.0.0/8")
    assert describe(ec2, group)["IpPermissions"][0]["IpProtocol"] == "tcp"
    refused("MissingParameter", ec2.authorize_security_group_ingress, GroupId=group, IpProtocol="tcp", FromPort=1,
            ToPort=2)
    refused("MissingParameter", ec2.authorize_security_group_ingress, GroupId=group, CidrIp="10.0.0.0/8")
    refused("MissingParameter", ec2.authorize_security_group_ingress, GroupId=group)
    refused("InvalidParameterCombination", ec2.authorize_security_group_ingress, GroupId=group, IpProtocol="tcp",
            FromPort=1, ToPort=2, CidrIp="10.0.0.0/8", IpPermissions=[tcp(1, cidr="10.0.0.0/8")])
    ec2.revoke_security_group_ingress(GroupId=group, IpProtocol="tcp", FromPort=1, ToPort=2, CidrIp="10.0.0.0/8")
    assert describe(ec2, group)["IpPermissions"] == []
    ec2.authorize_security_group_egress(GroupId=group, IpProtocol="udp", FromPort=1, ToPort=2, CidrIp="10.0.0.0/8")
    refused("InvalidParameterCombination", ec2.authorize_security_group_egress, GroupId=group,
            SourceSecurityGroupName="default")


def test_a_group_alone_stands_for_all_ports(ec2, refused, group):
    ec2.authorize_security_group_ingress(GroupName="default", SourceSecurityGroupName="default",
                                         SourceSecurityGroupOwnerId=ACCOUNT)
    default, = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    found = {(p["IpProtocol"], p.get("FromPort"), p.get("ToPort")) for p in default["IpPermissions"]}
    assert found == {("-1", None, None), ("tcp", 0, 65535), ("udp", 0, 65535), ("icmp", -1, -1)}
    refused("InvalidGroup.NotFound", ec2.authorize_security_group_ingress, GroupName="default",
            SourceSecurityGroupName="default", SourceSecurityGroupOwnerId="111111111111")
    refused("InvalidGroup.NotFound", ec2.authorize_security_group_ingress, GroupId=group,
            SourceSecurityGroupName="cache")
    refused("InvalidParameterCombination", ec2.authorize_security_group_ingress, GroupName="default",
            SourceSecurityGroupName="default", IpProtocol="tcp")


@pytest.mark.parametrize("permission,code", [
    (tcp(1, protocol="sctp", cidr="10.0.0.0/8"), "InvalidParameterValue"),
    (tcp(1, protocol="256", cidr="10.0.0.0/8"), "InvalidParameterValue"),
    (tcp(2, 1, cidr="10.0.0.0/8"), "InvalidParameterValue"),
    (tcp(-1, cidr="10.0.0.0/8"), "InvalidParameterValue"),
    (tcp(0, 65536, cidr="10.0.0.0/8"), "InvalidParameterValue"),
    (tcp(256, -1, protocol="icmp", cidr="10.0.0.0/8"), "InvalidParameterValue"),
    (tcp(-1, 3, protocol="icmp", cidr="10.0.0.0/8"), "InvalidParameterValue"),
    ({"IpProtocol": "tcp", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}, "InvalidParameterValue"),
    ({"IpProtocol": "udp", "FromPort": 5, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}, "InvalidParameterValue"),
    (tcp(1, cidr="10.0.0.0"), "InvalidParameterValue"),
    (tcp(1, cidr6="::1"), "InvalidParameterValue"), (tcp(1, cidr6="::/129"), "InvalidParameterValue"),
    (tcp(1, cidr6="10.0.0.0/8"), "InvalidParameterValue"), (tcp(1, cidr6="x" * 300 + "/1"), "InvalidParameterValue"),
    (tcp(1, cidr6="::/"), "InvalidParameterValue"), (tcp(1, cidr6=""), "InvalidParameterValue"),
    (tcp(1), "MissingParameter"),
    ({**tcp(1), "UserIdGroupPairs": [{"UserId": ACCOUNT}]}, "MissingParameter"),
    (tcp(1, group="sg-12345678"), "InvalidGroup.NotFound"), (tcp(1, group="cache"), "InvalidGroupId.Malformed"),
    (tcp(1, cidr="10.0.0.0/8", description="<"), "InvalidParameterValue"),
    (tcp(1, cidr="10.0.0.0/8", description="x" * 256), "InvalidParameterValue"),
    ({**tcp(1), "PrefixListIds": [{"PrefixListId": "pl-12345678"}]}, "InvalidPrefixListId.NotFound"),
    ({**tcp(1), "PrefixListIds": [{"PrefixListId": "x"}]}, "InvalidPrefixListId.Malformed"),
    ({"FromPort": 1, "ToPort": 2, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}, "MissingParameter"),
])
def test_permissions_that_are_refused(ec2, refused, group, permission, code):
    refused(code, ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[permission])
    refused(code, ec2.authorize_security_group_egress, GroupId=group, IpPermissions=[permission])
    assert len(rules(ec2, group)) == 1


def test_ports_of_protocols(ec2, group):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {"IpProtocol": "icmp", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]},
        tcp(8, 0, protocol="1", cidr="10.0.0.0/8"), tcp(128, -1, protocol="58", cidr6="::/0"),
        tcp(1, 2, protocol="50", cidr="10.0.0.0/8"), tcp(1, 2, protocol="all", cidr="10.0.0.0/8"),
    ])
    assert {(r["IpProtocol"], r["FromPort"], r["ToPort"]) for r in rules(ec2, group) if not r["IsEgress"]} == {
        ("icmp", -1, -1), ("icmp", 8, 0), ("icmpv6", 128, -1), ("50", -1, -1), ("-1", -1, -1)}
    assert {p["IpProtocol"]: p.get("FromPort") for p in describe(ec2, group)["IpPermissions"]}.items() >= {
        ("50", None), ("-1", None), ("icmpv6", 128)}


def test_groups_of_another_vpc(ec2, refused, group):
    other = ec2.create_security_group(GroupName="x", Description="d", VpcId=new_vpc(ec2))["GroupId"]
    assert "different networks" in refused("InvalidGroup.NotFound", ec2.authorize_security_group_ingress, GroupId=group,
                                           IpPermissions=[tcp(1, group=other)])


def test_the_same_rule_twice(ec2, refused, group):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(6379, cidr="10.0.0.0/16")])
    message = refused("InvalidPermission.Duplicate", ec2.authorize_security_group_ingress, GroupId=group,
                      IpPermissions=[tcp(1, cidr="10.0.0.0/8"), tcp(6379, cidr="10.0.0.1/16", description="again")])
    rule = "peer: 10.0.0.0/16, TCP, from port: 6379, to port: 6379, ALLOW"
    assert message == f'the specified rule "{rule}" already exists'
    assert len(rules(ec2, group)) == 2, "nothing of it was done"
    message = refused("InvalidPermission.Duplicate", ec2.authorize_security_group_egress, GroupId=group,
                      IpPermissions=[EVERYTHING])
    assert message == 'the specified rule "peer: 0.0.0.0/0, ALL, ALLOW" already exists'
    assert refused("InvalidParameterValue", ec2.authorize_security_group_ingress, GroupId=group,
                   IpPermissions=[tcp(1, cidr="10.0.0.0/8"), tcp(1, protocol="6", cidr="10.0.0.0/8")]) == \
        "The same permission must not appear multiple times"


def test_the_number_of_rules_is_limited(ec2, refused, group):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {**tcp(1), "IpRanges": [{"CidrIp": f"10.0.{i}.0/24"} for i in range(59)]}])
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(1, cidr6="::/0")])
    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[tcp(1, cidr="10.0.0.0/8")])
    refused("RulesPerSecurityGroupLimitExceeded", ec2.authorize_security_group_ingress, GroupId=group,
            IpPermissions=[tcp(2, cidr="10.0.0.0/8"), tcp(2, group=group)])
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(2, group=group)])
    refused("RulesPerSecurityGroupLimitExceeded", ec2.authorize_security_group_ingress, GroupId=group,
            IpPermissions=[tcp(2, cidr="10.0.0.0/8")])


def test_revoking_what_is_not_there(ec2, refused, group):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(1, cidr="10.0.0.0/8")])
    for absent in (tcp(2, cidr="10.0.0.0/8"), tcp(1, cidr="10.0.0.0/9"), tcp(1, cidr6="::/0"), tcp(1, group=group)):
        refused("InvalidPermission.NotFound", ec2.revoke_security_group_ingress, GroupId=group,
                IpPermissions=[tcp(1, cidr="10.0.0.0/8"), absent])
    refused("InvalidPermission.NotFound", ec2.revoke_security_group_egress, GroupId=group, IpPermissions=[EVERYTHING6])
    assert len(rules(ec2, group)) == 2, "nothing was revoked"
    made = ec2.create_security_group(GroupName="x", Description="d")["GroupId"]
    answer = ec2.revoke_security_group_egress(GroupId=made, IpPermissions=[EVERYTHING, EVERYTHING6])
    assert [p["Ipv6Ranges"] for p in answer["UnknownIpPermissions"]] == [[{"CidrIpv6": "::/0"}]]
    assert describe(ec2, made)["IpPermissionsEgress"] == []


def test_rules_by_their_ids(service, ec2, refused, group):
    made = ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[tcp(1, cidr="10.0.0.0/8"), tcp(2, cidr="10.0.0.0/8")],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [{"Key": "k", "Value": "v"}]}])
    first, second = (r["SecurityGroupRuleId"] for r in made["SecurityGroupRules"])
    found = ec2.describe_security_group_rules(SecurityGroupRuleIds=[second])["SecurityGroupRules"]
    assert [(r["FromPort"], r["Tags"]) for r in found] == [(2, [{"Key": "k", "Value": "v"}])]
    tagged = ec2.describe_security_group_rules(Filters=[{"Name": "tag:k", "Values": ["v"]}])["SecurityGroupRules"]
    assert {r["SecurityGroupRuleId"] for r in tagged} == {first, second}
    refused("InvalidSecurityGroupRuleId.NotFound", ec2.revoke_security_group_egress, GroupId=group,
            SecurityGroupRuleIds=[first])
    refused("InvalidSecurityGroupRuleId.Malformed", ec2.revoke_security_group_ingress, GroupId=group,
            SecurityGroupRuleIds=["10.0.0.0/8"])
    refused("InvalidParameterCombination", ec2.revoke_security_group_ingress, GroupId=group,
            SecurityGroupRuleIds=[first], IpPermissions=[tcp(2, cidr="10.0.0.0/8")])
    refused("MissingParameter", ec2.revoke_security_group_ingress, GroupId=group)
    status, answer = service.call("ec2", "RevokeSecurityGroupIngress", {
        "GroupId": group, "SecurityGroupRuleId.1": first, "SecurityGroupRuleId.2": first})
    assert status == 200
    assert [i.text for i in answer.iterfind("revokedSecurityGroupRuleSet/item/securityGroupRuleId")] == [first]
    assert [r["SecurityGroupRuleId"] for r in rules(ec2, group) if not r["IsEgress"]] == [second]


def test_modifying_rules(ec2, refused, group):
    made = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        tcp(1, cidr="10.0.0.0/8", description="first"), tcp(2, cidr="10.0.0.0/8")])["SecurityGroupRules"]
    first, second = (r["SecurityGroupRuleId"] for r in made)

    def modify(*updates):
        return {"GroupId": group, "SecurityGroupRules": [
            {"SecurityGroupRuleId": rule, "SecurityGroupRule": update} for rule, update in updates]}

    def request(port, **peer):
        return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **peer}
    assert ec2.modify_security_group_rules(**modify((first, request(3, ReferencedGroupId=group))))["Return"]
    changed, = ec2.describe_security_group_rules(SecurityGroupRuleIds=[first])["SecurityGroupRules"]
    assert changed["FromPort"] == 3 and changed["ReferencedGroupInfo"]["GroupId"] == group
    assert "CidrIpv4" not in changed and "Description" not in changed
    cidr = {"CidrIpv4": "10.0.0.0/8"}
    ec2.modify_security_group_rules(**modify((first, request(2, **cidr)), (second, request(1, **cidr))))
    for code, updates in (
            ("InvalidPermission.Duplicate", [(first, request(1, **cidr))]),
            ("InvalidParameterValue", [(first, request(5, **cidr)), (first, request(6, **cidr))]),
            ("InvalidSecurityGroupRuleId.NotFound",
             [(first, request(5, **cidr)), ("sgr-12345678", request(6, **cidr))]),
            ("MissingParameter", [(first, request(5))]), ("MissingParameter", [(first, {**cidr})]),
            ("InvalidParameterCombination", [(first, request(5, CidrIpv6="::/0", **cidr))]),
            ("InvalidGroup.NotFound", [(first, request(5, ReferencedGroupId="sg-12345678"))])):
        refused(code, ec2.modify_security_group_rules, **modify(*updates))
    assert sorted(r["FromPort"] for r in rules(ec2, group)) == [-1, 1, 2]


def test_descriptions_of_rules(ec2, refused, group):
    permission = tcp(1, cidr="10.0.0.0/8")
    rule = ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])[
        "SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def description():
        found = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"]
        return found[0].get("Description")
    update = ec2.update_security_group_rule_descriptions_ingress
    update(GroupId=group, IpPermissions=[tcp(1, cidr="10.0.0.0/8", description="new")])
    assert description() == "new"
    update(GroupId=group, SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule, "Description": "newer"}])
    assert description() == "newer"
    update(GroupId=group, IpPermissions=[permission])
    assert description() is None
    refused("InvalidPermission.NotFound", update, GroupId=group, IpPermissions=[tcp(2, cidr="10.0.0.0/8")])
    refused("InvalidSecurityGroupRuleId.NotFound", ec2.update_security_group_rule_descriptions_egress, GroupId=group,
            SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule}])
    refused("InvalidParameterValue", update, GroupId=group,
            SecurityGroupRuleDescriptions=[{"SecurityGroupRuleId": rule, "Description": "<"}])
    refused("MissingParameter", update, GroupId=group)
    everywhere = [{"CidrIp": "0.0.0.0/0", "Description": "all"}]
    ec2.update_security_group_rule_descriptions_egress(
        GroupId=group, IpPermissions=[{"IpProtocol": "-1", "IpRanges": everywhere}])
    assert describe(ec2, group)["IpPermissionsEgress"][0]["IpRanges"] == everywhere


def test_filters_of_groups(ec2, vpc, group):
    other = ec2.create_security_group(GroupName="other", Description="second", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        tcp(6379, 6380, cidr="10.0.0.0/8"), tcp(1, cidr6="2001:db8::/32"), tcp(2, protocol="udp", group=other)])
    for name, value, expected in (
            ("description", "for*", {group}), ("group-name", "other", {other}), ("group-id", group, {group}),
            ("ip-permission.cidr", "10.0.0.0/8", {group}), ("ip-permission.from-port", "6379", {group}),
            ("ip-permission.to-port", "6380", {group}), ("ip-permission.ipv6-cidr", "2001:*", {group}),
            ("ip-permission.protocol", "udp", {group}), ("ip-permission.group-id", other, {group}),
            ("ip-permission.group-name", "other", {group}), ("ip-permission.user-id", "1*", set()),
            ("egress.ip-permission.cidr", "0.0.0.0/0", {group, other}), ("egress.ip-permission.from-port", "1", set()),
            ("ip-permission.prefix-list-id", "*", set())):
        found = ec2.describe_security_groups(Filters=[
            {"Name": name, "Values": [value]}, {"Name": "vpc-id", "Values": [vpc]},
            {"Name": "group-name", "Values": ["cache", "other"]}])["SecurityGroups"]
        assert {g["GroupId"] for g in found} == expected, name


def test_pages_of_rules(ec2, group):
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[
        {**tcp(1), "IpRanges": [{"CidrIp": f"10.0.{i}.0/24"} for i in range(11)]}])
    pages = list(ec2.get_paginator("describe_security_group_rules").paginate(
        Filters=[{"Name": "group-id", "Values": [group]}], PaginationConfig={"PageSize": 5}))
    found = [r["SecurityGroupRuleId"] for page in pages for r in page["SecurityGroupRules"]]
    assert [len(page["SecurityGroupRules"]) for page in pages] == [5, 5, 2] and len(set(found)) == 12
    groups = list(ec2.get_paginator("describe_security_groups").paginate(PaginationConfig={"PageSize": 5}))
    assert len(groups[0]["SecurityGroups"]) == 3
