package shop.lib;

public class Price {
    public static String of(String article) {
        return article + " costs " + article.length();
    }
}
