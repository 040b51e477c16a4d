package lamplighter.runtime;

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * A process that was started before anybody knew for which function: it loads what every start loads, then waits until it
 * is told the variables, as a JSON object on descriptor 4. The machine was opened to us for this one purpose.
 */
final class Waiting {
    private static final int ORDER = 4;
    private static final String FRAMES = "_LAMBDA_TELEMETRY_LOG_FD"; // was known from the start

    private Waiting() {}

    static void hear() throws Exception {
        warm();
        ByteArrayOutputStream order = new ByteArrayOutputStream(8192);
        try (FileInputStream pipe = new FileInputStream(Descriptors.of(ORDER))) {
            byte[] piece = new byte[8192];
            for (int size = pipe.read(piece); size >= 0; size = pipe.read(piece)) {
                order.write(piece, 0, size);
            }
        }
        Map<?, ?> told = (Map<?, ?>) Json.read(order.toByteArray());
        String frames = System.getenv(FRAMES);
        Map<Object, Object> variables = variables();
        variables.clear();
        for (Map.Entry<?, ?> entry : told.entrySet()) {
            put(variables, (String) entry.getKey(), (String) entry.getValue());
        }
        if (frames != null) {
            put(variables, FRAMES, frames);
        }
    }

    /** What the first invocation would else have to load and to compile. */
    private static void warm() throws Exception {
        Object read = Json.read("{\"a\":[1,2.5,\"x\",true,null]}".getBytes(StandardCharsets.UTF_8));
        Json.write(Mapper.toTree(read));
        Mapper.fromTree(read, Object.class);
        Fault.of(new RuntimeException("warm")).payload();
        new FileOutputStream("/dev/null").close();
        Class.forName("java.net.URLClassLoader");
        Class.forName("lamplighter.runtime.RuntimeApi");
        Class.forName("lamplighter.runtime.Handlers");
        Class.forName("lamplighter.runtime.Invocation");
        RuntimeApi.warm();
    }

    /** The map below System.getenv(). */
    @SuppressWarnings("unchecked")
    private static Map<Object, Object> variables() throws ReflectiveOperationException {
        Class<?> process = Class.forName("java.lang.ProcessEnvironment");
        Field shown = process.getDeclaredField("theUnmodifiableEnvironment");
        shown.setAccessible(true);
        Object unmodifiable = shown.get(null);
        Field below = Class.forName("java.util.Collections$UnmodifiableMap").getDeclaredField("m");
        below.setAccessible(true);
        Object strings = below.get(unmodifiable);
        Field inner = strings.getClass().getDeclaredField("m");
        inner.setAccessible(true);
        return (Map<Object, Object>) inner.get(strings);
    }

    private static void put(Map<Object, Object> variables, String name, String value) throws ReflectiveOperationException {
        variables.put(wrapped("Variable", name), wrapped("Value", value));
    }

    private static Object wrapped(String kind, String text) throws ReflectiveOperationException {
        var make = Class.forName("java.lang.ProcessEnvironment$" + kind).getDeclaredMethod("valueOf", String.class);
        make.setAccessible(true);
        return make.invoke(null, text);
    }
}
