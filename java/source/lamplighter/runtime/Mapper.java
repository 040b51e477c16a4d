package lamplighter.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Between trees of JSON and the values that functions are written in: strings, numbers, collections, enums, records and
 * beans. A member fits a property of its name, else one that differs in capitals only, as those of AWS's events do.
 * Throws IllegalArgumentException for what does not fit.
 */
final class Mapper {
    private static final Map<Class<?>, Map<String, Setter>> SETTERS = new ConcurrentHashMap<>();
    private static final Map<Class<?>, Map<String, Method>> GETTERS = new ConcurrentHashMap<>();
    private static final int DEPTH = 1000;

    private Mapper() {}

    private interface Setter {
        void set(Object bean, Object tree, Type context) throws ReflectiveOperationException;
    }

    // From JSON

    static Object fromTree(Object tree, Type type) {
        try {
            return from(tree, type);
        } catch (InvocationTargetException thrown) {
            throw new IllegalArgumentException(String.valueOf(thrown.getCause()), thrown.getCause());
        } catch (ReflectiveOperationException impossible) {
            throw new IllegalArgumentException(impossible.toString(), impossible);
        }
    }

    private static Object from(Object tree, Type type) throws ReflectiveOperationException {
        Class<?> raw = raw(type);
        if (tree == null) {
            return raw.isPrimitive() ? Array.get(Array.newInstance(raw, 1), 0) : raw == Optional.class ? Optional.empty() : null;
        }
        if (raw == Object.class) {
            return tree;
        }
        if (raw == Optional.class) {
            return Optional.ofNullable(from(tree, argument(type, 0)));
        }
        if (tree instanceof Map) {
            return fromObject((Map<?, ?>) tree, type, raw);
        }
        if (tree instanceof List) {
            return fromArray((List<?>) tree, type, raw);
        }
        return fromScalar(tree, raw);
    }

    private static Object fromObject(Map<?, ?> tree, Type type, Class<?> raw) throws ReflectiveOperationException {
        if (Map.class.isAssignableFrom(raw)) {
            Map<Object, Object> made = newMap(raw);
            for (Map.Entry<?, ?> entry : tree.entrySet()) {
                made.put(fromScalar(entry.getKey(), raw(argument(type, 0))), from(entry.getValue(), argument(type, 1)));
            }
            return made;
        }
        if (isScalar(raw) || raw.isArray() || Collection.class.isAssignableFrom(raw)) {
            throw unfit(raw, "an object");
        }
        if (isRecord(raw)) {
            return record(tree, raw);
        }
        Constructor<?> constructor;
        try {
            constructor = raw.getDeclaredConstructor();
        } catch (NoSuchMethodException missing) {
            throw new IllegalArgumentException("Cannot construct instance of `" + raw.getName() + "`: it has no default constructor");
        }
        if (Modifier.isAbstract(raw.getModifiers())) {
            throw new IllegalArgumentException("Cannot construct instance of `" + raw.getName() + "`: it is abstract");
        }
        constructor.setAccessible(true);
        Object bean = constructor.newInstance();
        Map<String, Setter> setters = setters(raw);
        for (Map.Entry<?, ?> entry : tree.entrySet()) {
            String name = (String) entry.getKey();
            Setter setter = setters.get(name);
            if (setter == null) {
                setter = setters.get("\0" + name.toLowerCase());
            }
            if (setter != null) {
                setter.set(bean, entry.getValue(), type);
            }
        }
        return bean;
    }

