package example;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

public class Plain {
    public String greet(String name) {
        return "Hello, " + name;
    }

    public static int sum(List<Integer> numbers, Context context) {
        return numbers.stream().mapToInt(Integer::intValue).sum();
    }

    public void nothing(Object event) {}

    public Object echo(Object event) {
        return event;
    }

    public void copy(InputStream input, OutputStream output) throws Exception {
        input.transferTo(output);
    }

    public Map<String, Object> context(Map<String, Object> event, Context context) {
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("id", context.getAwsRequestId());
        told.put("arn", context.getInvokedFunctionArn());
        told.put("name", context.getFunctionName());
        told.put("version", context.getFunctionVersion());
        told.put("memory", context.getMemoryLimitInMB());
        told.put("group", context.getLogGroupName());
        told.put("remaining", context.getRemainingTimeInMillis());
        told.put("trace", System.getProperty("com.amazonaws.xray.traceHeader"));
        told.put("custom", context.getClientContext() == null ? null : context.getClientContext().getCustom());
        context.getLogger().log("first line\nsecond line");
        System.out.println("printed");
        return told;
    }

    public Map<String, String> variables() {
        return System.getenv();
    }

    public String fail(Object event) {
        throw new IllegalStateException("Error: some_error_msg", new RuntimeException("below"));
    }

    public String exit(Object event) {
        System.exit(3);
        return null;
    }

    public Object hoard(Object event) {
        List<byte[]> all = new java.util.ArrayList<>();
        while (true) {
            all.add(new byte[1 << 20]);
        }
    }
}
