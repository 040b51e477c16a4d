package com.amazonaws.services.lambda.runtime;

/** Where libraries find the logger without a context. */
public final class LambdaRuntime {
    private static volatile LambdaLogger logger;

    private LambdaRuntime() {}

    public static LambdaLogger getLogger() {
        return logger;
    }

    /** For the runtime. */
    public static void setLogger(LambdaLogger given) {
        logger = given;
    }
}
