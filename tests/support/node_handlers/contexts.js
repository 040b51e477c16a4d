"use strict";

exports.handler = async (event, context) => {
  const remaining = context.getRemainingTimeInMillis();
  return {
    ...context,
    has_callback_members: ["done", "succeed", "fail"].filter((name) => typeof context[name] === "function"),
    remaining: typeof remaining === "number" && remaining > 0,
    trace: process.env._X_AMZN_TRACE_ID,
    client: context.clientContext?.client?.installation_id,
    request: context.awsRequestId,
    tenant: context.tenantId,
  };
};

let count = 0;
exports.counting = async () => ++count;

exports.variables = async () => ({ handler: process.env._HANDLER, node_path: process.env.NODE_PATH ?? null });
