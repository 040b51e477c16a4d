"""A function that talks to S3: what its start costs."""

import boto3

CLIENT = boto3.client("s3")  # pyright: ignore


def echo(event: object, context: object) -> object:
    return event
