"""Another client of KMIP: PyKMIP's. Reads objects of a name, and registers keys as Luksmith stores them.

usage: oracle.py, with {host, port, ca, certificate, key, version, read, write} as JSON on standard input; prints JSON
"""

import json
import logging
import sys

from kmip.core import enums
from kmip.core import objects as core_objects
from kmip.core.factories.attributes import AttributeFactory
from kmip.pie import client as pie
from kmip.pie import objects

logging.disable(logging.CRITICAL)
asked = json.load(sys.stdin)
make = AttributeFactory().create_attribute
TYPE = enums.AttributeType


def read(client, name):
    found = []
    for uid in client.locate(attributes=[make(TYPE.NAME, name)]):
        thing = client.get(uid)
        _, attributes = client.get_attributes(
            uid, ["Name", "State", "Object Group", "Application Specific Information", "Object Type"]
        )
        values = {a.attribute_name.value: a.attribute_value for a in attributes}
        information = values["Application Specific Information"]
        found.append(
            {
                "type": values["Object Type"].value.name,
                "state": values["State"].value.name,
                "name": values["Name"].name_value.value,
                "group": values["Object Group"].value,
                "namespace": information.application_namespace,
                "data": information.application_data,
                "value": thing.value.hex(),
            }
        )
    return found


def write(client, key):
    value = bytes.fromhex(key["value"])
    if key["type"] == "SECRET_DATA":
        thing = objects.SecretData(value, enums.SecretDataType.PASSWORD)
    else:
        algorithm = enums.CryptographicAlgorithm.HMAC_SHA512
        thing = objects.SymmetricKey(algorithm, 8 * len(value), value)
    information = {"application_namespace": key["namespace"], "application_data": key["data"]}
    template = core_objects.TemplateAttribute(
        attributes=[
            make(TYPE.NAME, key["name"]),
            make(TYPE.CRYPTOGRAPHIC_USAGE_MASK, [enums.CryptographicUsageMask.VERIFY]),
            make(TYPE.OBJECT_GROUP, key["group"]),
            make(TYPE.APPLICATION_SPECIFIC_INFORMATION, information),
        ]
    )
    result = client.proxy.register(thing.object_type, template, client.object_factory.convert(thing))
    client.activate(result.uuid)


with pie.ProxyKmipClient(
    hostname=asked["host"],
    port=asked["port"],
    cert=asked["certificate"],
    key=asked["key"],
    ca=asked["ca"],
    ssl_version="PROTOCOL_TLSv1_2",
    kmip_version=enums.KMIPVersion(float(asked["version"])),
) as client:
    for key in asked["write"]:
        write(client, key)
    print(json.dumps([read(client, name) for name in asked["read"]]))
