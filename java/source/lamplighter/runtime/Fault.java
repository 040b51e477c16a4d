package lamplighter.runtime;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A failure as it is told to the caller and to the log (AWS: spec 2.3). */
final class Fault {
    private static final int CAUSES = 20;

    final String type;
    final boolean fatal; // nothing can be relied on any more
    private final Throwable thrown;

    private Fault(Throwable thrown) {
        this.thrown = thrown;
        type = thrown.getClass().getName();
        fatal = thrown instanceof VirtualMachineError;
    }

    /** Of what a handler threw: the reflection that called it is none of its business. */
    static Fault of(Throwable thrown) {
        Throwable seen = thrown;
        while (seen instanceof InvocationTargetException && seen.getCause() != null) {
            seen = seen.getCause();
        }
        return new Fault(seen);
    }

    byte[] payload() {
        return Json.write(described(thrown, CAUSES));
    }

    private static Map<String, Object> described(Throwable thrown, int causes) {
        Map<String, Object> told = new LinkedHashMap<>();
        if (thrown.getMessage() != null) {
            told.put("errorMessage", thrown.getMessage());
        }
        told.put("errorType", thrown.getClass().getName());
        List<Object> trace = new ArrayList<>();
        for (StackTraceElement frame : own(thrown)) {
            trace.add(frame.toString());
        }
        told.put("stackTrace", trace);
        if (thrown.getCause() != null && causes > 0) {
            told.put("cause", described(thrown.getCause(), causes - 1));
        }
        return told;
    }

    /** The frames above ours. */
    private static List<StackTraceElement> own(Throwable thrown) {
        List<StackTraceElement> frames = new ArrayList<>();
        for (StackTraceElement frame : thrown.getStackTrace()) {
            if (frame.getClassName().startsWith("lamplighter.runtime.")) {
                break;
            }
            frames.add(frame);
        }
        while (!frames.isEmpty() && isReflection(frames.get(frames.size() - 1).getClassName())) {
            frames.remove(frames.size() - 1);
        }
        return frames;
    }

    private static boolean isReflection(String name) {
        return name.startsWith("jdk.internal.reflect.")
                || name.startsWith("java.lang.reflect.")
                || name.startsWith("java.lang.invoke.");
    }

    /** As the log shows it. */
    String text() {
        Throwable shown = thrown;
        StringWriter text = new StringWriter();
        text.append(shown.getMessage() == null ? "" : shown.getMessage()).append(": ").append(type).append('\n');
        StackTraceElement[] whole = shown.getStackTrace();
        shown.setStackTrace(own(shown).toArray(new StackTraceElement[0]));
        shown.printStackTrace(new PrintWriter(text, true));
        shown.setStackTrace(whole);
        return text.toString();
    }

    Map<String, Object> members() {
        return described(thrown, 0);
    }
}
