package lamplighter.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.CustomPojoSerializer;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;

/** Finds the function by the handler's name, package.Class or package.Class::method (AWS: spec 3.3), and how to call it. */
final class Handlers {
    private Handlers() {}

    /** Throws what is told of an init that failed. */
    static Handler find(String name, ClassLoader loader) throws Throwable {
        int colons = name.indexOf("::");
        String className = colons < 0 ? name : name.substring(0, colons);
        String methodName = colons < 0 ? "handleRequest" : name.substring(colons + 2);
        Class<?> type = load(className, loader);
        Serializer serializer = new Serializer(loader);
        if ("handleRequest".equals(methodName)) {
            if (RequestStreamHandler.class.isAssignableFrom(type)) {
                return streaming((RequestStreamHandler) make(type));
            }
            if (RequestHandler.class.isAssignableFrom(type)) {
                return typed(type, serializer);
            }
        }
        return method(chosen(type, methodName), type, serializer);
    }

    private static Class<?> load(String name, ClassLoader loader) throws ClassNotFoundException {
        try {
            return Class.forName(name, true, loader);
        } catch (ClassNotFoundException missing) {
            ClassNotFoundException told = new ClassNotFoundException("Class not found: " + name, missing);
            told.setStackTrace(missing.getStackTrace());
            throw told;
        }
    }

    private static Object make(Class<?> type) throws Throwable {
        Constructor<?> constructor;
        try {
            constructor = type.getConstructor();
        } catch (NoSuchMethodException missing) {
            throw new NoSuchMethodException("Class " + type.getName() + " has no public zero-argument constructor");
        }
        try {
            constructor.setAccessible(true); // its class need not be public
            return constructor.newInstance();
        } catch (InvocationTargetException thrown) {
            throw thrown.getCause();
        } catch (InstantiationException impossible) {
            throw new InstantiationException("Class " + type.getName() + " is abstract and cannot be instantiated");
        }
    }

    private static Handler streaming(RequestStreamHandler handler) {
        return (event, context) -> {
            ByteArrayOutputStream output = new ByteArrayOutputStream(256);
            handler.handleRequest(new ByteArrayInputStream(event), output, context);
            return output.toByteArray();
        };
    }

    @SuppressWarnings("unchecked")
    private static Handler typed(Class<?> type, Serializer serializer) throws Throwable {
        Type[] members = parameters(type);
        Type wanted = members[0] instanceof TypeVariable ? Object.class : members[0];
        RequestHandler<Object, Object> handler = (RequestHandler<Object, Object>) make(type);
        return (event, context) -> {
            Object input = serializer.read(event, wanted);
            Object output = handler.handleRequest(input, context);
            return serializer.write(output, members[1]);
        };
    }

    /** What RequestHandler's two parameters are for this class, wherever above it they are settled. */
    private static Type[] parameters(Class<?> type) {
        Map<TypeVariable<?>, Type> settled = new HashMap<>();
        List<Type> above = new ArrayList<>();
        above.add(type);
        while (!above.isEmpty()) {
            Type next = above.remove(above.size() - 1);
            Class<?> raw = Mapper.raw(next);
            if (next instanceof ParameterizedType) {
                Type[] given = ((ParameterizedType) next).getActualTypeArguments();
                TypeVariable<?>[] names = raw.getTypeParameters();
                for (int i = 0; i < names.length; i++) {
                    settled.put(names[i], given[i] instanceof TypeVariable ? settled.getOrDefault(given[i], given[i]) : given[i]);
                }
            }
            if (raw == RequestHandler.class) {
                TypeVariable<?>[] names = raw.getTypeParameters();
                return new Type[] {
                    settled.getOrDefault(names[0], Object.class), settled.getOrDefault(names[1], Object.class)
                };
            }
            if (raw.getGenericSuperclass() != null) {
                above.add(raw.getGenericSuperclass());
            }
            above.addAll(List.of(raw.getGenericInterfaces()));
        }
        return new Type[] {Object.class, Object.class};
    }

    /** Of several methods with the name, the one with the most parameters; of these, one that takes a context. */
    private static Method chosen(Class<?> type, String name) throws NoSuchMethodException {
        Method best = null;
        for (Method method : type.getMethods()) {
            if (method.getName().equals(name) && !method.isBridge() && (best == null || rank(method) > rank(best))) {
                best = rank(method) < 0 ? best : method;
            }
        }
        if (best == null) {
            throw new NoSuchMethodException(
                    "No public method named " + name + " with appropriate method signature found on class " + type.getName());
        }
        return best;
    }

    private static int rank(Method method) {
        Class<?>[] types = method.getParameterTypes();
        boolean context = types.length > 0 && types[types.length - 1] == Context.class;
        int own = types.length - (context ? 1 : 0);
        boolean streams = own == 2 && types[0] == InputStream.class && types[1] == OutputStream.class;
        if (own > 1 && !streams) {
            return -1;
        }
        return own * 2 + (context ? 1 : 0);
    }

    private static Handler method(Method method, Class<?> type, Serializer serializer) throws Throwable {
        method.setAccessible(true);
        Object target = Modifier.isStatic(method.getModifiers()) ? null : make(type);
        Class<?>[] types = method.getParameterTypes();
        Type[] generic = method.getGenericParameterTypes();
        Type returned = method.getGenericReturnType();
        return (event, context) -> {
            Object[] arguments = new Object[types.length];
            ByteArrayOutputStream output = null;
            for (int i = 0; i < types.length; i++) {
                if (types[i] == Context.class) {
                    arguments[i] = context;
                } else if (types[i] == InputStream.class) {
                    arguments[i] = new ByteArrayInputStream(event);
                } else if (types[i] == OutputStream.class) {
                    arguments[i] = output = new ByteArrayOutputStream(256);
                } else {
                    arguments[i] = serializer.read(event, generic[i]);
                }
            }
            Object answer;
            try {
                answer = method.invoke(target, arguments);
            } catch (InvocationTargetException thrown) {
                throw thrown.getCause();
            }
            return output != null ? output.toByteArray() : serializer.write(answer, returned);
        };
    }

    /** The function's own way to read and write JSON, if it brings one, else ours. */
    private static final class Serializer {
        private final CustomPojoSerializer own;

        Serializer(ClassLoader loader) {
            own = ServiceLoader.load(CustomPojoSerializer.class, loader).findFirst().orElse(null);
        }

        Object read(byte[] event, Type type) {
            if (own != null && !isPlain(type)) {
                return own.fromJson(new ByteArrayInputStream(event), type);
            }
            try {
                return Mapper.fromTree(Json.read(event), type);
            } catch (IllegalArgumentException unfit) {
                throw new RuntimeException("An error occurred during JSON parsing", unfit);
            }
        }

        byte[] write(Object answer, Type type) {
            if (type == void.class || type == Void.class) {
                return "null".getBytes(java.nio.charset.StandardCharsets.UTF_8);
            }
            if (own != null && answer != null && !isPlain(type)) {
                ByteArrayOutputStream output = new ByteArrayOutputStream(256);
                own.toJson(answer, output, type);
                return output.toByteArray();
            }
            try {
                return Json.write(Mapper.toTree(answer));
            } catch (IllegalArgumentException unfit) {
                throw new RuntimeException("An error occurred during JSON serialization of response", unfit);
            }
        }

        private static boolean isPlain(Type type) {
            Class<?> raw = Mapper.raw(type);
            return raw.isPrimitive() || raw == String.class || Number.class.isAssignableFrom(raw) || raw == Boolean.class;
        }
    }
}
