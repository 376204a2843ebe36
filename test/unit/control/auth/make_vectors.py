#!/usr/bin/python3
"""Writes vectors.txt: requests as botocore signs them, for test_sigv4.c.

    test/unit/control/auth/make_vectors.py > test/unit/control/auth/vectors.txt

Needs Debian's python3-botocore (the file was made with 1.29.27). A case is

    case NAME
    key ID SECRET [TOKEN]
    now SECONDS
    scope REGION SERVICE
    body HEX
    > a line of the head, CR LF to be added
    end

and its signature is good at that time.
"""

import datetime
import hashlib
import sys
from urllib.parse import urlsplit

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

NOW = datetime.datetime(2026, 8, 30, 12, 36, 0)
SECONDS = int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp())
ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzE//////////wEaDK+token/with+odd=chars=="
HOST = "http://localhost:8000"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


class Clock(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return NOW


botocore.auth.datetime.datetime = Clock


def emit(name, request, region, service, token, body):
    url = urlsplit(request.url)
    target = url.path or "/"
    if url.query:
        target += "?" + url.query
    print(f"case {name}")
    print(f"key {ID} {SECRET}" + (f" {token}" if token else ""))
    print(f"now {SECONDS}")
    print(f"scope {region} {service}")
    print(f"body {body.hex()}")
    print(f"> {request.method} {target} HTTP/1.1")
    print(f"> Host: {url.netloc}")
    for key, value in request.headers.items():
        print(f"> {key}: {value}")
    if body:
        print(f"> Content-Length: {len(body)}")
    print("end\n")


def sign(name, method="POST", path="/", body=b"", params=None, headers=None, region="ap-northeast-2",
         service="elasticache", token=None, expires=None):
    request = AWSRequest(method=method, url=HOST + path, data=body, params=params or {})
    for key, value in headers or []:
        request.headers.add_header(key, value)
    credentials = Credentials(ID, SECRET, token)
    if expires is not None:
        botocore.auth.SigV4QueryAuth(credentials, service, region, expires=expires).add_auth(request)
    else:
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    if params and expires is None:
        request.url = request.prepare().url
    emit(name, request, region, service, token, body)


def main():
    form = list(FORM.items())
    print("# Requests as botocore 1.29.27 signs them; made by make_vectors.py, which says what the lines are.\n")
    sign("plain_get", "GET")
    sign("describe", body=b"Action=DescribeCacheClusters&Version=2015-02-02", headers=form)
    sign("describe_ec2", body=b"Action=DescribeVpcs&Version=2016-11-15", headers=form, service="ec2", region="us-east-1")
    sign("identity_with_token", body=b"Action=GetCallerIdentity&Version=2011-06-15", headers=form, service="sts",
         token=TOKEN)
    sign("metrics", body=b"Action=ListMetrics&Version=2010-08-01", headers=form, service="monitoring")
    sign("odd_body", body=bytes(range(256)) * 5, headers=[("Content-Type", "application/octet-stream")])
    sign("query", "GET", params={"Action": "DescribeCacheClusters", "Version": "2015-02-02"})
    sign("query_odd_characters", "GET",
         params={"a b": "c+d/e=f&g", "~-._": "*'()!", "\u00e9": "\ud55c\uae00 %", "q": "\u0001\u007f"})
    sign("query_empty_values", "GET", params={"b": "", "a": "", "": "x"})
    sign("query_sorted", "GET", params={"b": "1", "a-": "2", "a": "3", "A": "4", "a.": "5", "aa": "6"})
    sign("query_of_url", "GET", "/?b=2&b=1&a&c=%20&b=10")
    sign("query_repeated", "GET", "/?x=b&x=a&x=B&x=&y=1")
    sign("path", "GET", "/service/GraniteServiceVersion20100801/operation/Put%20Metric%2Fa")
    sign("path_normalised", "GET", "/a/./b//c/../d/")
    sign("path_dots", "GET", "/a/b/..")
    sign("path_above", "GET", "/../../a")
    sign("path_slashes", "GET", "//a//")
    sign("path_odd", "GET", "/~-._*'()!$&,;=:@+%e3%81")
    sign("header_spaces", headers=[("X-Amz-Note", "  a   b \t c  "), ("X-Amz-Empty", ""), ("X-Other", '"a   b"')])
    sign("header_repeated", headers=[("X-Amz-List", "z"), ("x-amz-list", "a"), ("X-Amz-List", "m  m")])
    sign("header_cases", headers=[("x-amZ-B", "1"), ("X-AMZ-a", "2"), ("x-amz-", "3")])
    digest = hashlib.sha256(b"Action=X").hexdigest()
    sign("body_hash", body=b"Action=X", headers=form + [("X-Amz-Content-SHA256", digest)])
    sign("unsigned_payload", body=b"Action=X", headers=form + [("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD")])
    sign("presigned", "GET", params={"Action": "DescribeCacheClusters", "Version": "2015-02-02"}, expires=60)
    sign("presigned_token", "GET", params={"Action": "GetCallerIdentity"}, service="sts", token=TOKEN, expires=604800)
    sign("presigned_odd", "GET", params={"Z": "1", "a b": "c+d", "X-Amz-Foo": "", "\u00e9": "*"}, expires=1)
    sign("presigned_connect", "GET", params={"Action": "connect", "User": "someone@example.com"}, expires=900)
    sign("presigned_headers", "GET", headers=[("X-Amz-Note", "a  b")], expires=900)


if __name__ == "__main__":
    sys.exit(main())
