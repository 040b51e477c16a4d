import java.util.Map;

public class Echo {
    public Map<String, Object> handler(Map<String, Object> event) {
        return event;
    }
}
