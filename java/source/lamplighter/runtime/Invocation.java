package lamplighter.runtime;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import java.util.LinkedHashMap;
import java.util.Map;

/** The context of one invocation. */
final class Invocation implements Context {
    private final RuntimeApi.Event event;
    private final Map<String, String> environment;
    private final LambdaLogger logger;

    Invocation(RuntimeApi.Event event, Map<String, String> environment, LambdaLogger logger) {
        this.event = event;
        this.environment = environment;
        this.logger = logger;
    }

    @Override
    public String getAwsRequestId() {
        return event.header("lambda-runtime-aws-request-id");
    }

    @Override
    public String getLogGroupName() {
        return environment.get("AWS_LAMBDA_LOG_GROUP_NAME");
    }

    @Override
    public String getLogStreamName() {
        return environment.get("AWS_LAMBDA_LOG_STREAM_NAME");
    }

    @Override
    public String getFunctionName() {
        return environment.get("AWS_LAMBDA_FUNCTION_NAME");
    }

    @Override
    public String getFunctionVersion() {
        return environment.get("AWS_LAMBDA_FUNCTION_VERSION");
    }

    @Override
    public String getInvokedFunctionArn() {
        return event.header("lambda-runtime-invoked-function-arn");
    }

    @Override
    public CognitoIdentity getIdentity() {
        Map<?, ?> told = object(event.header("lambda-runtime-cognito-identity"));
        String id = text(told, "cognitoIdentityId");
        String pool = text(told, "cognitoIdentityPoolId");
        return new CognitoIdentity() {
            @Override
            public String getIdentityId() {
                return id == null ? "" : id;
            }

            @Override
            public String getIdentityPoolId() {
                return pool == null ? "" : pool;
            }
        };
    }

    @Override
    public ClientContext getClientContext() {
        String header = event.header("lambda-runtime-client-context");
        return header == null ? null : new TheirContext(object(header));
    }

    @Override
    public int getRemainingTimeInMillis() {
        String deadline = event.header("lambda-runtime-deadline-ms");
        return deadline == null ? 0 : (int) Math.max(0, Long.parseLong(deadline) - System.currentTimeMillis());
    }

    @Override
    public int getMemoryLimitInMB() {
        return Integer.parseInt(environment.getOrDefault("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"));
    }

    @Override
    public LambdaLogger getLogger() {
        return logger;
    }

    @Override
    public String getTenantId() {
        return event.header("lambda-runtime-aws-tenant-id");
    }

    @Override
    public String getXrayTraceId() {
        return event.header("lambda-runtime-trace-id");
    }

    private static Map<?, ?> object(String json) {
        Object read = json == null ? null : Json.read(json.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        return read instanceof Map ? (Map<?, ?>) read : Map.of();
    }

    private static String text(Map<?, ?> members, String name) {
        Object value = members.get(name);
        return value == null ? null : value.toString();
    }

    private static final class TheirContext implements ClientContext, Client {
        private final Map<?, ?> told;
        private final Map<?, ?> client;

        TheirContext(Map<?, ?> told) {
            this.told = told;
            client = told.get("client") instanceof Map ? (Map<?, ?>) told.get("client") : Map.of();
        }

        @Override
        public Client getClient() {
            return this;
        }

        @Override
        public Map<String, String> getCustom() {
            return texts("custom");
        }

        @Override
        public Map<String, String> getEnvironment() {
            return texts("env");
        }

        private Map<String, String> texts(String name) {
            if (!(told.get(name) instanceof Map)) {
                return null;
            }
            Map<String, String> found = new LinkedHashMap<>();
            ((Map<?, ?>) told.get(name)).forEach((key, value) -> found.put((String) key, value == null ? null : value.toString()));
            return found;
        }

        @Override
        public String getInstallationId() {
            return text(client, "installation_id");
        }

        @Override
        public String getAppTitle() {
            return text(client, "app_title");
        }

        @Override
        public String getAppVersionName() {
            return text(client, "app_version_name");
        }

        @Override
        public String getAppVersionCode() {
            return text(client, "app_version_code");
        }

        @Override
        public String getAppPackageName() {
            return text(client, "app_package_name");
        }
    }
}
