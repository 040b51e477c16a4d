package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.List;
import java.util.Map;

public class Typed implements RequestHandler<Typed.Order, Typed.Receipt> {
    public enum Kind { SMALL, LARGE }

    public static class Item {
        private String name;
        private int count;

        public String getName() { return name; }
        public void setName(String name) { this.name = name; }
        public int getCount() { return count; }
        public void setCount(int count) { this.count = count; }
    }

    public static class Order {
        private List<Item> items;
        private Kind kind;
        private Map<String, Double> prices;
        private Boolean paid;
        public String note;

        public List<Item> getItems() { return items; }
        public void setItems(List<Item> items) { this.items = items; }
        public void setKind(Kind kind) { this.kind = kind; }
        public void setPrices(Map<String, Double> prices) { this.prices = prices; }
        public void setPaid(Boolean paid) { this.paid = paid; }
    }

    public static class Receipt {
        private final double total;
        private final Kind kind;
        private final List<Item> items;
        private final String note;

        Receipt(double total, Kind kind, List<Item> items, String note) {
            this.total = total;
            this.kind = kind;
            this.items = items;
            this.note = note;
        }

        public double getTotal() { return total; }
        public Kind getKind() { return kind; }
        public List<Item> getItems() { return items; }
        public String getNote() { return note; }
        public boolean isFinal() { return true; }
    }

    @Override
    public Receipt handleRequest(Order order, Context context) {
        double total = 0;
        for (Item item : order.getItems()) {
            total += item.getCount() * order.prices.get(item.getName());
        }
        return new Receipt(total, order.kind, order.getItems(), order.note);
    }
}
