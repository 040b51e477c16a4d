package lamplighter.runtime;

import com.amazonaws.services.lambda.runtime.LambdaRuntime;
import java.io.File;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/**
 * Entry of the managed Java runtimes: finds the function, answers one invocation after the other (AWS: spec 3.3). Its jar
 * appears read-only in /var/runtime. Java 11 and later, and nothing but the standard library.
 */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        if (System.getenv("LAMPLIGHTER_WAITS") != null) {
            Waiting.hear();
        }
        Map<String, String> environment = System.getenv();
        Log log = new Log(environment);
        LambdaRuntime.setLogger(log);
        RuntimeApi api = new RuntimeApi(environment.get("AWS_LAMBDA_RUNTIME_API"));
        ClassLoader loader = functionLoader(environment);
        Thread.currentThread().setContextClassLoader(loader);
        Handler handler;
        try {
            handler = Handlers.find(environment.getOrDefault("_HANDLER", ""), loader);
        } catch (Throwable failure) {
            Fault fault = Fault.of(failure);
            log.error(fault);
            api.failInit(fault.payload(), fault.type);
            System.exit(1);
            return;
        }
        serve(api, handler, environment, log);
    }

    private static void serve(RuntimeApi api, Handler handler, Map<String, String> environment, Log log) throws IOException {
        while (true) {
            RuntimeApi.Event event = api.next();
            String id = event.header("lambda-runtime-aws-request-id");
            String trace = event.header("lambda-runtime-trace-id");
            if (trace != null) {
                System.setProperty("com.amazonaws.xray.traceHeader", trace);
            } else {
                System.clearProperty("com.amazonaws.xray.traceHeader");
            }
            log.requestId = id;
            byte[] answer = null;
            Fault fault = null;
            try {
                answer = handler.handle(event.body, new Invocation(event, environment, log));
            } catch (Throwable failure) {
                fault = Fault.of(failure);
                log.error(fault);
            }
            System.out.flush();
            if (fault == null) {
                api.answer(id, answer);
            } else {
                api.fail(id, fault.payload(), fault.type);
                if (fault.fatal) {
                    System.exit(1);
                }
            }
        }
    }

    /** The package's classes and libraries, then those of layers; what the runtime offers comes before all of them. */
    private static ClassLoader functionLoader(Map<String, String> environment) throws MalformedURLException {
        String task = environment.getOrDefault("LAMBDA_TASK_ROOT", "/var/task");
        String layers = environment.getOrDefault("LAMPLIGHTER_OPT", "/opt");
        List<URL> places = new ArrayList<>();
        places.add(new File(task + "/").toURI().toURL());
        for (String directory : new String[] {task + "/lib", layers + "/java/lib"}) {
            File[] jars = new File(directory).listFiles((parent, name) -> name.endsWith(".jar"));
            if (jars != null) {
                Arrays.sort(jars);
                for (File jar : jars) {
                    places.add(jar.toURI().toURL());
                }
            }
        }
        return new URLClassLoader(places.toArray(new URL[0]), Main.class.getClassLoader());
    }
}
