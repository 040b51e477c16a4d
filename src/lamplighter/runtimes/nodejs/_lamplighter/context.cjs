"use strict";

// The event and the context that a handler is given, made of what the Runtime API delivered (AWS: spec 2.5).

/** What depends on the event alone: AWS's members, in AWS's order. Throws when a header's JSON is broken. */
function ofHeaders(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    clientContext: parsed(headers["lambda-runtime-client-context"], "ClientContext"),
    identity: parsed(headers["lambda-runtime-cognito-identity"], "CognitoIdentity"),
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    tenantId: headers["lambda-runtime-aws-tenant-id"],
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function parsed(text, name) {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

function ofEnvironment(environ) {
  return {
    functionVersion: environ.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: environ.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: environ.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: environ.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: environ.AWS_LAMBDA_LOG_STREAM_NAME,
  };
}

/** Log lines and X-Ray libraries know the invocation from now on. */
function announce(event, log, environ) {
  log.requestId = event.requestId;
  log.tenantId = event.headers["lambda-runtime-aws-tenant-id"];
  const trace = event.headers["lambda-runtime-trace-id"];
  if (trace) environ._X_AMZN_TRACE_ID = trace;
  else delete environ._X_AMZN_TRACE_ID;
}

module.exports = { announce, ofEnvironment, ofHeaders };
