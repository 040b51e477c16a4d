import java.util.HashMap;
import java.util.Map;

/** The Java function of the soak. */
public class Soak {
    public Map<String, Object> handler(Map<String, Object> event) {
        String id = (String) event.get("id");
        System.out.println("ran " + id);
        if ("leave".equals(event.get("do"))) {
            Runtime.getRuntime().halt(1);
        }
        if ("fail".equals(event.get("do"))) {
            throw new IllegalStateException(id);
        }
        Map<String, Object> answer = new HashMap<>();
        answer.put("id", id);
        answer.put("given", event.get("given"));
        return answer;
    }
}
