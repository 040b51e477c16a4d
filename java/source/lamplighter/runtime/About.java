package lamplighter.runtime;

/** Tells Lamplighter about this machine: version, home, and that it is complete. */
public final class About {
    private About() {}

    public static void main(String[] arguments) {
        Runtime.Version version = Runtime.version();
        System.out.println(version.feature() + "." + version.interim() + "." + version.update());
        System.out.println(System.getProperty("java.home"));
        System.out.println("True");
    }
}
