"""A function whose modules are called like ours, or like what a fork server happens to have imported."""

import bootstrap
import client
import runtime_api


def handler(event, context):
    return [bootstrap.MINE, client.MINE, runtime_api.MINE]
