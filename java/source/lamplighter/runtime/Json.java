package lamplighter.runtime;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON as trees: Map, List, String, Boolean, null, and of numbers the smallest of Integer, Long, BigInteger and Double that
 * fits, as the libraries that functions know read them.
 */
final class Json {
    private static final int DEPTH = 1000;
    private static final char[] HEX = "0123456789abcdef".toCharArray();

    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    /** Throws IllegalArgumentException. */
    static Object read(byte[] bytes) {
        Json reader = new Json(new String(bytes, StandardCharsets.UTF_8));
        Object value = reader.value(0);
        reader.space();
        if (reader.at < reader.text.length()) {
            throw reader.wrong("something follows the value");
        }
        return value;
    }

    private Object value(int depth) {
        if (depth > DEPTH) {
            throw wrong("nested too deeply");
        }
        space();
        switch (peek()) {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> members = new LinkedHashMap<>();
        at++;
        space();
        if (peek() == '}') {
            at++;
            return members;
        }
        while (true) {
            space();
            if (peek() != '"') {
                throw wrong("a name is expected");
            }
            String name = string();
            space();
            expect(':');
            members.put(name, value(depth + 1));
            space();
            if (peek() == '}') {
                at++;
                return members;
            }
            expect(',');
        }
    }

    private List<Object> array(int depth) {
        List<Object> items = new ArrayList<>();
        at++;
        space();
        if (peek() == ']') {
            at++;
            return items;
        }
        while (true) {
            items.add(value(depth + 1));
            space();
            if (peek() == ']') {
                at++;
                return items;
            }
            expect(',');
        }
    }

    private String string() {
        int begin = ++at;
        while (at < text.length() && text.charAt(at) != '"' && text.charAt(at) != '\\') {
            at++;
        }
        if (peek() == '"') {
            return text.substring(begin, at++);
        }
        StringBuilder built = new StringBuilder(text.substring(begin, at));
        while (true) {
            char next = peek();
            at++;
            if (next == '"') {
                return built.toString();
            }
            if (next != '\\') {
                built.append(next);
                continue;
            }
            char escaped = peek();
            at++;
            switch (escaped) {
                case 'n':
                    built.append('\n');
                    break;
                case 't':
                    built.append('\t');
                    break;
                case 'r':
                    built.append('\r');
                    break;
                case 'b':
                    built.append('\b');
                    break;
                case 'f':
                    built.append('\f');
                    break;
                case 'u':
                    if (at + 4 > text.length()) {
                        throw wrong("an escape is cut off");
                    }
                    built.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
                    at += 4;
                    break;
                case '"':
                case '\\':
                case '/':
                    built.append(escaped);
                    break;
                default:
                    throw wrong("no such escape");
            }
        }
    }

    private Object number() {
        int begin = at;
        boolean whole = true;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            whole &= ".eE".indexOf(text.charAt(at)) < 0;
            at++;
        }
        String digits = text.substring(begin, at);
        try {
            if (!whole) {
                return Double.valueOf(digits);
            }
            if (digits.length() > 18) {
                BigInteger large = new BigInteger(digits);
                return large.bitLength() < 64 ? (Object) large.longValue() : large;
            }
            long value = Long.parseLong(digits);
            return value == (int) value ? (Object) (int) value : value;
        } catch (NumberFormatException none) {
            throw wrong("a value is expected");
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong("a value is expected");
        }
        at += word.length();
        return value;
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private char peek() {
        if (at >= text.length()) {
            throw wrong("it ends too early");
        }
        return text.charAt(at);
    }

    private void expect(char wanted) {
        if (peek() != wanted) {
            throw wrong("'" + wanted + "' is expected");
        }
        at++;
    }

    private IllegalArgumentException wrong(String what) {
        return new IllegalArgumentException("Malformed JSON at character " + at + ": " + what);
    }

    static byte[] write(Object tree) {
        StringBuilder out = new StringBuilder(128);
        write(tree, out);
        return out.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof String) {
            quote((String) value, out);
        } else if (value instanceof Map) {
            char before = '{';
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                out.append(before);
                quote((String) entry.getKey(), out);
                out.append(':');
                write(entry.getValue(), out);
                before = ',';
            }
            out.append(before == '{' ? "{}" : "}");
        } else if (value instanceof List) {
            char before = '[';
            for (Object item : (List<?>) value) {
                out.append(before);
                write(item, out);
                before = ',';
            }
            out.append(before == '[' ? "[]" : "]");
        } else if (value instanceof Double || value instanceof Float) {
            double number = ((Number) value).doubleValue();
            if (Double.isNaN(number) || Double.isInfinite(number)) {
                quote(value.toString(), out);
            } else {
                out.append(value);
            }
        } else if (value instanceof BigDecimal) {
            out.append(value);
        } else {
            out.append(value); // other numbers, true, false, null
        }
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c >= ' ' && !Character.isSurrogate(c)) {
                out.append(c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c == '\t') {
                out.append("\\t");
            } else if (c == '\r') {
                out.append("\\r");
            } else if (Character.isHighSurrogate(c) && i + 1 < text.length() && Character.isLowSurrogate(text.charAt(i + 1))) {
                out.append(c).append(text.charAt(++i));
            } else {
                out.append("\\u").append(HEX[c >> 12]).append(HEX[c >> 8 & 15]).append(HEX[c >> 4 & 15]).append(HEX[c & 15]);
            }
        }
        out.append('"');
    }
}
