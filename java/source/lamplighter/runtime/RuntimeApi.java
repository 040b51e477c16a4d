package lamplighter.runtime;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** The Runtime API over one kept-alive connection (AWS: spec 3.3). Waiting for work has no time-out. */
final class RuntimeApi {
    private static final String ROOT = "/2018-06-01/runtime/";

    private final String address;
    private final Socket socket;
    private final OutputStream out;
    private final InputStream in;
    private final byte[] buffer = new byte[65536];
    private int start;
    private int end;

    RuntimeApi(String address) throws IOException {
        this.address = address;
        int colon = address.lastIndexOf(':');
        socket = new Socket();
        socket.setTcpNoDelay(true);
        socket.connect(new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1))));
        out = socket.getOutputStream();
        in = socket.getInputStream();
    }

    /** Loads the classes of a connection. */
    static void warm() {
        try (Socket nobody = new Socket()) {
            nobody.setTcpNoDelay(true);
            nobody.connect(new InetSocketAddress("127.0.0.1", 1), 10);
        } catch (IOException expected) {
            return;
        }
    }

    /** One invocation as delivered; header names in lower case. */
    static final class Event {
        final Map<String, String> headers;
        final byte[] body;

        Event(Map<String, String> headers, byte[] body) {
            this.headers = headers;
            this.body = body;
        }

        String header(String name) {
            return headers.get(name);
        }
    }

    Event next() throws IOException {
        send("GET", ROOT + "invocation/next", null, null);
        Event event = receive();
        if (event.header("lambda-runtime-aws-request-id") == null) {
            throw new IOException("the Runtime API gave no event: " + new String(event.body, StandardCharsets.UTF_8));
        }
        return event;
    }

    void answer(String id, byte[] body) throws IOException {
        post(ROOT + "invocation/" + id + "/response", body, null);
    }

    void fail(String id, byte[] payload, String type) throws IOException {
        post(ROOT + "invocation/" + id + "/error", payload, type);
    }

    void failInit(byte[] payload, String type) throws IOException {
        post(ROOT + "init/error", payload, type);
    }

    private void post(String path, byte[] body, String errorType) throws IOException {
        send("POST", path, body, errorType);
        receive();
    }

    private void send(String method, String path, byte[] body, String errorType) throws IOException {
        StringBuilder head = new StringBuilder(256);
        head.append(method).append(' ').append(path).append(" HTTP/1.1\r\nHost: ").append(address).append("\r\n");
        if (errorType != null) {
            head.append("Lambda-Runtime-Function-Error-Type: ").append(errorType).append("\r\n");
        }
        if (body != null) {
            head.append("Content-Type: application/json\r\nContent-Length: ").append(body.length).append("\r\n");
        }
        head.append("\r\n");
        byte[] first = head.toString().getBytes(StandardCharsets.ISO_8859_1);
        if (body == null) {
            out.write(first);
        } else if (body.length < 32768) {
            byte[] whole = new byte[first.length + body.length];
            System.arraycopy(first, 0, whole, 0, first.length);
            System.arraycopy(body, 0, whole, first.length, body.length);
            out.write(whole);
        } else {
            out.write(first);
            out.write(body);
        }
        out.flush();
    }

    private Event receive() throws IOException {
        String status = line();
        Map<String, String> headers = new HashMap<>();
        for (String line = line(); !line.isEmpty(); line = line()) {
            int colon = line.indexOf(':');
            headers.put(line.substring(0, colon).toLowerCase(Locale.ROOT), line.substring(colon + 1).trim());
        }
        byte[] body = new byte[Integer.parseInt(headers.getOrDefault("content-length", "0"))];
        for (int filled = 0; filled < body.length; ) {
            if (start == end) {
                fill();
            }
            int part = Math.min(end - start, body.length - filled);
            System.arraycopy(buffer, start, body, filled, part);
            start += part;
            filled += part;
        }
        if (!status.startsWith("HTTP/1.1 2")) {
            System.err.println("Runtime API: " + status + ": " + new String(body, StandardCharsets.UTF_8));
        }
        return new Event(headers, body);
    }

    private String line() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream(80);
        while (true) {
            if (start == end) {
                fill();
            }
            byte next = buffer[start++];
            if (next == '\n') {
                return line.toString(StandardCharsets.UTF_8);
            }
            if (next != '\r') {
                line.write(next);
            }
        }
    }

    private void fill() throws IOException {
        start = 0;
        end = Math.max(0, in.read(buffer));
        if (end == 0) {
            throw new EOFException("the Runtime API is gone");
        }
    }
}