    private static Object fromArray(List<?> tree, Type type, Class<?> raw) throws ReflectiveOperationException {
        if (raw.isArray()) {
            Type inner = type instanceof GenericArrayType ? ((GenericArrayType) type).getGenericComponentType() : raw.getComponentType();
            Object made = Array.newInstance(raw.getComponentType(), tree.size());
            for (int i = 0; i < tree.size(); i++) {
                Array.set(made, i, from(tree.get(i), inner));
            }
            return made;
        }
        if (!Collection.class.isAssignableFrom(raw) && raw != Iterable.class) {
            throw unfit(raw, "an array");
        }
        Collection<Object> made = newCollection(raw);
        for (Object item : tree) {
            made.add(from(item, argument(type, 0)));
        }
        return made;
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Object fromScalar(Object tree, Class<?> raw) throws ReflectiveOperationException {
        if (raw.isInstance(tree)) {
            return tree;
        }
        if (raw == String.class || raw == CharSequence.class || raw == Object.class) {
            return tree.toString();
        }
        if (raw.isEnum()) {
            for (Object constant : raw.getEnumConstants()) {
                if (((Enum) constant).name().equals(tree.toString())) {
                    return constant;
                }
            }
            throw unfit(raw, "\"" + tree + "\"");
        }
        if (raw == byte[].class && tree instanceof String) {
            return Base64.getDecoder().decode((String) tree);
        }
        if (raw == Date.class && tree instanceof Number) {
            return new Date(((Number) tree).longValue());
        }
        Object plain = plain(tree, raw);
        if (plain != null) {
            return plain;
        }
        if (tree instanceof String) {
            return fromText((String) tree, raw);
        }
        throw unfit(raw, tree.toString());
    }

    private static Object plain(Object tree, Class<?> raw) {
        if (raw == boolean.class || raw == Boolean.class) {
            if (tree instanceof Boolean) {
                return tree;
            }
            if ("true".equals(tree) || "false".equals(tree)) {
                return Boolean.valueOf((String) tree);
            }
            return tree instanceof Integer ? (Object) ((Integer) tree != 0) : null;
        }
        if (raw == char.class || raw == Character.class) {
            return tree instanceof String && ((String) tree).length() == 1 ? (Object) ((String) tree).charAt(0) : null;
        }
        BigDecimal number;
        try {
            number = tree instanceof Boolean ? null : new BigDecimal(tree.toString().trim());
        } catch (NumberFormatException none) {
            return null;
        }
        if (number == null) {
            return null;
        }
        try {
            if (raw == int.class || raw == Integer.class) {
                return number.toBigInteger().intValueExact();
            }
            if (raw == long.class || raw == Long.class) {
                return number.toBigInteger().longValueExact();
            }
            if (raw == short.class || raw == Short.class) {
                return number.toBigInteger().shortValueExact();
            }
            if (raw == byte.class || raw == Byte.class) {
                return number.toBigInteger().byteValueExact();
            }
        } catch (ArithmeticException large) {
            throw unfit(raw, tree.toString());
        }
        if (raw == double.class || raw == Double.class || raw == Number.class) {
            return number.doubleValue();
        }
        if (raw == float.class || raw == Float.class) {
            return number.floatValue();
        }
        if (raw == BigDecimal.class) {
            return number;
        }
        return raw == BigInteger.class ? number.toBigInteger() : null;
    }

    /** Types that know how to be read from a text: by a constructor or a well-known method. */
    private static Object fromText(String text, Class<?> raw) throws ReflectiveOperationException {
        for (String name : new String[] {"fromString", "valueOf", "parse", "of"}) {
            for (Class<?> parameter : new Class<?>[] {String.class, CharSequence.class}) {
                try {
                    Method method = raw.getMethod(name, parameter);
                    if (Modifier.isStatic(method.getModifiers()) && raw.isAssignableFrom(method.getReturnType())) {
                        return method.invoke(null, text);
                    }
                } catch (NoSuchMethodException next) {
                    continue;
                }
            }
        }
        try {
            return raw.getConstructor(String.class).newInstance(text);
        } catch (NoSuchMethodException missing) {
            try {
                return raw.getConstructor(Object.class).newInstance(text); // Joda's
            } catch (NoSuchMethodException none) {
                throw unfit(raw, "\"" + text + "\"");
            }
        }
    }

    private static boolean isScalar(Class<?> raw) {
        return raw.isPrimitive() || raw.isEnum() || raw == String.class || raw == Boolean.class || raw == Character.class
                || Number.class.isAssignableFrom(raw);
    }

    private static Map<Object, Object> newMap(Class<?> raw) throws ReflectiveOperationException {
        if (!raw.isInterface() && !Modifier.isAbstract(raw.getModifiers())) {
            return uncheckedMap(raw.getConstructor().newInstance());
        }
        return SortedMap.class.isAssignableFrom(raw) ? new TreeMap<>()
                : raw.isAssignableFrom(LinkedHashMap.class) ? new LinkedHashMap<>() : uncheckedMap(new ConcurrentHashMap<>());
    }

    @SuppressWarnings("unchecked")
    private static Map<Object, Object> uncheckedMap(Object map) {
        return (Map<Object, Object>) map;
    }

    @SuppressWarnings("unchecked")
    private static Collection<Object> newCollection(Class<?> raw) throws ReflectiveOperationException {
        if (!raw.isInterface() && !Modifier.isAbstract(raw.getModifiers())) {
            return (Collection<Object>) raw.getConstructor().newInstance();
        }
        if (SortedSet.class.isAssignableFrom(raw)) {
            return new TreeSet<>();
        }
        if (Set.class.isAssignableFrom(raw)) {
            return new LinkedHashSet<>();
        }
        return Queue.class.isAssignableFrom(raw) ? new java.util.ArrayDeque<>() : new ArrayList<>();
    }

    private static Map<String, Setter> setters(Class<?> raw) {
        return SETTERS.computeIfAbsent(raw, type -> {
            Map<String, Setter> found = new HashMap<>();
            for (Field field : type.getFields()) {
                if (!Modifier.isStatic(field.getModifiers()) && !Modifier.isFinal(field.getModifiers())) {
                    open(field);
                    put(found, field.getName(), (bean, tree, context) -> field.set(bean, from(tree, in(field.getGenericType(), context))));
                }
            }
            for (Method method : type.getMethods()) {
                String name = method.getName();
                if (name.length() > 3 && name.startsWith("set") && method.getParameterCount() == 1
                        && !Modifier.isStatic(method.getModifiers()) && !method.isBridge()) {
                    open(method);
                    Type wanted = method.getGenericParameterTypes()[0];
                    put(found, property(name.substring(3)),
                            (bean, tree, context) -> method.invoke(bean, from(tree, in(wanted, context))));
                }
            }
            return found;
        });
    }

    private static void put(Map<String, Setter> found, String name, Setter setter) {
        found.put(name, setter);
        found.put("\0" + name.toLowerCase(), setter);
    }

    /** A type that a bean's class leaves open, as its own use settles it. */
    private static Type in(Type type, Type context) {
        if (type instanceof TypeVariable && context instanceof ParameterizedType) {
            TypeVariable<?>[] names = raw(context).getTypeParameters();
            for (int i = 0; i < names.length; i++) {
                if (names[i].equals(type)) {
                    return ((ParameterizedType) context).getActualTypeArguments()[i];
                }
            }
        }
        return type;
    }

    // Records, by reflection: Java 11 has none.

    private static boolean isRecord(Class<?> raw) {
        return raw.getSuperclass() != null && raw.getSuperclass().getName().equals("java.lang.Record");
    }

    private static Object[] components(Class<?> raw) throws ReflectiveOperationException {
        return (Object[]) Class.class.getMethod("getRecordComponents").invoke(raw);
    }

    private static Object record(Map<?, ?> tree, Class<?> raw) throws ReflectiveOperationException {
        Object[] components = components(raw);
        Class<?>[] types = new Class<?>[components.length];
        Object[] values = new Object[components.length];
        for (int i = 0; i < components.length; i++) {
            Class<?> component = components[i].getClass();
            types[i] = (Class<?>) component.getMethod("getType").invoke(components[i]);
            String name = (String) component.getMethod("getName").invoke(components[i]);
            values[i] = from(tree.get(name), (Type) component.getMethod("getGenericType").invoke(components[i]));
        }
        Constructor<?> constructor = raw.getDeclaredConstructor(types);
        constructor.setAccessible(true);
        return constructor.newInstance(values);
    }

    // To JSON

    static Object toTree(Object value) {
        try {
            return to(value, 0);
        } catch (InvocationTargetException thrown) {
            throw new IllegalArgumentException(String.valueOf(thrown.getCause()), thrown.getCause());
        } catch (ReflectiveOperationException impossible) {
            throw new IllegalArgumentException(impossible.toString(), impossible);
        }
    }

    private static Object to(Object value, int depth) throws ReflectiveOperationException {
        if (depth > DEPTH) {
            throw new IllegalArgumentException("Infinite recursion, or nested too deeply");
        }
        if (value == null || value instanceof String || value instanceof Number || value instanceof Boolean) {
            return value;
        }
        if (value instanceof CharSequence || value instanceof Character) {
            return value.toString();
        }
        if (value instanceof Enum) {
            return ((Enum<?>) value).name();
        }
        if (value instanceof Optional) {
            return to(((Optional<?>) value).orElse(null), depth + 1);
        }
        if (value instanceof Date) {
            return ((Date) value).getTime();
        }
        if (value instanceof byte[]) {
            return Base64.getEncoder().encodeToString((byte[]) value);
        }
        if (value instanceof Map) {
            Map<String, Object> members = new LinkedHashMap<>();
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                members.put(String.valueOf(entry.getKey()), to(entry.getValue(), depth + 1));
            }
            return members;
        }
        if (value instanceof Iterable && !(value instanceof java.nio.file.Path)) {
            List<Object> items = new ArrayList<>();
            for (Object item : (Iterable<?>) value) {
                items.add(to(item, depth + 1));
            }
            return items;
        }
        if (value.getClass().isArray()) {
            List<Object> items = new ArrayList<>();
            for (int i = 0; i < Array.getLength(value); i++) {
                items.add(to(Array.get(value, i), depth + 1));
            }
            return items;
        }
        String origin = value.getClass().getName();
        if (origin.startsWith("java.") || origin.startsWith("javax.") || origin.startsWith("sun.")) {
            return value.toString(); // times, ids, addresses
        }
        return bean(value, depth);
    }

