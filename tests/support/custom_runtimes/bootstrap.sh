#!/bin/sh
# A custom runtime in shell: answers with the event and its handler's name.
set -eu
API="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
while true; do
  EVENT=$(curl -sS -D /tmp/headers "$API/next")
  ID=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *//Ip' /tmp/headers | tr -d '\r')
  echo "the shell was given $EVENT"
  case "$EVENT" in
    *fail*) curl -sS -o /dev/null "$API/$ID/error" -d '{"errorType": "Shell.Failure", "errorMessage": "as asked"}' ;;
    *exit*) exit 3 ;;
    *variables*) env | sort | sed 's/.*/"&"/' | paste -sd, - | sed 's/.*/[&]/' | curl -sS -o /dev/null "$API/$ID/response" -d @- ;;
    *) curl -sS -o /dev/null "$API/$ID/response" -d "{\"event\": $EVENT, \"handler\": \"$_HANDLER\"}" ;;
  esac
done
