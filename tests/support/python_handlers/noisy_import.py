import logging
import sys

print("printed at import")
logging.warning("logged at import")
sys.stderr.write("written at import")
logging.getLogger().setLevel(logging.INFO)


def handler(event, context):
    logging.getLogger("my.logger").info("set at import")
    return event