    private static Map<String, Object> bean(Object value, int depth) throws ReflectiveOperationException {
        Map<String, Object> members = new LinkedHashMap<>();
        Class<?> type = value.getClass();
        for (Map.Entry<String, Method> getter : getters(type).entrySet()) {
            members.put(getter.getKey(), to(getter.getValue().invoke(value), depth + 1));
        }
        for (Field field : type.getFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !members.containsKey(field.getName())) {
                open(field);
                members.put(field.getName(), to(field.get(value), depth + 1));
            }
        }
        return members;
    }

    /** In the order of the fields behind them; what has no field comes last, by name. */
    private static Map<String, Method> getters(Class<?> raw) throws ReflectiveOperationException {
        Map<String, Method> known = GETTERS.get(raw);
        if (known != null) {
            return known;
        }
        Map<String, Method> found = new TreeMap<>();
        if (isRecord(raw)) {
            Map<String, Method> ordered = new LinkedHashMap<>();
            for (Object component : components(raw)) {
                Method accessor = (Method) component.getClass().getMethod("getAccessor").invoke(component);
                open(accessor);
                ordered.put((String) component.getClass().getMethod("getName").invoke(component), accessor);
            }
            GETTERS.put(raw, ordered);
            return ordered;
        }
        for (Method method : raw.getMethods()) {
            String name = method.getName();
            if (method.getParameterCount() > 0 || Modifier.isStatic(method.getModifiers()) || method.isBridge()
                    || method.getDeclaringClass() == Object.class || method.getReturnType() == void.class) {
                continue;
            }
            boolean is = name.length() > 2 && name.startsWith("is")
                    && (method.getReturnType() == boolean.class || method.getReturnType() == Boolean.class);
            if (is || (name.length() > 3 && name.startsWith("get"))) {
                open(method);
                found.put(property(name.substring(is ? 2 : 3)), method);
            }
        }
        Map<String, Method> ordered = new LinkedHashMap<>();
        List<Class<?>> line = new ArrayList<>();
        for (Class<?> type = raw; type != null && type != Object.class; type = type.getSuperclass()) {
            line.add(0, type);
        }
        for (Class<?> type : line) {
            for (Field field : type.getDeclaredFields()) {
                Method getter = found.remove(field.getName());
                if (getter != null) {
                    ordered.put(field.getName(), getter);
                }
            }
        }
        ordered.putAll(found);
        GETTERS.put(raw, ordered);
        return ordered;
    }

    /** Of a bean's URL, url; of its Name, name: all capitals that it begins with become small. */
    private static String property(String name) {
        int capitals = 0;
        while (capitals < name.length() && Character.isUpperCase(name.charAt(capitals))) {
            capitals++;
        }
        return name.substring(0, capitals).toLowerCase() + name.substring(capitals);
    }

    private static void open(java.lang.reflect.AccessibleObject member) {
        try {
            member.setAccessible(true); // public, but maybe of a class that is not
        } catch (RuntimeException closed) {
            return; // a module's own, which are reached as what they are
        }
    }

    static Class<?> raw(Type type) {
        if (type instanceof Class) {
            return (Class<?>) type;
        }
        if (type instanceof ParameterizedType) {
            return (Class<?>) ((ParameterizedType) type).getRawType();
        }
        if (type instanceof GenericArrayType) {
            return Array.newInstance(raw(((GenericArrayType) type).getGenericComponentType()), 0).getClass();
        }
        if (type instanceof WildcardType) {
            return raw(((WildcardType) type).getUpperBounds()[0]);
        }
        return type instanceof TypeVariable ? raw(((TypeVariable<?>) type).getBounds()[0]) : Object.class;
    }

    /** The type's n-th parameter, Object if it says nothing. */
    private static Type argument(Type type, int n) {
        if (type instanceof ParameterizedType) {
            Type[] given = ((ParameterizedType) type).getActualTypeArguments();
            return n < given.length ? given[n] : Object.class;
        }
        return Object.class;
    }

    private static IllegalArgumentException unfit(Class<?> raw, String what) {
        return new IllegalArgumentException("Cannot deserialize value of type `" + raw.getName() + "` from " + what);
    }
}
