package lamplighter.runtime;

import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.logging.LogLevel;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Map;

/** The logger of functions: one call is one log event, by frames where there is a descriptor for them (AWS: spec 3.2, 3.6). */
final class Log implements LambdaLogger {
    private static final int FRAME_OF_TEXT = 0xa55a0003;
    private static final int FRAME_OF_JSON = 0xa55a0002;

    volatile String requestId; // of the invocation in hand
    private final boolean json;
    private final LogLevel least;
    private final FileOutputStream frames;

    Log(Map<String, String> environment) {
        json = "JSON".equalsIgnoreCase(environment.get("AWS_LAMBDA_LOG_FORMAT"));
        least = level(environment.get("AWS_LAMBDA_LOG_LEVEL"));
        String descriptor = environment.get("_LAMBDA_TELEMETRY_LOG_FD");
        frames = descriptor == null ? null : new FileOutputStream(Descriptors.of(Integer.parseInt(descriptor)));
    }

    private static LogLevel level(String name) {
        try {
            return LogLevel.fromString(name);
        } catch (IllegalArgumentException none) {
            return LogLevel.UNDEFINED;
        }
    }

    @Override
    public void log(String message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(byte[] message) {
        log(message, LogLevel.UNDEFINED);
    }

    @Override
    public void log(String message, LogLevel level) {
        if (wanted(level)) {
            String text = String.valueOf(message);
            write(json ? record(text, level, null) : text.getBytes(StandardCharsets.UTF_8), level);
        }
    }

    @Override
    public void log(byte[] message, LogLevel level) {
        if (wanted(level)) {
            byte[] text = message == null ? "null".getBytes(StandardCharsets.UTF_8) : message;
            write(json ? record(new String(text, StandardCharsets.UTF_8), level, null) : text, level);
        }
    }

    /** A failure that is reported. */
    void error(Fault fault) {
        if (json) {
            write(record(fault.text(), LogLevel.ERROR, fault), LogLevel.ERROR);
        } else {
            write(fault.text().getBytes(StandardCharsets.UTF_8), LogLevel.ERROR);
        }
    }

    private boolean wanted(LogLevel level) {
        return level == LogLevel.UNDEFINED || level.compareTo(least) >= 0;
    }

    private byte[] record(String message, LogLevel level, Fault fault) {
        Map<String, Object> record = new LinkedHashMap<>();
        record.put("timestamp", Instant.now().truncatedTo(ChronoUnit.MILLIS).toString());
        record.put("level", level.name());
        record.put("message", message);
        if (fault != null) {
            record.putAll(fault.members());
        }
        if (requestId != null) {
            record.put("AWSRequestId", requestId);
        }
        return Json.write(record);
    }

    private synchronized void write(byte[] text, LogLevel level) {
        System.out.flush();
        if (frames == null) {
            System.out.write(text, 0, text.length);
            System.out.write('\n');
            System.out.flush();
            return;
        }
        byte[] body = text;
        if (!json && (text.length == 0 || text[text.length - 1] != '\n')) {
            body = java.util.Arrays.copyOf(text, text.length + 1);
            body[text.length] = '\n';
        }
        ByteBuffer frame = ByteBuffer.allocate(16 + body.length);
        frame.putInt((json ? FRAME_OF_JSON : FRAME_OF_TEXT) | level.ordinal() << 2);
        frame.putInt(body.length);
        frame.putLong(System.currentTimeMillis() * 1000);
        frame.put(body);
        try {
            frames.write(frame.array());
        } catch (IOException closed) {
            System.out.write(body, 0, body.length);
            System.out.flush();
        }
    }
}
